package annbench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

// Options says what Run measures.
type Options struct {
	Set *dataset.Set
	// Ours are the indexes of package ann to measure: kinds and precisions. Dim, Metric, Workers, M and EfConstruction are
	// set by Run.
	Ours    []ann.Options
	Peers   []string // hnswlib, faiss, usearch
	Indexes []string // kinds of index of the peers; empty: all
	Venv    string
	CPU     int // processor to pin to; negative: none
	K       int
	M, Efc  []int   // all pairs are built
	Ef      []int   // ascending
	Until   float64 // recall at which a sweep of ef stops; it also stops where recall hardly grows
	Rounds  int
	Seconds float64 // processor seconds per point and round
	Target  float64 // recall at which engines are compared
	Log     io.Writer
}

// DefaultUntil is the recall at which a sweep of ef ends: what lies beyond takes the most time and decides nothing.
const DefaultUntil = 0.995

// DefaultEf is a sweep of ef in steps of about a fifth, which interpolation needs.
func DefaultEf() []int {
	return []int{10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 86, 104, 124, 150, 180, 215, 260, 310, 370, 440, 530, 640, 800, 1000, 1300}
}

// Row is one point of a curve.
type Row struct {
	Engine string  `json:"engine"`
	Params Params  `json:"params"`
	Recall float64 `json:"recall"`
	QPS    float64 `json:"qps"`
	P99us  float64 `json:"p99_us"`
	Build  float64 `json:"build_per_s"`
	Bytes  float64 `json:"bytes_per_vector"`
	label  string  // engine and kind of index: what a curve belongs to
}

// Result is everything that Run found.
type Result struct {
	K      int
	Target float64 // recall at which engines are compared
	Rows   []Row
	Info   map[string]map[string]string // of each peer, what it says about its build
}

// Run builds every engine with every pair of M and efConstruction and measures the curve of each.
func Run(ctx context.Context, o Options) (*Result, error) {
	if !slices.ContainsFunc(o.Ef, func(ef int) bool { return ef >= o.K }) || len(o.M) == 0 || len(o.Efc) == 0 || o.Rounds < 1 {
		return nil, fmt.Errorf("annbench: M %v, efConstruction %v, ef %v, %d rounds: each must have a value, and ef one of at least k = %d",
			o.M, o.Efc, o.Ef, o.Rounds, o.K)
	}
	scorer, err := newScorer(o.Set, o.K)
	if err != nil {
		return nil, err
	}
	files, err := writeFiles(o)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(files.dir)
	undo, err := oneThread(o.CPU)
	if err != nil {
		return nil, err
	}
	defer undo()
	result := &Result{K: o.K, Target: o.Target, Info: map[string]map[string]string{}}
	for _, m := range o.M {
		for _, efc := range o.Efc {
			rows, err := runPair(ctx, o, files, scorer, m, efc, result.Info)
			if err != nil {
				return nil, err
			}
			result.Rows = append(result.Rows, rows...)
		}
	}
	return result, nil
}

// files are the vectors for the processes of the peers.
type files struct{ dir, base, queries string }

func writeFiles(o Options) (f files, err error) {
	if len(o.Peers) == 0 {
		return f, nil
	}
	if f.dir, err = os.MkdirTemp("", "freshet-bench-"); err != nil {
		return f, fmt.Errorf("annbench: %w", err)
	}
	f.base, f.queries = filepath.Join(f.dir, "base.fvecs"), filepath.Join(f.dir, "queries.fvecs")
	if err = dataset.WriteFvecs(f.base, o.Set.Base); err == nil {
		err = dataset.WriteFvecs(f.queries, o.Set.Queries)
	}
	if err != nil {
		os.RemoveAll(f.dir)
	}
	return f, err
}

// built is an engine with its index.
type built struct {
	engine
	seconds float64
	bytes   int64
	points  []*point
}

// point is what was measured at one ef.
type point struct {
	ef     int
	recall float64
	qps    float64   // of the best round
	p99    []float64 // of each round
}

// runPair measures all engines with one M and one efConstruction.
func runPair(ctx context.Context, o Options, f files, s *scorer, m, efc int, info map[string]map[string]string) ([]Row, error) {
	var engines []*built
	defer func() {
		for _, e := range engines {
			e.close()
		}
	}()
	for _, opt := range o.Ours {
		if graph := opt.Kind == ann.HNSW || opt.Kind == ann.HNSWDisk; !graph && (m != o.M[0] || efc != o.Efc[0]) {
			continue // M and efConstruction mean nothing to it
		}
		opt.M, opt.EfConstruction = m, efc
		engines = append(engines, &built{engine: newOwn(o.Set, opt)})
	}
	for _, name := range o.Peers {
		for _, index := range peers.Indexes(name) {
			if len(o.Indexes) > 0 && !slices.Contains(o.Indexes, index) {
				continue
			}
			p, err := openPeer(ctx, peers.Options{Venv: o.Venv, CPU: o.CPU, Metric: metricName(o.Set.Metric), Base: f.base, Queries: f.queries},
				peers.Index{Engine: name, Index: index, M: m, Efc: efc, Capacity: o.Set.Base.Rows()}, o.Set.Queries.Rows())
			if err != nil {
				return nil, err
			}
			engines = append(engines, &built{engine: p})
			info[name] = p.info
		}
	}
	for _, e := range engines {
		if err := e.prepare(ctx, o, s); err != nil {
			return nil, fmt.Errorf("annbench: %s %s: %w", e.name(), e.params(), err)
		}
	}
	for range o.Rounds {
		for _, e := range engines {
			if err := e.round(o); err != nil {
				return nil, fmt.Errorf("annbench: %s %s: %w", e.name(), e.params(), err)
			}
		}
	}
	var rows []Row
	for _, e := range engines {
		rows = append(rows, e.rows(o.Set.Base.Rows())...)
	}
	return rows, ctx.Err()
}

// prepare builds the index and finds the recall at every ef.
func (b *built) prepare(ctx context.Context, o Options, s *scorer) (err error) {
	if b.seconds, b.bytes, err = b.build(ctx); err != nil {
		return err
	}
	stale, best := 0, 0.0
	for _, ef := range o.Ef {
		if ef < o.K {
			continue
		}
		answers, err := b.answers(ef, o.K)
		if err != nil {
			return err
		}
		p := &point{ef: ef, recall: s.recall(answers)}
		b.points = append(b.points, p)
		if p.recall >= best+leastGain {
			best, stale = p.recall, 0
		} else {
			stale++
		}
		if p.recall >= o.Until || stale >= staleSteps || ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintf(o.Log, "%-8s %-28s built %8.0f/s, %6.0f bytes each, recall up to %.4f at ef %d\n", b.name(), b.params(),
		float64(o.Set.Base.Rows())/b.seconds, float64(b.bytes)/float64(o.Set.Base.Rows()), best, b.points[len(b.points)-1].ef)
	return ctx.Err()
}

// A sweep ends when so many steps of ef in a row gained less recall than this.
const (
	staleSteps = 3
	leastGain  = 0.0005
)

// round times every point once.
func (b *built) round(o Options) error {
	for _, p := range b.points {
		t, err := b.search(p.ef, o.K, o.Seconds)
		if err != nil {
			return err
		}
		p.qps = max(p.qps, t.perSecond())
		us, err := b.p99(p.ef, o.K)
		if err != nil {
			return err
		}
		p.p99 = append(p.p99, us)
	}
	return nil
}

func (b *built) rows(n int) []Row {
	rows := make([]Row, 0, len(b.points))
	for _, p := range b.points {
		params := b.params()
		params.Ef = p.ef
		rows = append(rows, Row{Engine: b.name(), Params: params, Recall: p.recall, QPS: p.qps, P99us: slices.MinFunc(p.p99, cmp.Compare),
			Build: float64(n) / b.seconds, Bytes: float64(b.bytes) / float64(n), label: b.name() + " " + params.Index})
	}
	return rows
}
