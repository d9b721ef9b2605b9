package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// View is the state of the log at one instant: topics and positions agree with each other.
// Close releases it. It is safe for concurrent use.
type View struct {
	snap *pebble.Snapshot
}

// View returns the present state.
func (l *State) View() *View { return &View{snap: l.db.NewSnapshot()} }

// Position is the next offset that a group had to read.
func (v *View) Position(group, topic string, partition int32) (int64, error) {
	value, closer, err := v.snap.Get(positionKey(group, topic, partition))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	defer closer.Close()
	if len(value) != offsetBytes {
		return 0, errors.New("the position is damaged")
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}

// Latest returns the latest record of a key.
func (v *View) Latest(topic string, key []byte) (r Record, ok bool, err error) {
	return latest(v.snap, topic, key, nil)
}

// Scan calls yield for the latest record of each key of a topic, in order of key; Key and
// Value are valid during the call only.
func (v *View) Scan(topic string, yield func(Record) error) error {
	return v.Range(topic, nil, nil, yield)
}

// Range is Scan for the keys in [lower, upper); nil bounds are open.
func (v *View) Range(topic string, lower, upper []byte, yield func(Record) error) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	end := []byte{number, 'k' + 1}
	if upper != nil {
		end = latestKey(number, upper)
	}
	return iterate(v.snap, latestKey(number, lower), end, func(k, value []byte) error {
		r, err := parseRecord(k[2:], value)
		if err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
		return yield(r)
	})
}

// End is the offset behind the last record of a compacted topic.
func (v *View) End(topic string) (int64, error) {
	number, err := topicNumber(topic)
	if err != nil {
		return 0, err
	}
	last, err := lastOffset(v.snap, number)
	return last + 1, err
}

// ScanTable calls yield for the entries of a state table with keys in [lower, upper), in order; nil bounds are open. Both are valid
// during the call only.
func (v *View) ScanTable(t Table, lower, upper []byte, yield func(key, value []byte) error) error {
	return scanTable(v.snap, t, lower, upper, yield)
}

// Close releases the view.
func (v *View) Close() error { return v.snap.Close() }
