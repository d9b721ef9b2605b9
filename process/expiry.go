package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// expiry is an entity and when it expires: an entry of a state table of the log,
//
//	time (8, big-endian) key of the entity → version of the entity (20)
//
// which is written in the transaction of the change. One whose version is not the entity's may have been left by a drop, and
// counts only if the record says the same. So entities that never expire cost nothing,
// and what is due is the beginning of the table.
type expiry struct {
	at  int64 // ms
	key freshet.Key
}

func (x *expiry) tableKey() []byte { return wire.AppendExpiry(nil, x.at, x.key) }

// stageExpiry brings the table up to a change in the transaction that commits it.
func stageExpiry(tx broker.Txn, d *Decision) error {
	old, now := expiry{key: d.Change.Key}, expiry{d.Change.ExpiresAt, d.Change.Key}
	if d.Replaces != nil {
		old.at = d.Replaces.Change.ExpiresAt
	}
	if old.at != 0 && old.at != now.at {
		if err := tx.DeleteTable(broker.TableExpiry, old.tableKey()); err != nil {
			return err
		}
	}
	if now.at != 0 {
		return tx.SetTable(broker.TableExpiry, now.tableKey(), wire.AppendVersion(nil, d.Change.Version))
	}
	return nil
}

// Expire is the command that deletes an entity which is due, unless it has changed since.
type Expire struct {
	Collection string          `json:"collection"`
	Namespace  string          `json:"namespace"`
	Entity     string          `json:"entity_id"`
	Version    freshet.Version `json:"version"` // that is to go
	At         int64           `json:"at"`      // ms, when it was due
}

func (*Expire) kind() string { return "expire" }

func (*Expire) say(*plan) {}

func (c *Expire) do(s *Sequencer, p *plan, m *mapped, at spot, _ *made) error {
	key := freshet.Key{Collection: c.Collection, Namespace: c.Namespace, Entity: c.Entity}
	p.expired = append(p.expired, expiry{c.At, key})
	e, err := s.entity(p, key)
	if err != nil {
		return err
	}
	if e.head.Version != c.Version || e.head.Op != freshet.OpUpsert || p.facts.Gone(&e.head) {
		return nil // it has changed, or is gone
	}
	offset := m.record.Position.Offset
	d := &mappedDraft{Draft: Draft{Key: key, Op: freshet.OpDelete}}
	e.head = s.apply(e.head, m, d, freshet.Version{Order: e.head.Version.Order, Epoch: s.collections.EpochOf(m.record.Position.Partition, offset), Offset: offset})
	e.content, e.bases, e.touched, e.blank = content{at, d}, nil, true, false
	p.outcomes.Expired++
	return nil
}

// done returns the expiries that commands were about and that hold no more.
func (p *plan) done() (list []expiry) {
	for _, x := range p.expired {
		if p.entities[x.key].head.ExpiresAt != x.at {
			list = append(list, x)
		}
	}
	return list
}

// How expired entities are deleted. They are hidden before, so nobody waits for it.
const (
	expireBatch = 1024 // commands at once
	expirePoll  = 250 * time.Millisecond
	expireMost  = 5 * time.Second // between two attempts after errors
)

// Expirer has entities deleted once they are due.
type Expirer struct {
	Log broker.Log
	// Now is the time, ms.
	Now func() int64
	// Decided blocks until a record of events.raw is decided.
	Decided func(ctx context.Context, offset int64) error
	Logger  *slog.Logger
}

// Run deletes what is due until ctx ends.
func (x *Expirer) Run(ctx context.Context) error {
	wait := expirePoll
	for {
		n, err := x.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			wait = min(2*wait, expireMost)
			x.Logger.Error("expired entities could not be deleted, they stay hidden; it is tried again", "error", err, "wait", wait)
		} else if wait = expirePoll; n == expireBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Step writes the commands for what is due, at most expireBatch of them, and waits until they are
// decided: nothing is asked for twice, however long that takes.
func (x *Expirer) Step(ctx context.Context) (n int, err error) {
	now := x.Now()
	var list []Command
	err = x.Log.ScanTable(broker.TableExpiry, nil, nil, func(k, _ []byte) error {
		at, key, err := wire.ParseExpiry(k)
		if err != nil {
			return err
		}
		if at > now || len(list) == expireBatch {
			return errEnough
		}
		c := &Expire{Collection: key.Collection, Namespace: key.Namespace, Entity: key.Entity, At: at}
		r, ok, err := x.Log.Latest(freshet.TopicSync, wire.AppendKey(nil, key), nil)
		if err == nil && ok {
			var change freshet.Change
			change, err = wire.DecodeChange(key, r.Value, wire.Head)
			if change.ExpiresAt == at {
				c.Version = change.Version
			}
		}
		list = append(list, c) // of what is gone only the entry goes
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, fmt.Errorf("read expiries: %w", err)
	}
	if len(list) == 0 {
		return 0, nil
	}
	last, err := appendCommands(ctx, x.Log, list)
	if err != nil {
		return 0, err
	}
	return len(list), x.Decided(ctx, last)
}
