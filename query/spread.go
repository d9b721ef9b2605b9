package query

import (
	"context"
	"encoding/json"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/wire"
)

// spread answers a search by asking whoever holds the partitions. Each waits for what of the token is in those that it is asked
// for: another copy of them may be behind.
func (p *Planner) spread(ctx context.Context, r Request) (*Response, error) {
	if err := p.Tracker.Check(r.After); err != nil {
		return nil, err
	}
	col, err := p.awaitedCollection(ctx, r)
	if err != nil {
		return nil, err
	}
	q := fanout.Search{Collection: r.Shard.Collection, Namespace: r.Shard.Namespace, K: r.K, Ef: r.Ef, Exact: r.Exact,
		Bare: r.Bare, Text: r.Texts, After: tokenText(r.After)}
	if r.Filter != nil {
		q.Filter = json.RawMessage(r.Filter.String())
	}
	if r.Entity != nil {
		q.Exclude = *r.Entity
	}
	if q.Vector, err = p.vector(ctx, r, col); err != nil {
		return nil, err
	}
	a, missing, err := p.Others.Search(ctx, q, r.Partial)
	if err != nil {
		return nil, err
	}
	res := &Response{Hits: make([]freshet.Hit, len(a.Hits)), Warnings: capped(a.Warnings), Missing: missing}
	if res.Applied, err = wire.ParseToken(a.Applied); err != nil {
		return nil, err
	}
	for i, h := range a.Hits {
		res.Hits[i] = freshet.Hit{Key: freshet.Key{Collection: r.Shard.Collection, Namespace: r.Shard.Namespace, Entity: h.EntityID},
			Score: h.Score, Slot: h.Slot, Version: h.Version, Revision: h.Revision, AcceptedAt: h.AcceptedAt,
			SourceEventID: h.SourceEventID, Text: h.Text, Metadata: h.Metadata}
	}
	return res, nil
}

// tokenText is a token as messages have it: one without places is none.
func tokenText(t freshet.Token) string {
	if len(t.Spans) == 0 {
		return ""
	}
	return wire.TokenString(t)
}

// awaitedCollection is the collection of a search, which an awaited event may be about to make.
func (p *Planner) awaitedCollection(ctx context.Context, r Request) (control.Collection, error) {
	if _, ok := p.Catalog.Get(r.Shard.Collection); !ok && len(r.After.Spans) > 0 {
		if _, err := p.awaitOthers(ctx, r.After); err != nil {
			return control.Collection{}, err
		}
	}
	return p.collection(r.Shard.Collection, r.After)
}

// awaitOthers has whoever holds the partitions of a token wait for it.
func (p *Planner) awaitOthers(ctx context.Context, token freshet.Token) ([]string, error) {
	if len(token.Spans) == 0 {
		return nil, nil
	}
	if err := p.Tracker.Check(token); err != nil {
		return nil, err
	}
	var partitions []int32
	for _, s := range token.Spans {
		partitions = append(partitions, s.Partition)
	}
	return p.Others.Await(ctx, partitions, wire.TokenString(token))
}

// elsewhere is what of a token is in other partitions than an entity, whose own is waited for where the entity is looked up.
func (p *Planner) elsewhere(token freshet.Token, key freshet.Key) freshet.Token {
	if p.Others == nil {
		return token
	}
	at := p.Others.PartitionOf(key)
	return within(token, func(n int32) bool { return n != at })
}

// within is what of a token is in some partitions.
func within(token freshet.Token, in func(partition int32) bool) freshet.Token {
	some := freshet.Token{Log: token.Log}
	for _, s := range token.Spans {
		if in(s.Partition) {
			some.Spans = append(some.Spans, s)
		}
	}
	return some
}

// latest is the latest change of an entity. Where others are asked it is so once the token is decided in its partition; here that
// was waited for.
func (p *Planner) latest(ctx context.Context, key freshet.Key, after freshet.Token) (c freshet.Change, ok bool, warnings []string, err error) {
	if p.Others == nil {
		c, ok, err = p.Store.Get(ctx, key)
		return c, ok, nil, err
	}
	if err := p.Tracker.Check(after); err != nil {
		return c, false, nil, err
	}
	e, err := p.Others.Entity(ctx, fanout.Lookup{Collection: key.Collection, Namespace: key.Namespace, EntityID: key.Entity, After: tokenText(after)})
	if err != nil || e.Change == nil {
		return c, false, nil, err
	}
	c, err = wire.DecodeChange(key, e.Change, wire.Points)
	return c, err == nil, e.Warnings, err
}

// capped are warnings, at most as many as an answer has.
func capped(warnings []string) []string {
	if len(warnings) > maxWarnings {
		return append(warnings[:maxWarnings:maxWarnings], moreWarnings)
	}
	return warnings
}
