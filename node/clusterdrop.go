package node

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// Drop empties a namespace of a collection, or with "" all of it: by a command in every partition, whose owner deletes there what the
// command takes. It returns once that can be seen here: nothing of what was accepted before can be found any more, and events that are accepted from
// now on start anew. After an error it may have been done in some of the partitions; then it is to be repeated.
func (c *Cluster) Drop(ctx context.Context, collection, namespace string) (gateway.DropReport, error) {
	r := gateway.DropReport{Collection: collection, Namespace: namespace}
	if err := c.canDrop(collection); err != nil {
		return r, err
	}
	token := freshet.Token{Log: c.tracker.Log()}
	for p := range int32(c.client.Options().Partitions) {
		offset, err := process.AppendCommand(ctx, c.commands.In(p), &process.Drop{Collection: collection, Namespace: namespace})
		if err != nil {
			return r, fmt.Errorf("partition %d of %d; drop it again: %w", p, c.client.Options().Partitions, err)
		}
		token.Spans = append(token.Spans, freshet.Span{Topic: freshet.TopicKeyed, Partition: p, First: offset, Last: offset})
	}
	r.Token = wire.TokenString(token)
	if err := c.tracker.Wait(ctx, token); err != nil {
		return r, err
	}
	if err := c.resetIndex(freshet.Shard{Collection: collection, Namespace: namespace}); err != nil {
		return r, err
	}
	c.opts.Logger.Info("dropped", "collection", collection, "namespace", namespace, "token", r.Token)
	return r, nil
}
