package ann

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"testing"
)

// uneven makes n vectors in clusters whose points are near each other to very different degrees, so that queries are
// hard and easy.
func uneven(rng *rand.Rand, dim, n int) [][]float32 {
	const clusters, intrinsic = 40, 14
	centres, axes, widths := make([][]float32, clusters), make([][]float32, clusters*intrinsic), make([]float64, clusters)
	gauss := func(scale float64) []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * scale)
		}
		return v
	}
	for c := range centres {
		centres[c], widths[c] = gauss(1), math.Exp(2.5*rng.Float64()-1.5)
	}
	for i := range axes {
		axes[i] = gauss(0.3)
	}
	list := make([][]float32, n)
	for i := range list {
		c := rng.IntN(clusters)
		v := append([]float32(nil), centres[c]...)
		for _, axis := range axes[c*intrinsic:][:intrinsic] {
			x := float32(rng.NormFloat64() * widths[c])
			for j := range v {
				v[j] += x * axis[j]
			}
		}
		list[i] = v
	}
	return list
}

// answers are the exact k nearest of queries.
func answers(t *testing.T, ix *Index, queries [][]float32, k int) [][]Result {
	t.Helper()
	list := make([][]Result, len(queries))
	for i, q := range queries {
		var err error
		if list[i], err = ix.Search(q, k, SearchOptions{Exact: true}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// effort searches for each query and returns the recall and how many nodes a walk measured on average.
func effort(t *testing.T, ix *Index, queries [][]float32, truth [][]Result, ef int) (recall, measured float64) {
	t.Helper()
	n := float64(len(queries))
	for i, q := range queries {
		got, err := ix.Search(q, len(truth[i]), SearchOptions{Ef: ef}, nil)
		if err != nil {
			t.Fatal(err)
		}
		recall += float64(common(truth[i], got)) / float64(len(truth[i])) / n
		for _, r := range *ix.readers.all.Load() {
			measured += float64(len(r.visited.added)) / n
		}
	}
	return recall, measured
}

// TestHorizonNeedsLessWork compares searches with the least that the same recall takes without a horizon.
func TestHorizonNeedsLessWork(t *testing.T) {
	const n, k = 4000, 10
	for _, metric := range []Metric{Cosine, L2} {
		t.Run(metric.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 3))
			ix, queries := filled(t, Options{Dim: 32, Metric: metric, M: 6, EfConstruction: 40, FlatBelow: -1, Workers: 1}, uneven(rng, 32, n+300), 300)
			mean := ix.graph.spread.mean()
			if mean < 0.03 || mean > 1 {
				t.Fatalf("distances grow with the power %v of ranks: that can't be", mean)
			}
			truth := answers(t, ix, queries, k)
			for _, ef := range []int{15, 20, 30} {
				ix.graph.spread.set(mean)
				recall, measured := effort(t, ix, queries, truth, ef)
				ix.graph.spread.set(0)
				plain, work, more := 0.0, 0.0, ef-ef/5
				for ; plain < recall && more < 20*ef; more += 1 + more/16 {
					plain, work = effort(t, ix, queries, truth, more)
				}
				t.Logf("ef %d: recall %.4f by %.0f distances; without a horizon %.4f by %.0f", ef, recall, measured, plain, work)
				if measured > 0.95*work {
					t.Errorf("ef %d: %.0f distances for a recall of %.4f, and %.0f without a horizon", ef, measured, recall, work)
				}
			}
		})
	}
}

// filled returns an index of all but the last of the vectors, in the graph, and these as queries.
func filled(t *testing.T, opt Options, vectors [][]float32, queries int) (*Index, [][]float32) {
	t.Helper()
	ix, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	n := len(vectors) - queries
	for i, v := range vectors[:n] {
		if err := ix.Apply([]Op{{Key: uint64(i), Vector: v}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ix.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return ix, vectors[n:]
}

// TestHorizonOfNearDuplicates: where distances are less than what rounding does to codes, a walk must not end at the
// first few that it meets.
func TestHorizonOfNearDuplicates(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	const dim, same = 24, 200
	vectors := uneven(rng, dim, 1500)
	var queries [][]float32
	for range same + 50 {
		v := append([]float32(nil), vectors[0]...)
		for j := range v {
			v[j] *= 1 + 1e-3*float32(rng.NormFloat64())
		}
		if vectors = append(vectors, v); len(vectors) > 1500+same {
			queries = append(queries, v)
		}
	}
	vectors = vectors[:1500+same]
	rng.Shuffle(len(vectors), func(i, j int) { vectors[i], vectors[j] = vectors[j], vectors[i] })
	ix, _ := filled(t, Options{Dim: dim, Metric: L2, FlatBelow: -1, Workers: 1}, vectors, 0)
	truth := answers(t, ix, queries, 10)
	recall, measured := effort(t, ix, queries, truth, 100)
	ix.graph.spread.set(0)
	plain, work := effort(t, ix, queries, truth, 100)
	t.Logf("recall %.3f by %.0f distances; without a horizon %.3f by %.0f", recall, measured, plain, work)
	if recall < plain-0.02 {
		t.Errorf("recall among near duplicates is %.3f, without a horizon %.3f", recall, plain)
	}
}

// TestHorizonEdges: the bits of what a horizon is made of.
func TestHorizonEdges(t *testing.T) {
	var s spread
	for _, odd := range []float32{float32(math.NaN()), -1, 5, float32(math.Inf(1))} {
		if s.set(odd); s.mean() != 0 {
			t.Errorf("a spread of %v counts as %v, want unknown", odd, s.mean())
		}
	}
	dists := make([]float32, 100)
	for i := range dists {
		dists[i] = float32(math.Pow(float64(i+1), 0.25))
	}
	const many = 1000
	s.observe(dists[:19], many)
	if s.mean() != 0 {
		t.Errorf("a walk of 19 nodes says %v: it is too short to tell", s.mean())
	}
	s.observe(make([]float32, 100), many)
	if s.mean() != 0 {
		t.Errorf("a walk among equals says %v", s.mean())
	}
	if s.observe(dists, 300); s.mean() != 0 {
		t.Errorf("a walk among 300 says %v: its 40th nearest is one of its farthest", s.mean())
	}
	if s.observe(dists, many); math.Abs(float64(s.mean())-0.25) > 1e-4 {
		t.Errorf("distances grow with the power %v, want 0.25", s.mean())
	}
	g := &graph{space: &space{metric: L2}}
	g.spread.set(0.25)
	for _, c := range []struct {
		k, ef  int
		factor float64
	}{{10, 160, 2}, {1, 160, 2}, {160, 160, 1}, {10, 9, 0}, {100, 99, 0}} {
		if h := g.horizonOf(c.k, c.ef); math.Abs(float64(h.factor)-c.factor) > 1e-6 {
			t.Errorf("k %d, ef %d: factor %v, want %v", c.k, c.ef, h.factor, c.factor)
		}
	}
	g.space.metric = InnerProduct
	if h := g.horizonOf(10, 160); h.factor != 0 {
		t.Errorf("inner product: factor %v, but its distances have no zero", h.factor)
	}
}

// TestSpreadSurvives: a restart does not change what ef means.
func TestSpreadSurvives(t *testing.T) {
	opt := Options{Dim: 16, FlatBelow: -1, Workers: 1}
	ix, _ := filled(t, opt, uneven(rand.New(rand.NewPCG(5, 5)), 16, 500), 0)
	var b bytes.Buffer
	if err := ix.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Load(&b, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, want := again.graph.spread.mean(), ix.graph.spread.mean(); got != want || got == 0 {
		t.Errorf("the spread is %v after a restart, want %v", got, want)
	}
}

// TestSpreadOfWhatIsLeft: an index that has lost most of its points looks about as far as one built of those that are left.
func TestSpreadOfWhatIsLeft(t *testing.T) {
	const n, left, dim = 6000, 1500, 16
	rng := rand.New(rand.NewPCG(9, 9))
	vectors := make([][]float32, n)
	for i := range vectors {
		for range dim {
			vectors[i] = append(vectors[i], float32(rng.NormFloat64()))
		}
	}
	opt := Options{Dim: dim, Metric: L2, M: 8, EfConstruction: 200, FlatBelow: -1, Workers: 1}
	whole, _ := filled(t, opt, vectors, 0)
	for key := left; key < n; key++ {
		if err := whole.Apply([]Op{{Key: uint64(key)}}); err != nil {
			t.Fatal(err)
		}
	}
	fresh, _ := filled(t, opt, vectors[:left], 0)
	a, b := whole.graph.spread.mean(), fresh.graph.spread.mean()
	if a < 0.8*b || a > 1.2*b {
		t.Errorf("spread %.4f, of a fresh index %.4f", a, b)
	}
}
