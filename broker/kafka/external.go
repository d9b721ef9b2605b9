package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// Collections says who writes which collections, as far as the node knows at present. Its methods are called while the copy is
// locked, and wait for nothing.
type Collections interface {
	// Writer says whether a collection is written by others; ok is false for one that is not known.
	Writer(collection string) (external, ok bool)
	// External are the collections that are written by others, in order.
	External() []string
	// Epoch is the present one, for versions of what others write.
	Epoch() uint32
	// Check says why a collection can't take a change that others have written.
	Check(c *freshet.Change) error
}

// External brings what others write into vector.sync into the copy of a node. It reads on its own, for what it takes has
// no owner: it may stand in any partition, and in those that the node owns itself too.
//
// The last record of an entity decides alone: its version is its offset, and a record that can't be read deletes the
// entity. Compaction keeps nothing but that record, so whatever else counted would make a process that has read the
// earlier ones differ from one that begins later.
type External struct {
	client  *Client
	copy    *Copy
	Stats   ExternalStats
	dropped complaint

	mu  sync.Mutex // guards lag
	lag map[int32]int64
}

// ExternalStats count since the start.
type ExternalStats struct {
	Taken   atomic.Int64 // records that have changed an entity
	Bad     atomic.Int64 // records that can't be read: their entity is deleted
	Ignored atomic.Int64 // records of collections that are not declared, or of the wrong writer
}

// NewExternal returns what takes in others' records.
func (c *Client) NewExternal(copy *Copy) *External {
	return &External{client: c, copy: copy, lag: map[int32]int64{}, dropped: complaint{logger: c.opts.Logger}}
}

// Lag is how many records of vector.sync are not read yet.
func (e *External) Lag() (records int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.lag {
		records += n
	}
	return records
}

// Has reports whether the copy has everything that others have written below an offset of a partition.
func (e *External) Has(partition int32, offset int64) (bool, error) {
	for _, name := range e.copy.collections.External() {
		if at, err := e.copy.externalPosition(name, partition); err != nil || at < offset {
			return false, err
		}
	}
	return true, nil
}

// externalPoll is how often it is looked whether there are other collections.
const externalPoll = time.Second

// Run reads until ctx ends, while there are collections that others write. An error of the copy or of Kafka that does not go away by
// itself ends it, and so does [ErrMixed].
func (e *External) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		names := e.copy.collections.External()
		if len(names) == 0 {
			sleep(ctx, externalPoll)
			continue
		}
		if err := e.follow(ctx, names); err != nil && ctx.Err() == nil {
			return fmt.Errorf("external: %w", err)
		}
	}
	return nil
}

// follow reads for collections until there are others. One that is new is read for from the beginning.
func (e *External) follow(ctx context.Context, names []string) error {
	topic := e.client.opts.Topics.Sync
	var from []freshet.Position
	for p := range int32(e.client.opts.Partitions) {
		at, err := e.copy.externalFrom(names, p)
		if err != nil {
			return err
		}
		from = append(from, freshet.Position{Topic: topic, Partition: p, Offset: at})
	}
	reader, err := e.client.NewReader(from...)
	if err != nil {
		return err
	}
	defer reader.Close()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for sleep(reading, externalPoll) {
			if !slices.Equal(names, e.copy.collections.External()) {
				stop()
			}
		}
	}()
	for {
		fetched, err := reader.Read(reading)
		if reading.Err() != nil || errors.Is(err, ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, f := range fetched {
			if err := e.take(ctx, names, f); err != nil {
				return err
			}
			e.mu.Lock()
			e.lag[f.Partition] = max(0, f.End-f.Next)
			e.mu.Unlock()
		}
	}
}

// take brings records into the copy, and what has changed to the store. Those that the copy has already are passed over.
func (e *External) take(ctx context.Context, names []string, f Fetched) error {
	var taken Taken
	next, err := e.copy.commit(func(tx *embedded.Txn) error {
		last, err := e.lastOf(names, f)
		if err != nil {
			return err
		}
		for _, r := range last {
			if err := e.put(tx, r, &taken); err != nil {
				return fmt.Errorf("%s/%d@%d: %w", f.Topic, f.Partition, r.Offset, err)
			}
		}
		for _, name := range names {
			if err := tx.Move(e.copy.externalMember(name), f.Topic, f.Partition, f.Next); err != nil {
				return err
			}
		}
		return nil
	})
	if taken.Next = next; err != nil || next == 0 {
		return err
	}
	return e.copy.deliver(ctx, f.Partition, taken)
}

// foreign is a record that somebody else has written.
type foreign struct {
	*Record
	key freshet.Key
}

// lastOf are the last records of the entities of collections that others write, in order of offset.
func (e *External) lastOf(names []string, f Fetched) (last []foreign, err error) {
	from := map[string]int64{}
	for _, name := range names {
		if from[name], err = e.copy.externalPosition(name, f.Partition); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for i := len(f.Records) - 1; i >= 0; i-- {
		r := &f.Records[i]
		if isMark(r.Key) || seen[string(r.Key)] {
			continue
		}
		key, err := wire.ParseKey(r.Key)
		if err != nil {
			if ownRecord(r) {
				return nil, fmt.Errorf("%s/%d@%d: %w", f.Topic, f.Partition, r.Offset, err)
			}
			e.Stats.Bad.Add(1)
			e.dropped.say("a record of vector.sync has a key that is none, and is left out", r, err)
			continue
		}
		by, err := e.copy.whose(key.Collection, r)
		if err != nil {
			return nil, fmt.Errorf("%s/%d@%d: %w", f.Topic, f.Partition, r.Offset, err)
		}
		at, followed := from[key.Collection]
		switch {
		case by == byOthers && followed && r.Offset >= at:
			seen[string(r.Key)] = true
			last = append(last, foreign{r, key})
		case by == byNobody:
			e.Stats.Ignored.Add(1)
			e.dropped.say("a record of vector.sync is left out: its collection is not declared with source: external, or not written by who has written this", r, nil)
		}
	}
	slices.Reverse(last)
	return last, nil
}

// put makes a record the state of its entity.
func (e *External) put(tx *embedded.Txn, r foreign, taken *Taken) error {
	old, ok, err := e.copy.state.Latest(freshet.TopicSync, r.Record.Key, nil)
	if err != nil {
		return err
	}
	var had freshet.Change
	if !ok {
		old.Offset = broker.NoRecord
	} else if had, err = wire.DecodeChange(r.key, old.Value, wire.Head); err != nil {
		return err
	}
	version := freshet.Version{Epoch: e.copy.collections.Epoch(), Offset: r.Offset}
	if ok && !version.After(had.Version) {
		return nil
	}
	c, err := e.change(r, version)
	if err != nil {
		e.Stats.Bad.Add(1)
		e.dropped.say("a record of vector.sync can't be read: its entity is deleted", r.Record, err)
	}
	if c.Deleted() && (!ok || had.Deleted()) {
		return nil
	}
	if err := tx.Replace(freshet.TopicSync, r.Record.Key, wire.AppendChange(nil, &c), old.Offset); err != nil {
		return err
	}
	e.Stats.Taken.Add(1)
	taken.Changes = append(taken.Changes, c)
	return nil
}

// change is what a record says of its entity; of one that can't be read the change is a deletion, and the error says why.
func (e *External) change(r foreign, version freshet.Version) (freshet.Change, error) {
	said, _, err := wire.DecodeSync(r.key, r.Value, wire.Points)
	if err == nil && said.ExpiresAt != 0 {
		err = &freshet.Error{Code: freshet.CodeInvalidField, Field: "expires_at", Message: "is for collections that freshet writes; delete the entity when it is due"}
	}
	if err == nil && !said.Deleted() {
		err = e.copy.collections.Check(&said)
	}
	c := freshet.Change{Key: r.key, Op: freshet.OpDelete, Version: version, AcceptedAt: r.Time, EventTime: said.EventTime, Events: 1}
	if err == nil && !said.Deleted() {
		c = said
		c.Version, c.Revision, c.AcceptedAt, c.Events, c.Base = version, 0, r.Time, 1, nil
		c.Content = wire.PointsDigest(c.Points)
	}
	if c.EventTime == 0 {
		c.EventTime = r.Time
	}
	c.Digest = wire.StateDigest(&c, c.Content)
	return c, err
}

// complaint says what is wrong with records, one in complaintPause at most: a producer may do the same wrong for millions.
type complaint struct {
	logger *slog.Logger
	last   time.Time
	kept   int // since the last
}

const complaintPause = time.Second

func (c *complaint) say(what string, r *Record, err error) {
	if time.Since(c.last) < complaintPause {
		c.kept++
		return
	}
	c.logger.Warn(what, "partition", r.Partition, "offset", r.Offset, "key", fmt.Sprintf("%.100q", r.Key), "error", err, "others_not_shown", c.kept)
	c.last, c.kept = time.Now(), 0
}
