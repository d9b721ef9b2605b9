package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

func droppedKey(number byte, marker []byte) []byte {
	return append([]byte{number, 'd'}, marker...)
}

// Drop takes all keys in ranges [lower, upper) out of a compacted topic at once, however many there are. It stands
// in the topic's order, as an entry with the key marker and without a record. What is put by the transaction later stays. Entries of the keys remain in the order, without a record, until [Log.Tidy].
func (t *Txn) Drop(topic string, marker []byte, ranges [][2][]byte) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := t.batch.DeleteRange(latestKey(number, r[0]), latestKey(number, r[1]), nil); err != nil {
			return err
		}
	}
	offset := t.offset(number)
	if err := t.batch.Set(droppedKey(number, marker), binary.BigEndian.AppendUint64(nil, uint64(offset)), nil); err != nil {
		return err
	}
	return t.batch.Set(orderKey(number, offset), marker, nil)
}

// Dropped returns the offset of the last Drop with a marker; ok is false when there was none.
func (l *State) Dropped(topic string, marker []byte) (offset int64, ok bool, err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return 0, false, err
	}
	v, closer, err := l.db.Get(droppedKey(number, marker))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read what was dropped: %w", err)
	}
	defer closer.Close()
	if len(v) != offsetBytes {
		return 0, false, fmt.Errorf("what was dropped (%x) is damaged", marker)
	}
	return int64(binary.BigEndian.Uint64(v)), true, nil
}

// A PendingDrop is one whose consequences are not all done. Step is how far its owner has come, from 0.
type PendingDrop struct {
	Marker []byte
	Offset int64
	Step   byte
}

// DropDone is the step of a drop that nothing is left to do for.
const DropDone = 0xff

func settledKey(number byte, marker []byte) []byte { return append([]byte{number, 'e'}, marker...) }

// Settle notes how far the consequences of the drop with a marker, at an offset, are done.
func (l *State) Settle(topic string, marker []byte, offset int64, step byte) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	tx := l.Begin()
	if err := tx.batch.Set(settledKey(number, marker), append(binary.BigEndian.AppendUint64(nil, uint64(offset)), step), nil); err != nil {
		tx.Abort()
		return err
	}
	return tx.Commit()
}

// PendingDrops returns the drops of a topic that are not done: the last one of each marker.
func (l *State) PendingDrops(topic string) (list []PendingDrop, err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return nil, err
	}
	err = l.iterate(droppedKey(number, nil), []byte{number, 'd' + 1}, func(k, v []byte) error {
		if len(v) != offsetBytes {
			return fmt.Errorf("what was dropped (%x) is damaged", k[2:])
		}
		d := PendingDrop{Marker: append([]byte(nil), k[2:]...), Offset: int64(binary.BigEndian.Uint64(v))}
		done, closer, err := l.db.Get(settledKey(number, d.Marker))
		if errors.Is(err, pebble.ErrNotFound) {
			list = append(list, d)
			return nil
		}
		if err != nil {
			return err
		}
		defer closer.Close()
		if len(done) == offsetBytes+1 && int64(binary.BigEndian.Uint64(done)) == d.Offset {
			d.Step = done[offsetBytes]
		}
		if d.Step != DropDone {
			list = append(list, d)
		}
		return nil
	})
	return list, err
}

// tidyBatch is how many entries are removed together.
const tidyBatch = 4096

// Tidy removes the entries below an offset that keys of dropped ranges have left in the order of a topic, and returns their
// number. Commits go on: nobody else touches the entry of a key that has no record there.
func (l *State) Tidy(ctx context.Context, topic string, below int64, ranges [][2][]byte) (removed int, err error) {
	number, err := topicNumber(topic)
	if err != nil {
		return 0, err
	}
	var batch [][]byte
	flush := func() error {
		tx := l.Begin()
		for _, k := range batch {
			if err := tx.batch.Delete(k, nil); err != nil {
				tx.Abort()
				return err
			}
		}
		removed += len(batch)
		batch = batch[:0]
		return errors.Join(tx.Commit(), ctx.Err())
	}
	err = l.iterate(orderKey(number, 0), orderKey(number, below), func(k, key []byte) error {
		inside := false
		for _, r := range ranges {
			inside = inside || string(key) >= string(r[0]) && string(key) < string(r[1])
		}
		if !inside {
			return nil
		}
		if _, again, err := l.Dropped(topic, key); err != nil || again { // it tells of a drop itself
			return err
		}
		if batch = append(batch, append([]byte(nil), k...)); len(batch) < tidyBatch {
			return nil
		}
		return flush()
	})
	return removed, errors.Join(err, flush())
}
