package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// Numbers of topics: the first byte of their Pebble keys, as that of a table is its number. They never change.
const (
	numberSelf    = 0x01
	numberSync    = 0x10
	numberDead    = 0x11
	numberControl = 0x12
)

// Table is a state table, Record a record: of the contract, under the names of the package that has them.
type (
	Table  = broker.Table
	Record = broker.Record
)

func topicNumbers() map[string]byte {
	return map[string]byte{
		freshet.TopicSync:    numberSync,
		freshet.TopicDead:    numberDead,
		freshet.TopicControl: numberControl,
	}
}

func topicNumber(topic string) (byte, error) {
	switch topic {
	case freshet.TopicSync:
		return numberSync, nil
	case freshet.TopicDead:
		return numberDead, nil
	case freshet.TopicControl:
		return numberControl, nil
	}
	return 0, fmt.Errorf("topic %q is not one that the embedded log keeps by key", topic)
}

const offsetBytes = 8

func latestKey(number byte, key []byte) []byte {
	return append(append(make([]byte, 0, 2+len(key)), number, 'k'), key...)
}

func orderKey(number byte, offset int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{number, 's'}, uint64(offset))
}

func tableKey(t Table, key []byte) []byte {
	return append(append(make([]byte, 0, 2+len(key)), byte(t), 't'), key...)
}

func cleanKey() []byte { return []byte{numberSelf, 'c'} }

func positionKey(group, topic string, partition int32) []byte {
	b := append([]byte{numberSelf, 'p'}, group...)
	b = append(append(append(b, 0), topic...), 0)
	return binary.BigEndian.AppendUint32(b, uint32(partition))
}

// Latest returns the latest record of a key. buf, which may be nil, is used for the value.
func (l *State) Latest(topic string, key, buf []byte) (r Record, ok bool, err error) {
	return latest(l.db, topic, key, buf)
}

func latest(from pebble.Reader, topic string, key, buf []byte) (r Record, ok bool, err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return r, false, err
	}
	var kb [128]byte
	v, closer, err := from.Get(append(append(kb[:0], number, 'k'), key...))
	if errors.Is(err, pebble.ErrNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read %s: %w", topic, err)
	}
	defer closer.Close()
	r, err = parseRecord(key, v)
	r.Value = append(buf[:0], r.Value...)
	return r, err == nil, err
}

func parseRecord(key, v []byte) (Record, error) {
	if len(v) < offsetBytes {
		return Record{}, fmt.Errorf("record of key %q has %d bytes: damaged", key, len(v))
	}
	return Record{Offset: int64(binary.BigEndian.Uint64(v)), Key: key, Value: v[offsetBytes:]}, nil
}

// Scan calls yield for the latest record of each key in [lower, upper), in order of key,
// from one consistent view; nil bounds are open. Key and Value are valid during the call only.
func (l *State) Scan(topic string, lower, upper []byte, yield func(Record) error) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	end := []byte{number, 'k' + 1}
	if upper != nil {
		end = latestKey(number, upper)
	}
	return l.iterate(latestKey(number, lower), end, func(k, v []byte) error {
		r, err := parseRecord(k[2:], v)
		if err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
		return yield(r)
	})
}

// ScanBack is Scan from the last key to the first.
func (l *State) ScanBack(topic string, lower, upper []byte, yield func(Record) error) (err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	end := []byte{number, 'k' + 1}
	if upper != nil {
		end = latestKey(number, upper)
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: latestKey(number, lower), UpperBound: end})
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.Last(); it.Valid(); it.Prev() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		r, err := parseRecord(it.Key()[2:], v)
		if err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
		if err := yield(r); err != nil {
			return err
		}
	}
	return it.Error()
}

// ReadLatest calls yield for the records of a compacted topic from an offset on, in order of
// offset: of each key only the latest record. Key and Value are valid during the call only.
func (l *State) ReadLatest(topic string, from int64, yield func(Record) error) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	return l.iterate(orderKey(number, from), []byte{number, 's' + 1}, func(k, key []byte) error {
		offset := int64(binary.BigEndian.Uint64(k[2:]))
		r, ok, err := l.Latest(topic, key, nil)
		if err != nil {
			return err
		}
		if !ok || r.Offset != offset {
			return nil // replaced since this view was taken; it comes again at its new offset
		}
		return yield(r)
	})
}

// Changed calls yield for the keys of a compacted topic that were put or removed at an offset or
// later, in order of their last change; one that was put again after a removal may come twice.
// The key is valid during the call only; the record is what Latest returns.
func (l *State) Changed(topic string, from int64, yield func(offset int64, key []byte) error) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	return l.iterate(orderKey(number, from), []byte{number, 's' + 1}, func(k, key []byte) error {
		return yield(int64(binary.BigEndian.Uint64(k[2:])), key)
	})
}

// Skim calls yield for some keys of a compacted topic, in order of key: the first one, then
// always the first that is not below what yield has returned. The key is valid during the call only.
func (l *State) Skim(topic string, yield func(key []byte) (next []byte, err error)) (err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: latestKey(number, nil), UpperBound: []byte{number, 'k' + 1}})
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; {
		next, err := yield(it.Key()[2:])
		if err != nil {
			return err
		}
		ok = it.SeekGE(latestKey(number, next))
	}
	return it.Error()
}

// End is the offset behind the last committed change of a compacted topic.
func (l *State) End(topic string) (int64, error) {
	number, err := topicNumber(topic)
	if err != nil {
		return 0, err
	}
	last, err := lastOffset(l.db, number)
	return last + 1, err
}

// ScanTable calls yield for the entries of a state table with keys in [lower, upper), in order; nil bounds are open.
func (l *State) ScanTable(t Table, lower, upper []byte, yield func(key, value []byte) error) error {
	return scanTable(l.db, t, lower, upper, yield)
}

func scanTable(r pebble.Reader, t Table, lower, upper []byte, yield func(key, value []byte) error) error {
	end := []byte{byte(t), 't' + 1}
	if upper != nil {
		end = tableKey(t, upper)
	}
	return iterate(r, tableKey(t, lower), end, func(k, v []byte) error { return yield(k[2:], v) })
}

// GetTable returns the value of a key in a state table, or ok false.
func (l *State) GetTable(t Table, key []byte) (value []byte, ok bool, err error) {
	v, closer, err := l.db.Get(tableKey(t, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read state table: %w", err)
	}
	defer closer.Close()
	return append([]byte(nil), v...), true, nil
}

// iterate walks the keys in [lower, upper) of one consistent view.
func (l *State) iterate(lower, upper []byte, yield func(k, v []byte) error) error {
	return iterate(l.db, lower, upper, yield)
}

func iterate(r pebble.Reader, lower, upper []byte, yield func(k, v []byte) error) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read state: %w", err)
		}
		if err := yield(it.Key(), v); err != nil {
			return err
		}
	}
	return nil
}

// lastOffset is the highest offset that a compacted topic has given out, -1 when it has not given any.
func lastOffset(r pebble.Reader, number byte) (last int64, err error) {
	purged, err := readPurged(r, purgedKey(number, ""))
	if err != nil {
		return 0, err
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{number, 's'}, UpperBound: []byte{number, 's' + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		return purged.End - 1, it.Error()
	}
	return max(purged.End-1, int64(binary.BigEndian.Uint64(it.Key()[2:]))), nil
}

func (l *State) eachPosition(yield func(topic string, next int64)) error {
	return l.iterate([]byte{numberSelf, 'p'}, []byte{numberSelf, 'p' + 1}, func(k, v []byte) error {
		topic, err := topicOfPosition(k[2:])
		if err != nil || len(v) != offsetBytes {
			return errors.Join(err, fmt.Errorf("position %q is damaged", k))
		}
		yield(topic, int64(binary.BigEndian.Uint64(v)))
		return nil
	})
}

func (l *State) getOffset(key []byte) (int64, error) {
	v, closer, err := l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	defer closer.Close()
	if len(v) != offsetBytes {
		return 0, fmt.Errorf("position %q is damaged", key)
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// TableBounds returns the first and last key of a state table in [lower, upper).
func (l *State) TableBounds(t Table, lower, upper []byte) (first, last []byte, ok bool, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: tableKey(t, lower), UpperBound: tableKey(t, upper)})
	if err != nil {
		return nil, nil, false, fmt.Errorf("read state table: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return nil, nil, false, it.Error()
	}
	first = append(first, it.Key()[2:]...)
	it.Last()
	return first, append(last, it.Key()[2:]...), true, it.Error()
}
