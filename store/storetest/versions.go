package storetest

import (
	"reflect"

	"github.com/freshet-io/freshet"
)

const (
	isNew        = freshet.AppliedNew
	isSuperseded = freshet.AppliedSuperseded
)

func getReturns(f *fixture) {
	if _, ok, err := f.Store.Get(f.Context(), f.key("a")); ok || err != nil {
		f.Fatalf("an entity that was never applied: %v, %v", ok, err)
	}
	c := upsert(f.key("a"), at(1), map[string]any{"n": 1}, 0.5, 0.25)
	c.Text = "first line\nsecond \u00e9\u0000\U0001F600 " // text is kept byte for byte
	c.Trace, c.Points[1].Start, c.Points[1].End = "00-01", 3, 9
	f.apply(c)
	got, ok, err := f.Store.Get(f.Context(), c.Key)
	if !ok || err != nil || !reflect.DeepEqual(got, c) {
		f.Errorf("got %+v, %v, %v, want %+v", got, ok, err, c)
	}
}

func newerReplaces(f *fixture) {
	f.wantResults(f.apply(upsert(f.key("a"), at(1), nil, 0.2)), isNew)
	f.wantResults(f.apply(upsert(f.key("a"), at(2), nil, 0.9)), isNew)
	f.wantHits(f.search(5), want("a", 0.9, 0))
	if h := f.search(5)[0]; h.Version != at(2) || h.SourceEventID != "a{0 1 2}" || h.AcceptedAt != 2 || h.Text == "" {
		f.Errorf("the hit is %+v", h)
	}
}

func olderSuperseded(f *fixture) {
	c := upsert(f.key("a"), at(5), map[string]any{"n": 5}, 0.5)
	f.wantResults(f.apply(c), isNew)
	f.wantResults(f.apply(c), isSuperseded)
	f.wantResults(f.apply(upsert(f.key("a"), at(4), map[string]any{"n": 4}, 0.9)), isSuperseded)
	f.wantResults(f.apply(remove(f.key("a"), at(3))), isSuperseded)
	f.wantHits(f.search(5), want("a", 0.5, 0))
}

func versionOrder(f *fixture) {
	for i, v := range []freshet.Version{{Epoch: 1, Offset: 7}, {Epoch: 2, Offset: 1}, {Order: 1, Epoch: 1}, {Order: 2, Epoch: 1, Offset: 3}} {
		score := 0.1 * float64(i+1)
		f.wantResults(f.apply(upsert(f.key("a"), v, nil, score)), isNew)
		f.wantHits(f.search(5), want("a", score, 0))
	}
	f.wantResults(f.apply(upsert(f.key("a"), freshet.Version{Order: 1, Epoch: 9, Offset: 9}, nil, 0.9)), isSuperseded)
}

func deleteFences(f *fixture) {
	f.apply(upsert(f.key("a"), at(1), nil, 0.5), upsert(f.key("b"), at(2), nil, 0.4))
	f.wantResults(f.apply(remove(f.key("a"), at(10))), isNew)
	f.wantHits(f.search(5), want("b", 0.4, 0))
	if c, ok, err := f.Store.Get(f.Context(), f.key("a")); !ok || err != nil || !c.Deleted() || c.Version != at(10) {
		f.Errorf("the tombstone is %+v, %v, %v", c, ok, err)
	}
	f.wantResults(f.apply(upsert(f.key("a"), at(9), nil, 0.9)), isSuperseded)
	f.wantHits(f.search(5), want("b", 0.4, 0))
	f.wantResults(f.apply(upsert(f.key("a"), at(11), nil, 0.3)), isNew)
	f.wantHits(f.search(5), want("b", 0.4, 0), want("a", 0.3, 0))

	// A delete of what was never there is a fence too.
	f.wantResults(f.apply(remove(f.key("never"), at(20))), isNew)
	f.wantResults(f.apply(upsert(f.key("never"), at(19), nil, 0.9)), isSuperseded)
	f.wantHits(f.search(5), want("b", 0.4, 0), want("a", 0.3, 0))
}

func beginsAnew(f *fixture) {
	ordered := func(order int64) freshet.Version { return freshet.Version{Order: order, Epoch: 1, Offset: order} }
	anew := func(entity string, order int64, score float64) freshet.Change {
		c := upsert(f.key(entity), ordered(order), nil, score)
		c.Anew = true
		return c
	}
	f.apply(upsert(f.key("a"), ordered(8), nil, 0.5))
	f.wantResults(f.apply(remove(f.key("a"), ordered(10))), isNew)
	f.wantResults(f.apply(anew("a", 3, 0.9)), isNew)
	f.wantHits(f.search(5), want("a", 0.9, 0))
	f.wantResults(f.apply(anew("a", 3, 0.9)), isSuperseded)
	f.wantResults(f.apply(upsert(f.key("a"), ordered(2), nil, 0.7)), isSuperseded)
	f.wantResults(f.apply(upsert(f.key("a"), ordered(4), nil, 0.8)), isNew)
	f.wantHits(f.search(5), want("a", 0.8, 0))

	// In one batch too.
	f.wantResults(f.apply(remove(f.key("b"), ordered(20)), anew("b", 5, 0.4), upsert(f.key("b"), ordered(6), nil, 0.3)), isNew, isNew, isNew)
	f.wantHits(f.search(5), want("a", 0.8, 0), want("b", 0.3, 0))
}

func appliedAgain(f *fixture) {
	f.apply(upsert(f.key("a"), at(5), nil, 0.5, 0.6))
	again := upsert(f.key("a"), at(5), nil, 0.5, 0.6)
	again.Again = true
	f.wantResults(f.apply(again), isNew)
	f.wantHits(f.search(5), want("a", 0.6, 1))
	again.Version = at(4) // a newer one has come meanwhile
	f.wantResults(f.apply(again), isSuperseded)
	f.wantHits(f.search(5), want("a", 0.6, 1))
}

func replacedAsOne(f *fixture) {
	f.apply(upsert(f.key("doc"), at(1), nil, 0.1, 0.2, 0.3, 0.4, 0.95), upsert(f.key("rest"), at(2), nil, 0.5))
	f.wantHits(f.search(5), want("doc", 0.95, 4), want("rest", 0.5, 0))
	f.apply(upsert(f.key("doc"), at(3), nil, 0.15, 0.05))
	f.wantHits(f.search(5), want("rest", 0.5, 0), want("doc", 0.15, 0))
	f.apply(upsert(f.key("doc"), at(4), nil, 0, 0.1, 0.2, 0.6))
	f.wantHits(f.search(5), want("doc", 0.6, 3), want("rest", 0.5, 0))
	f.apply(remove(f.key("doc"), at(5)))
	f.wantHits(f.search(5), want("rest", 0.5, 0))
	f.apply(upsert(f.key("doc"), at(6), nil, 0.1))
	f.wantHits(f.search(5), want("rest", 0.5, 0), want("doc", 0.1, 0))
}

func metadataAlone(f *fixture) {
	f.apply(upsert(f.key("a"), at(1), map[string]any{"n": 1}, 0.2, 0.7))
	f.wantResults(f.apply(upsert(f.key("a"), at(2), map[string]any{"n": 2}, 0.2, 0.7)), isNew)
	hits := f.search(5, f.filtered(`{"eq":{"n":2}}`))
	f.wantHits(hits, want("a", 0.7, 1))
	if len(hits) == 1 && (string(hits[0].Metadata) != `{"n":2}` || hits[0].Version != at(2)) {
		f.Errorf("metadata %s of version %+v", hits[0].Metadata, hits[0].Version)
	}
	f.wantHits(f.search(5, f.filtered(`{"eq":{"n":1}}`)))
}

func thereAndBack(f *fixture) {
	for i, score := range []float64{0.9, 0.1, 0.9, 0.1} {
		f.apply(upsert(f.key("a"), at(int64(i+1)), nil, score))
		f.wantHits(f.search(5), want("a", score, 0))
	}
	f.apply(remove(f.key("a"), at(8)))
	f.apply(upsert(f.key("a"), at(9), nil, 0.1))
	f.wantHits(f.search(5), want("a", 0.1, 0))

	// Without a digest nothing is known of the content.
	for i, score := range []float64{0.3, 0.6} {
		c := upsert(f.key("a"), at(int64(10+i)), nil, score)
		c.Content = [16]byte{}
		f.apply(c)
		f.wantHits(f.search(5), want("a", score, 0))
	}
}

func severalInBatch(f *fixture) {
	a, b := f.key("a"), f.key("b")
	f.wantResults(f.apply(
		upsert(a, at(1), nil, 0.1), upsert(b, at(2), nil, 0.2, 0.8), remove(a, at(3)),
		upsert(a, at(5), nil, 0.5), upsert(a, at(4), nil, 0.4), upsert(b, at(6), nil, 0.6), remove(b, at(7)), upsert(b, at(2), nil, 0.9)),
		isNew, isNew, isNew, isNew, isSuperseded, isNew, isNew, isSuperseded)
	f.wantHits(f.search(5), want("a", 0.5, 0))
	f.wantResults(f.apply(upsert(b, at(8), nil, 0.8), upsert(b, at(8), nil, 0.1)), isNew, isSuperseded)
	f.wantHits(f.search(5), want("b", 0.8, 0), want("a", 0.5, 0))
}

func emptyBatch(f *fixture) {
	f.wantResults(f.apply())
	f.wantHits(f.search(5))
}
