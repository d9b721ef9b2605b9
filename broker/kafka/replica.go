package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/freshet-io/freshet"
)

// Replica brings what the owners of partitions commit into the copy of a node: of those that it follows, but not while their owner is
// the node itself. Those it reads only where others may still write to them, for the owner to see it. Run is for one goroutine, the
// other methods for any.
type Replica struct {
	client *Client
	copy   *Copy
	reader *Reader

	mu      sync.Mutex           // guards what follows; held while records are taken
	watched map[int32]*Partition // that are owned here
	moved   map[int32]bool       // partitions that were begun with since the read under way has begun
}

// NewReplica returns the replica of some partitions, to begin with.
func (c *Client) NewReplica(copy *Copy, partitions []int32) (r *Replica, err error) {
	copy.split.Store(c.split)
	r = &Replica{client: c, copy: copy, watched: map[int32]*Partition{}, moved: map[int32]bool{}}
	if r.reader, err = c.NewReader(); err != nil {
		return nil, err
	}
	for _, p := range partitions {
		if err := r.Follow(p); err != nil {
			r.reader.Close()
			return nil, err
		}
	}
	return r, nil
}

// Follow begins with a partition, from where the copy has it.
func (r *Replica) Follow(partition int32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watched, partition)
	return r.begin(partition)
}

// Watch begins with a partition that is owned here, if others may still write to it.
func (r *Replica) Watch(p *Partition) error {
	if len(p.watchedFrom()) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched[p.number] = p
	return r.begin(p.number)
}

// begin reads a partition from where it is needed; mu is held.
func (r *Replica) begin(partition int32) error {
	r.end(partition)
	r.moved[partition] = true
	if p := r.watched[partition]; p != nil {
		r.reader.Add(p.watchedFrom()...)
		return nil
	}
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
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watched, partition)
	r.end(partition)
}

func (r *Replica) end(partition int32) {
	for _, topic := range r.client.opts.Topics.copied() {
		r.reader.Remove(topic, partition)
	}
}

// Run reads until ctx ends. An error of the copy or of Kafka that does not go away by itself ends it.
func (r *Replica) Run(ctx context.Context) error {
	defer r.reader.Close()
	for {
		r.mu.Lock()
		clear(r.moved)
		r.mu.Unlock()
		fetched, err := r.reader.Read(ctx)
		if err == nil {
			err = r.take(ctx, fetched)
		}
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return nil
			}
			return fmt.Errorf("replica: %w", err)
		}
	}
}

// take hands on what was read. What may be from before a partition was begun with is read again: it need not follow on what the
// copy has.
func (r *Replica) take(ctx context.Context, fetched []Fetched) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range fetched {
		if r.moved[f.Partition] {
			continue
		}
		var err error
		if p := r.watched[f.Partition]; p != nil {
			err = p.inspect(f)
		} else {
			err = r.copy.Take(ctx, f)
		}
		if err != nil {
			return err
		}
	}
	for partition := range r.moved {
		if slices.ContainsFunc(fetched, func(f Fetched) bool { return f.Partition == partition }) {
			if err := r.begin(partition); err != nil {
				return err
			}
		}
	}
	return nil
}
