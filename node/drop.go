package node

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// Drop empties a namespace of a collection, or with "" all of it. It returns once it is durable and decided: nothing of
// what was accepted before can be found any more, and events that are accepted from now on start anew.
func (n *Node) Drop(ctx context.Context, collection, namespace string) (gateway.DropReport, error) {
	r := gateway.DropReport{Collection: collection, Namespace: namespace}
	if err := n.canDrop(collection); err != nil {
		return r, err
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
	if err := n.resetDropped(); err != nil {
		return r, err
	}
	n.opts.Logger.Info("dropped", "collection", collection, "namespace", namespace, "offset", offset)
	return r, nil
}

// canDrop refuses to drop a collection that there is not, or whose entities others write.
func (n *core) canDrop(name string) error {
	col, ok := n.catalog.Get(name)
	if !ok {
		return &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("there is no collection %q", name)}
	}
	if col.External {
		return &freshet.Error{Code: freshet.CodeUnsupportedOp, Field: "collection",
			Message: fmt.Sprintf("others write the entities of %q (source: external); have them write null values for those that are to go", name)}
	}
	return nil
}

// settingsReset is the step of a drop whose index settings have been reset.
const settingsReset = 1

// settleDrops does what drops have left to do, also those that a stop or a crash has cut short, until ctx ends.
func (n *Node) settleDrops(ctx context.Context) error {
	for {
		err := n.resetDropped()
		if err == nil {
			err = n.tidyDropped(ctx)
		}
		if err != nil && ctx.Err() == nil {
			n.opts.Logger.Warn("what a drop has left could not be removed; it takes some space, and is tried again at the next drop or start", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.dropped:
		}
	}
}

// resetDropped resets the index settings of what was dropped, once for each drop: they may be set anew.
func (n *Node) resetDropped() error {
	n.dropping.Lock()
	defer n.dropping.Unlock()
	list, err := n.log.PendingDrops(freshet.TopicSync)
	if err != nil {
		return err
	}
	for _, d := range list {
		name, ok := wire.ParseDrop(d.Marker)
		if !ok || d.Step >= settingsReset {
			continue
		}
		if err := n.resetIndex(name); err != nil {
			return err
		}
		if err := n.log.Settle(freshet.TopicSync, d.Marker, d.Offset, settingsReset); err != nil {
			return err
		}
	}
	return nil
}

// resetIndex resets the index settings of a shard, or with an empty namespace of a collection.
func (n *core) resetIndex(name freshet.Shard) error {
	if n.catalog.Index(name.Collection, name.Namespace) == (control.Index{}) {
		return nil
	}
	return n.catalog.SetIndex(name.Collection, name.Namespace, control.Index{})
}

// tidyDropped removes what drops have left in the order of vector.sync. Nothing depends on it but space.
func (n *Node) tidyDropped(ctx context.Context) error {
	list, err := n.log.PendingDrops(freshet.TopicSync)
	if err != nil {
		return err
	}
	for _, d := range list {
		name, ok := wire.ParseDrop(d.Marker)
		if !ok || d.Step != settingsReset { // of a drop that has just come; it is told of
			continue
		}
		removed, err := n.log.Tidy(ctx, freshet.TopicSync, d.Offset, wire.DropRanges(name))
		if err != nil {
			return err
		}
		n.opts.Logger.Debug("tidied up after a drop", "entries", removed)
		if err := n.settleDone(d); err != nil {
			return err
		}
	}
	return nil
}

// settleDone notes that a drop is done, unless there has been another one since.
func (n *Node) settleDone(d broker.PendingDrop) error {
	n.dropping.Lock()
	defer n.dropping.Unlock()
	last, _, err := n.log.Dropped(freshet.TopicSync, d.Marker)
	if err != nil || last != d.Offset {
		return err
	}
	return n.log.Settle(freshet.TopicSync, d.Marker, d.Offset, broker.DropDone)
}
