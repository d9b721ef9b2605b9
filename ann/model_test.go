package ann_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// keySet is a Filter.
type keySet map[uint64]bool

func (s keySet) Match(key uint64) bool { return s[key] }
func (s keySet) Count() int            { return len(s) }
func (s keySet) Each(yield func(uint64) bool) {
	for key := range s {
		if !yield(key) {
			return
		}
	}
}

// model is an index that compares with everything, in float64. Its points are what the index says it stores.
type model struct {
	metric ann.Metric
	points map[uint64][]float32
}

func (m *model) apply(t *testing.T, ix *ann.Index, ops []ann.Op) {
	t.Helper()
	for _, op := range ops {
		if op.Vector == nil {
			delete(m.points, op.Key)
			continue
		}
		stored, err := ix.Stored(op.Vector, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.points[op.Key] = stored
	}
}

// score compares a query with a stored vector, whose length under cosine is 1 but for its rounding.
func (m *model) score(q, v []float32) float64 {
	var dot, qq, l2 float64
	for i := range q {
		x, y := float64(q[i]), float64(v[i])
		dot, qq, l2 = dot+x*y, qq+x*x, l2+(x-y)*(x-y)
	}
	switch m.metric {
	case ann.Cosine:
		return min(1, dot/math.Sqrt(qq))
	case ann.L2:
		return 1 / (1 + math.Sqrt(l2))
	}
	return dot
}

// search returns all scores of the points that match, best first.
func (m *model) search(q []float32, f ann.Filter) (scores []float64) {
	for key, v := range m.points {
		if f == nil || f.Match(key) {
			scores = append(scores, m.score(q, v))
		}
	}
	slices.SortFunc(scores, func(a, b float64) int { return cmp.Compare(b, a) })
	return scores
}

// TestModel drives indexes and the model with the same random operations.
func TestModel(t *testing.T) {
	steps := 400
	if raceEnabled || testing.Short() {
		steps = 80
	}
	for _, metric := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
		for _, opt := range []ann.Options{
			{Dim: 10, Metric: metric, Kind: ann.Flat},
			{Dim: 10, Metric: metric, FlatBelow: -1, M: 6, EfConstruction: 40, Workers: 3, BufferSize: 50},
			{Dim: 10, Metric: metric, FlatBelow: 150, M: 8, EfConstruction: 40, Ef: 10},
			{Dim: 10, Metric: metric, Kind: ann.IVFFlat, FlatBelow: -1, Workers: 3, BufferSize: 50, Ef: 10},
			{Dim: 10, Metric: metric, Kind: ann.IVFPQ, FlatBelow: -1, Workers: 3, BufferSize: 50},
			{Dim: 10, Metric: metric, Kind: ann.IVFHNSW, FlatBelow: 150, Workers: 2},
		} {
			for _, form := range forms(t, opt) {
				t.Run(fmt.Sprintf("%s/%s/%s/%d", metric, form.Kind, form.Precision, opt.FlatBelow), func(t *testing.T) {
					t.Parallel()
					driveModel(t, form, steps)
				})
			}
		}
	}
}

// forms returns opt for every form that an index of its kind can keep vectors in.
func forms(t testing.TB, opt ann.Options) (list []ann.Options) {
	for _, opt.Precision = range []ann.Precision{ann.Float32, ann.Float16, ann.Int8} {
		list = append(list, opt)
	}
	if opt.Kind == ann.HNSW {
		opt.Kind, opt.Precision, opt.Dir = ann.HNSWDisk, ann.Float32, t.TempDir()
		list = append(list, opt)
	}
	return list
}

func driveModel(t *testing.T, opt ann.Options, steps int) {
	rng := rand.New(rand.NewPCG(11, uint64(opt.Metric)))
	mix := newMixture(3, opt.Dim, 5, 8)
	m := &model{opt.Metric, map[uint64][]float32{}}
	ix := newIndex(t, opt)
	for step := range steps {
		var ops []ann.Op
		for range 1 + rng.IntN(30) {
			op := ann.Op{Key: rng.Uint64N(600)}
			if rng.IntN(100) < 70-50*(step/80%2) { // waves: it grows, then shrinks
				op.Vector = mix.vector()
			}
			ops = append(ops, op)
		}
		if err := ix.Apply(ops); err != nil {
			t.Fatal(err)
		}
		m.apply(t, ix, ops)
		if ix.Len() != len(m.points) {
			t.Fatalf("step %d: Len is %d, want %d", step, ix.Len(), len(m.points))
		}
		k := 1 + rng.IntN(20)
		q := mix.vector()
		var f ann.Filter
		if rng.IntN(2) == 0 {
			set, share := keySet{}, rng.IntN(100)
			for key := range uint64(600) {
				if rng.IntN(100) < share {
					set[key] = true
				}
			}
			f = set
		}
		checkResults(t, ix, m, q, k, ann.SearchOptions{Filter: f, Exact: true})
		checkResults(t, ix, m, q, k, ann.SearchOptions{Filter: f, Ef: 1 + rng.IntN(30)})
		if step%40 == 39 {
			checkPoints(t, ix, m)
			for _, p := range ix.Check() {
				if p.Code != ann.ProblemUnreachable { // between a repair and the next, many may be
					t.Error(p)
				}
			}
			flush(t, ix)
			mustBeSound(t, ix)
			checkPoints(t, reload(t, ix, opt), m)
			if step%80 == 79 {
				flush(t, ix)
			}
		}
	}
}

// checkResults searches and compares: scores with the model's, and under opt.Exact the ranking too.
func checkResults(t *testing.T, ix *ann.Index, m *model, q []float32, k int, opt ann.SearchOptions) {
	t.Helper()
	res, err := ix.Search(q, k, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := m.search(q, opt.Filter)
	if len(res) != min(k, len(want)) {
		t.Fatalf("%d results, want %d of %d that match", len(res), k, len(want))
	}
	seen := map[uint64]bool{}
	for i, r := range res {
		v, alive := m.points[r.Key]
		if !alive || seen[r.Key] || opt.Filter != nil && !opt.Filter.Match(r.Key) {
			t.Fatalf("key %d: alive %v, seen before %v, or it does not match the filter", r.Key, alive, seen[r.Key])
		}
		seen[r.Key] = true
		if d := math.Abs(m.score(q, v) - float64(r.Score)); d > 1e-5*max(1, math.Abs(float64(r.Score))) {
			t.Fatalf("key %d: score %v, want %v", r.Key, r.Score, m.score(q, v))
		}
		if i > 0 && (res[i-1].Score < r.Score || res[i-1].Score == r.Score && res[i-1].Key > r.Key) {
			t.Fatalf("results %d and %d are out of order: %v", i-1, i, res)
		}
		if d := want[i] - float64(r.Score); opt.Exact && d > 1e-5*max(1, math.Abs(want[i])) {
			t.Fatalf("exact result %d has score %v, want %v", i, r.Score, want[i])
		}
	}
}

// checkPoints compares the points of an index with the model's.
func checkPoints(t *testing.T, ix *ann.Index, m *model) {
	t.Helper()
	missing := maps.Clone(m.points)
	ix.Each(func(key uint64, got []float32) bool {
		want, ok := missing[key]
		if !ok {
			t.Errorf("key %d is dead, or came twice", key)
			return true
		}
		delete(missing, key)
		if !slices.Equal(got, want) {
			t.Errorf("key %d: vector %v, want %v", key, got, want)
		}
		if same, ok, err := ix.Vector(key, nil); !ok || err != nil || !slices.Equal(same, got) {
			t.Errorf("key %d: Vector and Each differ", key)
		}
		return true
	})
	for key := range missing {
		t.Errorf("key %d is missing", key)
	}
}

// reload returns the index of a snapshot of ix.
func reload(t testing.TB, ix *ann.Index, opt ann.Options) *ann.Index {
	t.Helper()
	var b bytes.Buffer
	if err := ix.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	loaded, err := ann.Load(&b, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loaded.Close() })
	mustBeSound(t, loaded)
	return loaded
}
