package runbook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/runbook"
)

// small makes a data set in the order of book.
func small(t *testing.T, book *runbook.Runbook, metric ann.Metric, queries int) *dataset.Set {
	t.Helper()
	set, err := dataset.Open(dataset.Source{Data: "easy", N: book.Rows, Dim: 24, NQ: queries, Metric: metric, NoTruth: true, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := runbook.Prepare(set, book, 3); err != nil {
		t.Fatal(err)
	}
	return set
}

func generate(t *testing.T, kind string, rows int) *runbook.Runbook {
	t.Helper()
	book, err := runbook.Generate(kind, rows, 5)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

func engine(t *testing.T, set *dataset.Set, opt ann.Options) runbook.Engine {
	t.Helper()
	e, err := runbook.NewIndex(set, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func run(t *testing.T, o runbook.Options) map[string]*runbook.Result {
	t.Helper()
	o.K, o.Target, o.Log = 10, 0.98, io.Discard
	results, err := runbook.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*runbook.Result{}
	for _, r := range results {
		byName[r.Engine] = r
	}
	return byName
}

// first answers every search with what the engine found at the first one, as the original competition's truth did.
type first struct {
	runbook.Engine
	cached [][]int
}

func (f *first) Search(ctx context.Context, ef, k int) ([][]int, error) {
	if f.cached == nil {
		var err error
		if f.cached, err = f.Engine.Search(ctx, ef, k); err != nil {
			return nil, err
		}
	}
	return f.cached, nil
}

// TestBruteForceScoresOne: an exact index has a recall of exactly 1 at every step of every runbook, and one that goes on
// giving the answers of the first step does not.
func TestBruteForceScoresOne(t *testing.T) {
	for i, kind := range runbook.Generators() {
		metric := []ann.Metric{ann.Cosine, ann.L2, ann.InnerProduct}[i%3]
		t.Run(kind+" "+metric.String(), func(t *testing.T) {
			book := generate(t, kind, 2048)
			set := small(t, book, metric, 40)
			flat := ann.Options{Kind: ann.Flat}
			results := run(t, runbook.Options{Set: set, Book: book, Engines: map[string]runbook.Engine{
				"flat": engine(t, set, flat), "cached": &first{Engine: engine(t, set, flat)}}})
			exact, cached := results["flat"], results["cached"]
			if exact.Min != 1 || exact.Mean != 1 || exact.P1 != 1 || exact.Dead+exact.Duplicate+exact.Short != 0 {
				t.Errorf("brute force: %+v", exact)
			}
			if exact.Newest == nil || *exact.Newest != 1 {
				t.Errorf("brute force misses new vectors: %v", exact.Newest)
			}
			if cached.Steps[0].Recall != 1 || cached.LastQuarter > 0.5 {
				t.Errorf("answers of the first step passed for those of later ones: first %v, last quarter %v",
					cached.Steps[0].Recall, cached.LastQuarter)
			}
		})
	}
}

func TestGraphUnderAllRunbooks(t *testing.T) {
	if testing.Short() {
		t.Skip("builds graphs")
	}
	for _, kind := range []string{"sliding_window", "replace_random"} {
		book := generate(t, kind, 6000)
		set := small(t, book, ann.Cosine, 50)
		r := run(t, runbook.Options{Set: set, Book: book, Fresh: 20, Engines: map[string]runbook.Engine{
			"freshet": engine(t, set, ann.Options{FlatBelow: -1})}})["freshet"]
		if r.Ef < 10 || r.Min < 0.9 || r.Steps[0].Recall < 0.98 || r.Dead+r.Duplicate+r.Short != 0 || r.FreshGap == nil {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}

// liar mixes dead, repeated and missing ids into right answers.
type liar struct{ runbook.Engine }

func (l liar) Search(ctx context.Context, ef, k int) ([][]int, error) {
	answers, err := l.Engine.Search(ctx, ef, k)
	for _, a := range answers {
		a[0] = 0     // deleted by the runbook's second step
		a[1] = a[2]  // twice
		a[k-1] = -99 // none
	}
	return answers, err
}

func TestWrongAnswersAreCounted(t *testing.T) {
	book, err := runbook.Parse([]byte("x: {max_pts: 500, 1: {operation: insert, start: 0, end: 500}, 2: {operation: delete, start: 0, end: 100}, 3: {operation: search}}"), "")
	if err != nil {
		t.Fatal(err)
	}
	set := small(t, book, ann.L2, 20)
	r := run(t, runbook.Options{Set: set, Book: book, Ef: 10, Engines: map[string]runbook.Engine{
		"liar": liar{engine(t, set, ann.Options{Kind: ann.Flat})}}})["liar"]
	if r.Dead != 20 || r.Duplicate != 20 || r.Short != 20 || math.Abs(r.Mean-0.7) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

// TestTruthFollowsEveryChange compares the truth, kept up to date change by change, with brute force, on vectors of which
// many are equal.
func TestTruthFollowsEveryChange(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		const rows, k = 900, 7
		set := &dataset.Set{Metric: ann.L2, Base: dataset.NewMatrix(rows, 3), Queries: dataset.NewMatrix(12, 3)}
		for _, m := range []dataset.Matrix{set.Base, set.Queries} {
			for i := range m.Data {
				m.Data[i] = float32(rng.IntN(4)) // ties everywhere
			}
		}
		truth := runbook.NewTruth(set, k)
		live := map[int]int{} // id to row
		for range 60 {
			s := randomStep(rng, live, rows)
			truth.Apply(s)
			if truth.Live() != len(live) {
				t.Fatalf("seed %d: %d live, want %d", seed, truth.Live(), len(live))
			}
			for q := range set.Queries.Rows() {
				var distances []float64
				for _, row := range live {
					distances = append(distances, dataset.Distance(ann.L2, set.Queries.Row(q), set.Base.Row(row)))
				}
				slices.Sort(distances)
				want := math.Inf(-1)
				if n := min(k, len(distances)); n > 0 {
					want = distances[n-1]
				}
				if got := truth.Limit(q); got != want {
					t.Fatalf("seed %d: after %+v the neighbour %d of query %d is at %v, want %v (%d live)", seed, s, k, q, got, want, len(live))
				}
			}
		}
	}
}

// randomStep makes a step over a range, and the same change of live.
func randomStep(rng *rand.Rand, live map[int]int, rows int) runbook.Step {
	for {
		s := runbook.Step{Op: []runbook.Op{runbook.Insert, runbook.Delete, runbook.Replace}[rng.IntN(3)], Start: rng.IntN(rows)}
		s.End = min(rows, s.Start+1+rng.IntN(300))
		s.From = rng.IntN(rows - (s.End - s.Start) + 1)
		ok := true
		for id := s.Start; id < s.End; id++ {
			if _, there := live[id]; there == (s.Op == runbook.Insert) {
				ok = false
			}
		}
		if !ok {
			continue
		}
		for id := s.Start; id < s.End; id++ {
			switch s.Op {
			case runbook.Insert:
				live[id] = id
			case runbook.Replace:
				live[id] = s.From + id - s.Start
			default:
				delete(live, id)
			}
		}
		return s
	}
}

func TestGeneratorsReplaceEverythingThreeTimes(t *testing.T) {
	for _, kind := range runbook.Generators() {
		book := generate(t, kind, 16384)
		arrived, afterFirst := 0, 0
		searched := false
		for _, s := range book.Steps {
			switch s.Op {
			case runbook.Search:
				searched = true
			case runbook.Insert, runbook.Replace:
				arrived += s.End - s.Start
				if searched {
					afterFirst += s.End - s.Start
				}
			}
		}
		if first := arrived - afterFirst; first < 4000 || afterFirst < 11*first/4 || book.MaxPoints > 16384 {
			t.Errorf("%s: %d at first, %d afterwards, at most %d live", kind, arrived-afterFirst, afterFirst, book.MaxPoints)
		}
		var file bytes.Buffer
		if err := book.Write(&file); err != nil {
			t.Fatal(err)
		}
		again, err := runbook.Parse(file.Bytes(), "")
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(again) != fmt.Sprint(book) {
			t.Errorf("%s: what was written is read as something else", kind)
		}
	}
	if _, err := runbook.Generate("waterfall", 5000, 1); err == nil || !strings.Contains(err.Error(), "sliding_window") {
		t.Errorf("unknown generator: %v", err)
	}
}
