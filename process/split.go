package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
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
	drafts, err := mapSafely(m, r)
	if codeOf(err) == freshet.CodeUnavailable {
		return nil, err
	}
	var common []journal.Header
	if _, plain := m.(Default); !plain && !r.Default {
		common = []journal.Header{{Name: freshet.HeaderMappedAt, Value: strconv.AppendInt(nil, r.AcceptedAt, 10)}}
	}
	switch {
	case err != nil && len(drafts) == 0:
		return []Piece{{Partition: whole, Headers: []journal.Header{RefusedHeader(err)}}}, nil
	case err != nil: // it fails there in the same way, and the dead letter names the entity
		return []Piece{{Partition: wire.Partition(drafts[0].Key, partitions), Headers: common}}, nil
	}
	pieces := make([]Piece, len(drafts))
	for i := range drafts {
		pieces[i] = Piece{Partition: wire.Partition(drafts[i].Key, partitions), Change: i + 1, Headers: common}
		if len(drafts) > 1 {
			number := journal.Header{Name: freshet.HeaderChange, Value: strconv.AppendInt(nil, int64(i+1), 10)}
			pieces[i].Headers = append(common[:len(common):len(common)], number)
		}
	}
	return pieces, nil
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
	Code    freshet.Code `json:"code"`
	Field   string       `json:"field,omitempty"`
	Message string       `json:"message"`
}

// RefusedHeader is the header of an event that can't be mapped: it is a dead letter with that error.
func RefusedHeader(err error) journal.Header {
	r := refusal{Code: freshet.CodeInternal, Message: err.Error()}
	if e, ok := errors.AsType[*freshet.Error](err); ok {
		r = refusal(*e)
	}
	value, _ := json.Marshal(r) // strings: it can't fail
	return journal.Header{Name: freshet.HeaderRefused, Value: value}
}

func parseRefused(value []byte) error {
	var r refusal
	if err := json.Unmarshal(value, &r); err != nil || r.Code == "" {
		return &freshet.Error{Code: freshet.CodeInternal, Message: fmt.Sprintf("the header %s is malformed: %.200q", freshet.HeaderRefused, value)}
	}
	e := freshet.Error(r)
	return &e
}
