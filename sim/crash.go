package sim

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// outlet is where the process of a node gets its power. Before a chosen operation of the file
// system, or by hand, one of two things happens: the power of the machine is cut, and of what
// was not synced a random part is lost; or the process is killed, and the page cache stays,
// as much in danger as before. The node is not told: it goes on, on a disk that nobody will
// look at again, and what it says from then on is not heard.
type outlet struct {
	mem *vfs.MemFS // the disk while the power is on

	mu       sync.Mutex // guards the next six
	rng      *rand.Rand
	left     int                  // operations until the end; not above zero: only by hand
	aim      func(operation) bool // the ones that are counted
	kill     bool                 // the end is not a cut
	hastened bool
	after    *vfs.MemFS // the disk after the end, nil before

	// gate is held for reading by each operation that changes mem, and for writing by the end;
	// it also guards afterlife.
	gate      sync.RWMutex
	afterlife *vfs.MemFS // where the killed process goes on
}

// operation is one operation of a file system that changes something.
type operation struct {
	path string
	sync bool
}

func newOutlet(mem *vfs.MemFS, rng *rand.Rand) *outlet { return &outlet{mem: mem, rng: rng} }

// arm chooses the operation before which it ends, among about the next most. Mostly
// that is a sync, so that what was written may be there in part.
func (o *outlet) arm(most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.rng.IntN(8) {
	case 0, 1:
		o.aim = func(op operation) bool { return op.sync }
		most /= 4
	case 2: // a kill when snapshots have their names, which are not durable yet
		o.kill = true
		o.aim = func(op operation) bool { return op.sync && strings.HasSuffix(op.path, "/index") }
		most /= 64
	case 3, 4, 5:
		o.aim = func(op operation) bool { return op.sync && strings.HasSuffix(op.path, ".seg") }
		most /= 16
	default:
		o.aim = func(operation) bool { return true }
	}
	o.left = 1 + o.rng.IntN(max(1, most))
}

// within chooses any of the next operations.
func (o *outlet) within(most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aim = func(operation) bool { return true }
	o.left = 1 + o.rng.IntN(most)
}

// hasten usually makes the end come within a few operations. Only its first call counts.
func (o *outlet) hasten() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hastened {
		return
	}
	o.hastened = true
	if o.rng.IntN(4) > 0 {
		o.aim = func(operation) bool { return true }
		o.left = 1 + o.rng.IntN(4<<o.rng.IntN(4))
	}
}

// Syncs are slow now and then, so that others get ahead of what waits for them.
const (
	slowOneIn = 16
	slowMost  = 200 * time.Microsecond
)

// before is called before every operation that changes something.
func (o *outlet) before(op operation) {
	var wait time.Duration
	o.mu.Lock()
	if o.left > 0 && o.after == nil && o.aim(op) {
		if o.left--; o.left == 0 {
			o.endLocked()
		}
	}
	if op.sync && o.after == nil && o.rng.IntN(slowOneIn) == 0 {
		wait = time.Duration(o.rng.Int64N(int64(slowMost)))
	}
	o.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
}

// end ends the life of the process now, if it still has one.
func (o *outlet) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endLocked()
}

func (o *outlet) endLocked() {
	if o.after != nil {
		return
	}
	o.gate.Lock()
	defer o.gate.Unlock()
	cut := vfs.CrashCloneCfg{RNG: o.rng}
	how := o.rng.IntN(5)
	if o.kill {
		how = 0
	}
	switch how {
	case 0: // the process is killed
		cut.UnsyncedDataPercent = 100
		o.afterlife, o.after = o.mem.CrashClone(cut), o.mem
		return
	case 1: // the power is cut, and all that was not synced is lost
	case 2:
		cut.UnsyncedDataPercent = 50
	default:
		cut.UnsyncedDataPercent = o.rng.IntN(101)
	}
	o.after = o.mem.CrashClone(cut)
}

// disk is the disk after the end, nil while the power is on.
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
