package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/wire"
)

// BaseGroup is the name under which the audit base keeps its position.
const BaseGroup = "audit"

// baseRest is how long the base pauses after a batch, in times of what the batch took: live events come first.
const baseRest = 3

// baseBatch is how many records the base takes at once. It is less than a batch of processing,
// which it shares the processors with.
const baseBatch = 1024

// Base is what an audit begins with when events.raw is not kept from its first record: the fold
// of the records that have been cut off, kept in a state table of the log.
//
//	'e' key                     → version (20), revision (4), op (1), uvarint events, digests of content, points and state (16 each),
//	                              varint accepted at and expires at (ms), flags (1): 1 blank, 2 patched, and if patched 4 own text, 8 ready,
//	                              digest of the base (16), str text, bytes metadata
//	't' class, age, key         → nothing: tombstones, as in [tombstones]
//	'i', 'n', 'f'               → event ids and what commands have said, as in the table of processing
//
// It is a second reader of events.raw that decides as an audit does. Each batch is one
// transaction with its position, so a crash takes nothing from it but time.
type Base struct {
	log    broker.Log
	seq    *Sequencer
	state  *baseState
	member broker.Member
	next   int64
}

// OpenBase opens the base of a log.
func OpenBase(log broker.Log, o SequencerOptions) (*Base, error) {
	state, err := openBaseState(log, o.Window)
	if err != nil {
		return nil, fmt.Errorf("open audit base: %w", err)
	}
	b := &Base{log: log, state: state, member: log.Join(BaseGroup)}
	o.State, o.Collections, o.AutoCreate = state, settled{o.Collections}, false
	b.seq = NewSequencer(o)
	b.next, err = log.Position(BaseGroup, freshet.TopicRaw, 0)
	return b, err
}

// Position is the offset up to which the base has folded events.raw.
func (b *Base) Position() int64 { return b.next }

// Advance folds the records below an offset into the base. They must be decided. When it
// fails or is cut short it goes on from there the next time. It leaves the processors to live events most of the
// time, unless it is to hurry.
func (b *Base) Advance(ctx context.Context, to int64, hurry bool) error {
	if b.next >= to {
		return nil
	}
	decided, err := readRecorded(b.log, b.next, to)
	if err != nil {
		return fmt.Errorf("read %s: %w", freshet.TopicDead, err)
	}
	b.seq.recorded = decided
	reader := b.log.ReadRaw(b.next)
	defer reader.Close()
	var raw []journal.Record
	for b.next < to {
		if raw, err = reader.Next(ctx, raw[:0], readBytes); err != nil {
			return fmt.Errorf("fold %s into the audit base: %w", freshet.TopicRaw, err)
		}
		for len(raw) > 0 && raw[0].Offset < to {
			n := min(len(raw), baseBatch, int(to-raw[0].Offset))
			began := time.Now()
			if err := b.batch(ctx, records(b.log.RawTopic(), raw[:n])); err != nil {
				return fmt.Errorf("fold %s into the audit base: %w", freshet.TopicRaw, err)
			}
			raw = raw[n:]
			rest := baseRest * time.Since(began)
			if hurry {
				rest = 0
			}
			select {
			case <-time.After(rest):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (b *Base) batch(ctx context.Context, batch []Record) error {
	var t Timing
	d, err := b.seq.Decide(ctx, batch, &t)
	if err != nil {
		return err
	}
	next := batch[len(batch)-1].Position.Offset + 1
	tx := b.log.Begin()
	before := *b.state.seenTable
	if err = b.state.stageAll(tx, d); err == nil {
		err = tx.Move(b.member, freshet.TopicRaw, 0, next)
	}
	if err != nil {
		tx.Abort()
	} else {
		err = tx.Commit()
	}
	if err != nil {
		*b.state.seenTable = before
		return err
	}
	b.state.take(d.Facts)
	b.next = next
	return nil
}

// sweepFates forgets what became of dead letters whose commands the base has passed, and every audit that is under way; at
// most so many at once.
func (b *Base) sweepFates(most int) (more bool, err error) {
	passed := min(b.next, b.log.RawPinned())
	tx := b.log.Begin()
	n := 0
	err = b.log.ScanTable(broker.TableProcess, []byte{'d'}, append([]byte{'d'}, wire.DeadLetterKey(passed, 0)...), func(k, v []byte) error {
		f, err := parseFate(k, v)
		if err != nil || f.by >= passed {
			return err
		}
		if n == most {
			return errEnough
		}
		n++
		return tx.DeleteTable(broker.TableProcess, k)
	})
	if more = errors.Is(err, errEnough); more {
		err = nil
	}
	if err != nil || n == 0 {
		tx.Abort()
		return false, err
	}
	return more, tx.Commit()
}

// Sweep forgets tombstones of the base that are gone and what became of old dead letters, at most so many of each, and
// reports whether there may be more.
func (b *Base) Sweep(most int) (more bool, err error) {
	if more, err = b.sweepFates(most); err != nil {
		return false, err
	}
	gone, err := b.state.between(b.log, Purge{}, b.state.facts.Purge, nil, most)
	if err != nil || len(gone) == 0 {
		return more, err
	}
	tx := b.log.Begin()
	for _, t := range gone {
		e, ok, err := b.state.entity(t.key)
		if err == nil && ok && b.state.facts.Gone(e.change()) {
			err = tx.DeleteTable(broker.TableBase, baseKey(t.key))
		}
		if err == nil {
			err = tx.DeleteTable(broker.TableBase, t.entry)
		}
		if err != nil {
			tx.Abort()
			return false, err
		}
	}
	return more || len(gone) == most, tx.Commit()
}

// baseState is the State of the base.
type baseState struct {
	*seenTable
	*factTable
	tombstones
	log broker.Log
}

func openBaseState(log broker.Log, w Window) (*baseState, error) {
	seen, err := openSeen(log, broker.TableBase, w)
	if err != nil {
		return nil, err
	}
	facts, err := openFacts(log, broker.TableBase)
	return &baseState{seenTable: seen, factTable: facts, tombstones: tombstones{broker.TableBase}, log: log}, err
}

func baseKey(key []byte) []byte { return append([]byte{'e'}, key...) }

// Latest implements State.
func (s *baseState) Latest(key freshet.Key) (*Entity, error) {
	e, ok, err := s.entity(wire.AppendKey(nil, key))
	if err != nil || !ok {
		return nil, err
	}
	return e.entity(key, s.read), nil
}

// Dead implements State. A base asks its own record of it.
func (s *baseState) Dead(int64, int) (bool, Refusal, error) { return false, NotRefused, nil }

func (s *baseState) read(topic string, key []byte) (broker.Record, bool, error) {
	return s.log.Latest(topic, key, nil)
}

func (s *baseState) entity(key []byte) (folded, bool, error) {
	v, ok, err := s.log.GetTable(broker.TableBase, baseKey(key))
	if err != nil || !ok {
		return folded{}, false, err
	}
	e, err := parseFolded(v)
	return e, err == nil, err
}

// stageAll adds what a batch has decided to its transaction.
func (s *baseState) stageAll(tx broker.Txn, d *Decided) error {
	for _, name := range d.Drops {
		for _, r := range wire.DropRanges(name) {
			if err := tx.DeleteTableRange(broker.TableBase, baseKey(r[0]), baseKey(r[1])); err != nil {
				return err
			}
		}
	}
	for i := range d.Changes {
		c := &d.Changes[i].Change
		key := wire.AppendKey(nil, c.Key)
		old, _, err := s.entity(key)
		if err != nil {
			return err
		}
		e := old.next(&d.Changes[i])
		if err := tx.SetTable(broker.TableBase, baseKey(key), e.append(nil)); err != nil {
			return err
		}
		if err := s.note(tx, c, key); err != nil {
			return err
		}
	}
	if err := s.stage(tx, d.Seen); err != nil {
		return err
	}
	return errors.Join(s.stageFacts(tx, d.Facts), s.stageDrops(tx, d))
}

// load fills the state of an audit with the base as it stands in a view, and returns the offset that the
// fold goes on from.
func (f *foldState) load(view broker.View) (from int64, err error) {
	if from, err = view.Position(BaseGroup, freshet.TopicRaw, 0); err != nil || from == 0 {
		return 0, err
	}
	err = view.ScanTable(broker.TableBase, nil, nil, func(k, v []byte) error {
		switch k[0] {
		case 'e':
			key, err := wire.ParseKey(k[1:])
			if err != nil {
				return err
			}
			f.entities[key], err = parseFolded(v)
			return err
		case 'i':
			if len(k) != 1+len(EventID{}) {
				return fmt.Errorf("event id %x: damaged", k)
			}
			r, err := parseRemembered(v)
			f.seen[EventID(k[1:])] = r
			if err == nil && r.number >= f.next {
				f.next, f.lastAt = r.number+1, r.at
			}
			return err
		case 'f':
			return f.facts.parse(k, v)
		}
		return nil
	})
	return from, err
}
