package kafka

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// Groups of the positions that a copy keeps.
const (
	copyGroup    = "copy"    // how far it has each partition of the compacted topics
	processGroup = "process" // how far each partition of events.keyed is decided
	followGroup  = "follow"  // 1 for each partition of vector.sync of which it has had all, whoever owned them
	baseGroup    = "audit"   // how far it is folded into the audit base: an entry of that table
)

// basePositionKey is the entry of the audit base with the position of its group, 8 bytes big-endian.
const basePositionKey = "p"

func appendPosition(dst []byte, next int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(next))
}

// parsePosition reads what appendPosition has written; ok is false if it is anything else.
func parsePosition(v []byte) (next int64, ok bool) {
	if len(v) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v)), true
}

// basePosition reads the entry of the audit base that holds its position.
func basePosition(get func(t broker.Table, key []byte) ([]byte, bool, error)) (int64, error) {
	v, ok, err := get(broker.TableBase, []byte(basePositionKey))
	if err != nil || !ok {
		return 0, err
	}
	next, ok := parsePosition(v)
	if !ok {
		return 0, errors.New("the position of the audit base is damaged")
	}
	return next, nil
}

// Copy is what a node has of the compacted topics, in its state: vector.sync under its own keys, dead letters and state tables
// under keys with their partition. Records of other nodes come by [Copy.Take], those of its own by the transactions of its
// partitions. It is safe for concurrent use.
type Copy struct {
	state   *embedded.State
	topics  Topics
	deliver func(context.Context, int32, Taken) error
	// Who writes what; see Externals.
	collections Collections
	group       string
	ignoreMixed bool
	split       atomic.Bool // records in a partition that is not their entity's have been taken to another

	mu sync.Mutex // one transaction at a time: the order of vector.sync in the state is that of commits
	// open are the transactions whose changes the store does not have yet, in order of their ends in vector.sync.
	open     []unapplied
	member   broker.Member  // of copyGroup
	decider  broker.Member  // of processGroup
	catcher  broker.Member  // of caughtGroup
	follower broker.Member  // of followGroup
	owned    map[int32]bool // partitions whose transactions come from here
}

type unapplied struct {
	next    int64
	applied bool
}

// NewCopy returns the copy in a state; there is one of each state. topics are those of [Client.Options]. deliver hands on what
// came of the records of a partition of vector.sync, in their order.
func NewCopy(state *embedded.State, topics Topics, deliver func(ctx context.Context, partition int32, t Taken) error) *Copy {
	return &Copy{state: state, topics: topics, deliver: deliver, collections: nobody{}, member: state.Join(copyGroup), decider: state.Join(processGroup), catcher: state.Join(caughtGroup), follower: state.Join(followGroup), owned: map[int32]bool{}}
}

// Position is how far the copy has a partition of a compacted topic: the next offset that it needs.
func (c *Copy) Position(topic string, partition int32) (int64, error) {
	return c.state.Position(copyGroup, topic, partition)
}

// NotePartial notes, before anything is followed, of which partitions the copy will be, whoever owns them: of the others it is only what their owner,
// here, has of them.
func (c *Copy) NotePartial(followed []int32) error {
	return c.noteFollowed(0, func(p int32) bool { return !slices.Contains(followed, p) })
}

// NoteWhole notes that the copy has had all of the partitions that it is of whoever owns them.
func (c *Copy) NoteWhole(followed []int32) error {
	return c.noteFollowed(1, func(p int32) bool { return slices.Contains(followed, p) })
}

func (c *Copy) noteFollowed(is int64, of func(int32) bool) error {
	_, err := c.commit(func(tx *embedded.Txn) error {
		for p := range int32(c.state.Partitions()) {
			if !of(p) {
				continue
			}
			if err := tx.Move(c.follower, c.topics.Sync, p, is); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Partial are the partitions of which the copy is only what their owner, here, last had of them, or nothing.
func (c *Copy) Partial() (list []int32, err error) {
	for p := range int32(c.state.Partitions()) {
		is, err := c.state.Position(followGroup, c.topics.Sync, p)
		if err != nil {
			return nil, err
		}
		if is == 0 {
			list = append(list, p)
		}
	}
	return list, nil
}

// Decided is the next offset of events.keyed that is not decided, as far as the copy knows.
func (c *Copy) Decided(partition int32) (int64, error) {
	return c.state.Position(processGroup, freshet.TopicKeyed, partition)
}

// Applied says that the store has the changes of a transaction that ended at next in vector.sync, and returns up to where it has
// all of them.
func (c *Copy) Applied(next int64) (all int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := slices.BinarySearchFunc(c.open, next, func(u unapplied, next int64) int { return int(u.next - next) }); ok {
		c.open[i].applied = true
	}
	for len(c.open) > 0 && c.open[0].applied {
		all = c.open[0].next
		c.open = c.open[1:]
	}
	return all
}

// commit makes a transaction of the state visible, in which f does what is to be done. It returns where it ends in
// vector.sync, 0 when it changed nothing there.
func (c *Copy) commit(f func(*embedded.Txn) error) (next int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tx := c.state.Begin()
	if err := f(tx); err != nil {
		tx.Abort()
		return 0, err
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	if next = tx.Next(); next > 0 {
		c.open = append(c.open, unapplied{next: next})
	}
	return next, nil
}

// Taken is what came of records that were taken into the copy.
type Taken struct {
	Changes []freshet.Change
	// Forgotten are deletions that the topic has no more, by key and version: a store need not keep them, once it has Changes.
	Forgotten []freshet.Change
	Decided   int64 // every record of the partition of events.keyed below it is decided with them; 0 when that is not told
	Next      int64 // where they end in vector.sync of the state; 0 without changes
}

// own says that the transactions of a partition come from here, or no longer.
func (c *Copy) own(partition int32, owned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if owned {
		c.owned[partition] = true
		return
	}
	delete(c.owned, partition)
}

// Take takes in what was read of a compacted topic, and hands on what came of it. What the copy has already it passes over,
// and all of a partition whose owner is here.
func (c *Copy) Take(ctx context.Context, f Fetched) error {
	return c.take(ctx, f, nil)
}

// take is Take; an owner restores its partition with it, and is given the last batch.
func (c *Copy) take(ctx context.Context, f Fetched, owner *Partition) error {
	var taken Taken
	next, err := c.commit(func(tx *embedded.Txn) error {
		if c.owned[f.Partition] && owner == nil {
			return nil
		}
		at, err := c.Position(f.Topic, f.Partition)
		if err != nil || f.Next <= at && owner == nil {
			return err
		}
		t := taker{copy: c, tx: tx, partition: f.Partition, owner: owner, replaced: map[string]int{}}
		if t.term, err = c.term(f.Topic, f.Partition); err != nil {
			return err
		}
		if f.Topic == c.topics.Sync {
			if t.last, err = c.lastBatch(f.Partition); err != nil {
				return err
			}
		}
		last := t.last
		for i := range f.Records {
			r := &f.Records[i]
			if err := t.see(f.Topic, r, at, &taken); err != nil {
				return fmt.Errorf("%s/%d@%d: %w", f.Topic, f.Partition, r.Offset, err)
			}
		}
		if err := t.flush(&taken); err != nil {
			return err
		}
		if t.last != last {
			if err := setLastBatch(tx, f.Partition, t.last); err != nil {
				return err
			}
		}
		return tx.Move(c.member, f.Topic, f.Partition, max(at, f.Next))
	})
	if taken.Next = next; err != nil || taken.Next == 0 && taken.Decided == 0 && len(taken.Changes)+len(taken.Forgotten) == 0 {
		return err
	}
	return c.deliver(ctx, f.Partition, taken)
}

// taker takes records into a transaction. Of each entity the last one counts.
type taker struct {
	copy      *Copy
	tx        *embedded.Txn
	partition int32
	replaced  map[string]int // place in changes
	changes   []change
	owner     *Partition // that is being restored; nil of others
	term      int64      // the highest before the next record of the topic
	last      placed     // the last batch before it
}

// see takes a record unless the copy has it, or it is void.
func (t *taker) see(topic string, r *Record, at int64, taken *Taken) error {
	batch := topic == t.copy.topics.Sync && isBatch(r.Key)
	if r.Offset < at {
		if batch {
			return t.takeBatchAgain(r)
		}
		return nil
	}
	if void, err := t.void(topic, r); void || err != nil {
		return err
	}
	if batch {
		return t.takeBatch(r)
	}
	return t.take(topic, r, taken)
}

// change is the new record of a key of vector.sync; without a value it goes.
type change struct {
	key   string
	value []byte
}

func (t *taker) take(topic string, r *Record, taken *Taken) error {
	switch {
	case string(r.Key) == termKey:
		return t.takeTerm(topic, r)
	case isClaim(r.Key):
		return t.takeClaim(topic, r)
	}
	switch topic {
	case t.copy.topics.Sync:
		return t.takeSync(r, taken)
	case t.copy.topics.Dead:
		key := append(prefix(t.partition), r.Key...)
		if r.Value == nil {
			return t.tx.Remove(freshet.TopicDead, key)
		}
		return t.tx.Put(freshet.TopicDead, key, r.Value)
	case t.copy.topics.State:
		table, key, err := t.copy.tableKey(r.Key, t.partition)
		if err != nil {
			return err
		}
		if r.Value == nil {
			return t.tx.DeleteTable(table, key)
		}
		return t.tx.SetTable(table, key, r.Value)
	}
	return fmt.Errorf("topic %s is none that is copied", topic)
}

func (t *taker) takeSync(r *Record, taken *Taken) error {
	if string(r.Key) == markerKey {
		m, err := parseMarker(r.Value)
		if err != nil {
			return err
		}
		taken.Decided = m.Decided
		return t.copy.move(t.tx, t.partition, m.Decided)
	}
	key, err := wire.ParseKey(r.Key)
	if err != nil {
		if ownRecord(r) {
			return err
		}
		return nil // who reads what others write says so
	}
	if by, err := t.copy.whose(key.Collection, r); by != byFreshet || err != nil {
		return err
	}
	if t.copy.split.Load() {
		if wire.Partition(key, t.copy.state.Partitions()) != t.partition {
			return nil // what stands in the entity's own partition counts, in whatever order they are read
		}
	}
	if at, ok := t.replaced[string(r.Key)]; ok {
		t.changes[at].value = r.Value
		return nil
	}
	t.replaced[string(r.Key)] = len(t.changes)
	t.changes = append(t.changes, change{string(r.Key), r.Value})
	return nil
}

// flush puts what was taken of vector.sync.
func (t *taker) flush(taken *Taken) error {
	purged := map[freshet.Shard][]broker.Record{}
	for _, c := range t.changes {
		key, err := wire.ParseKey([]byte(c.key))
		if err != nil {
			return err
		}
		old, ok, err := t.copy.state.Latest(freshet.TopicSync, []byte(c.key), nil)
		if err != nil {
			return err
		}
		var head freshet.Change
		damaged := false
		if ok {
			if head, err = wire.DecodeChange(key, old.Value, wire.Head); err != nil {
				damaged, head = true, freshet.Change{}
			}
			if err := expiry(&head, t.tx.DeleteTable); err != nil {
				return err
			}
		}
		if c.value == nil {
			if ok && head.Deleted() && !damaged {
				taken.Forgotten = append(taken.Forgotten, freshet.Change{Key: key, Version: head.Version, Op: freshet.OpDelete})
				purged[key.Shard()] = append(purged[key.Shard()], old)
				continue
			}
			if err := t.tx.Remove(freshet.TopicSync, []byte(c.key)); err != nil {
				return err
			}
			if ok && !damaged { // the deletion is forgotten already; the store has not seen it
				taken.Changes = append(taken.Changes, freshet.Change{Key: key, Version: head.Version, Op: freshet.OpDelete, Again: true})
			}
			continue
		}
		decoded, value, err := readSync(key, c.value)
		if err != nil {
			return err
		}
		if !ok {
			old.Offset = broker.NoRecord
		}
		if err := t.tx.Replace(freshet.TopicSync, []byte(c.key), value, old.Offset); err != nil {
			return err
		}
		set := func(table broker.Table, k []byte) error {
			return t.tx.SetTable(table, k, wire.AppendVersion(nil, decoded.Version))
		}
		if err := expiry(&decoded, set); err != nil {
			return err
		}
		decoded.Anew = !ok // a deletion that the store has is forgotten
		if back := ok && head.Version.After(decoded.Version); back {
			// Between the two it was deleted, and that was forgotten, before this copy has read it.
			if decoded.Anew = true; !head.Deleted() {
				taken.Changes = append(taken.Changes, freshet.Change{Key: key, Version: head.Version, Op: freshet.OpDelete, Again: true})
			}
		}
		decoded.Again = damaged || ok && head.Version == decoded.Version // so a repair writes it
		taken.Changes = append(taken.Changes, decoded)
	}
	for shard, records := range purged {
		if err := t.tx.Purge(freshet.TopicSync, shard, records); err != nil {
			return err
		}
	}
	return nil
}

// expiry calls f with the entry that a change has in the table of expiries, if it has one: that table is not in a topic, as
// vector.sync says it all.
func expiry(c *freshet.Change, f func(broker.Table, []byte) error) error {
	if c.ExpiresAt == 0 || c.Deleted() {
		return nil
	}
	return f(broker.TableExpiry, wire.AppendExpiry(nil, c.ExpiresAt, c.Key))
}

// move notes how far a partition of events.keyed is decided.
func (c *Copy) move(tx *embedded.Txn, partition int32, decided int64) error {
	return tx.Move(c.decider, freshet.TopicKeyed, partition, decided)
}

// prefix is what keys of dead letters and state tables of a partition begin with in a state.
func prefix(partition int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(partition)) }

// Prefix is what keys of dead letters and state tables of a partition begin with in the state of a copy.
func Prefix(partition int32) []byte { return prefix(partition) }

// stateTables are those that freshet.state has.
var stateTables = []broker.Table{broker.TableProcess, broker.TableBase, broker.TableRouted}

// tableKey is the table and the key in the state that a record of freshet.state is of.
func (c *Copy) tableKey(key []byte, partition int32) (broker.Table, []byte, error) {
	if len(key) < 1 || !slices.Contains(stateTables, broker.Table(key[0])) {
		return 0, nil, fmt.Errorf("key %x is of no table that this version of freshet knows; use the one that wrote it", key)
	}
	return broker.Table(key[0]), append(prefix(partition), key[1:]...), nil
}

// has reports whether the copy has a key of a partition of a topic by its default name.
func (c *Copy) has(topic string, partition int32, key []byte) (ok bool, err error) {
	switch topic {
	case freshet.TopicSync:
		_, ok, err = c.state.Latest(topic, key, nil)
	case freshet.TopicDead:
		_, ok, err = c.state.Latest(topic, append(prefix(partition), key...), nil)
	default:
		var table broker.Table
		var k []byte
		if table, k, err = c.tableKey(key, partition); err == nil {
			_, ok, err = c.state.GetTable(table, k)
		}
	}
	return ok, err
}

// Keys of vector.sync that are of no entity: those begin with a text, or with 0x00 and the length of a name.
const (
	markerKey = "\x00\x00decided"
	claimKey  = "\x00\x00claim"
)

// marker is the record of vector.sync that says how far its partition of events.keyed is decided by the records before it.
type marker struct {
	Format  int   `json:"format"`
	Decided int64 `json:"decided"` // the next offset
}

const markerFormat = 1

func (m marker) value() []byte {
	m.Format = markerFormat
	b, _ := json.Marshal(m) // numbers only
	return b
}

func parseMarker(b []byte) (m marker, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("the marker is damaged: %w", err)
	}
	if m.Format != markerFormat || m.Decided < 0 {
		return m, errors.New("the marker is of a format that this version of freshet does not know; use the one that wrote it")
	}
	return m, nil
}
