package annbench

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// own is package ann as an engine: one worker builds, one goroutine searches.
type own struct {
	set *dataset.Set
	opt ann.Options
	ix  *ann.Index
	dst []ann.Result
}

func newOwn(set *dataset.Set, opt ann.Options) *own {
	opt.Dim, opt.Metric, opt.Workers = set.Base.Dim, set.Metric, 1
	return &own{set: set, opt: opt}
}

func (o *own) name() string { return "freshet" }

func (o *own) params() Params {
	p := Params{Index: o.opt.Kind.String(), M: o.opt.M, Efc: o.opt.EfConstruction}
	if o.opt.Precision != ann.Float32 {
		p.Index += " " + o.opt.Precision.String()
	}
	return p
}

func (o *own) build(ctx context.Context) (seconds float64, bytes int64, err error) {
	if o.ix, err = ann.New(o.opt); err != nil {
		return 0, 0, fmt.Errorf("annbench: %w", err)
	}
	debug.FreeOSMemory() // what earlier indexes left must not hide what this one takes
	before, start := residentBytes(), cpuSeconds()
	if err := dataset.Fill(o.ix, o.set.Base, 0); err != nil {
		return 0, 0, fmt.Errorf("annbench: %w", err)
	}
	seconds = cpuSeconds() - start
	debug.FreeOSMemory()
	return seconds, residentBytes() - before, nil
}

func (o *own) search(ef, k int, seconds float64) (timing, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var t timing
	for start := cpuSeconds(); t.queries == 0 || t.seconds < seconds; t.seconds = cpuSeconds() - start {
		for i := range o.set.Queries.Rows() {
			if err := o.one(i, ef, k); err != nil {
				return t, err
			}
		}
		t.queries += o.set.Queries.Rows()
	}
	return t, nil
}

// one searches query i into o.dst.
func (o *own) one(i, ef, k int) (err error) {
	o.dst, err = o.ix.Search(o.set.Queries.Row(i), k, ann.SearchOptions{Ef: ef}, o.dst[:0])
	return err
}

func (o *own) answers(ef, k int) ([][]int64, error) {
	rows := make([][]int64, o.set.Queries.Rows())
	for i := range rows {
		if err := o.one(i, ef, k); err != nil {
			return nil, err
		}
		for _, r := range o.dst {
			rows[i] = append(rows[i], int64(r.Key))
		}
	}
	return rows, nil
}

func (o *own) p99(ef, k int) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	micros := make([]float64, o.set.Queries.Rows())
	for i := range micros {
		start := time.Now()
		if err := o.one(i, ef, k); err != nil {
			return 0, err
		}
		micros[i] = float64(time.Since(start).Nanoseconds()) / 1e3
	}
	return quantile(micros, 0.99), nil
}

func (o *own) close() {
	if o.ix != nil {
		o.ix.Close()
	}
	o.ix = nil
}

// quantile returns the value at q of values by nearest rank; it sorts them.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}
