package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/node"
	"github.com/freshet-io/freshet/query"
)

// SearchOptions are the settings of Search.
type SearchOptions struct {
	Entities int
	Dim      int
	K        int
	Ef       int
	Seconds  float64 // of each measurement
	Dir      string
}

// SearchResult is queries per second of one thread, in turns over the same points, and what of the index's own rate the
// product keeps.
type SearchResult struct {
	Entities int     `json:"entities"`
	Dim      int     `json:"dim"`
	K        int     `json:"k"`
	Ef       int     `json:"ef"`
	ANN      float64 `json:"ann_qps"`     // package ann alone
	Store    float64 `json:"store_qps"`   // entities, scores and versions
	Records  float64 `json:"records_qps"` // with metadata and text, which are read from the tables
	Planner  float64 `json:"planner_qps"` // a whole search but for HTTP
	// Ratios to ann.
	StoreRatio   float64 `json:"store_ratio"`
	RecordsRatio float64 `json:"records_ratio"`
	PlannerRatio float64 `json:"planner_ratio"`
}

// searchTurns is how often the measurements alternate: what else the machine does meets all of them.
const searchTurns = 5

// Search compares searches of the product, over 16 partitions, with those of package ann alone.
func Search(ctx context.Context, o SearchOptions) (*SearchResult, error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cfg := config.Defaults()
	cfg.Data = dir
	cfg.Collections[freshet.DefaultCollection] = config.Collection{Dim: o.Dim, Metric: "cosine"}
	cfg.Index.TargetRecall = 2 // both sides are to do the same work
	n, err := node.Open(ctx, node.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer n.Kill()
	index, err := ann.New(ann.Options{Dim: o.Dim, M: cfg.Index.M, EfConstruction: cfg.Index.EfConstruction})
	if err != nil {
		return nil, err
	}
	defer index.Close()
	v := newVectors(o.Dim)
	if err := fillBoth(ctx, n, index, v, o.Entities); err != nil {
		return nil, err
	}
	queries := make([][]float32, 1000)
	for i := range queries {
		queries[i] = v.next()
	}
	shard := freshet.Shard{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace}
	ask := func(q []float32, bare bool) error {
		hits, err := n.Store().Search(ctx, freshet.Query{Shard: shard, Vector: q, K: o.K, Ef: o.Ef, Bare: bare})
		return enough(len(hits), min(o.K, o.Entities), err)
	}
	var results []ann.Result
	rates := make([]float64, 4)
	for range searchTurns {
		for i, search := range []func(q []float32) error{
			func(q []float32) (err error) {
				results, err = index.Search(q, o.K, ann.SearchOptions{Ef: o.Ef}, results[:0])
				return enough(len(results), min(o.K, o.Entities), err)
			},
			func(q []float32) error { return ask(q, true) },
			func(q []float32) error { return ask(q, false) },
			func(q []float32) error {
				res, err := n.Planner().Search(ctx, query.Request{Shard: shard, Vector: q, K: o.K, Ef: o.Ef})
				return enough(len(res.Hits), min(o.K, o.Entities), err)
			},
		} {
			rate, err := perSecond(ctx, queries, o.Seconds/searchTurns, search)
			if err != nil {
				return nil, err
			}
			rates[i] += rate / searchTurns
		}
	}
	return &SearchResult{Entities: o.Entities, Dim: o.Dim, K: o.K, Ef: o.Ef, ANN: round(rates[0]), Store: round(rates[1]), Records: round(rates[2]), Planner: round(rates[3]),
		StoreRatio: round(rates[1] / rates[0]), RecordsRatio: round(rates[2] / rates[0]), PlannerRatio: round(rates[3] / rates[0])}, nil
}

func enough(got, want int, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("a search gives %d hits, want %d", got, want)
	}
	return err
}

// fillBoth gives the node and the index the same points, and waits for both graphs.
func fillBoth(ctx context.Context, n *node.Node, index *ann.Index, v *vectors, entities int) error {
	for at := 0; at < entities; at += startBatch {
		b := n.Intake().NewBatch()
		var ops []ann.Op
		for i := at; i < min(entities, at+startBatch); i++ {
			vector := v.next()
			ops = append(ops, ann.Op{Key: uint64(i), Vector: vector})
			e := fmt.Appendf(nil, `{"entity_id":%q,"payload":{"category":"c%d"},"vector":`, entityID(i), i%100)
			if err := b.Add(append(appendVector(e, vector), '}')); err != nil {
				return err
			}
		}
		_, err := b.Append(ctx)
		b.Release()
		if err == nil {
			err = index.Apply(ops)
		}
		if err != nil {
			return err
		}
	}
	if err := n.CatchUp(ctx); err != nil {
		return err
	}
	if err := n.Store().Flush(ctx); err != nil {
		return err
	}
	return index.Flush(ctx)
}

// perSecond calls search with the queries in turn for some seconds, and returns the calls per second of processor time, the
// collector's included. Other work on the machine disturbs that little.
func perSecond(ctx context.Context, queries [][]float32, seconds float64, search func([]float32) error) (float64, error) {
	before, began := ownCPU(), time.Now()
	for i := 0; ; i++ {
		if i%64 == 0 && time.Since(began).Seconds() > seconds {
			return float64(i) / (ownCPU() - before).Seconds(), ctx.Err()
		}
		if err := search(queries[i%len(queries)]); err != nil {
			return 0, err
		}
	}
}

// next is another vector.
func (v *vectors) next() []float32 {
	c := v.centres[v.rng.IntN(len(v.centres))]
	out := make([]float32, len(c))
	for i, x := range c {
		out[i] = float32(x + startSpread*v.rng.NormFloat64())
	}
	return out
}
