package process

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// tombstones lists the deletions in a state table by age, so that those that are gone are found
// without going through all entities:
//
//	't' class, age (8), key → nothing
//
// Class 0 is of collections in the order of the log, with the offset of the version as age; class 1 of
// those with an order of their source, with the time at which the event was accepted. All
// big-endian. An entry stays when its entity comes back, and is passed over then.
type tombstones struct{ table broker.Table }

const (
	byOffset = 0
	byTime   = 1

	tombstoneHead = 2 + 8 // bytes before the key of the entity
)

func tombstoneKey(class byte, age int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'t', class}, uint64(age))
}

// note adds a change to the transaction that commits it, if it is a deletion.
func (t tombstones) note(tx broker.Txn, c *freshet.Change, key []byte) error {
	if c.Op != freshet.OpDelete {
		return nil
	}
	entry := tombstoneKey(byOffset, c.Version.Offset)
	if c.Version.Order > 0 {
		entry = tombstoneKey(byTime, c.AcceptedAt)
	}
	return tx.SetTable(t.table, append(entry, key...), nil)
}

// listed is an entry: the key of its entity, and its own.
type listed struct{ key, entry []byte }

var errEnough = errors.New("enough")

// between returns entries that one purge has not passed and another has, oldest first, those behind an entry and at most so many.
func (t tombstones) between(log broker.Log, from, to Purge, after []byte, most int) (list []listed, err error) {
	for _, r := range [][2][]byte{{tombstoneKey(byOffset, from.Floor), tombstoneKey(byOffset, to.Floor)},
		{tombstoneKey(byTime, from.Before), tombstoneKey(byTime, to.Before)}} {
		from := max(string(r[0]), string(after)+"\x00")
		if from >= string(r[1]) {
			continue
		}
		err := log.ScanTable(t.table, []byte(from), r[1], func(k, _ []byte) error {
			if len(list) == most {
				return errEnough
			}
			entry := append([]byte(nil), k...)
			list = append(list, listed{entry[tombstoneHead:], entry})
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return nil, err
		}
	}
	return list, nil
}

// WouldPurge reports whether a purge would make tombstones go that are still there.
func (p *Processor) WouldPurge(ctx context.Context, to Purge) (found bool, err error) {
	err = p.Between(ctx, func() error {
		list, err := p.state.between(p.log, p.state.facts.Purge, to, nil, 1)
		found = len(list) > 0
		return err
	})
	return found, err
}

// Facts is what commands have said up to now.
func (p *Processor) Facts(ctx context.Context) (f Facts, err error) {
	err = p.Between(ctx, func() error { f = p.state.facts; return nil })
	return f, err
}

// Sweep takes tombstones that are gone out of vector.sync, at most so many of those behind an
// entry of an earlier call, and returns the last one that it looked at; nil when there are no more.
// covered says whether all snapshots of a shard that are kept have what stands at an offset of vector.sync: else the
// tombstone there stays, for what was there before it would come back with a snapshot.
// forget is told of those that were taken out, before anything else is committed.
func (p *Processor) Sweep(ctx context.Context, after []byte, most int, covered func(name freshet.Shard, offset int64) bool,
	forget func(freshet.Key, freshet.Version)) (last []byte, err error) {
	err = p.Between(ctx, func() error {
		list, err := p.state.between(p.log, Purge{}, p.state.facts.Purge, after, most)
		if err != nil || len(list) == 0 {
			return err
		}
		if len(list) == most {
			last = list[most-1].entry
		}
		tx := p.log.Begin()
		swept, err := p.sweep(tx, list, covered)
		if err != nil {
			tx.Abort()
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		for i := range swept {
			forget(swept[i].Key, swept[i].Version)
		}
		p.Stats.Purged.Add(int64(len(swept)))
		return nil
	})
	return last, err
}

func (p *Processor) sweep(tx broker.Txn, list []listed, covered func(freshet.Shard, int64) bool) (swept []freshet.Change, err error) {
	records := map[freshet.Shard][]broker.Record{}
	for _, t := range list {
		r, ok, err := p.log.Latest(freshet.TopicSync, t.key, nil)
		if err != nil {
			return nil, err
		}
		if ok {
			key, err := wire.ParseKey(t.key)
			if err != nil {
				return nil, err
			}
			c, err := wire.DecodeChange(key, r.Value, wire.Head)
			if err != nil {
				return nil, err
			}
			if p.state.facts.Gone(&c) {
				if !covered(key.Shard(), r.Offset) {
					continue
				}
				records[key.Shard()] = append(records[key.Shard()], r)
				swept = append(swept, c)
			}
		}
		if err := tx.DeleteTable(broker.TableProcess, t.entry); err != nil {
			return nil, err
		}
	}
	for shard, list := range records {
		if err := tx.Purge(freshet.TopicSync, shard, list); err != nil {
			return nil, err
		}
	}
	return swept, nil
}
