package sim

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// outlet is where a node's disk gets its power. It cuts it before a chosen operation of the
// file system, or by hand: what the disk holds then is cloned. The node is not told: it goes
// on, on a disk that nobody will look at again, and what it says from then on is not heard.
type outlet struct {
	mem  *vfs.MemFS
	gate sync.RWMutex // see guarded

	mu       sync.Mutex // guards what follows
	rng      *rand.Rand
	left     int        // operations until the cut; not above zero: only by hand
	syncs    bool       // only syncs are counted
	survives int        // percent of what was not synced that survives a cut
	after    *vfs.MemFS // the disk after the cut, nil before
}

func newOutlet(mem *vfs.MemFS, rng *rand.Rand) *outlet {
	o := &outlet{mem: mem, rng: rng}
	switch rng.IntN(5) {
	case 0:
		o.survives = 0
	case 1:
		o.survives = 100 // the process alone is killed: the page cache stays
	default:
		o.survives = rng.IntN(101)
	}
	return o
}

// arm chooses the operation before which the power is cut, among about the next most that
// change something; often it is a sync, so that what was written is there in part.
func (o *outlet) arm(most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.syncs = o.rng.IntN(2) == 0; o.syncs {
		most /= syncOneIn
	}
	o.left = 1 + o.rng.IntN(most)
}

// syncOneIn says how many of the operations that change something are syncs, about.
const syncOneIn = 4

// fs is the node's file system.
func (o *outlet) fs() vfs.FS {
	return errorfs.Wrap(guarded{o.mem, &o.gate}, errorfs.InjectorFunc(o.before))
}

// Syncs are slow now and then, so that others get ahead of what waits for them.
const (
	slowOneIn = 16
	slowMost  = 200 * time.Microsecond
)

// before is called before every operation of the file system.
func (o *outlet) before(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	var wait time.Duration
	o.mu.Lock()
	if isSync(op.Kind) || !o.syncs {
		if o.left--; o.left == 0 {
			o.cutLocked()
		}
	}
	if isSync(op.Kind) && o.after == nil && o.rng.IntN(slowOneIn) == 0 {
		wait = time.Duration(o.rng.Int64N(int64(slowMost)))
	}
	o.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
	return nil
}

func isSync(k errorfs.OpKind) bool { return k == errorfs.OpFileSync || k == errorfs.OpFileSyncData }

// cut cuts the power now, if it is still on.
func (o *outlet) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cutLocked()
}

func (o *outlet) cutLocked() {
	if o.after != nil {
		return
	}
	o.gate.Lock()
	defer o.gate.Unlock()
	o.after = o.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: o.survives, RNG: o.rng})
}

// disk is the disk after the cut, nil while the power is on.
func (o *outlet) disk() *vfs.MemFS {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.after
}

func (o *outlet) on() bool { return o.disk() == nil }

// witness calls f if the power is on, and keeps it on meanwhile: what f notes down was said
// by a node whose disk still counted. f must not use the disk.
func (o *outlet) witness(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.after == nil {
		f()
	}
}

// guarded is a MemFS that can be cloned at any time, and that Pebble can live on.
//
// Link and ReuseForWrite of a MemFS take its lock for reading twice, which never ends when
// CrashClone asks for it in between: they hold the gate.
//
// Pebble relies on one thing that a MemFS does not give: that the entry of a file that was
// synced is on the disk before one that is made later in the same folder, as on every file
// system with a journal. It makes a marker that names a MANIFEST only after the sync of that
// MANIFEST, and syncs the folder after both. Our own code relies on no such thing, so this is
// granted to markers alone.
type guarded struct {
	*vfs.MemFS
	gate *sync.RWMutex // held for writing by who calls CrashClone
}

const markerPrefix = "marker."

// Create implements vfs.FS.
func (g guarded) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(g.PathBase(name), markerPrefix) {
		dir, err := g.OpenDir(g.PathDir(name))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return nil, err
		}
	}
	return g.MemFS.Create(name, c)
}

// Link implements vfs.FS.
func (g guarded) Link(oldname, newname string) error {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.MemFS.Link(oldname, newname)
}

// ReuseForWrite implements vfs.FS.
func (g guarded) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.MemFS.ReuseForWrite(oldname, newname, c)
}
