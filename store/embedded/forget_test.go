package embedded

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// purge takes tombstones out of vector.sync, and has the store forget them if it is told to.
func (b *bench) purge(forget bool, keys ...freshet.Key) {
	b.Helper()
	tx := b.log.Begin()
	var versions []freshet.Version
	for _, k := range keys {
		raw := wire.AppendKey(nil, k)
		r, ok, err := b.log.Latest(freshet.TopicSync, raw, nil)
		if err != nil || !ok {
			b.Fatal(k, ok, err)
		}
		c, err := wire.DecodeChange(k, r.Value, wire.Head)
		if err != nil || !c.Deleted() {
			b.Fatalf("%v is %+v, %v", k, c, err)
		}
		versions = append(versions, c.Version)
		if err := tx.Purge(freshet.TopicSync, k.Shard(), []broker.Record{r}); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	for i, k := range keys {
		if forget {
			b.store.Forget(k, versions[i])
		}
	}
}

func (b *bench) tombstones() int {
	n := 0
	for _, s := range b.store.Stats() {
		n += s.Tombstones
	}
	return n
}

// A forgotten tombstone costs nothing, now and after a start; its document is used again.
func TestForget(t *testing.T) {
	for name, index := range map[string]IndexOptions{"flat": flat, "graph": graph} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, index)
			b.fill(home)
			b.apply(b.tombstone(key("e7")), b.tombstone(key("gone")))
			b.store.Forget(key("e1"), freshet.Version{Epoch: 1, Offset: 2}) // it lives
			b.store.Forget(key("e7"), freshet.Version{Epoch: 1, Offset: 1}) // another version
			b.store.Forget(key("nobody"), freshet.Version{})
			b.wantClean()
			b.purge(true, key("e4"), key("e7"), key("gone"))
			b.wantClean()
			want := b.answers(home)
			if got := b.tombstones(); got != 0 {
				t.Errorf("%d tombstones are left", got)
			}
			b.snapshot()
			loaded := b.reopen()
			if loaded.Entities != 10 || loaded.Applied != 0 || b.answers(home) != want {
				t.Errorf("loaded %+v, answers\n%swant\n%s", loaded, b.answers(home), want)
			}
			b.wantClean()
			before := b.store.shard(home).size()
			b.apply(b.upsert(key("new1"), 1, 4, 2), b.upsert(key("e7"), 2, 7), b.upsert(key("new2"), 3, 1))
			if now := b.store.shard(home).size(); now != before {
				t.Errorf("there are %d documents, %d before: those of forgotten entities are not used again", now, before)
			}
			b.wantClean()
			b.reopen()
			b.wantClean()
		})
	}
}

// What a snapshot has that was purged since: a tombstone of then is dropped at the start, and a snapshot that has the entity
// itself is not used.
func TestSnapshotsAndPurges(t *testing.T) {
	b := newBench(t, flat)
	b.fill(home)
	b.snapshot() // has e1 alive
	alive, name := b.read(b.path(home)), b.path(home)
	b.apply(b.tombstone(key("e1")))
	b.snapshot() // has its tombstone
	if covered := b.store.Covered(home); covered > b.deletion("e1") {
		t.Errorf("all snapshots are said to cover %d, the older one does not have what is at %d", covered, b.deletion("e1"))
	}
	b.apply(b.upsert(key("e2"), 1, 1))
	b.snapshot()
	if covered := b.store.Covered(home); covered <= b.deletion("e1") {
		t.Errorf("all snapshots are said to cover %d only, both have what is at %d", covered, b.deletion("e1"))
	}
	b.purge(false, key("e1")) // and a crash, before the store has forgotten it
	want := b.answers(home)
	if loaded := b.reopen(); len(loaded.Rejected) > 0 || b.tombstones() != 1 { // of e4
		t.Errorf("loaded %+v, %d tombstones", loaded, b.tombstones())
	}
	b.wantClean()
	// An old copy comes back.
	b.write(name, alive)
	if err := b.fs.Remove(b.path(home)); err != nil {
		t.Fatal(err)
	}
	if err := b.fs.Remove(b.fs.PathJoin(b.store.dir, snapshotName(home, 2))); err != nil {
		t.Fatal(err)
	}
	loaded := b.reopen()
	if len(loaded.Rejected) != 1 || !strings.Contains(loaded.Rejected[0], "are forgotten") {
		t.Errorf("rejected is %q", loaded.Rejected)
	}
	if got := b.answers(home); got != want {
		t.Errorf("answers\n%swant\n%s", got, want)
	}
	b.wantClean()
}

// deletion is the offset in vector.sync of an entity's record.
func (b *bench) deletion(entity string) int64 {
	b.Helper()
	r, _, err := b.log.Latest(freshet.TopicSync, []byte(entity), nil)
	if err != nil {
		b.Fatal(err)
	}
	return r.Offset
}

// A namespace of which nothing is left is gone, and no damage.
func TestPurgedNamespace(t *testing.T) {
	b := newBench(t, flat)
	other := freshet.Shard{Collection: "plain", Namespace: "n"}
	if b.store.Covered(other) == math.MaxInt64 {
		t.Error("what is not there is covered for ever")
	}
	b.apply(b.upsert(in(other, "a"), 1, 1))
	b.snapshot()
	b.apply(b.tombstone(in(other, "a")))
	b.snapshot()
	b.store.Renew(other)
	b.snapshot()
	b.purge(true, in(other, "a"))
	if loaded := b.reopen(); len(loaded.Rejected) > 0 || b.onDisk(other) > 0 {
		t.Errorf("rejected is %q, %d snapshots of nothing are left", loaded.Rejected, b.onDisk(other))
	}
	b.wantClean()
	b.apply(b.upsert(in(other, "a"), 1, 2), b.upsert(in(other, "b"), 1, 2))
	b.wantClean()
	b.apply(b.tombstone(in(other, "b")))
	b.purge(true, in(other, "b"))
	b.snapshot()
	if loaded := b.reopen(); len(loaded.Rejected) > 0 || b.onDisk(other) != 1 {
		t.Errorf("rejected is %q, there are %d snapshots", loaded.Rejected, b.onDisk(other))
	}
	b.wantClean()
}

// Entities come and go, snapshots are written and purges happen at any time, also while a snapshot is being written.
func TestPurgesAtAnyTime(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t, flat)
		dead := map[freshet.Key]bool{}
		for range 80 {
			k := key(fmt.Sprint("e", rng.IntN(15)))
			switch p := rng.IntN(10); {
			case p < 4:
				b.apply(b.upsert(k, rng.IntN(5), rng.IntN(9)))
				delete(dead, k)
			case p < 7:
				b.apply(b.tombstone(k))
				dead[k] = true
			case p < 8:
				b.snapshot()
			case p < 9:
				for k := range dead {
					if b.deletion(k.Entity) < b.store.Covered(home) {
						b.purge(rng.IntN(4) > 0, k)
						delete(dead, k)
					}
				}
				fallthrough
			default:
				if loaded := b.reopen(); len(loaded.Rejected) > 0 {
					t.Fatalf("seed %d: rejected is %q", seed, loaded.Rejected)
				}
			}
			if r := b.audit(); !r.Clean() {
				t.Fatalf("seed %d: %+v", seed, r.Differences)
			}
		}
	}
}
