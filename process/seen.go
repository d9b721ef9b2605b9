package process

import (
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet/broker"
)

// Window bounds how long an event id is remembered.
//
// Its clock is the time at which events were accepted, or that of the id that was remembered
// last where the server's clock has been set back since: it never runs back, so an id that is
// too old once stays so, and what a replay decides does not depend on when old ids are swept.
type Window struct {
	MaxAgeMs int64
	MaxIDs   uint64
}

// DefaultWindow is 24 hours or 10 million ids, whichever is less.
var DefaultWindow = Window{MaxAgeMs: 24 * 3600 * 1000, MaxIDs: 10_000_000}

// covers reports whether an id remembered as number n at a time counts for an event accepted
// at now, when next is the number of the next id.
func (w Window) covers(n uint64, at int64, next uint64, now int64) bool {
	return now-at <= w.MaxAgeMs && next-n <= w.MaxIDs
}

// seenTable is the event ids of the dedupe window, in a state table of the log:
//
//	'i' id (16 bytes)         → number (8), time of the window (8)
//	'n' number (8)            → id
//
// Numbers count the remembered ids. Only the committing goroutine uses it.
type seenTable struct {
	log    broker.Log
	table  broker.Table
	window Window
	next   uint64 // number of the next id
	oldest uint64 // no id with a lower number is stored
	lastAt int64  // time of the id with the highest number
}

func openSeen(log broker.Log, table broker.Table, w Window) (*seenTable, error) {
	t := &seenTable{log: log, table: table, window: w}
	first, last, ok, err := log.TableBounds(table, []byte{'n'}, []byte{'n' + 1})
	if err != nil {
		return nil, fmt.Errorf("read event ids: %w", err)
	}
	if !ok {
		return t, nil
	}
	t.oldest = binary.BigEndian.Uint64(first[1:])
	t.next = binary.BigEndian.Uint64(last[1:]) + 1
	return t, t.readLast()
}

// readLast reads the time of the id that was remembered last.
func (t *seenTable) readLast() error {
	id, _, err := t.log.GetTable(t.table, numberKey(t.next-1))
	if err == nil && len(id) != len(EventID{}) {
		err = fmt.Errorf("number %d stands for %d bytes: damaged", t.next-1, len(id))
	}
	if err == nil {
		_, t.lastAt, _, err = t.Seen(EventID(id))
	}
	if err != nil {
		return fmt.Errorf("read event ids: %w", err)
	}
	return nil
}

func idKey(id EventID) []byte { return append([]byte{'i'}, id[:]...) }

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'n'}, n) }

// Seen implements State.
func (t *seenTable) Seen(id EventID) (number uint64, at int64, ok bool, err error) {
	v, ok, err := t.log.GetTable(t.table, idKey(id))
	if err != nil || !ok {
		return 0, 0, false, err
	}
	r, err := parseRemembered(v)
	return r.number, r.at, err == nil, err
}

// remembered is an event id in the dedupe window.
type remembered struct {
	number uint64
	at     int64
}

func parseRemembered(v []byte) (remembered, error) {
	if len(v) != 16 {
		return remembered{}, fmt.Errorf("an event id has %d bytes: damaged", len(v))
	}
	return remembered{binary.BigEndian.Uint64(v), int64(binary.BigEndian.Uint64(v[8:]))}, nil
}

// NextID implements State.
func (t *seenTable) NextID() uint64 { return t.next }

// LastAt implements State.
func (t *seenTable) LastAt() int64 { return t.lastAt }

// stage adds the ids of a batch to its transaction, and sweeps as many old ones as fell out
// of the window, a bounded number at a time. It sweeps first: an id that the batch remembers
// anew must not go with its old number.
func (t *seenTable) stage(tx broker.Txn, ids []seenID) error {
	if len(ids) == 0 {
		return nil
	}
	if err := t.sweep(tx, 2*len(ids), t.next+uint64(len(ids)), ids[len(ids)-1].at); err != nil {
		return err
	}
	for _, s := range ids {
		v := binary.BigEndian.AppendUint64(nil, t.next)
		v = binary.BigEndian.AppendUint64(v, uint64(s.at))
		if err := tx.SetTable(t.table, idKey(s.id), v); err != nil {
			return err
		}
		if err := tx.SetTable(t.table, numberKey(t.next), s.id[:]); err != nil {
			return err
		}
		t.next++
		t.lastAt = s.at
	}
	return nil
}

// sweep forgets at most so many of the oldest ids that don't count any more when next is the
// number of the next one.
func (t *seenTable) sweep(tx broker.Txn, most int, next uint64, now int64) error {
	for ; most > 0 && t.oldest < t.next; most-- {
		id, ok, err := t.log.GetTable(t.table, numberKey(t.oldest))
		if err != nil {
			return err
		}
		if ok {
			v, ok, err := t.log.GetTable(t.table, append([]byte{'i'}, id...))
			if err != nil {
				return err
			}
			if ok && len(v) == 16 && binary.BigEndian.Uint64(v) == t.oldest { // not remembered anew since
				if t.window.covers(t.oldest, int64(binary.BigEndian.Uint64(v[8:])), next, now) {
					return nil
				}
				if err := tx.DeleteTable(t.table, append([]byte{'i'}, id...)); err != nil {
					return err
				}
			}
			if err := tx.DeleteTable(t.table, numberKey(t.oldest)); err != nil {
				return err
			}
		}
		t.oldest++
	}
	return nil
}
