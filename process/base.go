package process

import (
	"bytes"
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
//	'g'                         → JSON, [freshet.AuditGap]: what it does not have; see [Base.Renew]
//
// It is a second reader of events.raw that decides as an audit does. Each batch is one
// transaction with its position, so a crash takes nothing from it but time.
type Base struct {
	// DropByDeleting is as in [Options].
	DropByDeleting bool

	log     broker.Log
	options SequencerOptions
	seq     *Sequencer
	state   *baseState
	member  broker.Member
	next    int64
}

// OpenBase opens the base of a log.
func OpenBase(log broker.Log, o SequencerOptions) (*Base, error) {
	b := &Base{log: log, options: o, member: log.Join(BaseGroup)}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("open audit base: %w", err)
	}
	return b, nil
}

func (b *Base) open() (err error) {
	if b.state, err = openBaseState(b.log, b.options.Window); err != nil {
		return err
	}
	o := b.options
	o.State, o.Collections, o.AutoCreate = b.state, settled{o.Collections}, false
	b.seq = NewSequencer(o)
	b.next, err = b.log.Position(BaseGroup, freshet.TopicRaw, 0)
	return err
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
	raw := &rawReader{reader: b.log.ReadRawAs(b.member, b.next)}
	defer raw.close()
	for b.next < to {
		list, err := raw.below(ctx, to, baseBatch)
		began := time.Now()
		if err == nil {
			err = b.fold(ctx, list, to)
		}
		if err != nil {
			return fmt.Errorf("fold %s into the audit base: %w", freshet.TopicRaw, err)
		}
		if err := rest(ctx, began, hurry); err != nil {
			return err
		}
	}
	return nil
}

// fold takes in the next records in front of an offset; without any there is nothing but what is no record.
func (b *Base) fold(ctx context.Context, list []journal.Record, to int64) error {
	if len(list) == 0 {
		return b.move(to)
	}
	for len(list) > 0 {
		n := len(list)
		if b.DropByDeleting {
			n = cutAtDrop(list)
		}
		batch := records(b.log.RawTopic(), list[:n])
		if b.DropByDeleting {
			if err := b.empty(&batch[0]); err != nil {
				return err
			}
		}
		if err := b.batch(ctx, batch); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// empty takes out what the drop in a record takes, in steps. If it is cut short the rest goes the next time: the drop is decided first
// then, so what is missing is not needed.
func (b *Base) empty(r *Record) error {
	if r.Command != (&Drop{}).kind() {
		return nil
	}
	command, err := decodeCommand(*r)
	if err != nil {
		return err
	}
	for _, bounds := range wire.DropRanges(command.(*Drop).shard()) {
		if err := clearTable(b.log, baseKey(bounds[0]), baseKey(bounds[1]), nil); err != nil {
			return err
		}
	}
	return nil
}

// clearTable takes entries with keys in [lower, upper) out of the table of the base, in steps; with keep not those that it names.
func clearTable(log broker.Log, lower, upper []byte, keep func(key []byte) bool) error {
	for more := true; more; {
		tx := log.Begin()
		n := 0
		err := log.ScanTable(broker.TableBase, lower, upper, func(k, _ []byte) error {
			if keep != nil && keep(k) {
				return nil
			}
			if n == emptyBatch {
				lower = bytes.Clone(k)
				return errEnough
			}
			n++
			return tx.DeleteTable(broker.TableBase, k)
		})
		if more = errors.Is(err, errEnough); more {
			err = nil
		}
		if err == nil && n > 0 {
			err = tx.Commit()
		} else {
			tx.Abort()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rest leaves the processors to live events, after work on the base since a time.
func rest(ctx context.Context, began time.Time, hurry bool) error {
	pause := baseRest * time.Since(began)
	if hurry {
		pause = 0
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// move passes over offsets without records.
func (b *Base) move(to int64) error {
	tx := b.log.Begin()
	if err := tx.Move(b.member, freshet.TopicRaw, 0, to); err != nil {
		tx.Abort()
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	b.next = to
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
	if f.gap, err = readGap(view); err != nil {
		return 0, err
	}
	if f.gap != nil && f.gap.Until == 0 {
		return 0, ErrRenewing
	}
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
