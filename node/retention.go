package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// sweepStep is how many tombstones are looked at before events have their turn.
const sweepStep = 256

// Segments go as a whole, so there are to be some within what is kept.
const (
	segmentsKept    = 8
	segmentBytesMin = 1 << 20
	segmentBytesMax = 128 << 20
)

// segmentBytes is the size of a segment where so many bytes are kept; 0 means that no limit is given.
func segmentBytes(kept int64) int64 {
	if kept == 0 {
		return segmentBytesMax
	}
	return min(max(kept/segmentsKept, segmentBytesMin), segmentBytesMax)
}

// retention cuts off the head of events.raw, and then lets go of the tombstones that nothing can
// come before any more.
type retention struct {
	n    *Node
	base *process.Base

	cutBytes atomic.Int64 // since start
	floor    atomic.Int64
}

func (n *Node) openRetention() (err error) {
	n.retention.n = n
	n.retention.base, err = process.OpenBase(n.log, n.sequencer)
	if err != nil {
		return err
	}
	// A power cut in the middle of a removal may have brought some segments back, and not others.
	if _, err := n.log.CutRaw(n.retention.base.Position()); err != nil {
		return err
	}
	r := n.config().Retention
	ttl := "for ever"
	if r.TombstoneTTL > 0 {
		ttl = time.Duration(r.TombstoneTTL).String()
	}
	limit, err := n.retention.limit()
	if err != nil {
		return err
	}
	n.opts.Logger.Info("events are kept until", "age", r.Age.String(), "bytes", limit,
		"ordered_deletions", ttl, "first_offset", n.log.RawFirst())
	return nil
}

// run looks every so often whether something is to go.
func (r *retention) run(ctx context.Context) error {
	for {
		now := r.n.settings.Load()
		select {
		case <-ctx.Done():
			return nil
		case <-now.replaced:
			continue
		case <-time.After(time.Duration(now.Retention.Interval)):
		}
		if err := r.n.Retain(ctx); err != nil && ctx.Err() == nil {
			r.n.opts.Logger.Error("old events could not be let go; it is tried again", "error", err)
		}
	}
}

// Retain lets go at once of what the configuration does not keep: events, then tombstones. One
// call at a time.
func (n *Node) Retain(ctx context.Context) error {
	n.retaining.Lock()
	defer n.retaining.Unlock()
	r := &n.retention
	return errors.Join(r.cut(ctx), r.purge(ctx), r.sweep(ctx))
}

// limit is how many bytes of events are kept at most.
func (r *retention) limit() (int64, error) {
	c := r.n.config().Retention
	limit := c.Bytes
	usage, err := r.n.log.FS().GetDiskUsage(r.n.log.Dir())
	if errors.Is(err, vfs.ErrUnsupported) {
		return limit, nil
	}
	if err != nil {
		return 0, fmt.Errorf("disk usage of %s: %w", r.n.log.Dir(), err)
	}
	if share := int64(c.DiskShare * float64(usage.TotalBytes)); limit == 0 || share < limit {
		limit = share
	}
	return limit, nil
}

// cut removes segments that are too old or too many, as far as their records are decided. Before that each is folded
// into the audit base. That goes without pauses where there are too many, or the disk has too little room.
func (r *retention) cut(ctx context.Context) error {
	segments, err := r.n.log.RawSegments()
	if err != nil || len(segments) == 0 {
		return err
	}
	limit, err := r.limit()
	if err != nil {
		return err
	}
	total := r.n.log.RawBytesFrom(r.n.log.RawFirst())
	age := r.n.config().Retention.Age
	oldest := r.n.now().Add(-time.Duration(age))
	for _, s := range segments {
		over := limit > 0 && total > limit
		if s.End > r.n.tracker.Decided()+1 || !over && (age == config.Forever || !s.Until.Before(oldest)) {
			break
		}
		low, _ := r.n.diskLow()
		if err := r.base.Advance(ctx, s.End, over || low); err != nil {
			return err
		}
		freed, err := r.n.log.CutRaw(s.End)
		r.cutBytes.Add(freed)
		if err != nil {
			return err
		}
		total -= s.Bytes
	}
	return nil
}

// purge raises the floor below which tombstones count no more, if that lets any go: nothing older can come from the log, and
// nothing from the dead letters.
func (r *retention) purge(ctx context.Context) error {
	floor, err := r.n.purge(ctx, r.n.log, r.n.processor, min(r.n.log.RawFirst(), r.base.Position()), r.n.waitDecided)
	if err == nil {
		r.floor.Store(floor)
	}
	return err
}

// purge raises the floor of a log up to an offset, as far as its dead letters allow, and the time of what is in the order of a source. It
// returns where the floor is.
func (n *core) purge(ctx context.Context, log broker.Log, p *process.Processor, floor int64, decided func(context.Context, int64) error) (int64, error) {
	to := process.Purge{Floor: floor}
	err := log.Scan(freshet.TopicDead, nil, nil, func(rec broker.Record) error {
		l, err := wire.DecodeDeadLetter(rec.Value)
		to.Floor = min(to.Floor, l.Position.Offset)
		return errors.Join(err, errEnough)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	if ttl := time.Duration(n.config().Retention.TombstoneTTL); ttl > 0 {
		to.Before = n.now().Add(-ttl).UnixMilli()
	}
	facts, err := p.Facts(ctx)
	now := facts.Purge
	if err != nil || to.Floor <= now.Floor && to.Before <= now.Before {
		return now.Floor, err
	}
	wanted, err := p.WouldPurge(ctx, to)
	if err != nil || !wanted {
		return now.Floor, err
	}
	offset, err := process.AppendCommand(ctx, log, &to)
	if err != nil {
		return now.Floor, err
	}
	return max(to.Floor, now.Floor), decided(ctx, offset)
}

// sweep takes out what is gone.
func (r *retention) sweep(ctx context.Context) error { return r.n.sweep(ctx, r.n.processor, r.base) }

// sweep takes out of a log, and of its audit base, what is gone.
func (n *core) sweep(ctx context.Context, p *process.Processor, base *process.Base) error {
	waiting := map[freshet.Shard]bool{}
	covered := func(name freshet.Shard, offset int64) bool {
		if offset < n.store.Covered(name) {
			return true
		}
		waiting[name] = true
		return false
	}
	var last []byte
	for first := true; first || last != nil; first = false {
		var err error
		if last, err = p.Sweep(ctx, last, sweepStep, covered, n.store.Forget); err != nil {
			return err
		}
	}
	for name := range waiting { // its snapshots are older than the deletions
		n.store.Renew(name)
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = base.Sweep(sweepStep); err != nil {
			return err
		}
	}
	return ctx.Err()
}
