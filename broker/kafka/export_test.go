package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker"
)

// CommitAndDie commits a transaction without transactions of Kafka as a process does that dies when its batch is in the log: of what follows it
// only the records that keep names are written.
func CommitAndDie(tx broker.Txn, keep func(*kgo.Record) bool) error {
	t := tx.(*txn)
	t.p.writing.Lock()
	defer t.p.writing.Unlock()
	defer t.p.session.end()
	if err := t.stageMove(); err != nil {
		return err
	}
	if _, err := t.p.settle(); err != nil {
		return err
	}
	all := slices.Concat(t.others, t.records)
	if _, err := t.p.decideBatch(all); err != nil {
		return err
	}
	kept := slices.DeleteFunc(all, func(r *kgo.Record) bool { return !keep(r) })
	if len(kept) == 0 {
		return nil
	}
	return t.p.commit(kept)
}

// Transact commits records with a new transactional producer.
func (c *Client) Transact(ctx context.Context, records []*kgo.Record, more ...kgo.Opt) error {
	producer, err := c.transactional("test", more...)
	if err != nil {
		return err
	}
	defer producer.Close()
	return transact(ctx, producer, records)
}

// SendRest sends what follows the batch of a transaction, without the batch.
func SendRest(tx broker.Txn) error {
	t := tx.(*txn)
	if err := t.stageMove(); err != nil {
		return err
	}
	t.p.following.left.Wait()
	t.p.following.extend(t.p.following.records)
	t.p.follow(t.records)
	t.p.following.left.Wait()
	return nil
}

// BatchRoundTrip writes and reads the records of a batch, in parts of a record's size.
func (c *Client) BatchRoundTrip(records []*kgo.Record) (parts int, back []*kgo.Record, err error) {
	var u unfinished
	batch := c.batchRecords(0, records)
	for i, r := range batch {
		if u.complete() {
			panic("complete before its last part")
		}
		if err := u.add(&Record{Offset: int64(i), Value: r.Value}); err != nil {
			return 0, nil, err
		}
	}
	if !u.complete() {
		panic("not complete")
	}
	back, err = c.records(u.value)
	return len(batch), back, err
}

// Waiting is how many bytes wait to be read.
func (sub *Subscription) Waiting() int64 {
	sub.shared.mu.Lock()
	defer sub.shared.mu.Unlock()
	return sub.bytes
}
