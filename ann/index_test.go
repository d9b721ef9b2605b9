package ann_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ann"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opt  ann.Options
		want string // of the error; empty for none
	}{
		{ann.Options{Dim: 2}, ""},
		{ann.Options{Dim: 4096, M: 64, EfConstruction: 1, Ef: 1, FlatBelow: -1, Workers: 1, BufferSize: 1, Alpha: 2}, ""},
		{ann.Options{}, "option Dim is 0"},
		{ann.Options{Dim: 4097}, "option Dim is 4097"},
		{ann.Options{Dim: 8, Metric: 9}, "option Metric is 9"},
		{ann.Options{Dim: 8, Kind: 9}, "option Kind is 9"},
		{ann.Options{Dim: 8, M: 3}, "option M is 3"},
		{ann.Options{Dim: 8, EfConstruction: -1}, "option EfConstruction is -1"},
		{ann.Options{Dim: 8, Ef: -1}, "option Ef is -1"},
		{ann.Options{Dim: 8, FlatBelow: -2}, "option FlatBelow is -2"},
		{ann.Options{Dim: 8, Workers: -2}, "option Workers is -2"},
		{ann.Options{Dim: 8, BufferSize: -2}, "option BufferSize is -2"},
		{ann.Options{Dim: 8, Alpha: 0.5}, "option Alpha is 0.5"},
		{ann.Options{Dim: 8, Alpha: float32(math.NaN())}, "option Alpha is NaN"},
	} {
		err := c.opt.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want one with %q", c.opt, err, c.want)
		}
		if _, newErr := ann.New(c.opt); (newErr == nil) != (err == nil) {
			t.Errorf("%+v: New returns %v, Validate %v", c.opt, newErr, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, m := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
		if got, err := ann.ParseMetric(m.String()); err != nil || got != m {
			t.Errorf("metric %s: parsed as %v, error %v", m, got, err)
		}
	}
	for _, k := range []ann.Kind{ann.HNSW, ann.Flat} {
		if got, err := ann.ParseKind(k.String()); err != nil || got != k {
			t.Errorf("kind %s: parsed as %v, error %v", k, got, err)
		}
	}
	if _, err := ann.ParseMetric("dot"); err == nil {
		t.Error("metric dot is no error")
	}
	if _, err := ann.ParseKind("ivf"); err == nil {
		t.Error("kind ivf is no error")
	}
}

// TestBadOpsApplyNothing has a bad op at the end of a batch.
func TestBadOpsApplyNothing(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name   string
		metric ann.Metric
		vector []float32
		want   string // of the error; empty for none
	}{
		{"short", ann.Cosine, []float32{1}, "it has 1 components"},
		{"empty", ann.Cosine, []float32{}, "it has 0 components"},
		{"NaN", ann.L2, []float32{1, nan, 0}, "component 1 is NaN"},
		{"infinity", ann.InnerProduct, []float32{1, 0, inf}, "component 2 is +Inf"},
		{"zero", ann.Cosine, []float32{0, 0, 0}, "no direction"},
		{"zero", ann.L2, []float32{0, 0, 0}, ""},
		{"zero", ann.InnerProduct, []float32{0, 0, 0}, ""},
		{"long", ann.L2, []float32{3e18, 3e18, 0}, "squared norm"},
		{"long", ann.Cosine, []float32{3e38, 3e38, 3e38}, ""},
		{"tiny", ann.Cosine, []float32{1e-45, 0, 0}, ""},
	} {
		ix := newIndex(t, ann.Options{Dim: 3, Metric: c.metric})
		err := ix.Apply([]ann.Op{{Key: 5, Vector: []float32{1, 2, 3}}, {Key: 9, Vector: c.vector}})
		if c.want == "" {
			if err != nil || ix.Len() != 2 {
				t.Errorf("%s %s: error %v, %d points", c.name, c.metric, err, ix.Len())
			}
			if _, err := ix.Search(c.vector, 1, ann.SearchOptions{}, nil); err != nil {
				t.Errorf("%s %s: search: %v", c.name, c.metric, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "op 1 (key 9)") || ix.Len() != 0 {
			t.Errorf("%s %s: error %v, %d points", c.name, c.metric, err, ix.Len())
		}
		if _, err := ix.Search(c.vector, 1, ann.SearchOptions{}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: search: error %v", c.name, c.metric, err)
		}
	}
}

func TestBadSearches(t *testing.T) {
	ix := newIndex(t, ann.Options{Dim: 2})
	for _, c := range []struct {
		k    int
		opt  ann.SearchOptions
		want string
	}{
		{0, ann.SearchOptions{}, "k is 0"},
		{ann.MaxK + 1, ann.SearchOptions{}, "k is 1048577"},
		{1, ann.SearchOptions{Ef: -1}, "Ef is -1"},
		{1, ann.SearchOptions{Ef: ann.MaxEf + 1}, "Ef is 65537"},
	} {
		if _, err := ix.Search([]float32{1, 0}, c.k, c.opt, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("k %d, %+v: error %v, want one with %q", c.k, c.opt, err, c.want)
		}
	}
}

func TestLastOpOfAKeyWins(t *testing.T) {
	for _, kind := range []ann.Kind{ann.Flat, ann.HNSW} {
		ix := newIndex(t, ann.Options{Dim: 2, Metric: ann.L2, Kind: kind, FlatBelow: -1})
		v := func(x float32) []float32 { return []float32{x, 0} }
		if err := ix.Apply([]ann.Op{{Key: 1, Vector: v(1)}, {2, v(2)}, {1, v(3)}, {2, nil}, {3, nil}, {3, v(4)}, {4, v(1)}, {4, nil}, {4, v(5)}}); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[uint64]float32{1: 3, 3: 4, 4: 5} {
			if got, ok, err := ix.Vector(key, nil); !ok || err != nil || got[0] != want {
				t.Errorf("%s: key %d has %v, want %v", kind, key, got, want)
			}
		}
		if _, ok, _ := ix.Vector(2, nil); ok || ix.Len() != 3 {
			t.Errorf("%s: key 2 is alive, or %d points instead of 3", kind, ix.Len())
		}
		flush(t, ix)
	}
}

// TestNormalisedOnce stores what the index returns: it must not change again.
func TestNormalisedOnce(t *testing.T) {
	mix := newMixture(8, 100, 30, 5)
	ix := newIndex(t, ann.Options{Dim: 100})
	for i := range uint64(200) {
		if err := ix.Apply([]ann.Op{{Key: i, Vector: mix.vector()}}); err != nil {
			t.Fatal(err)
		}
		once, _, _ := ix.Vector(i, nil)
		if err := ix.Apply([]ann.Op{{Key: i, Vector: once}}); err != nil {
			t.Fatal(err)
		}
		twice, _, _ := ix.Vector(i, nil)
		for j := range once {
			if once[j] != twice[j] {
				t.Fatalf("vector %d, component %d: %v became %v", i, j, once[j], twice[j])
			}
		}
	}
}

func TestClose(t *testing.T) {
	ix, err := ann.New(ann.Options{Dim: 16, FlatBelow: -1, BufferSize: 10, EfConstruction: 50})
	if err != nil {
		t.Fatal(err)
	}
	mix := newMixture(8, 16, 5, 5)
	var wg sync.WaitGroup
	for key := range uint64(4) {
		wg.Go(func() { // some of these wait for room when the index closes
			mix := newMixture(key, 16, 5, 5)
			for err := error(nil); err == nil; {
				err = ix.Apply([]ann.Op{{Key: key, Vector: mix.vector()}})
				if err != nil && !errors.Is(err, ann.ErrClosed) {
					t.Error(err)
				}
				_, searchErr := ix.Search(mix.vector(), 3, ann.SearchOptions{}, nil)
				if searchErr != nil && !errors.Is(searchErr, ann.ErrClosed) {
					t.Error(searchErr)
				}
			}
		})
	}
	for ix.Stats().Upserts < 200 {
		time.Sleep(time.Millisecond)
	}
	for range 2 {
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if _, err := ix.Search(mix.vector(), 1, ann.SearchOptions{}, nil); !errors.Is(err, ann.ErrClosed) {
		t.Errorf("Search after Close: %v", err)
	}
	if err := ix.Flush(context.Background()); !errors.Is(err, ann.ErrClosed) {
		t.Errorf("Flush after Close: %v", err)
	}
	if err := ix.Snapshot(&strings.Builder{}); !errors.Is(err, ann.ErrClosed) {
		t.Errorf("Snapshot after Close: %v", err)
	}
}

// TestBackPressure has a buffer of 32: however fast Apply is called, no more than that and a batch wait for their links.
func TestBackPressure(t *testing.T) {
	const buffer, batch = 32, 8
	ix := newIndex(t, ann.Options{Dim: 16, FlatBelow: -1, BufferSize: buffer})
	mix := newMixture(8, 16, 5, 5)
	for i := range uint64(100) {
		var ops []ann.Op
		for j := range uint64(batch) {
			ops = append(ops, ann.Op{i*batch + j, mix.vector()})
		}
		if err := ix.Apply(ops); err != nil {
			t.Fatal(err)
		}
		if n := ix.Stats().InBuffer; n >= buffer+batch {
			t.Fatalf("%d points in the buffer", n)
		}
	}
	flush(t, ix)
	if st := ix.Stats(); st.InBuffer != 0 || st.InGraph != 100*batch {
		t.Errorf("after a flush: %+v", st)
	}
}

func TestFlushEndsWithItsContext(t *testing.T) {
	ix := newIndex(t, ann.Options{Dim: 16, FlatBelow: -1, EfConstruction: 400})
	var ops []ann.Op
	for i, v := range newMixture(8, 16, 5, 5).vectors(400) {
		ops = append(ops, ann.Op{Key: uint64(i), Vector: v})
	}
	if err := ix.Apply(ops); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ix.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush returned %v", err)
	}
	flush(t, ix)
}

// TestStaysFlat keeps an index of kind HNSW a list until it is above FlatBelow.
func TestStaysFlat(t *testing.T) {
	ix := newIndex(t, ann.Options{Dim: 16, FlatBelow: 100})
	mix := newMixture(8, 16, 5, 5)
	fill(t, ix, mix.vectors(100))
	if st := ix.Stats(); st.InGraph != 0 {
		t.Errorf("with 100 points: %+v", st)
	}
	if err := ix.Apply([]ann.Op{{Key: 100, Vector: mix.vector()}}); err != nil {
		t.Fatal(err)
	}
	flush(t, ix)
	if st := ix.Stats(); st.InGraph != 101 {
		t.Errorf("with 101 points: %+v", st)
	}
}

func TestSearchAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, opt := range forms(t, ann.Options{Dim: 32, FlatBelow: -1, EfConstruction: 60}) {
		t.Run(opt.Kind.String()+"/"+opt.Precision.String(), func(t *testing.T) { testAllocations(t, opt) })
	}
}

func testAllocations(t *testing.T, opt ann.Options) {
	mix := newMixture(8, opt.Dim, 8, 20)
	ix := newIndex(t, opt)
	fill(t, ix, mix.vectors(5000))
	third := divisible(3)
	q := mix.vector()
	dst := make([]ann.Result, 0, 10)
	for name, opt := range map[string]ann.SearchOptions{
		"walk": {}, "exact": {Exact: true}, "filtered walk": {Ef: 20, Filter: third}, "filtered scan": {Filter: third, Exact: true},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := ix.Search(q, 10, opt, dst); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// divisible is the Filter of keys below 5,000 that are divisible by a number.
type divisible uint64

func (d divisible) Match(key uint64) bool { return key < 5000 && key%uint64(d) == 0 }
func (d divisible) Count() int            { return (5000 + int(d) - 1) / int(d) }
func (d divisible) Each(yield func(uint64) bool) {
	for key := uint64(0); key < 5000; key += uint64(d) {
		if !yield(key) {
			return
		}
	}
}

// TestFilteredRecall has filters from wide to narrow.
func TestFilteredRecall(t *testing.T) {
	n := 5000
	if raceEnabled {
		n = 800
	}
	mix := newMixture(8, 32, 8, 20)
	ix := newIndex(t, ann.Options{Dim: 32, FlatBelow: -1, EfConstruction: 100})
	fill(t, ix, mix.vectors(n))
	queries := mix.vectors(100)
	for _, d := range []divisible{1, 2, 5, 10, 30, 100, 1000} {
		truth := exactTruth(t, ix, queries, 5, d)
		if got := recall(t, ix, queries, truth, 5, ann.SearchOptions{Filter: d, Ef: 40}); got < 0.98 {
			t.Errorf("one of %d points matches: recall@5 is %.4f", d, got)
		}
	}
}
