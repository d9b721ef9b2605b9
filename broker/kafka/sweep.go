package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// A compacted topic has a null where a key was taken out, and lets go of it after delete.retention.ms. A copy that was away for longer
// may never see it, and would keep the key. So it notes when it had all of a partition; one that was away for longer than half of that time, the
// other half being for clocks that differ, is compared with the topic: what is not met there goes.

// caughtGroup keeps, as positions, when the copy had all of a partition of a topic, ms.
const caughtGroup = "caught-up"

// NoteCaughtUp notes the time for each partition of a compacted topic of which the copy has everything.
func (c *Client) NoteCaughtUp(ctx context.Context, copy *Copy, now time.Time) error {
	for _, topic := range c.opts.Topics.copied() {
		ends, err := c.Ends(ctx, topic)
		if err != nil {
			return err
		}
		_, err = copy.commit(func(tx *embedded.Txn) error {
			for p, end := range ends {
				at, err := copy.Position(topic, p)
				if err == nil && at > 0 && (at >= end || copy.owned[p]) {
					err = tx.Move(copy.catcher, topic, p, now.UnixMilli())
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("note what the copy has: %w", err)
		}
	}
	return nil
}

// Sweep takes out of the copy what compacted topics have no more of some partitions, where the copy was away for so long that it may not be told:
// by mark and sweep. It returns how many keys went. It is for before the copy of these partitions is used.
func (c *Client) Sweep(ctx context.Context, copy *Copy, now time.Time, partitions ...int32) (swept int, err error) {
	for _, topic := range c.opts.Topics.copied() {
		for _, p := range partitions {
			at, err := copy.Position(topic, p)
			if err != nil {
				return swept, err
			}
			caught, err := copy.state.Position(caughtGroup, topic, p)
			if err != nil {
				return swept, err
			}
			if away := now.Sub(time.UnixMilli(caught)); at == 0 || away >= 0 && away <= c.opts.SyncDeleteRetention/2 {
				continue
			}
			n, err := c.sweep(ctx, copy, topic, p, at, now)
			if swept += n; err != nil {
				return swept, fmt.Errorf("compare the copy with %s/%d: %w", topic, p, err)
			}
		}
	}
	return swept, nil
}

// sweep compares the copy of a partition, which has it up to an offset.
func (c *Client) sweep(ctx context.Context, copy *Copy, topic string, p int32, at int64, now time.Time) (swept int, err error) {
	ends, err := c.Ends(ctx, topic)
	if err != nil || ends[p] < at {
		return 0, err // the log has lost what the copy has: who reads on says so
	}
	there, err := c.keys(ctx, topic, p)
	if err != nil {
		return 0, err
	}
	var gone [][]byte
	err = copy.each(topic, p, func(key []byte) error {
		if _, ok := there[string(key)]; !ok {
			gone = append(gone, append([]byte(nil), key...))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for len(gone) > 0 {
		some := gone[:min(len(gone), sweepKeys)]
		_, err := copy.commit(func(tx *embedded.Txn) error {
			for _, key := range some {
				if err := copy.remove(tx, topic, p, key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return swept, err
		}
		swept, gone = swept+len(some), gone[len(some):]
	}
	_, err = copy.commit(func(tx *embedded.Txn) error { return tx.Move(copy.catcher, topic, p, now.UnixMilli()) })
	return swept, err
}

// sweepKeys is how many keys go in one transaction of the copy.
const sweepKeys = 1024

// each calls yield for the keys that the copy has of a partition of a topic, as they are in the topic.
func (c *Copy) each(topic string, p int32, yield func(key []byte) error) error {
	lower, upper := prefix(p), prefix(p+1)
	switch topic {
	case c.topics.Sync:
		return c.state.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
			key, err := wire.ParseKey(r.Key)
			if err != nil || c.isExternal(key.Collection) || wire.Partition(key, c.state.Partitions()) != p {
				return err
			}
			return yield(r.Key)
		})
	case c.topics.Dead:
		return c.state.Scan(freshet.TopicDead, lower, upper, func(r broker.Record) error { return yield(r.Key[len(lower):]) })
	}
	for _, table := range stateTables {
		err := c.state.ScanTable(table, lower, upper, func(k, _ []byte) error {
			return yield(append([]byte{byte(table)}, k[len(lower):]...))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// remove takes a key of a partition of a topic out of the copy.
func (c *Copy) remove(tx *embedded.Txn, topic string, p int32, key []byte) error {
	switch topic {
	case c.topics.Sync:
		return c.removeEntity(tx, key)
	case c.topics.Dead:
		return tx.Remove(freshet.TopicDead, append(prefix(p), key...))
	}
	table, k, err := c.tableKey(key, p)
	if err != nil {
		return err
	}
	return tx.DeleteTable(table, k)
}

// removeEntity takes an entity out of the copy, with the entry of its expiry.
func (c *Copy) removeEntity(tx *embedded.Txn, key []byte) error {
	r, ok, err := c.state.Latest(freshet.TopicSync, key, nil)
	if err != nil || !ok {
		return err
	}
	k, err := wire.ParseKey(key)
	if err != nil {
		return err
	}
	if head, err := wire.DecodeChange(k, r.Value, wire.Head); err == nil { // a damaged one goes as well
		if head.Deleted() {
			return tx.Purge(freshet.TopicSync, k.Shard(), []broker.Record{r})
		}
		if err := expiry(&head, tx.DeleteTable); err != nil {
			return err
		}
	}
	return tx.Remove(freshet.TopicSync, key)
}
