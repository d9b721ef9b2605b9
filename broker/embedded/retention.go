package embedded

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// retention is who still reads the head of events.raw.
type retention struct {
	mu   sync.Mutex // guards pins, and is held while the journal is cut
	pins map[*int64]struct{}
}

// PinRaw keeps the records of events.raw that are there until release is called.
func (l *Log) PinRaw() (release func()) {
	l.retention.mu.Lock()
	defer l.retention.mu.Unlock()
	from := l.RawFirst()
	pin := &from
	if l.retention.pins == nil {
		l.retention.pins = map[*int64]struct{}{}
	}
	l.retention.pins[pin] = struct{}{}
	return func() {
		l.retention.mu.Lock()
		defer l.retention.mu.Unlock()
		delete(l.retention.pins, pin)
	}
}

// RawPinned is the offset from which on somebody keeps the records of events.raw; the end when nobody does.
func (l *Log) RawPinned() int64 {
	l.retention.mu.Lock()
	defer l.retention.mu.Unlock()
	lowest := l.RawEnd()
	for pin := range l.retention.pins {
		lowest = min(lowest, *pin)
	}
	return lowest
}

// RawSegments returns the segments of events.raw that may be cut off, oldest first.
func (l *Log) RawSegments() ([]journal.SegmentInfo, error) { return l.journal.Segments() }

// SetSegmentBytes replaces Options.SegmentBytes for the segments that are written from now on, the present one included.
func (l *Log) SetSegmentBytes(n int64) { l.journal.SetSegmentBytes(n) }

// CutRaw removes segments of events.raw whose records lie below an offset, as far as none is
// pinned, and returns how many bytes they had. What was derived from them is made durable first.
func (l *Log) CutRaw(below int64) (freed int64, err error) {
	if err := l.Sync(disk.RetentionState); err != nil {
		return 0, err
	}
	l.retention.mu.Lock()
	defer l.retention.mu.Unlock()
	for pin := range l.retention.pins {
		below = min(below, *pin)
	}
	return l.journal.Cut(below)
}

// Purged says how far the deletions of a scope are forgotten: who knows the topic only from
// before Through may have missed one. End is the end of the topic at the last time.
type Purged struct{ Through, End int64 }

func purgedKey(number byte, scope string) []byte {
	return append([]byte{number, 'p'}, scope...)
}

// Purged returns what has been purged of a scope; of all scopes for "". Through and End are 0
// when nothing has.
func (l *State) Purged(topic, scope string) (Purged, error) {
	number, err := topicNumber(topic)
	if err != nil {
		return Purged{}, err
	}
	return readPurged(l.db, purgedKey(number, scope))
}

// PurgedIn is Purged of all shards of a collection; it looks at each that something was purged of.
func (l *State) PurgedIn(topic, collection string) (all Purged, err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return Purged{}, err
	}
	lower := purgedKey(number, PurgeScope(freshet.Shard{Collection: collection}))
	upper := append(slices.Clone(lower[:len(lower)-1]), 1) // no name of a collection has the byte 0x00
	err = l.iterate(lower, upper, func(k, v []byte) error {
		p, err := parsePurged(k, v)
		all = Purged{max(all.Through, p.Through), max(all.End, p.End)}
		return err
	})
	return all, err
}

func readPurged(r pebble.Reader, key []byte) (p Purged, err error) {
	v, closer, err := r.Get(key)
	if err == pebble.ErrNotFound {
		return Purged{}, nil
	}
	if err != nil {
		return Purged{}, fmt.Errorf("read what was purged: %w", err)
	}
	defer closer.Close()
	return parsePurged(key, v)
}

func parsePurged(key, v []byte) (Purged, error) {
	if len(v) != 2*offsetBytes {
		return Purged{}, fmt.Errorf("what was purged (%q) is damaged", key)
	}
	return Purged{int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[offsetBytes:]))}, nil
}

// Purge takes records of one shard out of a compacted topic without a trace: unlike [Txn.Remove] it leaves
// no entry by which a reader that is behind finds out. What it leaves is the shard's [Purged].
func (t *Txn) Purge(topic string, shard freshet.Shard, records []Record) error {
	number, err := topicNumber(topic)
	if err != nil || len(records) == 0 {
		return err
	}
	through := int64(0)
	for _, r := range records {
		if err := t.batch.Delete(orderKey(number, r.Offset), nil); err != nil {
			return err
		}
		if err := t.batch.Delete(latestKey(number, r.Key), nil); err != nil {
			return err
		}
		through = max(through, r.Offset+1)
	}
	for _, s := range []string{PurgeScope(shard), ""} {
		old, err := readPurged(t.l.db, purgedKey(number, s))
		if err != nil {
			return err
		}
		if t.purged == nil {
			t.purged = map[string]int64{}
		}
		t.purged[s] = max(t.purged[s], old.Through, through)
		v := binary.BigEndian.AppendUint64(nil, uint64(t.purged[s]))
		v = binary.BigEndian.AppendUint64(v, uint64(t.l.next[number].Load()))
		if err := t.batch.Set(purgedKey(number, s), v, nil); err != nil {
			return err
		}
	}
	return nil
}

// PurgeScope names a shard as a scope of [State.Purged].
func PurgeScope(s freshet.Shard) string { return s.Collection + "\x00" + s.Namespace }
