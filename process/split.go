package process

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/wire"
)

// Piece is what one partition has to decide of an event: a record of events.keyed, with the event's own value and headers.
type Piece struct {
	Partition int32
	Change    int              // the number, from 1, of the change of the event; 0 = the event as a whole
	Headers   []journal.Header // besides those of the event
}

// Split takes an event apart where each partition is decided by itself, by the mapping that its records are decided with later: a
// piece for each change, in the partition of its entity. There is none if the event gives no change. One that can't be mapped is a
// piece as a whole: with the entity that it is of, or else in the given partition. r.Position does not count. The
// error is of what mapping needs, and not of the event.
func Split(m Mapper, r Record, partitions int, whole int32) ([]Piece, error) {
	if _, plain := m.(Default); plain || r.Default {
		// One change of the entity that it names; what else may be wrong is found where it is decided.
		if ev, err := codec.ParseEvent(r.Value, codec.Addressed); err == nil {
			return []Piece{{Partition: wire.Partition(ev.Key, partitions), Change: 1, Headers: pieceHeaders(m, r, 1, 1)}}, nil
		}
	}
	drafts, err := mapSafely(m, r)
	if codeOf(err) == freshet.CodeUnavailable {
		return nil, err
	}
	switch {
	case err != nil && len(drafts) == 0:
		return []Piece{{Partition: whole, Headers: []journal.Header{RefusedHeader("map", err)}}}, nil
	case err != nil: // it fails there in the same way, and the dead letter names the entity
		return []Piece{{Partition: wire.Partition(drafts[0].Key, partitions), Headers: pieceHeaders(m, r, 1, 1)}}, nil
	}
	pieces := make([]Piece, len(drafts))
	for i := range drafts {
		pieces[i] = Piece{Partition: wire.Partition(drafts[i].Key, partitions), Change: i + 1, Headers: pieceHeaders(m, r, i+1, len(drafts))}
	}
	return pieces, nil
}

// pieceHeaders are the headers of the piece for one change, from 1, of so many that an event gives.
func pieceHeaders(m Mapper, r Record, change, of int) (list []journal.Header) {
	if _, plain := m.(Default); !plain && !r.Default {
		list = append(list, journal.Header{Name: freshet.HeaderMappedAt, Value: strconv.AppendInt(nil, cmp.Or(r.MappedAt, r.AcceptedAt), 10)})
	}
	if of > 1 {
		list = append(list, journal.Header{Name: freshet.HeaderChange, Value: strconv.AppendInt(nil, int64(change), 10)})
	}
	return list
}

// EventHeaders are the headers that an event has beside its value: source, trace, and that it is of the default mapping.
func EventHeaders(source, trace string, byDefault bool) (list []journal.Header) {
	if source != "" {
		list = append(list, journal.Header{Name: freshet.HeaderSource, Value: []byte(source)})
	}
	if trace != "" {
		list = append(list, journal.Header{Name: freshet.HeaderTrace, Value: []byte(trace)})
	}
	if byDefault {
		list = append(list, journal.Header{Name: freshet.HeaderDefaultEvent, Value: []byte{1}})
	}
	return list
}

// handed is a change of an event that is handed on to the partition of its entity, in the transaction that settles the dead letter
// that it comes of. from is the offset of the replay.
type handed struct {
	key    freshet.Key
	from   int64
	change int
	record journal.Record
}

// isElsewhere reports whether a draft is for another partition to decide. One that could not be mapped fails anywhere.
func (s *Sequencer) isElsewhere(d *mappedDraft) bool {
	return s.owns != nil && !s.owns(d.Key) && (d.err == nil || stageOf(d.err) != "map")
}

// handOn hands on a draft of an event that a command has had mapped again, unless its shard was dropped since the event came.
func (p *plan) handOn(m Mapper, command, event *mapped, draft int) {
	r := &event.record
	if p.facts.predates(event.drafts[draft].Key, freshet.Version{Offset: r.Position.Offset}) {
		p.outcomes.Superseded++
		return
	}
	p.others = append(p.others, handed{key: event.drafts[draft].Key, from: command.record.Position.Offset, change: draft + 1, record: journal.Record{
		Value: r.Value, Headers: append(pieceHeaders(m, *r, draft+1, len(event.drafts)), EventHeaders(r.Source, r.Trace, r.Default)...)}})
}

// stageOthers adds what other partitions have to decide to the transaction.
func stageOthers(tx broker.Txn, list []handed) error {
	if len(list) == 0 {
		return nil
	}
	others, ok := tx.(broker.Forwarder)
	if !ok {
		return errors.New("the log has no other partitions to hand changes on to")
	}
	for _, h := range list {
		if err := others.Forward(h.key, h.from, h.change, h.record); err != nil {
			return err
		}
	}
	return nil
}

// mapSafely is mapRecord, with a panic as an error.
func mapSafely(m Mapper, r Record) (drafts []Draft, err error) {
	defer func() {
		if r := recover(); r != nil {
			drafts, err = nil, panicked(r)
		}
	}()
	return mapRecord(m, r)
}

// panicked is the error of a mapping that panicked.
func panicked(r any) error {
	return &freshet.Error{Code: freshet.CodeInternal, Message: fmt.Sprintf("the mapping panicked: %v\n%s", r, debug.Stack())}
}

// mapRecord maps a record by a mapper, or as an event of the default mapping where the record says that it is one. An error
// has a code.
func mapRecord(m Mapper, r Record) (drafts []Draft, err error) {
	if r.Default {
		m = Default{}
	}
	if r.MappedAt > 0 {
		r.AcceptedAt = r.MappedAt
	}
	if drafts, err = m.Map(r); err != nil {
		err = coded(freshet.CodeMappingFailed, err)
	}
	return drafts, err
}

// refusal is the value of the header freshet.refused.
type refusal struct {
	Stage   string       `json:"stage,omitempty"` // absent: map
	Code    freshet.Code `json:"code"`
	Field   string       `json:"field,omitempty"`
	Message string       `json:"message"`
}

// StageDecode is the stage of events that could not be read in the form that they came in. What they came with beside their value is
// not kept, so they can't be read again.
const StageDecode = "decode"

// RefusedHeader is the header of an event that failed at a stage, StageDecode or "map": it is a dead letter with that error.
func RefusedHeader(stage string, err error) journal.Header {
	r := refusal{Code: freshet.CodeInternal, Message: err.Error()}
	if e, ok := errors.AsType[*freshet.Error](err); ok {
		r = refusal{Code: e.Code, Field: e.Field, Message: e.Message}
	}
	if stage != "map" {
		r.Stage = stage
	}
	value, _ := json.Marshal(r) // strings: it can't fail
	return journal.Header{Name: freshet.HeaderRefused, Value: value}
}

func parseRefused(value []byte) error {
	var r refusal
	if err := json.Unmarshal(value, &r); err != nil || r.Code == "" {
		return staged("map", &freshet.Error{Code: freshet.CodeInternal, Message: fmt.Sprintf("the header %s is malformed: %.200q", freshet.HeaderRefused, value)})
	}
	return staged(cmp.Or(r.Stage, "map"), &freshet.Error{Code: r.Code, Field: r.Field, Message: r.Message})
}
