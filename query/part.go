package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/wire"
)

// Part answers for the partitions that a process holds, from its own store, when it or another process asks. It implements
// [fanout.Peer] and is safe for concurrent use.
type Part struct {
	Planner    *Planner // whose Others it does not ask
	Partitions int      // of the log
	Held       []int32  // of those, in order
	// CaughtUp reports whether the store has what was there at the start.
	CaughtUp func() bool
	// Sizes are how many entities and vectors the namespaces have, of the entities that in accepts; nil accepts all.
	Sizes func(ctx context.Context, in func(freshet.Key) bool) ([]fanout.Size, error)
}

// Ready implements [fanout.Peer].
func (p *Part) Ready(context.Context) error {
	if p.CaughtUp() {
		return nil
	}
	return &freshet.Error{Code: freshet.CodeUnavailable, Message: "the process is catching up; try again"}
}

// asked are the partitions that a request names, all of which have to be held here.
func (p *Part) asked(ctx context.Context, partitions string) ([]int32, error) {
	if err := p.Ready(ctx); err != nil {
		return nil, err
	}
	list, err := wire.ParsePartitions(partitions, p.Partitions)
	if err != nil || partitions == "" {
		return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "partitions", Message: fmt.Sprintf("%q names no partitions: %v", partitions, err)}
	}
	for _, n := range list {
		if _, held := slices.BinarySearch(p.Held, n); !held {
			return nil, p.notHeld(n)
		}
	}
	return list, nil
}

func (p *Part) notHeld(partition int32) error {
	return &freshet.Error{Code: freshet.CodeMisdirected, Message: fmt.Sprintf("partition %d is not held by this process, which has %s", partition, wire.PartitionsString(p.Held))}
}

// limited bounds a request by the time that whoever asks gives it.
func limited(ctx context.Context, ms int64) (context.Context, context.CancelFunc) {
	if ms <= 0 || time.Duration(ms) > MaxTimeout/time.Millisecond {
		ms = MaxTimeout.Milliseconds()
	}
	return context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
}

// await blocks until what of a token is in some partitions is decided.
func (p *Part) await(ctx context.Context, after string, in func(int32) bool) ([]string, error) {
	if after == "" {
		return nil, nil
	}
	token, err := wire.ParseToken(after)
	if err != nil {
		return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "after", Message: err.Error()}
	}
	return p.Planner.awaitHere(ctx, within(token, in))
}

// Search implements [fanout.Peer].
func (p *Part) Search(ctx context.Context, q *fanout.Search) (*fanout.Answer, error) {
	ctx, cancel := limited(ctx, q.TimeoutMs)
	defer cancel()
	list, err := p.asked(ctx, q.Partitions)
	if err != nil {
		return nil, err
	}
	in := func(n int32) bool {
		_, ok := slices.BinarySearch(list, n)
		return ok
	}
	warnings, err := p.await(ctx, q.After, in)
	if err != nil {
		return nil, err
	}
	applied := p.Planner.Tracker.Applied() // before the search: it sees at least this
	a := &fanout.Answer{Hits: []fanout.Hit{}, Applied: wire.TokenString(within(applied, in)), Warnings: warnings}
	if q.Vector == nil {
		return a, nil
	}
	query, err := p.query(q)
	if err != nil {
		return nil, err
	}
	hits, err := p.search(ctx, query, list)
	for i := range hits {
		a.Hits = append(a.Hits, hitOf(&hits[i], q))
	}
	return a, err
}

// query checks a search: the process that asks has done so, and its catalog may be ahead.
func (p *Part) query(q *fanout.Search) (out freshet.Query, err error) {
	col, ok, err := p.Planner.Catalog.Lookup(q.Collection)
	switch {
	case err != nil:
		return out, err
	case !ok:
		return out, &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("%q does not exist", q.Collection)}
	case len(q.Vector) != col.Dim:
		return out, &freshet.Error{Code: freshet.CodeWrongDimension, Field: "vector", Message: fmt.Sprintf("has %d dimensions, collection %q has %d", len(q.Vector), col.Name, col.Dim)}
	case q.K < 1 || q.K > MaxK:
		return out, &freshet.Error{Code: freshet.CodeInvalidField, Field: "k", Message: fmt.Sprintf("is %d, must be 1 to %d", q.K, MaxK)}
	}
	out = freshet.Query{Shard: freshet.Shard{Collection: q.Collection, Namespace: q.Namespace}, Vector: q.Vector, K: q.K, Ef: q.Ef,
		Exclude: q.Exclude, Exact: q.Exact, Bare: q.Bare}
	if len(q.Filter) > 0 {
		expr, err := filter.Parse(q.Filter)
		if err != nil {
			return out, &freshet.Error{Code: freshet.CodeInvalidField, Field: "filter", Message: err.Error()}
		}
		out.Filter = expr
	}
	return out, nil
}

// search returns the best q.K entities of some of the partitions that are held. The index is over all of them: it is asked for more
// until enough are of those that are wanted.
func (p *Part) search(ctx context.Context, q freshet.Query, list []int32) ([]freshet.Hit, error) {
	k := q.K
	if len(list) < len(p.Held) {
		q.K = k * len(p.Held) / len(list)
	}
	for {
		hits, err := p.Planner.Store.Search(ctx, q)
		if err != nil || len(list) == len(p.Held) {
			return hits, err
		}
		found := len(hits)
		hits = slices.DeleteFunc(hits, func(h freshet.Hit) bool {
			_, wanted := slices.BinarySearch(list, wire.Partition(h.Key, p.Partitions))
			return !wanted
		})
		if len(hits) >= k || found < q.K {
			return hits[:min(len(hits), k)], nil
		}
		q.K *= 2
	}
}

// hitOf is a hit as a message has it.
func hitOf(h *freshet.Hit, q *fanout.Search) fanout.Hit {
	out := fanout.Hit{EntityID: h.Key.Entity, Score: h.Score, Slot: h.Slot, Version: h.Version, Revision: h.Revision,
		AcceptedAt: h.AcceptedAt, SourceEventID: h.SourceEventID, Metadata: h.Metadata}
	if q.Text {
		out.Text = h.Text
	}
	return out
}

// Entity implements [fanout.Peer].
func (p *Part) Entity(ctx context.Context, q *fanout.Lookup) (*fanout.Entity, error) {
	ctx, cancel := limited(ctx, q.TimeoutMs)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		return nil, err
	}
	at := wire.Partition(q.Key(), p.Partitions)
	if _, held := slices.BinarySearch(p.Held, at); !held {
		return nil, p.notHeld(at)
	}
	warnings, err := p.await(ctx, q.After, func(n int32) bool { return n == at })
	if err != nil {
		return nil, err
	}
	e := &fanout.Entity{Warnings: warnings}
	c, ok, err := p.Planner.Store.Get(ctx, q.Key())
	if err == nil && ok {
		e.Change = wire.AppendChange(nil, &c)
	}
	return e, err
}

// Counts implements [fanout.Peer].
func (p *Part) Counts(ctx context.Context, q *fanout.Count) (*fanout.Counts, error) {
	ctx, cancel := limited(ctx, q.TimeoutMs)
	defer cancel()
	list, err := p.asked(ctx, q.Partitions)
	if err != nil {
		return nil, err
	}
	var in func(freshet.Key) bool
	if len(list) < len(p.Held) {
		in = func(k freshet.Key) bool {
			_, ok := slices.BinarySearch(list, wire.Partition(k, p.Partitions))
			return ok
		}
	}
	sizes, err := p.Sizes(ctx, in)
	return &fanout.Counts{Namespaces: sizes}, err
}
