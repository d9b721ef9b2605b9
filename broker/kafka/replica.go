package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
)

// Replica brings what the owners of partitions commit into the copy of a node: of all partitions but those whose owner is
// the node itself.
type Replica struct {
	client *Client
	copy   *Copy
	reader *Reader
}

// NewReplica returns the replica of all partitions.
func (c *Client) NewReplica(copy *Copy) (r *Replica, err error) {
	r = &Replica{client: c, copy: copy}
	if r.reader, err = c.NewReader(); err != nil {
		return nil, err
	}
	for p := range int32(c.opts.Partitions) {
		if err := r.Follow(p); err != nil {
			r.reader.Close()
			return nil, err
		}
	}
	return r, nil
}

// Follow begins with a partition, from where the copy has it.
func (r *Replica) Follow(partition int32) error {
	for _, topic := range r.client.opts.Topics.copied() {
		at, err := r.copy.Position(topic, partition)
		if err != nil {
			return err
		}
		r.reader.Add(freshet.Position{Topic: topic, Partition: partition, Offset: at})
	}
	return nil
}

// Leave ends with a partition: its owner is here.
func (r *Replica) Leave(partition int32) {
	for _, topic := range r.client.opts.Topics.copied() {
		r.reader.Remove(topic, partition)
	}
}

// Run reads until ctx ends. An error of the copy or of Kafka that does not go away by itself ends it.
func (r *Replica) Run(ctx context.Context) error {
	defer r.reader.Close()
	for {
		fetched, err := r.reader.Read(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return nil
			}
			return fmt.Errorf("replica: %w", err)
		}
		for _, f := range fetched {
			if err := r.copy.Take(ctx, f); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("replica: %w", err)
			}
		}
	}
}
