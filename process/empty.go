package process

import (
	"bytes"
	"context"
	"errors"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/wire"
)

// emptyBatch is how many entities one transaction of a drop deletes.
const emptyBatch = 4096

// cutAtDrop is how many of the next records are decided together where a drop deletes entity by entity: it is the first of its batch. It takes
// several transactions, and if it is gone on with after a crash nothing before it may be decided again, without what is deleted already.
func cutAtDrop(raw []journal.Record) int {
	for i := 1; i < len(raw); i++ {
		for _, h := range raw[i].Headers {
			if h.Name == freshet.HeaderCommand && string(h.Value) == (&Drop{}).kind() {
				return i
			}
		}
	}
	return len(raw)
}

// empty deletes what the drop in a record takes, where entities are deleted one by one: each gets a deletion with the place of the drop,
// which counts as if the entity had never been once the drop is decided. After a crash the rest is deleted.
func (p *Processor) empty(ctx context.Context, r *Record) error {
	if !p.opts.DropByDeleting || r.Command != (&Drop{}).kind() {
		return nil
	}
	command, err := decodeCommand(*r)
	if err != nil {
		return err
	}
	for _, bounds := range wire.DropRanges(command.(*Drop).shard()) {
		for lower := bounds[0]; lower != nil; {
			list, next, err := p.standing(r, lower, bounds[1])
			if err != nil {
				return err
			}
			if err := p.delete(ctx, list); err != nil {
				return err
			}
			lower = next
		}
	}
	return nil
}

// standing returns the deletions of the next entities with keys in [lower, upper) that have none by a drop, and where to go on; nil
// where there are no more.
func (p *Processor) standing(r *Record, lower, upper []byte) (list []Decision, next []byte, err error) {
	at := r.Position
	epoch := p.seq.collections.EpochOf(at.Partition, at.Offset)
	err = p.log.Scan(freshet.TopicSync, lower, upper, func(rec broker.Record) error {
		if len(list) == emptyBatch {
			next = bytes.Clone(rec.Key)
			return errEnough
		}
		key, err := wire.ParseKey(rec.Key)
		if err != nil {
			return err
		}
		old, err := wire.DecodeChange(key, rec.Value, wire.Head)
		if err != nil || old.Version.Offset >= at.Offset {
			return err
		}
		version := freshet.Version{Order: old.Version.Order, Epoch: epoch, Offset: at.Offset}
		d := Decision{Change: p.seq.apply(old, &mapped{record: *r}, &mappedDraft{Draft: Draft{Key: key, Op: freshet.OpDelete}}, version),
			Replaces: &Entity{Change: freshet.Change{Key: key, ExpiresAt: old.ExpiresAt}, Offset: rec.Offset}}
		d.Change.Digest = wire.StateDigest(&d.Change, d.PointsDigest)
		list = append(list, d)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, next, err
}

// delete commits deletions, without moving on, and hands them on.
func (p *Processor) delete(ctx context.Context, list []Decision) error {
	if len(list) == 0 {
		return nil
	}
	tx := p.log.Begin()
	changes := make([]freshet.Change, len(list))
	for i := range list {
		if err := p.stageState(tx, &list[i]); err != nil {
			tx.Abort()
			return err
		}
		changes[i] = list[i].Change
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return p.opts.Deliver(ctx, Batch{Changes: changes, Through: p.next - 1, Next: tx.Next()})
}
