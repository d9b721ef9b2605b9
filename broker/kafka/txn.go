package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
)

// txn is a transaction of a partition's owner: first of Kafka, then of the copy.
type txn struct {
	p       *Partition
	records []*kgo.Record
	local   []func(*embedded.Txn) error
	moved   int64 // where the position goes; -1 = it stays
	next    int64
}

// Begin implements [broker.Log].
func (p *Partition) Begin() broker.Txn { return &txn{p: p, moved: -1} }

// send adds a record; a nil value removes its key. key and value are copied.
func (t *txn) send(topic string, key, value []byte) {
	t.records = append(t.records, &kgo.Record{Topic: topic, Partition: t.p.number, Key: bytes.Clone(key), Value: bytes.Clone(value)})
}

// last is the record that was added last.
func (t *txn) last() *kgo.Record { return t.records[len(t.records)-1] }

// topic is the name in the cluster of a topic by its default name.
func (t *txn) topic(name string) (string, error) {
	switch name {
	case freshet.TopicSync:
		return t.p.client.opts.Topics.Sync, nil
	case freshet.TopicDead:
		return t.p.client.opts.Topics.Dead, nil
	}
	return "", fmt.Errorf("the owner of a partition does not write to %s", name)
}

// Put implements [broker.Txn].
func (t *txn) Put(topic string, key, value []byte) error {
	name, err := t.topic(topic)
	if err != nil {
		return err
	}
	t.send(name, key, notNil(value))
	r := t.last()
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.Put(topic, t.p.topicKey(topic, r.Key), r.Value) })
	return nil
}

// notNil is an empty value where there is none: nil would remove the key.
func notNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// Replace implements [broker.Txn]. The offset is that of the copy.
func (t *txn) Replace(topic string, key, value []byte, latest int64) error {
	name, err := t.topic(topic)
	if err != nil {
		return err
	}
	t.send(name, key, notNil(value))
	r := t.last()
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.Replace(topic, t.p.topicKey(topic, r.Key), r.Value, latest) })
	return nil
}

// Remove implements [broker.Txn].
func (t *txn) Remove(topic string, key []byte) error {
	name, err := t.topic(topic)
	if err != nil {
		return err
	}
	t.send(name, key, nil)
	r := t.last()
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.Remove(topic, t.p.topicKey(topic, r.Key)) })
	return nil
}

// Drop implements [broker.Txn].
func (t *txn) Drop(string, []byte, [][2][]byte) error { return errors.ErrUnsupported }

// Purge implements [broker.Txn].
func (t *txn) Purge(topic string, shard freshet.Shard, records []broker.Record) error {
	name, err := t.topic(topic)
	if err != nil {
		return err
	}
	for _, r := range records {
		t.send(name, r.Key, nil)
	}
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.Purge(topic, shard, records) })
	return nil
}

// SetTable implements [broker.Txn]. The table of expiries follows from vector.sync, and has no topic.
func (t *txn) SetTable(table broker.Table, key, value []byte) error {
	key, value = bytes.Clone(key), bytes.Clone(value)
	if table != broker.TableExpiry {
		t.send(t.p.client.opts.Topics.State, append([]byte{byte(table)}, key...), notNil(value))
	}
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.SetTable(table, t.p.tableKey(table, key), value) })
	return nil
}

// DeleteTable implements [broker.Txn].
func (t *txn) DeleteTable(table broker.Table, key []byte) error {
	key = bytes.Clone(key)
	if table != broker.TableExpiry {
		t.send(t.p.client.opts.Topics.State, append([]byte{byte(table)}, key...), nil)
	}
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.DeleteTable(table, t.p.tableKey(table, key)) })
	return nil
}

// DeleteTableRange implements [broker.Txn]. It does not see what the transaction has set itself.
func (t *txn) DeleteTableRange(table broker.Table, lower, upper []byte) error {
	return t.p.ScanTable(table, lower, upper, func(k, _ []byte) error { return t.DeleteTable(table, k) })
}

// Move implements [broker.Txn].
func (t *txn) Move(m broker.Member, _ string, _ int32, next int64) error {
	if m.Group != processGroup {
		return fmt.Errorf("group %q has no position in Kafka", m.Group)
	}
	t.moved = next
	return nil
}

// stageMove adds the position to the transaction: the marker, and the forwards that are taken with it.
func (t *txn) stageMove() error {
	if t.moved < 0 {
		return nil
	}
	t.p.mu.Lock()
	latest := map[origin]forward{}
	for _, r := range t.p.read {
		if r.at < t.moved {
			latest[r.source] = r.forward
		}
	}
	t.p.mu.Unlock()
	for source, f := range latest {
		if err := t.SetTable(broker.TableProcess, forwardKey(source), f.append(nil)); err != nil {
			return err
		}
	}
	// Behind all changes: who has read it has read them.
	t.send(t.p.client.opts.Topics.Sync, []byte(markerKey), marker{Decided: t.moved}.value())
	t.local = append(t.local, func(tx *embedded.Txn) error { return t.p.copy.move(tx, t.p.number, t.moved) })
	return nil
}

// Commit implements [broker.Txn]. After an error the partition is not this owner's any more.
func (t *txn) Commit() error {
	if t.p.lost.Load() {
		return fmt.Errorf("commit for partition %d: %w", t.p.number, broker.ErrFenced)
	}
	if err := t.stageMove(); err != nil {
		return err
	}
	if len(t.records) == 0 && len(t.local) == 0 {
		return nil
	}
	if err := t.commit(); err != nil {
		t.p.lost.Store(true)
		return fmt.Errorf("commit for partition %d: %w: %w", t.p.number, broker.ErrFenced, err)
	}
	return nil
}

func (t *txn) commit() error {
	ctx, cancel := context.WithTimeout(context.Background(), t.p.client.opts.DeliveryTimeout)
	defer cancel()
	if len(t.records) > 0 {
		if err := transact(ctx, t.p.producer, t.records); err != nil {
			return err
		}
	}
	reached := map[string]int64{}
	for _, r := range t.records {
		reached[r.Topic] = r.Offset + 1
	}
	next, err := t.p.copy.commit(func(tx *embedded.Txn) error {
		for _, f := range t.local {
			if err := f(tx); err != nil {
				return err
			}
		}
		for topic, next := range reached {
			if err := tx.Move(t.p.copy.member, topic, t.p.number, next); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err // the copy is behind, and catches up when the partition is taken again
	}
	t.next = next
	t.p.settleForwards(t.moved)
	return nil
}

// settleForwards forgets the forwards that are decided.
func (p *Partition) settleForwards(decided int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.read) && p.read[n].at < decided {
		n++
	}
	p.read = append(p.read[:0], p.read[n:]...)
}

// CommitDurable implements [broker.Txn]: what is committed in Kafka is durable.
func (t *txn) CommitDurable(disk.Site) error { return t.Commit() }

// Next implements [broker.Txn].
func (t *txn) Next() int64 { return t.next }

// Abort implements [broker.Txn]. Nothing has been written before Commit.
func (t *txn) Abort() {}
