// Package query plans a search: it waits for what the caller must see, makes the query
// vector, asks the store, and says what of the awaited events came to nothing.
package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/query/fanout"
)

// Limits of a search.
const (
	MaxK           = 10_000
	DefaultK       = 10
	MaxQueryText   = 64 << 10 // bytes
	DefaultTimeout = 5 * time.Second
	MaxTimeout     = 5 * time.Minute
	// maxWarnings is how many dead letters an answer names one by one.
	maxWarnings  = 10
	moreWarnings = "more of the awaited events are dead letters; see `freshet dlq list`"
)

// Request is a search. Exactly one of Text, Vector and Entity says what for.
type Request struct {
	Text   *string
	Vector []float32
	Entity *string

	Shard   freshet.Shard
	K       int // 0 means DefaultK
	Ef      int // 0 means the index's default
	Exact   bool
	Filter  *filter.Expr
	After   freshet.Token
	Timeout time.Duration // 0 means DefaultTimeout
	Bare    bool          // identity and score of the hits only
	Texts   bool          // hits need their text; they may have it anyway
	Partial bool          // where nobody answers for some partitions, an answer without them
}

// Response is the answer to a search.
type Response struct {
	Hits     []freshet.Hit
	Applied  freshet.Token // everything up to here counts in the answer
	Warnings []string
	Missing  []int32 // partitions that nobody answered for, where that was allowed
}

// Planner answers searches. It is safe for concurrent use.
type Planner struct {
	Store     freshet.Store // nil in a process without indexes
	Catalog   *control.Catalog
	Embedders map[string]freshet.Embedder
	Tracker   *freshness.Tracker
	// DeadLetters returns the dead letters of positions in a span, at most limit.
	DeadLetters func(s freshet.Span, limit int) ([]freshet.DeadLetter, error)
	// Now tells what has expired.
	Now func() time.Time
	// Others answer for the partitions that the store does not have, and this process for its own through Part; nil where the
	// store has all.
	Others *fanout.Fanout
}

// Search answers a request. What the caller got wrong is a *freshet.Error.
func (p *Planner) Search(ctx context.Context, r Request) (*Response, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	if p.Others != nil {
		return p.spread(ctx, r)
	}
	warnings, err := p.await(ctx, r.After)
	if err != nil {
		return nil, err
	}
	col, err := p.collection(r.Shard.Collection, r.After) // which an awaited event may have made
	if err != nil {
		return nil, err
	}
	q := freshet.Query{Shard: r.Shard, K: r.K, Ef: r.Ef, Exact: r.Exact, Bare: r.Bare}
	if r.Filter != nil {
		q.Filter = r.Filter
	}
	if q.Vector, err = p.vector(ctx, r, col); err != nil {
		return nil, err
	}
	if r.Entity != nil {
		q.Exclude = *r.Entity
	}
	applied := p.Tracker.Applied() // before the search: it sees at least this
	hits, err := p.Store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	return &Response{Hits: hits, Applied: applied, Warnings: warnings}, nil
}

// Get returns the latest state of an entity once the token's events count.
func (p *Planner) Get(ctx context.Context, key freshet.Key, after freshet.Token, timeout time.Duration) (freshet.Change, []string, error) {
	r := Request{Timeout: timeout}
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	warnings, err := p.await(ctx, p.elsewhere(after, key))
	if err != nil {
		return freshet.Change{}, nil, err
	}
	if _, err := p.collection(key.Collection, after); err != nil {
		return freshet.Change{}, nil, err
	}
	c, ok, more, err := p.latest(ctx, key, after)
	if err != nil {
		return c, nil, err
	}
	if !ok || c.Deleted() || c.Due(p.Now().UnixMilli()) {
		return c, nil, notFound(key)
	}
	return c, capped(append(warnings, more...)), nil
}

// collection looks for a collection; where events were awaited they may have made it, in another process.
func (p *Planner) collection(name string, awaited freshet.Token) (col control.Collection, err error) {
	col, ok := p.Catalog.Get(name)
	if !ok && len(awaited.Spans) > 0 {
		if col, ok, err = p.Catalog.Lookup(name); err != nil {
			return col, err
		}
	}
	if !ok {
		return col, &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection",
			Message: fmt.Sprintf("%q does not exist; GET /v1/collections lists those that do", name)}
	}
	return col, nil
}

func notFound(key freshet.Key) error {
	return &freshet.Error{Code: freshet.CodeNotFound, Field: "entity_id",
		Message: fmt.Sprintf("%q is not in collection %q, namespace %q", key.Entity, key.Collection, key.Namespace)}
}

func (r *Request) timeout() time.Duration {
	if r.Timeout == 0 {
		return DefaultTimeout
	}
	return r.Timeout
}

// check refuses what can be refused without looking anything up, and fills in defaults.
func (r *Request) check() error {
	given := 0
	for _, g := range []bool{r.Text != nil, r.Vector != nil, r.Entity != nil} {
		if g {
			given++
		}
	}
	if given != 1 {
		return &freshet.Error{Code: freshet.CodeMissingField, Field: "text",
			Message: fmt.Sprintf("say what to search for with exactly one of text, vector and entity_id; %d are given", given)}
	}
	if r.Text != nil && len(*r.Text) > MaxQueryText {
		return &freshet.Error{Code: freshet.CodeTooLarge, Field: "text", Message: fmt.Sprintf("has %d bytes, a query has at most %d", len(*r.Text), MaxQueryText)}
	}
	if r.K == 0 {
		r.K = DefaultK
	}
	if r.K < 1 || r.K > MaxK {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: "k", Message: fmt.Sprintf("is %d, must be 1 to %d", r.K, MaxK)}
	}
	if r.Timeout < 0 || r.Timeout > MaxTimeout {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: "timeout_ms",
			Message: fmt.Sprintf("is %d, must be 1 to %d", r.Timeout.Milliseconds(), MaxTimeout.Milliseconds())}
	}
	return nil
}

// await blocks until the token is decided, and names the dead letters among its events.
func (p *Planner) await(ctx context.Context, token freshet.Token) ([]string, error) {
	if p.Others != nil {
		return p.awaitOthers(ctx, token)
	}
	return p.awaitHere(ctx, token)
}

func (p *Planner) awaitHere(ctx context.Context, token freshet.Token) ([]string, error) {
	if err := p.Tracker.Wait(ctx, token); err != nil {
		return nil, err
	}
	var warnings []string
	for _, s := range token.Spans {
		letters, err := p.DeadLetters(s, maxWarnings+1-len(warnings))
		if err != nil {
			return nil, err
		}
		for _, l := range letters {
			if len(warnings) == maxWarnings {
				return append(warnings, moreWarnings), nil
			}
			warnings = append(warnings, fmt.Sprintf("the event at %s/%d@%d is a dead letter (%s): %s",
				l.Position.Topic, l.Position.Partition, l.Position.Offset, l.Class, l.Message))
		}
	}
	return warnings, nil
}

// vector makes the query vector.
func (p *Planner) vector(ctx context.Context, r Request, col control.Collection) ([]float32, error) {
	switch {
	case r.Text != nil:
		return p.Embed(ctx, col, *r.Text)
	case r.Entity != nil:
		return p.entityVector(ctx, r, col)
	}
	if len(r.Vector) != col.Dim {
		return nil, &freshet.Error{Code: freshet.CodeWrongDimension, Field: "vector",
			Message: fmt.Sprintf("has %d dimensions, collection %q has %d", len(r.Vector), col.Name, col.Dim)}
	}
	var norm float64
	for i, f := range r.Vector {
		if f != f || f-f != 0 {
			return nil, &freshet.Error{Code: freshet.CodeBadVector, Field: "vector", Message: fmt.Sprintf("element %d is %v; every element must be finite", i, f)}
		}
		norm += float64(f) * float64(f)
	}
	if norm == 0 && col.Metric == "cosine" {
		return nil, &freshet.Error{Code: freshet.CodeBadVector, Field: "vector", Message: "is all zeros, which has no direction; cosine can't compare it"}
	}
	return r.Vector, nil
}

// Embed makes the vector of a query text with the model of a collection.
func (p *Planner) Embed(ctx context.Context, col control.Collection, text string) ([]float32, error) {
	e := p.Embedders[col.Model]
	if e == nil {
		return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "text",
			Message: fmt.Sprintf("can't be embedded: collection %q has no model; search it with a vector of %d dimensions", col.Name, col.Dim)}
	}
	out, err := e.Embed(ctx, []freshet.Input{{Text: text}})
	if err != nil {
		return nil, err
	}
	var bad *freshet.Error
	switch {
	case !errors.As(out[0].Err, &bad):
		return out[0].Vector, out[0].Err
	case bad.Code == freshet.CodeNoContent:
		return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "text", Message: "is empty; say what to search for"}
	}
	return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "text", Message: "can't be embedded: " + bad.Message}
}

// entityVector is the direction of an entity: its point, or the mean of its points.
func (p *Planner) entityVector(ctx context.Context, r Request, col control.Collection) ([]float32, error) {
	key := freshet.Key{Collection: r.Shard.Collection, Namespace: r.Shard.Namespace, Entity: *r.Entity}
	c, ok, _, err := p.latest(ctx, key, r.After)
	if err != nil {
		return nil, err
	}
	if !ok || c.Deleted() || c.Due(p.Now().UnixMilli()) || len(c.Points) == 0 {
		return nil, notFound(key)
	}
	mean := make([]float32, col.Dim)
	for _, pt := range c.Points {
		var norm float64 = 1
		if col.Metric == "cosine" {
			norm = 0
			for _, f := range pt.Vector {
				norm += float64(f) * float64(f)
			}
			norm = math.Sqrt(norm)
		}
		for i, f := range pt.Vector {
			mean[i] += float32(float64(f) / norm / float64(len(c.Points)))
		}
	}
	if col.Metric == "cosine" && !slices.ContainsFunc(mean, func(f float32) bool { return f != 0 }) {
		return c.Points[0].Vector, nil // points that cancel out have no direction together
	}
	return mean, nil
}
