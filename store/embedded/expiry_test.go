package embedded

import (
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// notes writes an entry of the table of expiries; without a version it is one of an earlier build.
func (b *bench) notes(entity string, at int64, v freshet.Version) {
	b.Helper()
	var value []byte
	if v != (freshet.Version{}) {
		value = wire.AppendVersion(nil, v)
	}
	tx := b.log.Begin()
	if err := tx.SetTable(broker.TableExpiry, wire.AppendExpiry(nil, at, key(entity)), value); err != nil {
		b.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

// Entries that a drop has left say nothing of what came after it, whatever their order.
func TestExpiriesThatWereLeftBehind(t *testing.T) {
	b := newBench(t, flat)
	until := func(entity string, at int64) freshet.Change {
		c := b.upsert(key(entity), 1, 1)
		c.ExpiresAt = at
		c.Digest = wire.StateDigest(&c, wire.PointsDigest(c.Points))
		return c
	}
	never, later, old := until("never", 0), until("later", 300), until("old", 200)
	b.apply(never, later, old)
	left := freshet.Version{Epoch: 1, Offset: 1 << 20}
	b.notes("never", 100, left)
	b.notes("later", 100, left)
	b.notes("later", 300, later.Version)
	b.notes("later", 900, left)
	b.notes("old", 200, freshet.Version{})
	b.notes("old", 400, freshet.Version{})
	b.notes("gone", 500, left)
	b.snapshot()
	for range 2 {
		b.reopen()
		b.wantClean()
		if n := b.store.Expiring(); n != 2 {
			t.Errorf("%d entities expire, want 2", n)
		}
		hits, err := b.store.Search(b.Context(), freshet.Query{Shard: home, Vector: along(1), K: 10})
		if err != nil || len(hits) != 1 || hits[0].Key.Entity != "never" { // the times are long gone
			t.Errorf("found %v, %v", hits, err)
		}
		b.snapshotAnyway()
	}
}

// An audit tells of an entity that is indexed with another time to expire than it has.
func TestAuditOfExpiries(t *testing.T) {
	b := newBench(t, flat)
	b.apply(b.upsert(key("x"), 1, 1))
	b.store.shard(home).expires(0, 100)
	r := b.audit()
	if r.Found != 1 || r.Differences[0].Kind != "stale" {
		t.Fatalf("found %+v", r.Differences)
	}
	if n, err := b.store.Repair(t.Context(), r.Differences); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	b.wantClean()
}
