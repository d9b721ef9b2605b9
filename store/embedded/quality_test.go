package embedded

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/store/storetest"
	"github.com/freshet-io/freshet/wire"
)

func randomVector(rng *rand.Rand) []float32 {
	v := make([]float32, storetest.Dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// scatter puts entities at random places.
func (b *bench) scatter(rng *rand.Rand, n int) {
	b.Helper()
	var batch []freshet.Change
	for i := range n {
		c := b.upsert(key(fmt.Sprint("p", i)), i, 0)
		c.Points[0].Vector = randomVector(rng)
		points := wire.PointsDigest(c.Points)
		c.Content, c.Digest = points, wire.StateDigest(&c, points)
		batch = append(batch, c)
	}
	b.apply(batch...)
	if err := b.store.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// recallOf is what searches find of what exact searches find, for random queries.
func (b *bench) recallOf(rng *rand.Rand, queries int) float64 {
	b.Helper()
	found := 0
	for range queries {
		q := freshet.Query{Shard: home, Vector: randomVector(rng), K: 10, Bare: true}
		near, err := b.store.Search(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		q.Exact = true
		exact, err := b.store.Search(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range exact {
			if slices.ContainsFunc(near, func(h freshet.Hit) bool { return h.Key == x.Key }) {
				found++
			}
		}
	}
	return float64(found) / float64(10*queries)
}

// watch has queries asked and recall measured, so many rounds.
func (b *bench) watch(rng *rand.Rand, rounds int) *Recall {
	b.Helper()
	sh := b.store.shard(home)
	for range rounds {
		for range watchRound {
			if _, err := b.store.Search(b.Context(), freshet.Query{Shard: home, Vector: randomVector(rng), K: 10, Bare: true}); err != nil {
				b.Fatal(err)
			}
		}
		if err := b.store.watchOnce(sh); err != nil {
			b.Fatal(err)
		}
	}
	return sh.recall()
}

// poor is an index with few links that looks at few candidates.
var poor = IndexOptions{Kind: ann.HNSW, M: 4, EfConstruction: 4, Ef: 10, FlatBelow: -1}

// An index whose searches find less than they should gets wider searches and more links, until they do. Without the
// control the recall stays what it was.
func TestRecallIsBroughtToItsTarget(t *testing.T) {
	const target = 0.9
	for _, controlled := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(1, 1))
		poor := poor
		if controlled {
			poor.TargetRecall = target
		}
		b := newBench(t, poor)
		b.scatter(rng, 4000)
		same := func() *rand.Rand { return rand.New(rand.NewPCG(9, 9)) } // the same queries before and after
		before := b.recallOf(same(), 300)
		r := b.watch(rng, 400)
		after := b.recallOf(same(), 300)
		switch {
		case before > target-0.05:
			t.Fatalf("recall is %.3f from the beginning: the test proves nothing", before)
		case !controlled && (r != nil || after > before+0.04):
			t.Errorf("without control: recall %.3f became %.3f, measured %+v", before, after, r)
		case controlled && (after < target-0.03 || r == nil || r.Ef <= poor.Ef):
			t.Errorf("recall %.3f became %.3f, the target is %v, measured %+v", before, after, target, r)
		case controlled && (after < r.Low-0.05 || after > r.High+0.05):
			t.Errorf("recall is %.3f, measured %+v", after, r)
		}
		b.wantClean()
	}
}

// The interval holds the true recall while points change under the measurements.
func TestRecallIsMeasuredUnderChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	index := poor
	index.TargetRecall = 0.1 // so that nothing is done about it
	b := newBench(t, index)
	b.scatter(rng, 2000)
	b.watch(rng, 40)
	for range 5 {
		b.scatter(rng, 1000) // half of the points move
		r := b.watch(rng, 60)
		for r == nil || r.Queries < 200 { // begun anew: what is measured of few queries says little
			r = b.watch(rng, 60)
		}
		if now := b.recallOf(rng, 500); r == nil || now < r.Low-0.04 || now > r.High+0.04 || r.Ef != index.Ef {
			t.Errorf("recall is %.3f, measured %+v", now, r)
		}
	}
}

// A target that can't be reached raises an alert, and the width stays within its bound; one that is set lower by a
// rebuild lets it go.
func TestUnreachableTargetRaisesAnAlert(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	index := poor
	index.TargetRecall, index.Ef = 0.9999, 1
	b := newBench(t, index)
	b.scatter(rng, 4000)
	r := b.watch(rng, 600)
	if r == nil || !r.Alert || r.Ef > 4*index.Ef || len(b.store.Recalls()) != 1 {
		t.Errorf("measured %+v", r)
	}
	if err := b.store.RebuildIndexes(t.Context(), home.Collection, "", control.Index{Ef: 400, M: 16, EfConstruction: 200, TargetRecall: 0.9}, ignoreProgress); err != nil {
		t.Fatal(err)
	}
	if r = b.watch(rng, 100); r == nil || r.Alert || r.Recall < 0.9 || r.Ef != 400 {
		t.Errorf("after a rebuild: measured %+v", r)
	}
}
