package runbook

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

// Engine is an index under test. Rows are rows of the base of its data set.
type Engine interface {
	// Apply deletes ids, then gives ids[i] the vector of rows[i]; an id that it has gets a new vector. It returns when
	// everything is in the index, so that a search that follows tests the index, not a queue before it.
	Apply(ctx context.Context, remove, ids, rows []int) error
	// Search returns of every query k ids, best first. Places without a hit are negative or missing.
	Search(ctx context.Context, ef, k int) ([][]int, error)
	// Fresh returns an empty engine with the same settings.
	Fresh(ctx context.Context) (Engine, error)
	Close()
}

// own is package ann as an engine.
type own struct {
	set *dataset.Set
	opt ann.Options
	ix  *ann.Index
}

// NewIndex returns an engine of package ann.
func NewIndex(set *dataset.Set, opt ann.Options) (Engine, error) {
	opt.Dim, opt.Metric = set.Base.Dim, set.Metric
	ix, err := ann.New(opt)
	if err != nil {
		return nil, fmt.Errorf("runbook: %w", err)
	}
	return &own{set, opt, ix}, nil
}

func (o *own) Fresh(context.Context) (Engine, error) { return NewIndex(o.set, o.opt) }

func (o *own) Close() { o.ix.Close() }

// applyBatch is how many changes go into the index at once.
const applyBatch = 100

func (o *own) Apply(ctx context.Context, remove, ids, rows []int) error {
	ops := make([]ann.Op, 0, applyBatch)
	flush := func() error {
		err := o.ix.Apply(ops)
		ops = ops[:0]
		if err == nil {
			err = ctx.Err()
		}
		return err
	}
	for _, id := range remove {
		if ops = append(ops, ann.Op{Key: uint64(id)}); len(ops) == applyBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	for i, id := range ids {
		if ops = append(ops, ann.Op{Key: uint64(id), Vector: o.set.Base.Row(rows[i])}); len(ops) == applyBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return o.ix.Flush(ctx)
}

func (o *own) Search(ctx context.Context, ef, k int) ([][]int, error) {
	out := make([][]int, o.set.Queries.Rows())
	var res []ann.Result
	for i := range out {
		var err error
		if res, err = o.ix.Search(o.set.Queries.Row(i), k, ann.SearchOptions{Ef: ef}, res[:0]); err != nil {
			return nil, err
		}
		for _, r := range res {
			out[i] = append(out[i], int(r.Key))
		}
	}
	return out, ctx.Err()
}

// peer is hnswlib, which replaces deleted vectors in place.
type peer struct {
	proc    *peers.Process
	options peers.Options
	index   peers.Index
	queries int
}

// NewPeer returns an engine in a process of its own. Only hnswlib can replace what is deleted. A search there has no
// fewer candidates than k.
func NewPeer(ctx context.Context, o peers.Options, x peers.Index, queries int) (Engine, error) {
	if x.Engine != "hnswlib" {
		return nil, fmt.Errorf("runbook: engine %q can't run a runbook: use hnswlib", x.Engine)
	}
	x.Replace = true
	proc, err := peers.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	if _, err := proc.Open(x); err != nil {
		proc.Close()
		return nil, err
	}
	return &peer{proc, o, x, queries}, nil
}

func (p *peer) Fresh(ctx context.Context) (Engine, error) {
	return NewPeer(ctx, p.options, p.index, p.queries)
}

func (p *peer) Close() { p.proc.Close() }

func (p *peer) Apply(_ context.Context, remove, ids, rows []int) error {
	_, err := p.proc.Apply(remove, ids, rows)
	return err
}

func (p *peer) Search(_ context.Context, ef, k int) ([][]int, error) {
	r, err := p.proc.Search(ef, k, 0, true)
	if err != nil {
		return nil, err
	}
	if len(r.IDs) != k*p.queries {
		return nil, fmt.Errorf("runbook: hnswlib gave %d ids for %d queries of %d", len(r.IDs), p.queries, k)
	}
	out := make([][]int, p.queries)
	for i := range out {
		for _, id := range r.IDs[i*k : (i+1)*k] {
			out[i] = append(out[i], int(id))
		}
	}
	return out, nil
}
