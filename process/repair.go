package process

import (
	"bytes"
	"context"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// Repair folds events.raw anew for entities that an audit found to differ, with text and vectors
// this time, and puts the states that it gives into vector.sync where others stand. It returns the
// entities that it has written.
//
// It is the owner that writes, between two batches, and what it writes is the fold up to exactly the record
// where it stands then; so live events are neither lost nor counted twice. An entity of which events.raw and the
// audit base don't give the whole state any more is left as it is, and nothing is deleted because
// the log no longer holds it. What it writes goes to the store like any batch.
func (p *Processor) Repair(ctx context.Context, keys []freshet.Key) (written []freshet.Key, err error) {
	defer p.log.PinRaw()()
	view := p.log.View()
	defer view.Close()
	state := &foldState{entities: map[freshet.Key]folded{}, view: view, seen: map[EventID]remembered{}, whole: map[freshet.Key]*freshet.Change{}}
	for _, key := range keys {
		state.whole[key] = nil
	}
	from, err := state.load(view)
	if err != nil {
		return nil, fmt.Errorf("read the audit base: %w", err)
	}
	end, err := view.Position(Group, freshet.TopicRaw, 0)
	if err != nil {
		return nil, err
	}
	o := p.opts.Sequencer
	o.State, o.Collections, o.AutoCreate = state, settled{o.Collections}, false
	seq := NewSequencer(o)
	raw := &rawReader{reader: view.ReadRaw(from)}
	defer raw.close()
	report := &freshet.AuditReport{}
	on := func(from, end int64) (err error) {
		if seq.recorded, err = readRecorded(p.log, from, end); err == nil {
			err = fold(ctx, p.log.RawTopic(), raw, seq, state, end, report)
		}
		return err
	}
	if err := on(from, end); err != nil {
		return nil, fmt.Errorf("fold %s: %w", freshet.TopicRaw, err)
	}
	for { // live events wait for the rest only
		next := p.Stats.Position.Load()
		if next-end <= MaxBatchRecords {
			break
		}
		if err := on(end, next); err != nil {
			return nil, fmt.Errorf("fold %s: %w", freshet.TopicRaw, err)
		}
		end = next
	}
	err = p.Between(ctx, func() error {
		if err := on(end, max(end, p.next)); err != nil { // what has come since
			return fmt.Errorf("fold %s: %w", freshet.TopicRaw, err)
		}
		changes, next, err := p.put(state, keys)
		if err != nil || len(changes) == 0 {
			return err
		}
		for i := range changes {
			written = append(written, changes[i].Key)
		}
		return p.opts.Deliver(ctx, Batch{Changes: changes, Through: p.next - 1, Next: next})
	})
	return written, err
}

// put writes the states of entities where others stand. It returns them, and the offset of vector.sync behind them.
func (p *Processor) put(state *foldState, keys []freshet.Key) (written []freshet.Change, next int64, err error) {
	tx := p.log.Begin()
	for _, key := range keys {
		want, ok := state.entities[key]
		c := state.whole[key]
		delete(state.whole, key) // a key may be named twice
		if !ok || c == nil || c.Digest != want.digest || c.Version != want.version || state.facts.Gone(c) {
			continue
		}
		done, err := p.putState(tx, c, want)
		if err != nil {
			tx.Abort()
			return nil, 0, fmt.Errorf("repair entity %q: %w", key.Entity, err)
		}
		if done {
			again := *c
			again.Again = true
			written = append(written, again)
		}
	}
	if len(written) == 0 {
		tx.Abort()
		return nil, 0, nil
	}
	err = tx.Commit()
	return written, tx.Next(), err
}

// putState writes a state unless it stands there already.
func (p *Processor) putState(tx broker.Txn, c *freshet.Change, want folded) (done bool, err error) {
	key := wire.AppendKey(nil, c.Key)
	r, ok, err := p.log.Latest(freshet.TopicSync, key, nil)
	if err != nil {
		return false, err
	}
	d := Decision{Change: *c}
	if ok {
		have, err := wire.DecodeChange(c.Key, r.Value, wire.Points)
		if err == nil && (have.Version.After(c.Version) || isClean(&have, want)) {
			return false, nil // it is newer than all that the log gives, or as it should be
		}
		if err == nil {
			d.Replaces = &Entity{Change: have}
		}
	}
	if err := tx.Put(freshet.TopicSync, key, wire.AppendChange(nil, c)); err != nil {
		return false, err
	}
	if err := p.state.note(tx, c, key); err != nil {
		return false, err
	}
	return true, stageExpiry(tx, &d)
}

func isClean(c *freshet.Change, want folded) bool {
	kind, _ := judge(c, want, true)
	return kind == ""
}

// keep notes the whole state of an entity that is to be repaired.
func (f *foldState) keep(d *Decision) {
	if _, wanted := f.whole[d.Change.Key]; !wanted {
		return
	}
	c := d.Change
	c.Metadata = bytes.Clone(c.Metadata)
	if c.Base != nil {
		base := *c.Base
		base.Metadata = bytes.Clone(base.Metadata)
		c.Base = &base
	}
	var points [16]byte
	if len(c.Points) > 0 {
		points = wire.PointsDigest(c.Points)
	}
	if f.whole[c.Key] = &c; d.blank || wire.StateDigest(&c, points) != c.Digest {
		f.whole[c.Key] = nil // it rests on a state that only its digest is known of
	}
}

// recall completes what sequencing gets to know of an entity that is to be repaired.
func (f *foldState) recall(e *Entity) *Entity {
	whole := f.whole[e.Change.Key]
	if whole == nil || whole.Version != e.Change.Version {
		return e
	}
	e.Change = *whole
	e.Change.Points = nil
	e.Points = func() ([]freshet.Point, error) { return whole.Points, nil }
	e.Ready = func() (bool, error) { return isReady(whole.Points), nil }
	e.Recall = nil
	return e
}
