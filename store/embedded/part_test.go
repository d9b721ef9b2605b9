package embedded

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// A store of some partitions has their entities alone, whatever snapshots of other partitions and the log have; snapshots of its own
// partitions it loads.
func TestPart(t *testing.T) {
	b := newBench(t, flat)
	const all = 80
	for i := range all / 2 {
		b.apply(b.upsert(key(fmt.Sprint("e", i)), i, i))
	}
	b.snapshot()
	check := func(p *Part) {
		t.Helper()
		var got, want []string
		hits, err := b.store.Search(t.Context(), freshet.Query{Shard: home, Vector: along(1), K: 2 * all})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hits {
			got = append(got, h.Key.Entity)
		}
		end, err := b.log.End(freshet.TopicSync)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(end) {
			k := key(fmt.Sprint("e", i))
			if p == nil || slices.Contains(p.Held, wire.Partition(k, p.Partitions)) {
				want = append(want, k.Entity)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("part %+v has %v, want %v", p, got, want)
		}
		b.wantClean()
	}
	open := func(p *Part, snapshots int) {
		t.Helper()
		b.part = p
		if r := b.reopen(); r.Snapshots != snapshots || len(r.Rejected) != 1-snapshots {
			t.Errorf("part %+v: loaded %+v, want %d snapshots", p, r, snapshots)
		}
		check(p)
	}
	open(nil, 1)
	some := &Part{Partitions: 4, Held: []int32{1, 2}}
	open(some, 0)
	for i := all / 2; i < all; i++ {
		b.apply(b.upsert(key(fmt.Sprint("e", i)), i, i))
	}
	check(some)
	if err := b.store.RebuildIndexes(t.Context(), home.Collection, home.Namespace, control.Index{}, ignoreProgress); err != nil {
		t.Fatal(err)
	}
	check(some)
	b.snapshot()
	open(some, 1)
	open(&Part{Partitions: 4, Held: []int32{1, 2, 3}}, 0)
	b.snapshot()
	if a, b := (Part{4, []int32{1}}).identity(b.log.ID()), (Part{5, []int32{1}}).identity(b.log.ID()); a == b {
		t.Error("partitions of logs with more and with fewer are taken for the same")
	}
	open(nil, 0)
}

// A store of no partitions takes everything and holds nothing, and leaves the snapshots of before alone.
func TestNoPart(t *testing.T) {
	b := newBench(t, flat)
	for i := range 10 {
		b.apply(b.upsert(key(fmt.Sprint("e", i)), i, i))
	}
	b.snapshot()
	b.part = &Part{Partitions: 4}
	if r := b.reopen(); r.Entities != 0 || r.Snapshots != 0 || len(r.Rejected) != 0 {
		t.Errorf("loaded %+v", r)
	}
	b.apply(b.upsert(key("late"), 1, 1), b.tombstone(key("e3")))
	b.snapshot()
	b.wantClean()
	if hits, err := b.store.Search(t.Context(), freshet.Query{Shard: home, Vector: along(1), K: 9}); err != nil || len(hits) != 0 || len(b.store.Sizes()) != 0 {
		t.Errorf("found %v, %v; sizes %v", hits, err, b.store.Sizes())
	}
	b.part = nil
	if r := b.reopen(); r.Snapshots != 1 || r.Applied != 2 {
		t.Errorf("loaded again %+v", r)
	}
	if got := b.store.Sizes(); len(got) != 1 || got[0].Entities != 10 {
		t.Errorf("sizes %v", got)
	}
	b.wantClean()
}

// Sizes of some entities are counted, tombstones not.
func TestSizesOf(t *testing.T) {
	b := newBench(t, flat)
	other := freshet.Shard{Collection: home.Collection, Namespace: "other"}
	const entities = 2*countAtOnce + 10
	for from := 0; from < entities; from += 1000 {
		var batch []freshet.Change
		for i := from; i < min(entities, from+1000); i++ {
			batch = append(batch, b.upsert(key(fmt.Sprint("e", i)), i, i, i+1))
		}
		b.apply(batch...)
	}
	b.apply(b.upsert(in(other, "x"), 1, 1), b.tombstone(key("e0")), b.tombstone(key("e1")))
	even := func(k freshet.Key) bool { return (k.Entity[len(k.Entity)-1]-'0')%2 == 0 || k.Namespace == "other" }
	got, err := b.store.SizesOf(t.Context(), even)
	want := []Size{{Shard: home, Entities: entities/2 - 1, Points: entities - 2}, {Shard: other, Entities: 1, Points: 1}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.store.SizesOf(ctx, even); err == nil {
		t.Error("it goes on though nobody wants to know")
	}
}
