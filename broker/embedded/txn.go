package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/disk"
)

// Join makes the caller the owner of a group; who owned it before is fenced.
func (l *State) Join(group string) broker.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[group]++
	return broker.Member{Group: group, Generation: l.members[group]}
}

// Txn is a [broker.Txn].
type Txn struct {
	l       *State
	batch   *pebble.Batch
	member  broker.Member
	fenced  bool // member is checked at commit
	scratch []byte
	next    int64
	purged  map[string]int64 // by scope: how far the transaction itself has purged it
}

// Begin starts a transaction.
func (l *State) Begin() *Txn { return &Txn{l: l, batch: l.db.NewBatch()} }

// Put makes value the latest record of key.
func (t *Txn) Put(topic string, key, value []byte) error {
	old, ok, err := t.l.Latest(topic, key, nil)
	if err != nil {
		return err
	}
	if !ok {
		old.Offset = broker.NoRecord
	}
	return t.Replace(topic, key, value, old.Offset)
}

// Replace is Put for a caller that knows the offset of the key's latest record, or that there
// is [broker.NoRecord]. The topic's order is damaged if it is wrong.
func (t *Txn) Replace(topic string, key, value []byte, latest int64) error {
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	if latest != broker.NoRecord {
		if err := t.batch.Delete(orderKey(number, latest), nil); err != nil {
			return err
		}
	}
	offset := t.offset(number)
	t.scratch = binary.BigEndian.AppendUint64(t.scratch[:0], uint64(offset))
	t.scratch = append(t.scratch, value...)
	if err := t.batch.Set(latestKey(number, key), t.scratch, nil); err != nil {
		return err
	}
	return t.batch.Set(orderKey(number, offset), key, nil)
}

// offset gives out the next offset of a topic.
func (t *Txn) offset(number byte) int64 {
	next := t.l.next[number].Add(1)
	if number == numberSync {
		t.next = next
	}
	return next - 1
}

// Next implements [broker.Txn].
func (t *Txn) Next() int64 { return t.next }

// Remove takes a key out of a compacted topic. An entry in order of offset stays, without a
// record: a reader that knows the topic up to an offset finds out by it; see [Log.Changed].
func (t *Txn) Remove(topic string, key []byte) error {
	old, ok, err := t.l.Latest(topic, key, nil)
	if err != nil || !ok {
		return err
	}
	number, err := topicNumber(topic)
	if err != nil {
		return err
	}
	if err := t.batch.Delete(orderKey(number, old.Offset), nil); err != nil {
		return err
	}
	if err := t.batch.Set(orderKey(number, t.l.next[number].Add(1)-1), key, nil); err != nil {
		return err
	}
	return t.batch.Delete(latestKey(number, key), nil)
}

// SetTable sets a key of a state table.
func (t *Txn) SetTable(table Table, key, value []byte) error {
	return t.batch.Set(tableKey(table, key), value, nil)
}

// DeleteTable removes a key of a state table.
func (t *Txn) DeleteTable(table Table, key []byte) error {
	return t.batch.Delete(tableKey(table, key), nil)
}

// DeleteTableRange removes the keys in [lower, upper) of a state table.
func (t *Txn) DeleteTableRange(table Table, lower, upper []byte) error {
	return t.batch.DeleteRange(tableKey(table, lower), tableKey(table, upper), nil)
}

// Move sets the next offset of the member's group. The commit fails with [broker.ErrFenced] if the
// member has been deposed.
func (t *Txn) Move(m broker.Member, topic string, partition int32, next int64) error {
	t.member, t.fenced = m, true
	var v [offsetBytes]byte
	binary.BigEndian.PutUint64(v[:], uint64(next))
	return t.batch.Set(positionKey(m.Group, topic, partition), v[:], nil)
}

// Empty reports whether the transaction would change nothing.
func (t *Txn) Empty() bool { return t.batch.Empty() }

// Commit makes the transaction visible, all of it. It is not yet durable; see [Log.Sync]. While the disk is full it fails with
// disk_full, and may be repeated; one that finds it full on its way waits for room.
func (t *Txn) Commit() error { return t.commit(pebble.NoSync) }

// CommitDurable makes the transaction visible and durable, with all committed before it.
func (t *Txn) CommitDurable(site disk.Site) error {
	if t.l.opts.FS.Skipped(site) {
		return t.commit(pebble.NoSync)
	}
	return t.commit(pebble.Sync)
}

func (t *Txn) commit(o *pebble.WriteOptions) error {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if t.l.isClosed() {
		t.Abort()
		return errors.New("commit: the log is closed")
	}
	if t.fenced && t.l.members[t.member.Group] != t.member.Generation {
		t.Abort()
		return fmt.Errorf("commit for group %s: %w", t.member.Group, broker.ErrFenced)
	}
	if err := t.l.Room(); err != nil {
		t.Abort()
		return fmt.Errorf("commit: %w", err)
	}
	err := t.l.patiently(func() error { return errors.Join(t.batch.Commit(o), t.batch.Close()) })
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Abort drops the transaction.
func (t *Txn) Abort() {
	if t.batch != nil {
		_ = t.batch.Close()
	}
}

// topicOfPosition is the topic in the part of a position key behind its prefix.
func topicOfPosition(k []byte) (string, error) {
	parts := bytes.SplitN(k, []byte{0}, 3)
	if len(parts) != 3 || len(parts[2]) != 4 {
		return "", errors.New("malformed position key")
	}
	return string(parts[1]), nil
}
