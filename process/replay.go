package process

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// Replay is the command that has the event of a dead letter decided again, with its original
// version, while the collections are those that exist by now. If it has its effect now, or is
// superseded, the dead letter goes; else it stays, with one attempt more, and nothing else is done. Where
// the dead letter is of a whole event that gives several changes now, its first one decides, and others that fail
// become dead letters of their own. It has no effect when the dead letter is not there any more.
//
// Where each partition is decided by itself, a change of an entity of another one is handed on: the dead letter goes, and the change
// stands there as an event of that moment, for where it would have stood nobody knows.
type Replay struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Ordinal   int    `json:"ordinal"`
	Whole     bool   `json:"whole,omitempty"` // the dead letter is of the whole record, not of one change of it
	Attempts  int    `json:"attempts"`        // so far
	At        int64  `json:"at"`              // ms, when the event became durable
	Source    string `json:"source,omitempty"`
	Trace     string `json:"trace,omitempty"`
	Default   bool   `json:"default,omitempty"`
	MappedAt  int64  `json:"mapped_at,omitempty"` // ms; see [Record]
	Value     []byte `json:"value"`
}

// ReplayOf is the command for a dead letter.
func ReplayOf(l *freshet.DeadLetter) *Replay {
	return &Replay{Partition: l.Position.Partition, Offset: l.Position.Offset, Ordinal: l.Ordinal, Whole: l.Whole,
		Attempts: l.Attempts, At: l.At, Source: l.Source, Trace: l.Trace, Default: l.Default, MappedAt: l.MappedAt, Value: l.Value}
}

func (*Replay) kind() string { return "replay" }

func (*Replay) say(*plan) {}

// record is the record of a topic that the dead letter was made of.
func (c *Replay) record(topic string) Record {
	return Record{Position: freshet.Position{Topic: topic, Partition: c.Partition, Offset: c.Offset},
		AcceptedAt: c.At, Source: c.Source, Trace: c.Trace, Default: c.Default, MappedAt: c.MappedAt, Value: c.Value}
}

func (c *Replay) do(s *Sequencer, p *plan, m *mapped, at spot, known *made) error {
	place := letter{c.Offset, c.Ordinal}
	there, refused, err := s.deadLetter(p, place, m.record.Position.Offset)
	if err != nil || !there {
		return err
	}
	p.take(fate{place, refused, m.record.Position.Offset})
	p.outcomes.Replayed++
	event := m.replayed
	if event.err != nil {
		if s.recorded != nil && codeOf(event.err) == freshet.CodeUnknownSchema {
			return gone(event.err)
		}
		p.bury(event, c.Ordinal, nil, stageOf(event.err), event.err)
		p.settleReplay(place, c, refused)
	}
	for k := range event.drafts {
		if !c.decides(k) {
			continue
		}
		d := &event.drafts[k]
		if s.isElsewhere(d) {
			p.handOn(s.mapper, m, event, k)
			continue
		}
		err := s.decide(p, event, d, spot{at.record, k}, known)
		if err == nil {
			continue
		}
		if !isRefusal(err) {
			return err
		}
		p.bury(event, k, d, stageOf(err), err)
		if k == c.Ordinal {
			// Its dead letter stays, so an audit passes over this command: it must have no other effect.
			p.settleReplay(place, c, refused)
			return nil
		}
	}
	return nil
}

// decides reports whether a change of the event is decided.
func (c *Replay) decides(ordinal int) bool { return c.Whole || ordinal == c.Ordinal }

// deadLetter reports whether a dead letter is there when the command at an offset is decided, and
// what an audit takes of it as it is. In an audit it is there if the command was what took it.
func (s *Sequencer) deadLetter(p *plan, at letter, command int64) (there bool, refused Refusal, err error) {
	if s.recorded != nil {
		f, ok := s.recorded.fates[at]
		return ok && f.by == command, f.refused, nil
	}
	for i := range p.dead {
		if l := &p.dead[i]; at == (letter{l.Position.Offset, l.Ordinal}) {
			return true, refusalOf(l), nil
		}
	}
	if _, gone := p.fates[at]; gone {
		return false, NotRefused, nil
	}
	return s.state.Dead(at.offset, at.ordinal)
}

// letter is what names a dead letter.
type letter struct {
	offset  int64
	ordinal int
}

// fate is what became of a dead letter.
type fate struct {
	letter
	refused Refusal
	by      int64 // offset of the command that replayed it; dropped when none did
}

// dropped stands for a command where a dead letter was dropped by hand.
const dropped int64 = -1

// Refusal says what an audit takes of a dead letter as it is, for it can't find out by itself.
type Refusal uint8

// What an audit takes as it is.
const (
	NotRefused    Refusal = 0
	RefusedDraft  Refusal = 1 // by its embedder, or by what it was to patch
	RefusedRecord Refusal = 2 // the schema registry did not know its schema, and may know it now
)

func refusalOf(l *freshet.DeadLetter) Refusal {
	switch {
	case l.Class == freshet.CodeUnknownSchema:
		return RefusedRecord
	case l.Stage == "embed" || l.Stage == "patch":
		return RefusedDraft
	}
	return NotRefused
}

// gone is the error of an audit that meets a schema which was there when the record was decided.
func gone(err error) error {
	return fmt.Errorf("a record that was decided can't be read any more: %w; put its schema back into the schema registry under its id", err)
}

// take lets a dead letter go.
func (p *plan) take(f fate) {
	if p.fates == nil {
		p.fates = map[letter]fate{}
	}
	p.fates[f.letter] = f
	for i := range p.dead { // of this batch
		if l := &p.dead[i]; f.letter == (letter{l.Position.Offset, l.Ordinal}) {
			p.dead = append(p.dead[:i:i], p.dead[i+1:]...)
			break
		}
	}
}

// settleReplay keeps a dead letter whose replay has failed. An audit must learn of it what it was refused for.
func (p *plan) settleReplay(at letter, c *Replay, refused Refusal) {
	for i := range p.dead {
		l := &p.dead[i]
		if at == (letter{l.Position.Offset, l.Ordinal}) {
			l.Attempts, l.Whole = c.Attempts+1, c.Whole
			if refused == RefusedRecord {
				l.Class = freshet.CodeUnknownSchema
			}
			delete(p.fates, at)
			p.outcomes.Dead--
			p.outcomes.Replayed--
			return
		}
	}
}

// The fates of dead letters stand in the state table of processing, for audits:
//
//	'd' offset (8), ordinal (4), big-endian → refusal (1); offset of the command (8, big-endian), all ones when it was dropped
func (f *fate) entry() (key, value []byte) {
	return append([]byte{'d'}, wire.DeadLetterKey(f.offset, f.ordinal)...), binary.BigEndian.AppendUint64([]byte{byte(f.refused)}, uint64(f.by))
}

func parseFate(k, v []byte) (f fate, err error) {
	if len(k) != 13 || len(v) != 9 || v[0] > byte(RefusedRecord) {
		return f, fmt.Errorf("what became of dead letter %x is damaged", k)
	}
	f.offset, f.ordinal = int64(binary.BigEndian.Uint64(k[1:])), int(binary.BigEndian.Uint32(k[9:]))
	f.refused, f.by = Refusal(v[0]), int64(binary.BigEndian.Uint64(v[1:]))
	return f, nil
}

// stageFate lets a dead letter go in a transaction. Of one that an audit finds out about by itself
// nothing is kept when it is dropped.
func stageFate(tx broker.Txn, f *fate) error {
	if f.refused != NotRefused || f.by != dropped {
		k, v := f.entry()
		if err := tx.SetTable(broker.TableProcess, k, v); err != nil {
			return err
		}
	}
	return tx.Remove(freshet.TopicDead, wire.DeadLetterKey(f.offset, f.ordinal))
}

// Dead implements State.
func (s *logState) Dead(offset int64, ordinal int) (there bool, refused Refusal, err error) {
	r, ok, err := s.log.Latest(freshet.TopicDead, wire.DeadLetterKey(offset, ordinal), nil)
	if err != nil || !ok {
		return false, NotRefused, err
	}
	l, err := wire.DecodeDeadLetter(r.Value)
	return err == nil, refusalOf(&l), err
}

// CanReplay reports whether the event of a dead letter can be decided again.
func CanReplay(l *freshet.DeadLetter) bool { return l.Stage != StageDecode }

// AppendReplays puts commands into a log that have the events of its dead letters decided again, and returns the offset of the last. They
// have their effect when that is decided. Those that [CanReplay] excludes are left out; -1 says that there are no others.
func AppendReplays(ctx context.Context, log Appender, letters []freshet.DeadLetter) (last int64, err error) {
	var list []Command
	for i := range letters {
		if CanReplay(&letters[i]) {
			list = append(list, ReplayOf(&letters[i]))
		}
	}
	if len(list) == 0 {
		return -1, nil
	}
	return appendCommands(ctx, log, list)
}

// Replay is [AppendReplays] for the processor's own log.
func (p *Processor) Replay(ctx context.Context, letters []freshet.DeadLetter) (last int64, err error) {
	return AppendReplays(ctx, p.log, letters)
}

// Drop removes dead letters for good, all of them that are there still, and returns how many. It is durable then.
func (p *Processor) Drop(ctx context.Context, letters []freshet.DeadLetter) (n int, err error) {
	err = p.Between(ctx, func() error {
		tx := p.log.Begin()
		for i := range letters {
			at := letters[i].Position.Offset
			there, refused, err := p.state.Dead(at, letters[i].Ordinal)
			if err == nil && there {
				n++
				err = stageFate(tx, &fate{letter{at, letters[i].Ordinal}, refused, dropped})
			}
			if err != nil {
				tx.Abort()
				return err
			}
		}
		return tx.CommitDurable(disk.DeadDropped)
	})
	return n, err
}
