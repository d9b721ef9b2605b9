package annbench

import (
	"context"
	"fmt"
	"runtime"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

// Params are the settings of an index and of a search in it.
type Params struct {
	Index string `json:"index"` // hnsw, HNSWFlat, f32, …
	M     int    `json:"m"`
	Efc   int    `json:"efc"`
	Ef    int    `json:"ef,omitempty"`
}

func (p Params) String() string { return fmt.Sprintf("%s M=%d efc=%d", p.Index, p.M, p.Efc) }

// engine is one index under test. Its methods are called by one goroutine.
type engine interface {
	name() string
	params() Params
	// build adds the base and returns processor seconds and the bytes by which the process grew.
	build(ctx context.Context) (seconds float64, bytes int64, err error)
	// search searches all queries, again until so many processor seconds have passed.
	search(ef, k int, seconds float64) (timing, error)
	// answers returns the rows that a search of every query finds; rows out of range are none.
	answers(ef, k int) ([][]int64, error)
	// p99 returns the 99th percentile of the wall time of single searches in microseconds.
	p99(ef, k int) (float64, error)
	close()
}

// oneThread pins the process to a processor and lets one goroutine run at a time, so that no time goes into handing work
// between threads; a negative processor changes nothing. It returns a function that undoes it.
func oneThread(cpu int) (undo func(), err error) {
	unpin, err := pin(cpu)
	if err != nil || cpu < 0 {
		return unpin, err
	}
	before := runtime.GOMAXPROCS(1)
	return func() {
		runtime.GOMAXPROCS(before)
		unpin()
	}, nil
}

// timing is how long how many searches took.
type timing struct {
	seconds float64
	queries int
}

func (t timing) perSecond() float64 { return float64(t.queries) / t.seconds }

// peer is an engine in a process of its own.
type peer struct {
	proc    *peers.Process
	engine  string
	p       Params
	info    map[string]string
	queries int
}

func openPeer(ctx context.Context, o peers.Options, x peers.Index, queries int) (*peer, error) {
	proc, err := peers.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	info, err := proc.Open(x)
	if err != nil {
		proc.Close()
		return nil, err
	}
	return &peer{proc, x.Engine, Params{Index: x.Index, M: x.M, Efc: x.Efc}, info, queries}, nil
}

func (p *peer) name() string   { return p.engine }
func (p *peer) params() Params { return p.p }
func (p *peer) close()         { p.proc.Close() }

func (p *peer) build(context.Context) (float64, int64, error) {
	r, err := p.proc.Build()
	return r.CPUSeconds, r.Bytes, err
}

func (p *peer) search(ef, k int, seconds float64) (timing, error) {
	r, err := p.proc.Search(ef, k, seconds, false)
	return timing{r.CPUSeconds, r.Queries}, err
}

func (p *peer) answers(ef, k int) ([][]int64, error) {
	r, err := p.proc.Search(ef, k, 0, true)
	if err != nil {
		return nil, err
	}
	if len(r.IDs) != p.queries*k {
		return nil, fmt.Errorf("annbench: %s gave %d ids for %d queries of %d", p.engine, len(r.IDs), p.queries, k)
	}
	rows := make([][]int64, p.queries)
	for i := range rows {
		rows[i] = r.IDs[i*k : (i+1)*k]
	}
	return rows, nil
}

func (p *peer) p99(ef, k int) (float64, error) {
	l, err := p.proc.Latency(ef, k)
	return l.P99Micros, err
}

// scorer computes recall with ties from distances of its own.
type scorer struct {
	set    *dataset.Set
	k      int
	limits []float64 // of each query the distance of the k-th true neighbour
}

func newScorer(set *dataset.Set, k int) (*scorer, error) {
	s := &scorer{set: set, k: k}
	for i, t := range set.Truth {
		if len(t) < k {
			return nil, fmt.Errorf("annbench: the truth of query %d has %d neighbours: k is %d", i, len(t), k)
		}
		s.limits = append(s.limits, dataset.Distance(set.Metric, set.Queries.Row(i), set.Base.Row(int(t[k-1]))))
	}
	return s, nil
}

// recall returns the share of the k nearest that answers has. Rows out of range and repeated ones don't count.
func (s *scorer) recall(answers [][]int64) float64 {
	found := 0
	for i, rows := range answers {
		seen := make(map[int64]bool, s.k)
		for _, row := range rows[:min(len(rows), s.k)] {
			if row < 0 || row >= int64(s.set.Base.Rows()) || seen[row] {
				continue
			}
			seen[row] = true
			if dataset.WithinTie(dataset.Distance(s.set.Metric, s.set.Queries.Row(i), s.set.Base.Row(int(row))), s.limits[i]) {
				found++
			}
		}
	}
	return float64(found) / float64(s.k*len(answers))
}

// metricName is the name of a metric for peers.
func metricName(m ann.Metric) string { return m.String() }
