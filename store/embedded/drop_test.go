package embedded

import (
	"context"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

var other = freshet.Shard{Collection: "other", Namespace: "n"}

// drop takes a shard out of vector.sync and out of the store.
func (b *bench) drop(s freshet.Shard) {
	b.Helper()
	b.dropRecords(s)
	b.dropIndex(s)
}

func (b *bench) dropRecords(s freshet.Shard) {
	b.Helper()
	tx := b.log.Begin()
	if err := tx.Drop(freshet.TopicSync, wire.AppendDrop(nil, s), wire.DropRanges(s)); err != nil {
		b.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) dropIndex(s freshet.Shard) {
	b.Helper()
	if err := b.store.Drop(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	end, err := b.log.End(freshet.TopicSync)
	if err != nil {
		b.Fatal(err)
	}
	b.store.Advance(end)
}

// onDisk is how many snapshots of a shard there are.
func (b *bench) onDisk(s freshet.Shard) int {
	b.Helper()
	files, err := b.store.listSnapshots()
	if err != nil {
		b.Fatal(err)
	}
	return len(files[hashOf(s)])
}

// A shard that is dropped while snapshots are written gets none, whenever it is, and the others get theirs.
func TestDropDuringSnapshots(t *testing.T) {
	for name, when := range map[string]int{"before": 0, "closed before": 1, "after": 2} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, flat)
			b.fill(home)
			b.fill(other)
			sh := b.store.shard(other)
			b.store.snapping.Lock() // as Snapshot does, which has listed the shards
			g := group{s: b.store}
			if err := g.add(b.store.shard(home)); err != nil {
				t.Fatal(err)
			}
			if when < 2 {
				b.drop(other)
			}
			if when == 1 {
				b.store.closing.Wait()
			}
			if err := g.add(sh); err != nil {
				t.Fatal(err)
			}
			if when == 2 {
				b.drop(other)
			}
			n, err := g.commit()
			b.store.snapping.Unlock()
			if n != 1 || err != nil || b.onDisk(home) != 1 || b.onDisk(other) != 0 {
				t.Errorf("%d written, %v; on disk %d and %d", n, err, b.onDisk(home), b.onDisk(other))
			}
			if loaded := b.reopen(); loaded.Snapshots != 1 || b.store.shard(other) != nil {
				t.Errorf("loaded %+v", loaded)
			}
			b.wantClean()
		})
	}
}

// Snapshots of a dropped shard that could not be removed at once are not damaged, and the next start removes them.
func TestSnapshotsThatADropLeaves(t *testing.T) {
	b := newBench(t, flat)
	b.fill(home)
	b.fill(other)
	b.snapshot()
	b.store.snapping.Lock()
	b.drop(other)
	b.store.snapping.Unlock()
	files, damage, err := b.store.VerifySnapshots(t.Context())
	if files != 2 || len(damage) > 0 || err != nil {
		t.Errorf("of %d files damaged are %v, %v", files, damage, err)
	}
	if loaded := b.reopen(); loaded.Snapshots != 1 || b.onDisk(other) != 0 || b.onDisk(home) != 1 {
		t.Errorf("loaded %+v; %d files are left", loaded, b.onDisk(other))
	}
	b.wantClean()
}

// An audit finds nothing wrong with what is dropped while it goes on, whenever that is.
func TestDropDuringAnAudit(t *testing.T) {
	for name, again := range map[string]bool{"gone": false, "begun anew": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, graph)
			b.fill(home)
			b.fill(other)
			waits := 0
			wait := func(context.Context) error {
				switch waits++; waits {
				case 1: // what has no record any more differs
					b.dropRecords(other)
				case 2:
					b.dropIndex(other)
					if again {
						b.apply(b.upsert(in(other, "e1"), 1, 1))
					}
				}
				return nil
			}
			var r freshet.AuditReport
			if err := b.store.Audit(t.Context(), wait, &r); err != nil || !r.Clean() || waits < 2 {
				t.Errorf("after %d waits it finds %+v, %v", waits, r.Differences, err)
			}
			b.wantClean()
		})
	}
}
