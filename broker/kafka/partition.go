package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/wire"
)

// Partition is a partition of the log in the hands of its owner: what stands in it of events.keyed is decided here, and what
// follows from it is committed to its partitions of vector.sync, freshet.state and vector.sync.dlq in one transaction, and
// then to the node's copy. It implements [broker.Log]; its one reader and its one writer may be different goroutines.
//
// An error of a commit ends the ownership, for its outcome may be unknown: [broker.ErrFenced]. Whoever goes on takes the
// partition anew, and finds out.
type Partition struct {
	client    *Client
	copy      *Copy
	session   *session
	number    int32
	term      int64         // since it was taken; noTerm if its session can be fenced, and there were no terms
	reader    *SharedReader // of what is decided
	commands  *Appender     // to events.keyed
	keyed     TopicID
	first     int64 // of events.keyed, when it was taken
	end       atomic.Int64
	lost      atomic.Bool
	writing   sync.Mutex // held while records go to the log and then to the copy
	watching  watching
	following following
	last      unfinished // the last batch of the one before; of Own
	restored  bool       // what the one before had begun is finished

	mu      sync.Mutex         // guards what follows
	read    []readForward      // forwards that were read and are not decided, in order
	folding []readForward      // those that were read for the audit base and are not in it
	decided map[origin]forward // the last forward of each partition of events.raw that was decided when it was taken
	pins    map[*int64]struct{}
}

var _ broker.Log = (*Partition)(nil)

type readForward struct {
	at     int64 // in events.keyed
	source origin
	forward
}

// Own makes this process the owner of a partition: who owned it is fenced, what it had begun is finished or undone, and the
// copy has everything that was committed when Own returns.
func (c *Committer) Own(ctx context.Context, partition int32) (p *Partition, err error) {
	p = &Partition{client: c.client, copy: c.copy, number: partition, term: noTerm, reader: c.reader, commands: c.commands, decided: map[origin]forward{}, pins: map[*int64]struct{}{}}
	p.following.own = map[string]int64{}
	defer func() {
		if err != nil {
			p.Close()
			p, err = nil, fmt.Errorf("take partition %d: %w", partition, err)
		}
	}()
	if p.session, err = c.current(ctx); err != nil {
		return p, err
	}
	p.copy.split.Store(p.client.split)
	p.copy.own(partition, true) // before anything is written that others could read for it
	if err := p.restore(ctx); err != nil {
		return p, err
	}
	if p.keyed, err = p.client.TopicID(ctx, p.client.opts.Topics.Keyed); err != nil {
		return p, err
	}
	starts, err := p.client.Starts(ctx, p.client.opts.Topics.Keyed)
	if err != nil {
		return p, err
	}
	p.first = starts[partition]
	ends, err := p.client.Ends(ctx, p.client.opts.Topics.Keyed)
	if err != nil {
		return p, err
	}
	p.end.Store(ends[partition])
	return p, p.loadForwards()
}

// Number is the number of the partition.
func (p *Partition) Number() int32 { return p.number }

// Close gives the partition up. Nothing may be under way.
func (p *Partition) Close() {
	if !p.lost.Swap(true) {
		p.release()
	}
	p.copy.own(p.number, false)
}

// RawTopic implements [broker.Log].
func (p *Partition) RawTopic() string { return p.client.opts.Topics.Keyed }

// RawFirst implements [broker.Log]. What was not decided and is not kept any more is no beginning: reading fails there.
func (p *Partition) RawFirst() int64 {
	if decided, err := p.copy.Decided(p.number); err != nil || decided > 0 {
		return 0
	}
	return p.first
}

// RawEnd implements [broker.Log], as of the last read.
func (p *Partition) RawEnd() int64 { return p.end.Load() }

// PinRaw implements [broker.Log]. Which records are kept is the brokers' business; the pin is for what is kept beside them.
func (p *Partition) PinRaw() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from, err := p.Position(baseGroup, "", 0)
	if err != nil {
		from = 0
	}
	p.pins[&from] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.pins, &from)
	}
}

// RawPinned implements [broker.Log].
func (p *Partition) RawPinned() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	lowest := int64(math.MaxInt64)
	for pin := range p.pins {
		lowest = min(lowest, *pin)
	}
	return lowest
}

// Append implements [broker.Log].
func (p *Partition) Append(ctx context.Context, records ...journal.Record) (last int64, err error) {
	return p.commands.In(p.number).Append(ctx, records...)
}

// Join implements [broker.Log]. The one member is the owner of the partition.
func (p *Partition) Join(group string) broker.Member { return broker.Member{Group: group} }

// Position implements [broker.Log].
func (p *Partition) Position(group, _ string, _ int32) (int64, error) {
	switch group {
	case processGroup:
		return p.copy.Decided(p.number)
	case baseGroup:
		return basePosition(p.GetTable)
	}
	return 0, fmt.Errorf("group %q has no position in Kafka", group)
}

// Latest implements [broker.Log].
func (p *Partition) Latest(topic string, key, buf []byte) (broker.Record, bool, error) {
	r, ok, err := p.copy.state.Latest(topic, p.topicKey(topic, key), buf)
	r.Key = key
	return r, ok, err
}

// topicKey is the key in the state of a key of a topic.
func (p *Partition) topicKey(topic string, key []byte) []byte {
	if topic == freshet.TopicDead {
		return append(prefix(p.number), key...)
	}
	return key
}

// Scan implements [broker.Log].
func (p *Partition) Scan(topic string, lower, upper []byte, yield func(broker.Record) error) error {
	return p.scan(topic, lower, upper, yield, p.copy.state.Scan)
}

type scan func(topic string, lower, upper []byte, yield func(broker.Record) error) error

func (p *Partition) scan(topic string, lower, upper []byte, yield func(broker.Record) error, from scan) error {
	switch topic {
	case freshet.TopicDead:
		lower, upper = p.bounds(lower, upper)
		return from(topic, lower, upper, func(r broker.Record) error {
			r.Key = r.Key[len(prefix(p.number)):]
			return yield(r)
		})
	case freshet.TopicSync:
		return from(topic, lower, upper, func(r broker.Record) error {
			if key, err := wire.ParseKey(r.Key); err != nil || !p.owns(key) {
				return err
			}
			return yield(r)
		})
	}
	return fmt.Errorf("topic %s is not one of a partition", topic)
}

// Owns reports whether the events of an entity are decided in the partition.
func (p *Partition) Owns(key freshet.Key) bool {
	return wire.Partition(key, p.client.opts.Partitions) == p.number
}

// owns reports whether a state of an entity was decided here. What others write is in any partition, and nobody decides it.
func (p *Partition) owns(key freshet.Key) bool {
	return !p.copy.isExternal(key.Collection) && p.Owns(key)
}

// bounds are those of keys with the prefix of the partition; nil bounds are open within it.
func (p *Partition) bounds(lower, upper []byte) (from, to []byte) {
	from = append(prefix(p.number), lower...)
	if upper == nil {
		return from, prefix(p.number + 1)
	}
	return from, append(prefix(p.number), upper...)
}

// GetTable implements [broker.Log].
func (p *Partition) GetTable(t broker.Table, key []byte) ([]byte, bool, error) {
	return p.copy.state.GetTable(t, p.tableKey(t, key))
}

// tableKey is the key in the state of a key of a table. Expiries are kept for all partitions together, as a store reads them.
func (p *Partition) tableKey(t broker.Table, key []byte) []byte {
	if t == broker.TableExpiry {
		return key
	}
	return append(prefix(p.number), key...)
}

// ScanTable implements [broker.Log].
func (p *Partition) ScanTable(t broker.Table, lower, upper []byte, yield func(key, value []byte) error) error {
	return p.scanTable(t, lower, upper, yield, p.copy.state.ScanTable)
}

type scanTable func(t broker.Table, lower, upper []byte, yield func(key, value []byte) error) error

func (p *Partition) scanTable(t broker.Table, lower, upper []byte, yield func(key, value []byte) error, from scanTable) error {
	if t == broker.TableExpiry {
		return from(t, lower, upper, func(k, v []byte) error {
			if _, key, err := wire.ParseExpiry(k); err != nil || !p.owns(key) {
				return err
			}
			return yield(k, v)
		})
	}
	lower, upper = p.bounds(lower, upper)
	return from(t, lower, upper, func(k, v []byte) error { return yield(k[len(prefix(p.number)):], v) })
}

// TableBounds implements [broker.Log].
func (p *Partition) TableBounds(t broker.Table, lower, upper []byte) (first, last []byte, ok bool, err error) {
	if t == broker.TableExpiry {
		return nil, nil, false, errors.New("expiries have no bounds of a partition")
	}
	lower, upper = p.bounds(lower, upper)
	first, last, ok, err = p.copy.state.TableBounds(t, lower, upper)
	if ok {
		first, last = first[len(prefix(p.number)):], last[len(prefix(p.number)):]
	}
	return first, last, ok, err
}

// forwardKey is where the last forward of a partition of events.raw is kept, in the table of processing.
func forwardKey(source origin) []byte { return source.append([]byte{'r'}) }

func (p *Partition) loadForwards() error {
	return readForwards(p.ScanTable, broker.TableProcess, p.decided)
}

// readForwards reads the last forwards that a table tells of.
func readForwards(from scanTable, table broker.Table, to map[origin]forward) error {
	lower, upper := Forwards()
	return from(table, lower, upper, func(k, v []byte) error {
		if len(k) != 1+originBytes || len(v) != forwardBytes {
			return fmt.Errorf("the last forward %x is damaged", k)
		}
		to[parseOrigin(k[1:])] = parseForward(v)
		return nil
	})
}
