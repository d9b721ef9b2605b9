package ann_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// apply gives ix all operations at once.
func apply(t testing.TB, ix *ann.Index, ops []ann.Op) {
	t.Helper()
	if err := ix.Apply(ops); err != nil {
		t.Fatal(err)
	}
}

func upserts(vectors [][]float32) []ann.Op {
	ops := make([]ann.Op, len(vectors))
	for i, v := range vectors {
		ops[i] = ann.Op{Key: uint64(i), Vector: v}
	}
	return ops
}

// TestManyAtOnceIsAsGood compares a graph whose points were linked many at once with one of the same points linked one by one.
func TestManyAtOnceIsAsGood(t *testing.T) {
	n := 8000
	if raceEnabled {
		n = 1500
	}
	for _, set := range []struct {
		name   string
		metric ann.Metric
		copies int // of each vector
	}{
		{"cosine", ann.Cosine, 1},
		{"inner product", ann.InnerProduct, 1},
		{"l2", ann.L2, 1},
		{"duplicates", ann.Cosine, 3},
	} {
		t.Run(set.name, func(t *testing.T) {
			m := newMixture(7, 48, 24, 50)
			vectors, queries := m.vectors(n), m.vectors(200)
			for i := range vectors {
				vectors[i] = vectors[i-i%set.copies]
			}
			build := func(buffer int) (float64, ann.Stats) {
				ix := newIndex(t, ann.Options{Dim: 48, Metric: set.metric, FlatBelow: -1, Workers: 2, BufferSize: buffer})
				apply(t, ix, upserts(vectors))
				flush(t, ix)
				truth := exactTruth(t, ix, queries, 10, nil)
				return recallByScore(t, ix, queries, truth, vectors, ann.SearchOptions{Ef: 400}), ix.Stats()
			}
			together, st := build(n)
			alone, one := build(64)
			t.Logf("recall@10 %.4f, linked one by one %.4f", together, alone)
			if together < alone-0.01 {
				t.Errorf("recall@10 is %.4f, linked one by one %.4f", together, alone)
			}
			if st.BulkLinks < uint64(n/2) || one.BulkLinks != 0 || st.Links != one.Links {
				t.Errorf("%d of %d points were linked many at once, and %d of %d where the buffer is too small for it",
					st.BulkLinks, st.Links, one.BulkLinks, one.Links)
			}
		})
	}
}

// TestManyAtOnceOfNewClusters: points of a place where no node is yet find each other, also those that another worker links at the
// same time, and are found from elsewhere.
func TestManyAtOnceOfNewClusters(t *testing.T) {
	clusters, size := 16, 500
	if raceEnabled {
		clusters, size = 6, 250
	}
	m := newMixture(5, 64, 40, clusters)
	var vectors [][]float32
	for c := range clusters {
		for range size {
			vectors = append(vectors, m.from(c))
		}
	}
	queries := m.vectors(200)
	for _, workers := range []int{1, 2} {
		build := func(buffer int) (float64, ann.Stats) {
			ix := newIndex(t, ann.Options{Dim: 64, FlatBelow: -1, Workers: workers, BufferSize: buffer})
			fill(t, ix, vectors)
			return recall(t, ix, queries, exactTruth(t, ix, queries, 10, nil), 10, ann.SearchOptions{Ef: 400}), ix.Stats()
		}
		together, st := build(4096)
		alone, _ := build(64)
		t.Logf("%d workers: recall@10 %.4f, linked one by one %.4f, %d of %d many at once", workers, together, alone, st.BulkLinks, st.Links)
		if together < alone-0.01 {
			t.Errorf("%d workers: recall@10 is %.4f, linked one by one %.4f", workers, together, alone)
		}
		if st.BulkLinks < st.Links/2 {
			t.Errorf("%d of %d points were linked many at once", st.BulkLinks, st.Links)
		}
	}
}

// TestDenseClustersAreFound: points of new, small, dense clusters, which wait at once and take turns, are found beside old ones
// that know nothing of them, linked one by one or many at once. The distances between them are small beside the rounding to codes.
func TestDenseClustersAreFound(t *testing.T) {
	const dim, clusters = 64, 7
	old, fresh := 8000, 1900
	if raceEnabled {
		old, fresh = 1500, 350
	}
	for _, spread := range []float64{0.4, 0.1, 0.02} {
		for _, buffer := range []int{64, 4096} {
			for _, workers := range []int{1, 2} {
				m := newMixture(3, dim, 40, 1)
				ix := newIndex(t, ann.Options{Dim: dim, FlatBelow: -1, Workers: workers, M: 48, EfConstruction: 100, BufferSize: buffer})
				apply(t, ix, upserts(m.vectors(old)))
				flush(t, ix)
				centres := m.vectors(clusters)
				near := func(i int) []float32 {
					v := m.gauss(dim, spread)
					for j, x := range centres[i%clusters] {
						v[j] += x
					}
					return v
				}
				ops, queries := make([]ann.Op, fresh), make([][]float32, 200)
				for i := range ops {
					ops[i] = ann.Op{Key: uint64(old + i), Vector: near(i)}
				}
				for i := range queries {
					queries[i] = near(i)
				}
				apply(t, ix, ops)
				flush(t, ix)
				found := recall(t, ix, queries, exactTruth(t, ix, queries, 10, nil), 10, ann.SearchOptions{Ef: 400})
				name := fmt.Sprintf("spread %v, buffer of %d, %d workers", spread, buffer, workers)
				if st := ix.Stats(); found < 0.99 || (st.BulkLinks > st.Links/2) != (buffer > 64) {
					t.Errorf("%s: recall@10 of the new clusters is %.4f, %d of %d points were linked many at once",
						name, found, st.BulkLinks, st.Links)
				}
				for _, p := range ix.Check() {
					if p.Code == ann.ProblemUnreachable {
						t.Errorf("%s: %v", name, p)
						break
					}
				}
			}
		}
	}
}

// TestNearCopiesAreFound: of points that are near copies of a few others, each is found, linked one by one or many at once.
func TestNearCopiesAreFound(t *testing.T) {
	const dim, originals = 128, 20
	n := 4000
	if raceEnabled {
		n = 1000
	}
	m := newMixture(9, dim, 32, 100)
	vectors := m.vectors(n)
	copyOf := func(i int) []float32 {
		v := m.gauss(dim, 0.2)
		for j, x := range vectors[i%originals] {
			v[j] += x
		}
		return v
	}
	for i := range n {
		vectors = append(vectors, copyOf(i))
	}
	queries := make([][]float32, 200)
	for i := range queries {
		queries[i] = copyOf(i)
	}
	for _, buffer := range []int{64, 4096} {
		ix := newIndex(t, ann.Options{Dim: dim, FlatBelow: -1, Workers: 1, BufferSize: buffer})
		fill(t, ix, vectors)
		found := recall(t, ix, queries, exactTruth(t, ix, queries, 10, nil), 10, ann.SearchOptions{Ef: 200})
		t.Logf("buffer of %d: recall@10 %.4f", buffer, found)
		if found < 0.97 {
			t.Errorf("buffer of %d: recall@10 of copies is %.4f", buffer, found)
		}
	}
}

// recallByScore is recall where a copy of a true neighbour counts as that.
func recallByScore(t testing.TB, ix *ann.Index, queries [][]float32, truth [][]uint64, vectors [][]float32, opt ann.SearchOptions) float64 {
	t.Helper()
	found, wanted := 0, 0
	for i, q := range queries {
		res, err := ix.Search(q, 10, opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		wanted += len(truth[i])
		for _, r := range res {
			if slices.ContainsFunc(truth[i], func(key uint64) bool { return slices.Equal(vectors[key], vectors[r.Key]) }) {
				found++
			}
		}
	}
	return float64(found) / float64(wanted)
}

// TestManyAtOnceBesideChanges replaces and deletes points in large batches, so that slots are used again while groups know them,
// with searches beside it. At the end the graph is sound, and finds what is there and nothing else.
func TestManyAtOnceBesideChanges(t *testing.T) {
	const keys, batch = 3000, 700
	turns := 60
	if raceEnabled {
		turns = 25
	}
	m := newMixture(9, 24, 12, 20)
	ix := newIndex(t, ann.Options{Dim: 24, FlatBelow: -1, Workers: 2, EfConstruction: 60, M: 8})
	apply(t, ix, upserts(m.vectors(keys)))
	var done atomic.Bool
	var wg sync.WaitGroup
	for seed := range uint64(2) {
		wg.Go(func() {
			m := newMixture(100+seed, 24, 12, 20)
			for !done.Load() {
				if _, err := ix.Search(m.vector(), 10, ann.SearchOptions{}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 9))
	live := map[uint64]bool{}
	for key := range uint64(keys) {
		live[key] = true
	}
	for range turns {
		var ops []ann.Op
		for range batch {
			op := ann.Op{Key: rng.Uint64N(keys)}
			if live[op.Key] = rng.IntN(5) > 0; live[op.Key] {
				op.Vector = m.vector()
			} else {
				delete(live, op.Key)
			}
			ops = append(ops, op)
		}
		apply(t, ix, ops)
		flush(t, ix)
	}
	done.Store(true)
	wg.Wait()
	queries := m.vectors(100)
	got := recall(t, ix, queries, exactTruth(t, ix, queries, 10, nil), 10, ann.SearchOptions{Ef: 60})
	st := ix.Stats()
	t.Logf("recall@10 %.4f; %+v", got, st)
	if got < 0.97 || st.Points != len(live) {
		t.Errorf("recall@10 is %.4f, want 0.97; %d points, want %d", got, st.Points, len(live))
	}
	if st.BulkLinks < uint64(turns*batch/4) || st.Sweeps == 0 || st.Repairs == 0 {
		t.Errorf("%d of %d points were linked many at once, %d sweeps, %d repairs", st.BulkLinks, st.Links, st.Sweeps, st.Repairs)
	}
}
