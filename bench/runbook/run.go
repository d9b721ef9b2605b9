package runbook

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// Options says how to run a runbook.
type Options struct {
	Set     *dataset.Set // its base is in the order that the runbook asks for: see Prepare
	Book    *Runbook
	Engines map[string]Engine
	K       int
	Ef      int     // 0: of each engine the smallest that gives Target on a fresh index of the first search step
	Target  float64 // recall of the first search step
	Fresh   int     // build a fresh index at every so many-th search step and compare; 0: never
	Log     io.Writer
}

// Prepare puts the base of set into the order that the runbook asks for, and normalises under cosine.
func Prepare(set *dataset.Set, book *Runbook, seed uint64) error {
	if book.Rows > set.Base.Rows() {
		return fmt.Errorf("runbook: %s names rows up to %d: the data set has %d", book.Dataset, book.Rows, set.Base.Rows())
	}
	switch book.Order {
	case OrderShuffled:
		set.Shuffle(seed)
	case OrderClustered:
		set.Base = set.Base.Slice(0, book.Rows) // clusters are shares of the rows that the runbook names
		if err := set.Cluster(book.Clusters, seed); err != nil {
			return err
		}
	}
	if set.Metric != ann.Cosine {
		return nil
	}
	if err := dataset.Normalise(set.Base); err != nil {
		return err
	}
	return dataset.Normalise(set.Queries)
}

// runner is the state of a run.
type runner struct {
	Options
	truth   *Truth
	names   []string
	results map[string]*Result
	seconds map[string]float64
	newest  map[int]bool // ids that came since the last search step
	changed bool         // something was deleted or replaced
	scores  int          // search steps so far
}

// Run replays the runbook on all engines and returns their results by name.
func Run(ctx context.Context, o Options) ([]*Result, error) {
	r := &runner{Options: o, truth: NewTruth(o.Set, o.K), names: slices.Sorted(maps.Keys(o.Engines)),
		results: map[string]*Result{}, seconds: map[string]float64{}, newest: map[int]bool{}}
	for _, name := range r.names {
		r.results[name] = &Result{Engine: name, Ef: o.Ef}
	}
	for i, step := range o.Book.Steps {
		var err error
		if step.Op == Search {
			err = r.search(ctx, i+1)
		} else {
			err = r.change(ctx, step)
		}
		if err != nil {
			return nil, fmt.Errorf("runbook: step %d: %w", i+1, err)
		}
	}
	var out []*Result
	for _, name := range r.names {
		res := r.results[name]
		res.finish(r.seconds[name])
		out = append(out, res)
	}
	return out, nil
}

// change applies a step to the truth and to every engine.
func (r *runner) change(ctx context.Context, s Step) error {
	var remove, ids, rows []int
	for id := s.Start; id < s.End; id++ {
		if s.Op == Delete {
			remove = append(remove, id)
			delete(r.newest, id)
			continue
		}
		ids = append(ids, id)
		rows = append(rows, s.From*b2i(s.Op == Replace)+(id-s.Start)+s.Start*b2i(s.Op == Insert))
		r.newest[id] = true
	}
	r.truth.Apply(s)
	r.changed = r.changed || s.Op != Insert
	for _, name := range r.names {
		start := time.Now()
		if err := r.Engines[name].Apply(ctx, remove, ids, rows); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.seconds[name] += time.Since(start).Seconds()
		r.results[name].Changes += len(remove) + len(ids)
	}
	return nil
}

// search scores every engine at step number i.
func (r *runner) search(ctx context.Context, i int) error {
	r.scores++
	for _, name := range r.names {
		res, e := r.results[name], r.Engines[name]
		if res.Ef == 0 {
			ef, err := r.chooseEf(ctx, e)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			res.Ef = ef
			fmt.Fprintf(r.Log, "%s: ef %d gives %.3g on a fresh index of step %d, %d ids\n", name, ef, r.Target, i, r.truth.Live())
		}
		answers, err := e.Search(ctx, res.Ef, r.K)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s := r.score(answers)
		s.Step = i
		if r.Fresh > 0 && (r.scores-1)%r.Fresh == 0 {
			recall, err := r.fresh(ctx, e, res.Ef)
			if err != nil {
				return fmt.Errorf("%s: fresh index: %w", name, err)
			}
			s.Fresh = &recall
		}
		res.Steps = append(res.Steps, s)
		fmt.Fprintf(r.Log, "step %4d %-12s %7d live  recall %.4f  p1 %.2f%s\n", i, name, s.Live, s.Recall, s.P1, s.more())
	}
	clear(r.newest)
	return nil
}
