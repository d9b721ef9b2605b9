package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
	"github.com/freshet-io/freshet/wire"
)

// picture is a backup, and what the model knew when it was begun.
type picture struct {
	raw         []byte
	end         int64 // of its events.raw
	epochs      epochs
	collections map[string]bool
	dropped     map[int64]int64 // dead letters
	since       int64
	snapshot    int64
}

// epochs are those of a log, oldest first.
type epochs []epoch

type epoch struct {
	number uint32
	since  int64 // its first offset
}

// of is the epoch of a record.
func (e epochs) of(offset int64) uint32 {
	for i := len(e) - 1; i > 0; i-- {
		if e[i].since <= offset {
			return e[i].number
		}
	}
	return e[0].number
}

// backup writes a backup, which has all that was acknowledged before.
func (o *operator) backup(ctx context.Context) error {
	m := o.model
	m.mu.Lock()
	p := &picture{epochs: slices.Clone(m.epochs), collections: maps.Clone(m.collections), dropped: maps.Clone(m.letters.dropped),
		since: m.since, snapshot: m.snapshot}
	there := int64(len(m.placed))
	m.mu.Unlock()
	var raw bytes.Buffer
	manifest, err := o.node.Backup(ctx, &raw, backup.Options{})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	p.raw, p.end = raw.Bytes(), manifest.Info.RawEnd
	if p.end < there {
		return fmt.Errorf("a backup has events.raw up to %d, acknowledged or read before was all before %d", p.end, there)
	}
	o.outlet.witness(func() {
		m.backup = p
		m.report.Backups++
	})
	return nil
}

// operationsRestoring is how many operations of the file system a restore needs; about.
const operationsRestoring = 60

// restore replaces the data folder by what the last backup had. Now and then it is interrupted: then the folder is whole, or a
// start refuses it and it is restored again.
func (w *world) restore(ctx context.Context) error {
	p := w.model.backup
	w.clock.pass(int64(w.model.newest) * 1000)
	number := uint32(w.clock.now() / 1000)
	w.mem = vfs.NewCrashableMem()
	interrupted := w.rng.IntN(2) == 0
	for whole := false; !whole; {
		o := newOutlet(w.mem, w.fork())
		if interrupted {
			o.within(operationsRestoring)
			interrupted = false
		}
		r, err := node.Restore(disk.New(memory{w.mem, o}, nil), dataDir, w.clock.time(), func(f backup.Folder) (*backup.Manifest, error) {
			return f.Unpack(ctx, bytes.NewReader(p.raw))
		})
		switch {
		case !o.on():
			w.mem = o.disk()
			w.model.report.RestoresCut++
			if whole, err = w.lookAtRestored(ctx); err != nil {
				return fmt.Errorf("an interrupted restore: %w", err)
			}
			continue
		case err != nil:
			return fmt.Errorf("restore: %w", err)
		case r.Epoch.Number != number || r.Epoch.Since != p.end:
			return fmt.Errorf("the restored folder begins epoch %d at %d, it should be %d at %d", r.Epoch.Number, r.Epoch.Since, number, p.end)
		}
		whole = true
		if w.rng.IntN(2) == 0 {
			o.end()
			w.mem = o.disk()
		}
	}
	w.model.restored(p, number)
	return nil
}

// lookAtRestored says whether a folder is whole after an interruption. If not, a start refuses what is there of it.
func (w *world) lookAtRestored(ctx context.Context) (whole bool, err error) {
	names, err := w.mem.List(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || slices.Contains(names, "FORMAT") {
		return err == nil, err
	}
	if len(names) == 0 || len(names) == 1 && names[0] == "LOCK" {
		return false, nil // a start would begin anew
	}
	n, err := w.open(ctx, w.cfg, w.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: w.rng}), nil)
	if err == nil {
		n.Kill()
		return false, fmt.Errorf("a folder with %q is not refused", names)
	}
	return false, nil
}

// restored notes down that the history went back to a backup: what came after it is lost for good, and its offsets are given
// out again in a new epoch.
func (m *model) restored(p *picture, number uint32) {
	for _, s := range m.placed[min(p.end, int64(len(m.placed))):] {
		if s != nil && s.command == nil {
			s.offset, s.batch.lost = lost, true
			m.report.Undone++
		}
	}
	m.placed = m.placed[:min(p.end, int64(len(m.placed)))]
	m.epochs = append(slices.Clone(p.epochs), epoch{number, p.end})
	m.newest = number
	m.earlier[m.log], m.log = true, freshet.LogID{}
	m.collections, m.letters = maps.Clone(p.collections), letters{dropped: maps.Clone(p.dropped), perhaps: map[int64]int64{}}
	m.observed = map[freshet.Key]freshet.Version{}
	m.since, m.applied, m.snapshot = p.since, min(m.applied, p.end-1), p.snapshot
	m.report.Restores++
}

// tokenOfBatch is the token that a batch was acknowledged with, as one of the log's present epoch. What a restore has taken
// away is not known any more, and refused.
func (l *life) tokenOfBatch(ctx context.Context, b *batch) (t freshet.Token, known bool, err error) {
	if t, err = wire.ParseToken(b.token); err != nil {
		return t, false, err
	}
	t, err = l.node.Planner().Catalog.Adopt(t)
	if !b.lost {
		return t, err == nil, err
	}
	if err == nil { // of an epoch that the backup does not know of
		_, _, err = l.node.Planner().Get(ctx, b.subs[0].key, t, waitMost)
	}
	if !isCode(err, freshet.CodeForeignToken) {
		return t, false, fmt.Errorf("token %s of what was lost is not refused: %w", b.token, err)
	}
	return t, false, nil
}
