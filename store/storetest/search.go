package storetest

import (
	"fmt"

	"github.com/freshet-io/freshet"
)

func ordered(f *fixture) {
	var changes []freshet.Change
	for i := range 50 {
		n := i * 17 % 50
		changes = append(changes, upsert(f.key(fmt.Sprintf("e%02d", n)), at(int64(i+1)), nil, float64(n)/50))
	}
	f.apply(changes...)
	f.wantHits(f.search(3), want("e49", 0.98, 0), want("e48", 0.96, 0), want("e47", 0.94, 0))
	for i, h := range f.search(50) {
		if entity := fmt.Sprintf("e%02d", 49-i); h.Key.Entity != entity {
			f.Errorf("hit %d is %s, want %s", i, h.Key.Entity, entity)
		}
	}
}

func beyond(f *fixture) {
	f.wantHits(f.search(10_000))
	f.apply(upsert(f.key("a"), at(1), nil, 0.1), upsert(f.key("b"), at(2), nil, 0.2, 0.3))
	f.wantHits(f.search(10_000), want("b", 0.3, 1), want("a", 0.1, 0))
}

// foundOnce has an entity with many points before all others: they must not crowd those out.
func foundOnce(f *fixture) {
	scores := make([]float64, 300)
	for i := range scores {
		scores[i] = 0.9 + float64(i)/10_000
	}
	f.apply(upsert(f.key("book"), at(1), map[string]any{"n": 0}, scores...))
	for i := range 5 {
		f.apply(upsert(f.key(fmt.Sprint("note", i)), at(int64(i+2)), map[string]any{"n": 0}, 0.1*float64(i+1)))
	}
	wanted := []string{want("book", 0.930, 299), want("note4", 0.5, 0), want("note3", 0.4, 0), want("note2", 0.3, 0)}
	f.wantHits(f.search(4), wanted...)
	f.wantHits(f.search(4, f.filtered(`{"eq":{"n":0}}`)), wanted...)
	f.wantHits(f.search(3, func(q *freshet.Query) { q.Exclude = "book" }), wanted[1:]...)
	f.apply(upsert(f.key("book"), at(50), map[string]any{"n": 1}, 0.7))
	f.wantHits(f.search(2), want("book", 0.7, 0), want("note4", 0.5, 0))
}

func filters(f *fixture) {
	for i := range 40 {
		f.apply(upsert(f.key(fmt.Sprintf("e%02d", i)), at(int64(i+1)), map[string]any{"n": i, "even": i%2 == 0}, float64(i)/40))
	}
	f.wantHits(f.search(2, f.filtered(`{"eq":{"even":true}}`)), want("e38", 0.95, 0), want("e36", 0.9, 0))
	low := f.filtered(`{"and":[{"eq":{"even":false}},{"range":{"n":{"lt":6}}}]}`)
	wanted := []string{want("e05", 0.125, 0), want("e03", 0.075, 0), want("e01", 0.025, 0)}
	f.wantHits(f.search(10, low), wanted...)
	f.wantHits(f.search(10, low, func(q *freshet.Query) { q.Exact = true }), wanted...)
	f.wantHits(f.search(10, f.filtered(`{"eq":{"n":"1"}}`)))

	// What a filter says follows each change.
	f.apply(remove(f.key("e03"), at(100)), upsert(f.key("e05"), at(101), map[string]any{"n": 50}, 0.5))
	f.wantHits(f.search(10, low), want("e01", 0.025, 0))
	f.wantHits(f.search(10, f.filtered(`{"eq":{"n":50}}`)), want("e05", 0.5, 0))
}

func excludes(f *fixture) {
	f.apply(upsert(f.key("a"), at(1), nil, 0.9, 0.8, 0.7), upsert(f.key("b"), at(2), nil, 0.5), upsert(f.key("c"), at(3), nil, 0.4))
	without := func(entity string) func(*freshet.Query) { return func(q *freshet.Query) { q.Exclude = entity } }
	f.wantHits(f.search(1, without("a")), want("b", 0.5, 0))
	f.wantHits(f.search(2, without("b")), want("a", 0.9, 0), want("c", 0.4, 0))
	f.wantHits(f.search(3, without("c")), want("a", 0.9, 0), want("b", 0.5, 0))
	f.wantHits(f.search(3, without("nobody")), want("a", 0.9, 0), want("b", 0.5, 0), want("c", 0.4, 0))
}

// separate uses the same entity id in several shards.
func separate(f *fixture) {
	shards := []freshet.Shard{{Collection: Collection, Namespace: freshet.DefaultNamespace},
		{Collection: Collection, Namespace: "tenant"}, {Collection: OtherCollection, Namespace: freshet.DefaultNamespace},
		{Collection: OtherCollection, Namespace: "tenant"}}
	var batch []freshet.Change
	for i, s := range shards {
		key := freshet.Key{Collection: s.Collection, Namespace: s.Namespace, Entity: "same"}
		batch = append(batch, upsert(key, at(int64(10-i)), map[string]any{"n": 1}, 0.1*float64(i+1)))
	}
	f.apply(batch...)
	for i, s := range shards {
		f.shard = s
		f.wantHits(f.search(5), want("same", 0.1*float64(i+1), 0))
		f.wantHits(f.search(5, f.filtered(`{"eq":{"n":1}}`)), want("same", 0.1*float64(i+1), 0))
	}
	f.apply(remove(batch[1].Key, at(20)))
	for i, s := range shards {
		f.shard = s
		c, ok, err := f.Store.Get(f.Context(), f.key("same"))
		if !ok || err != nil || c.Deleted() != (i == 1) {
			f.Errorf("shard %+v has %+v, %v, %v", s, c, ok, err)
		}
		if hits := f.search(5); (len(hits) == 0) != (i == 1) {
			f.Errorf("shard %+v has the hits %+v", s, hits)
		}
	}
	f.shard = freshet.Shard{Collection: Collection, Namespace: "unheard of"}
	f.wantHits(f.search(5))
}

func bareHits(f *fixture) {
	f.apply(upsert(f.key("a"), at(1), nil, 0.9, 0.95), upsert(f.key("b"), at(2), nil, 0.5))
	hits := f.search(5, func(q *freshet.Query) { q.Bare = true })
	f.wantHits(hits, want("a", 0.95, 1), want("b", 0.5, 0))
	if len(hits) == 2 && (hits[0].Version != at(1) || hits[1].Version != at(2)) {
		f.Errorf("versions %+v and %+v", hits[0].Version, hits[1].Version)
	}
}
