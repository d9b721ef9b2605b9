package node

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// Drop empties a namespace of a collection, or with "" all of it. It returns once it is durable and decided: nothing of
// what was accepted before can be found any more, and events that are accepted from now on start anew.
func (n *Node) Drop(ctx context.Context, collection, namespace string) (gateway.DropReport, error) {
	name := freshet.Shard{Collection: collection, Namespace: namespace}
	r := gateway.DropReport{Collection: collection, Namespace: namespace}
	if _, ok := n.catalog.Get(collection); !ok {
		return r, &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("there is no collection %q", collection)}
	}
	offset, err := process.AppendCommand(ctx, n.log, &process.Drop{Collection: collection, Namespace: namespace})
	if err != nil {
		return r, err
	}
	token := freshet.Token{Log: n.log.ID(), Spans: []freshet.Span{{Topic: freshet.TopicRaw, First: offset, Last: offset}}}
	r.Token = wire.TokenString(token)
	if err := n.tracker.Wait(ctx, token); err != nil {
		return r, err
	}
	if n.catalog.Index(collection, namespace) != (control.Index{}) {
		if err := n.catalog.SetIndex(collection, namespace, control.Index{}); err != nil {
			return r, err
		}
	}
	n.opts.Logger.Info("dropped", "collection", collection, "namespace", namespace, "offset", offset)
	n.run(n.ctx, "tidy up after a drop", func(ctx context.Context) error { return n.tidy(ctx, name) })
	return r, nil
}

// tidy removes what a drop has left in the order of vector.sync. Nothing depends on it but space.
func (n *Node) tidy(ctx context.Context, name freshet.Shard) error {
	below, ok, err := n.log.Dropped(freshet.TopicSync, wire.AppendDrop(nil, name))
	if err != nil || !ok {
		return err
	}
	removed, err := n.log.Tidy(ctx, freshet.TopicSync, below, wire.DropRanges(name))
	if err != nil && ctx.Err() == nil {
		n.opts.Logger.Warn("what a drop has left could not be removed; it takes some space, nothing else", "error", err)
		return nil
	}
	n.opts.Logger.Debug("tidied up after a drop", "entries", removed)
	return nil
}
