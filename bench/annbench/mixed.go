package annbench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// MixedOptions says what Mixed measures.
type MixedOptions struct {
	Set     *dataset.Set
	Index   ann.Options
	K, Ef   int
	Upserts float64 // per second, of present keys
	Seconds float64 // of each phase
	Rounds  int     // idle and busy take turns so often
	// SearchCPU is the processor of the searching thread, WorkCPU that of everything else: the writer, the workers of the
	// index, the collector. Negative ones: not pinned.
	SearchCPU, WorkCPU int
	Log                io.Writer
}

// MixedResult is how writes beside them change searches, and what the collector cost.
type MixedResult struct {
	Vectors        int      `json:"vectors"`
	Idle           Latency  `json:"idle"`
	Busy           Latency  `json:"busy"`
	P99Ratio       float64  `json:"p99_ratio"` // busy ÷ idle: the median over rounds
	UpsertsPerS    float64  `json:"upserts_per_s"`
	Waiting        int      `json:"waiting"`          // points without links at the end of a busy phase, at most
	GC             GCResult `json:"gc"`               // over the busy phases
	BuildGC        GCResult `json:"build_gc"`         // while the index was built
	ForcedGC       GCResult `json:"forced_gc"`        // of a few cycles at the end, with everything live
	BytesPerVector float64  `json:"bytes_per_vector"` // by Stats
	ResidentPer    float64  `json:"resident_per_vector"`
}

// Latency is of single searches by the wall clock, in microseconds: the median over rounds. Nothing else of this process
// runs on the processor of the searches, so one that had its processor taken away was disturbed by another program: it
// counts in P99All only. Waiting for a lock, for memory or for the collector counts always.
type Latency struct {
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	Max       float64 `json:"max_us"` // of all rounds
	P99All    float64 `json:"p99_all_us"`
	Disturbed float64 `json:"disturbed"` // share of the searches
	QPS       float64 `json:"qps"`
}

// Mixed builds an index of all vectors and searches it on one processor, at rest and while a writer replaces vectors at a
// steady rate on another.
func Mixed(ctx context.Context, o MixedOptions) (MixedResult, error) {
	r := MixedResult{Vectors: o.Set.Base.Rows()}
	undo, err := pin(o.WorkCPU)
	if err != nil {
		return r, err
	}
	defer undo()
	if o.WorkCPU >= 0 {
		// The runtime would go by the processors of the process, which is one: searches and the rest would take turns.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	}
	e := newOwn(o.Set, o.Index)
	defer e.close()
	gc := readGC()
	_, bytes, err := e.build(ctx)
	if err != nil {
		return r, err
	}
	r.BuildGC = readGC().since(gc)
	n := float64(r.Vectors)
	r.ResidentPer, r.BytesPerVector = float64(bytes)/n, float64(e.ix.Stats().Bytes)/n
	fmt.Fprintf(o.Log, "built: %.0f bytes per vector\n", r.ResidentPer)

	var idle, busy []Latency
	var ratios []float64
	w := &writer{e: e, set: o.Set, rate: o.Upserts}
	before := gcState{}
	for range o.Rounds {
		a, err := o.phase(e)
		if err != nil {
			return r, err
		}
		start := readGC()
		b, err := o.beside(w, e)
		if err != nil {
			return r, err
		}
		before = before.plus(readGC().minus(start))
		idle, busy, ratios = append(idle, a), append(busy, b), append(ratios, b.P99/a.P99)
		r.Waiting = max(r.Waiting, e.ix.Stats().InBuffer)
		fmt.Fprintf(o.Log, "idle p50 %.0f p99 %.0f µs; beside %.0f upserts/s p50 %.0f p99 %.0f µs, %d wait for links; %.1f %% disturbed from outside\n",
			a.P50, a.P99, w.achieved(), b.P50, b.P99, r.Waiting, 100*b.Disturbed)
		if err := e.ix.Flush(ctx); err != nil {
			return r, err
		}
	}
	r.Idle, r.Busy, r.P99Ratio, r.UpsertsPerS = typical(idle), typical(busy), quantile(ratios, 0.5), w.achieved()
	r.GC = before.result()
	r.ForcedGC = Collect(forcedCycles)
	return r, nil
}

// forcedCycles is how many cycles of the collector end a run.
const forcedCycles = 3

// typical is the median of each figure, and the largest maximum.
func typical(list []Latency) (l Latency) {
	pick := func(of func(Latency) float64) float64 {
		var values []float64
		for _, x := range list {
			values = append(values, of(x))
		}
		return quantile(values, 0.5)
	}
	for _, x := range list {
		l.Max = max(l.Max, x.Max)
	}
	l.P50, l.P99 = pick(func(x Latency) float64 { return x.P50 }), pick(func(x Latency) float64 { return x.P99 })
	l.P99All, l.Disturbed = pick(func(x Latency) float64 { return x.P99All }), pick(func(x Latency) float64 { return x.Disturbed })
	l.QPS = pick(func(x Latency) float64 { return x.QPS })
	return l
}

// phase searches for o.Seconds on a thread of its own.
func (o MixedOptions) phase(e *own) (Latency, error) {
	result := make(chan Latency, 1)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its processor serves no other
		if err := pinThread(o.SearchCPU); err != nil {
			failed <- err
			return
		}
		var all, quiet []float64
		start := time.Now()
		for i := 0; time.Since(start).Seconds() < o.Seconds; i++ {
			taken, before := preemptions(), time.Now()
			if err := e.one(i%o.Set.Queries.Rows(), o.Ef, o.K); err != nil {
				failed <- err
				return
			}
			micros := float64(time.Since(before).Nanoseconds()) / 1e3
			if all = append(all, micros); preemptions() == taken {
				quiet = append(quiet, micros)
			}
		}
		n := float64(len(all))
		result <- Latency{QPS: n / time.Since(start).Seconds(), Disturbed: 1 - float64(len(quiet))/n,
			P50: quantile(quiet, 0.5), P99: quantile(quiet, 0.99), Max: quantile(quiet, 1), P99All: quantile(all, 0.99)}
	}()
	select {
	case l := <-result:
		return l, nil
	case err := <-failed:
		return Latency{}, err
	}
}

// beside runs a phase while w writes.
func (o MixedOptions) beside(w *writer, e *own) (Latency, error) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { w.run(stop) })
	l, err := o.phase(e)
	close(stop)
	wg.Wait()
	if err == nil {
		err = w.err
	}
	return l, err
}
