package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// txn is a transaction of a partition's owner: first of Kafka, then of the copy.
type txn struct {
	p       *Partition
	records []*kgo.Record // to the partition's own topics
	others  []*kgo.Record // to other partitions of events.keyed
	local   []func(*embedded.Txn) error
	moved   int64 // where the position goes; -1 = it stays
	folded  int64 // where that of the audit base goes; -1 = it stays
	next    int64
}

// Begin implements [broker.Log].
func (p *Partition) Begin() broker.Txn { return &txn{p: p, moved: -1, folded: -1} }

// send adds a record; a nil value removes its key. key and value are copied.
func (t *txn) send(topic string, key, value []byte) {
	r := &kgo.Record{Topic: topic, Partition: t.p.number, Key: bytes.Clone(key), Value: bytes.Clone(value)}
	if topic == t.p.client.opts.Topics.Sync {
		r.Headers = t.p.client.written
	}
	t.records = append(t.records, r)
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

// put adds a record with a value, and returns its key and its value as the copy has them.
func (t *txn) put(topic string, key, value []byte) (k, v []byte, err error) {
	name, err := t.topic(topic)
	if err != nil {
		return nil, nil, err
	}
	t.send(name, key, notNil(value))
	r := t.last()
	v = r.Value
	switch topic {
	case freshet.TopicSync:
		r.Value, err = t.p.client.syncValue(r.Key, v)
	case freshet.TopicDead:
		r.Headers, err = letterHeaders(v)
	}
	return t.p.topicKey(topic, r.Key), v, err
}

// Put implements [broker.Txn].
func (t *txn) Put(topic string, key, value []byte) error {
	k, v, err := t.put(topic, key, value)
	if err != nil {
		return err
	}
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.Put(topic, k, v) })
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
	k, v, err := t.put(topic, key, value)
	if err != nil {
		return err
	}
	t.local = append(t.local, func(tx *embedded.Txn) error { return tx.Replace(topic, k, v, latest) })
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

// Forward implements [broker.Forwarder]. That it stands in the transaction makes it happen once; its origin says so again to whoever
// decides it.
func (t *txn) Forward(key freshet.Key, from int64, piece int, r journal.Record) error {
	to := &kgo.Record{Topic: t.p.client.opts.Topics.Keyed}
	write(to, &Record{Partition: wire.Partition(key, t.p.client.opts.Partitions), Value: r.Value,
		Headers: append(slices.Clip(r.Headers), Forwarded(t.p.keyed, t.p.number, from, piece))})
	t.others = append(t.others, to)
	return nil
}

// Move implements [broker.Txn].
func (t *txn) Move(m broker.Member, _ string, _ int32, next int64) error {
	switch m.Group {
	case processGroup:
		t.moved = next
		return nil
	case baseGroup:
		t.folded = next
		return errors.Join(t.stageForwards(broker.TableBase, &t.p.folding, next),
			t.SetTable(broker.TableBase, []byte(basePositionKey), appendPosition(nil, next)))
	}
	return fmt.Errorf("group %q has no position in Kafka", m.Group)
}

// stageMove adds the position to the transaction: the marker, and the forwards that are taken with it.
func (t *txn) stageMove() error {
	if t.moved < 0 {
		return nil
	}
	if err := t.stageForwards(broker.TableProcess, &t.p.read, t.moved); err != nil {
		return err
	}
	// Behind all changes: who has read it has read them.
	t.send(t.p.client.opts.Topics.Sync, []byte(markerKey), marker{Decided: t.moved}.value())
	t.local = append(t.local, func(tx *embedded.Txn) error { return t.p.copy.move(tx, t.p.number, t.moved) })
	return nil
}

// stageForwards adds the last forwards that were read below a position to those that a table tells of.
func (t *txn) stageForwards(table broker.Table, read *[]readForward, below int64) error {
	t.p.mu.Lock()
	latest := map[origin]forward{}
	for _, r := range *read {
		if r.at < below {
			latest[r.source] = r.forward
		}
	}
	t.p.mu.Unlock()
	for source, f := range latest {
		if err := t.SetTable(table, forwardKey(source), f.append(nil)); err != nil {
			return err
		}
	}
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
	if len(t.records) == 0 && len(t.others) == 0 && len(t.local) == 0 {
		return nil
	}
	if err := t.commit(); err != nil {
		t.p.lost.Store(true)
		return fmt.Errorf("commit for partition %d: %w: %w", t.p.number, broker.ErrFenced, err)
	}
	return nil
}

func (t *txn) commit() error {
	// The copy must not change between a record that is made of it and its place in the log.
	t.p.writing.Lock()
	defer t.p.writing.Unlock()
	var reached map[string]int64
	if len(t.others)+len(t.records) > 0 {
		if err := errors.Join(t.p.client.fits(t.others), t.p.client.fits(t.records)); err != nil {
			return err
		}
		var err error
		if reached, err = t.write(); err != nil {
			return err
		}
	}
	next, err := t.p.copy.commit(func(tx *embedded.Txn) error {
		for _, f := range t.local {
			if err := f(tx); err != nil {
				return err
			}
		}
		return t.p.moveCopy(tx, reached)
	})
	if err != nil {
		return err // the copy is behind, and catches up when the partition is taken again
	}
	t.next = next
	t.p.settleForwards(&t.p.read, t.moved)
	t.p.settleForwards(&t.p.folding, t.folded)
	return nil
}

// fits refuses a record that no broker takes: it would fail the transaction that other partitions are in.
func (c *Client) fits(records []*kgo.Record) error {
	for _, r := range records {
		if size, most := len(r.Key)+len(r.Value)+recordRoom, c.opts.MaxRecordBytes; size > most {
			return fmt.Errorf("a record for %s has %d bytes, max_record_bytes is %d; raise it, and with it max.message.bytes of the topic", r.Topic, size, most)
		}
	}
	return nil
}

// settleForwards forgets the forwards of a list below a position: a table has them.
func (p *Partition) settleForwards(read *[]readForward, below int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(*read) && (*read)[n].at < below {
		n++
	}
	*read = append((*read)[:0], (*read)[n:]...)
}

// CommitDurable implements [broker.Txn]: what is committed in Kafka is durable.
func (t *txn) CommitDurable(disk.Site) error { return t.Commit() }

// Next implements [broker.Txn].
func (t *txn) Next() int64 { return t.next }

// Abort implements [broker.Txn]. Nothing has been written before Commit.
func (t *txn) Abort() {}
