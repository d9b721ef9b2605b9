package annbench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// FilterOptions says what Filters measures.
type FilterOptions struct {
	Set    *dataset.Set
	Index  ann.Options
	K      int
	Target float64 // recall without a filter, which fixes ef
	CPU    int
	Seed   uint64
	Log    io.Writer
}

// FilterRow is searches under one kind of filter, by the wall clock, one call each.
type FilterRow struct {
	Filter  string  `json:"filter"`
	Share   float64 `json:"selectivity"`
	Ef      int     `json:"ef"`
	Recall  float64 `json:"recall"`
	P50us   float64 `json:"p50_us"`
	P99us   float64 `json:"p99_us"`
	Slower  float64 `json:"p50_ratio"` // p50 ÷ p50 without a filter
	Exact   float64 `json:"exact"`     // share of the searches that ended in a scan
	matches func(query int) *roaring.Bitmap
}

// bitmap is a roaring bitmap as the filter of a search: what the product uses.
type bitmap struct{ *roaring.Bitmap }

// Match implements ann.Filter.
func (b bitmap) Match(key uint64) bool { return b.Contains(uint32(key)) }

// Count implements ann.Filter.
func (b bitmap) Count() int { return int(b.GetCardinality()) }

// Each implements ann.Filter.
func (b bitmap) Each(yield func(key uint64) bool) {
	for it := b.Iterator(); it.HasNext(); {
		if !yield(uint64(it.Next())) {
			return
		}
	}
}

// Filters measures recall and time of searches under filters: random ones of 50 to 0.01 %, the intersection of two that
// are drawn from one another's cluster, and ones whose matches are all among the half of the vectors that is farther from
// the query.
func Filters(ctx context.Context, o FilterOptions) ([]FilterRow, error) {
	e := newOwn(o.Set, o.Index)
	defer e.close()
	if _, _, err := e.build(ctx); err != nil {
		return nil, err
	}
	scorer, err := newScorer(o.Set, o.K)
	if err != nil {
		return nil, err
	}
	ef := 0
	for _, try := range DefaultEf() {
		answers, err := e.answers(try, o.K)
		if err != nil {
			return nil, err
		}
		if ef = try; scorer.recall(answers) >= o.Target {
			break
		}
	}
	rows := append([]FilterRow{{Filter: "none", Share: 1}}, o.kinds()...)
	undo, err := oneThread(o.CPU)
	if err != nil {
		return nil, err
	}
	defer undo()
	for i := range rows {
		rows[i].Ef = ef
		if err := o.measure(e, &rows[i]); err != nil {
			return nil, err
		}
		rows[i].Slower = rows[i].P50us / rows[0].P50us
		fmt.Fprintf(o.Log, "%-24s recall %.4f  p50 %.0f µs\n", rows[i].Filter, rows[i].Recall, rows[i].P50us)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return rows, nil
}

// kinds returns a row for every kind of filter that leaves something to find.
func (o FilterOptions) kinds() []FilterRow {
	rng := rand.New(rand.NewPCG(o.Seed, 77))
	n := o.Set.Base.Rows()
	random := func(share float64) *roaring.Bitmap {
		b := roaring.New()
		for _, row := range rng.Perm(n)[:max(1, int(share*float64(n)))] {
			b.Add(uint32(row))
		}
		b.RunOptimize()
		return b
	}
	var rows []FilterRow
	for _, share := range []float64{0.5, 0.1, 0.01, 0.001, 0.0001} {
		b := random(share)
		rows = append(rows, FilterRow{Filter: fmt.Sprintf("random %g %%", 100*share), Share: share,
			matches: func(int) *roaring.Bitmap { return b }})
	}
	for _, share := range []float64{0.5, 0.1, 0.03} {
		b := roaring.And(random(share), random(share))
		rows = append(rows, FilterRow{Filter: fmt.Sprintf("%g %% AND %g %%", 100*share, 100*share),
			Share: float64(b.GetCardinality()) / float64(n), matches: func(int) *roaring.Bitmap { return b }})
	}
	far := o.farRows(farShare)
	for _, share := range []float64{farShare, 0.01, 0.001} {
		most := max(1, int(share*float64(n)))
		rows = append(rows, FilterRow{Filter: fmt.Sprintf("far, %g %%", 100*share), Share: share,
			matches: func(q int) *roaring.Bitmap { return roaring.BitmapOf(far[q][:min(most, len(far[q]))]...) }})
	}
	return rows
}

// farShare is the largest share of the vectors that is drawn from the far half, and farSample of how many the median
// distance is taken.
const (
	farShare  = 0.1
	farSample = 2001
)

// farRows returns of each query a random share of the vectors, all of them farther from it than the median.
func (o FilterOptions) farRows(share float64) [][]uint32 {
	n := o.Set.Base.Rows()
	all := make([][]uint32, o.Set.Queries.Rows())
	for q := range all {
		rng := rand.New(rand.NewPCG(o.Seed, uint64(q)))
		distance := func(row int) float64 {
			return dataset.Distance(o.Set.Metric, o.Set.Queries.Row(q), o.Set.Base.Row(row))
		}
		sample := make([]float64, farSample)
		for i := range sample {
			sample[i] = distance(rng.IntN(n))
		}
		median := quantile(sample, 0.5)
		for _, row := range rng.Perm(n) {
			if len(all[q]) == int(share*float64(n)) {
				break
			}
			if distance(row) > median {
				all[q] = append(all[q], uint32(row))
			}
		}
	}
	return all
}

// filterPasses is how often every query is searched; its fastest time counts, which keeps a busy machine's noise out.
const filterPasses = 3

// measure searches every query and compares with the exact answer among the matches.
func (o FilterOptions) measure(e *own, row *FilterRow) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := e.ix.Stats()
	var micros []float64
	found, wanted := 0, 0
	for q := range o.Set.Queries.Rows() {
		opt := ann.SearchOptions{Ef: row.Ef}
		var matches *roaring.Bitmap
		if row.matches != nil {
			matches = row.matches(q)
			opt.Filter = bitmap{matches}
		}
		best := time.Hour
		for range filterPasses {
			start := time.Now()
			var err error
			if e.dst, err = e.ix.Search(o.Set.Queries.Row(q), o.K, opt, e.dst[:0]); err != nil {
				return fmt.Errorf("annbench: filter %s: %w", row.Filter, err)
			}
			best = min(best, time.Since(start))
		}
		micros = append(micros, float64(best.Nanoseconds())/1e3)
		f, w := o.hits(q, e.dst, matches)
		found, wanted = found+f, wanted+w
	}
	after := e.ix.Stats()
	row.Recall = float64(found) / float64(max(1, wanted))
	row.P50us, row.P99us = quantile(micros, 0.5), quantile(micros, 0.99)
	row.Exact = float64(after.ExactScans-before.ExactScans) / float64(after.Searches-before.Searches)
	return nil
}

// hits returns how many of the nearest matches a search found, and how many there are.
func (o FilterOptions) hits(q int, res []ann.Result, matches *roaring.Bitmap) (found, wanted int) {
	limit := 0.0
	query := o.Set.Queries.Row(q)
	if matches == nil {
		wanted = o.K
		limit = dataset.Distance(o.Set.Metric, query, o.Set.Base.Row(int(o.Set.Truth[q][o.K-1])))
	} else {
		distances := make([]float64, 0, matches.GetCardinality())
		for it := matches.Iterator(); it.HasNext(); {
			distances = append(distances, dataset.Distance(o.Set.Metric, query, o.Set.Base.Row(int(it.Next()))))
		}
		slices.SortFunc(distances, cmp.Compare[float64])
		if wanted = min(o.K, len(distances)); wanted == 0 {
			return 0, 0
		}
		limit = distances[wanted-1]
	}
	for _, r := range res {
		if matches != nil && !matches.Contains(uint32(r.Key)) {
			return 0, wanted // a hit that the filter excludes: the whole answer is worth nothing
		}
		if dataset.WithinTie(dataset.Distance(o.Set.Metric, query, o.Set.Base.Row(int(r.Key))), limit) {
			found++
		}
	}
	return found, wanted
}

// WriteFilters writes rows as a table.
func WriteFilters(w io.Writer, rows []FilterRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "filter\tmatches\tef\trecall\tp50 µs\t÷ unfiltered\tp99 µs\tby scan")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.3g %%\t%d\t%.4f\t%.0f\t%.2f\t%.0f\t%.0f %%\n", r.Filter, 100*r.Share, r.Ef, r.Recall, r.P50us, r.Slower, r.P99us, 100*r.Exact)
	}
	return t.Flush()
}
