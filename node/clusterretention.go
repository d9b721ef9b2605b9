package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/process"
)

// How a process keeps what audits begin with in front of what the brokers delete.
const (
	// foldStep is how many offsets of a partition are folded before others have their turn.
	foldStep = 1 << 16
	// expiryChecks is how often it is looked at while an event grows as old as the topic lets it, at least.
	expiryChecks   = 32
	minExpiryCheck = 100 * time.Millisecond
)

// expiry is what the owners of this process do about events that the brokers delete by age and size: one at a time.
type expiry struct {
	c    *Cluster
	turn chan struct{} // holds the one whose turn it is

	mu     sync.Mutex // guards what follows
	at     time.Time  // of the answer
	all    map[int32]kafka.Expiring
	checks time.Duration

	lost atomic.Int64 // offsets that were deleted before they were folded
}

func newExpiry(c *Cluster) *expiry { return &expiry{c: c, turn: make(chan struct{}, 1)} }

// of says what is deleted of a partition, as of a moment ago, and how often that is to be looked at.
func (x *expiry) of(ctx context.Context, partition int32) (e kafka.Expiring, every time.Duration, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	every = time.Duration(x.c.config().Retention.Interval)
	if now := x.c.now(); x.all == nil || now.Sub(x.at) >= min(every, x.checks)/2 {
		all, retention, err := x.c.client.Expiring(ctx, now)
		if err != nil {
			return e, every, err
		}
		x.at, x.all, x.checks = now, all, max(minExpiryCheck, retention/expiryChecks)
	}
	return x.all[partition], min(every, x.checks), nil
}

// keeper is the part of an owner that follows the brokers' deletions.
type keeper struct {
	x         *expiry
	partition *kafka.Partition
	processor *process.Processor
	base      *process.Base
	said      int64 // the offset of the last command that says nothing; -1 = none
}

func (x *expiry) keeper(partition *kafka.Partition, processor *process.Processor) (*keeper, error) {
	base, err := process.OpenBase(partition, x.c.sequencerOf(partition))
	if err != nil {
		return nil, err
	}
	base.DropByDeleting = true
	return &keeper{x: x, partition: partition, processor: processor, base: base, said: -1}, nil
}

// run keeps the audit base ahead, and lets go of old deletions, until ctx ends or the ownership does.
func (k *keeper) run(ctx context.Context) error {
	for {
		e, every, err := k.x.of(ctx, k.partition.Number())
		more := false
		if err == nil {
			more, err = k.fold(ctx, e)
		}
		if err == nil && !more {
			err = k.forget(ctx, e)
		}
		switch {
		case errors.Is(err, broker.ErrFenced):
			return err
		case err != nil && ctx.Err() == nil:
			k.x.c.opts.Logger.Warn("old events and deletions could not be let go; it is tried again", "partition", k.partition.Number(), "error", err, "wait", every)
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// fold takes events into the audit base that are soon to be deleted; more says that there are more already.
func (k *keeper) fold(ctx context.Context, e kafka.Expiring) (more bool, err error) {
	select {
	case k.x.turn <- struct{}{}:
	case <-ctx.Done():
		return false, nil
	}
	defer func() { <-k.x.turn }()
	decided, err := k.partition.Position(process.Group, "", 0)
	if err != nil {
		return false, err
	}
	if decided < e.Soon && k.partition.RawEnd() <= decided && k.said < decided {
		// What is left is no event: repeated forwards, marks of transactions. If that went while the position stands there, nobody could
		// go on from it; behind a command that says nothing it can.
		if k.said, err = process.AppendCommand(ctx, k.partition, &process.Purge{}); err != nil {
			return false, err
		}
	}
	if k.base.Position() < e.First && e.First <= decided {
		return false, k.renew(ctx, e.First)
	}
	to := min(e.Soon, decided)
	err = k.base.Advance(ctx, min(to, k.base.Position()+foldStep), k.base.Position() < e.Late)
	return k.base.Position() < to, err
}

// forget lets go of deletions that are older than what is kept of events.
func (k *keeper) forget(ctx context.Context, e kafka.Expiring) error {
	c := k.x.c
	number := k.partition.Number()
	decided := func(ctx context.Context, offset int64) error { return c.waitDecided(ctx, number, offset) }
	if _, err := c.purge(ctx, k.partition, k.processor, min(e.Old, k.base.Position()), decided); err != nil {
		return err
	}
	return c.sweep(ctx, k.processor, k.base)
}

// renew goes on where events were deleted before they were folded.
func (k *keeper) renew(ctx context.Context, first int64) error {
	gap, err := k.base.Renew(ctx, first, k.x.c.now())
	if err != nil {
		return err
	}
	k.x.lost.Add(gap.To - gap.From)
	k.x.c.opts.Logger.Warn("events were deleted before an audit could take them in; audits begin with what stands in vector.sync now",
		"partition", k.partition.Number(), "from", gap.From, "to", gap.To, "audited_from", gap.Until)
	return nil
}

// purged is what a processor has counted of deletions that were forgotten.
func purged(s *process.Stats) map[string]int64 {
	return map[string]int64{"purged": s.Purged.Load()}
}

// registerExpiry adds the metrics of what brokers delete.
func (c *Cluster) registerExpiry() {
	c.counter("freshet_audit_lost_total", "Offsets of events.keyed that the brokers deleted before an audit could take them in, since start.", nil,
		func() float64 { return float64(c.expiry.lost.Load()) })
	c.counter("freshet_tombstones_purged_total", "Deletions that were forgotten since start, in the partitions that are decided here.", nil,
		func() float64 { return float64(c.owners.totals(purged)["purged"]) })
}

// described completes an error of an audit that the brokers were faster than.
func described(err error) error {
	if errors.Is(err, kafka.ErrNotRetained) || errors.Is(err, process.ErrRenewing) {
		return errors.Join(&freshet.Error{Code: freshet.CodeUnavailable, Message: process.ErrRenewing.Error()}, err)
	}
	return err
}
