package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
)

// ErrUnknownOutcome is in the error of an append of which nobody knows whether it is, or will be, in the log.
var ErrUnknownOutcome = errors.New("the outcome is unknown")

// Appender appends to a topic, outside of transactions. Its producer is idempotent: what it sends again
// after a fault stands in the log once and in order. It is safe for concurrent use; appends that come
// while a request is under way share the next one.
type Appender struct {
	opts    Options
	shift   func(topic string, partition int32) int64
	topic   string
	kgo     *kgo.Client
	flush   bool         // nothing goes out before all of an append is there
	waiting atomic.Int64 // bytes
}

// NewAppender returns an appender to a topic of the cluster.
func (c *Client) NewAppender(topic string) (*Appender, error) { return c.newAppender(topic) }

func (c *Client) newAppender(topic string, more ...kgo.Opt) (*Appender, error) {
	producer, err := c.connect(append([]kgo.Opt{
		kgo.DefaultProduceTopicAlways(),
		kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordDeliveryTimeout(c.opts.DeliveryTimeout),
		// Nothing waits for company: what comes during a request goes with the next one.
		kgo.ProducerLinger(0),
		// Bytes are bounded here, all records of an append at once.
		kgo.MaxBufferedRecords(math.MaxInt32),
	}, more...)...)
	if err != nil {
		return nil, err
	}
	return &Appender{opts: c.opts, shift: c.shift, topic: topic, kgo: producer}, nil
}

// Close ends the connection. Appends that are under way end with ErrUnknownOutcome.
func (a *Appender) Close() { a.kgo.Close() }

// Waiting is how many bytes of records are not durable yet.
func (a *Appender) Waiting() int64 { return a.waiting.Load() }

// Room is a *freshet.Error with backlog_full while no append but an empty one would be let in.
func (a *Appender) Room() error {
	if waiting := a.waiting.Load(); waiting >= a.opts.AppendBytes {
		return a.full(waiting)
	}
	return nil
}

// Append returns when all records are durable, with their positions in the order of the records. Records of a partition stand in the log in that
// order. It copies what it is given.
//
// Errors are *freshet.Error for what a user has to know: backlog_full when too much waits already, of which nothing is appended; too_large; unavailable.
// After a failure of some records the positions of the others are returned, and those of the failed ones have the offset −1.
// An error of which ErrUnknownOutcome is part says that records may be in the log, or get there still: after
// DeliveryTimeout, or when ctx ends. Then there are no positions.
func (a *Appender) Append(ctx context.Context, records []Record) ([]freshet.Position, error) {
	if len(records) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := a.reserve(records); err != nil {
		return nil, err
	}
	call := &appending{left: len(records), positions: make([]freshet.Position, len(records)), done: make(chan struct{})}
	for i, r := range a.copied(records) {
		size := memory(&records[i])
		// The context is not that of the caller: a record that was given up may not leave a gap in the producer's sequence.
		a.kgo.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			a.waiting.Add(-size)
			call.finish(i, freshet.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset + a.shift(r.Topic, r.Partition)}, err)
		})
	}
	// The producer gives a record up by itself only if it knows that it is not in the log.
	late := time.NewTimer(a.opts.DeliveryTimeout + time.Second)
	defer late.Stop()
	if a.flush {
		ctx, cancel := context.WithTimeout(ctx, a.opts.DeliveryTimeout+time.Second)
		defer cancel()
		if err := a.kgo.Flush(ctx); err != nil {
			return nil, a.unknown(err)
		}
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		return nil, a.unknown(ctx.Err())
	case <-late.C:
		return nil, a.unknown(fmt.Errorf("no answer within %v", a.opts.DeliveryTimeout))
	}
	return call.positions, a.outcome(call.err)
}

// reserve takes room for records, all or none. One append is always let in, however large.
func (a *Appender) reserve(records []Record) error {
	var size int64
	for i := range records {
		size += memory(&records[i])
	}
	for {
		waiting := a.waiting.Load()
		if waiting > 0 && waiting+size > a.opts.AppendBytes {
			return a.full(waiting)
		}
		if a.waiting.CompareAndSwap(waiting, waiting+size) {
			return nil
		}
	}
}

func (a *Appender) full(waiting int64) error {
	return &freshet.Error{Code: freshet.CodeBacklogFull, Message: fmt.Sprintf("%d bytes of events wait to become durable in Kafka, "+
		"the limit is %d; send more slowly", waiting, a.opts.AppendBytes)}
}

// copied are records for franz-go, with bytes of their own.
func (a *Appender) copied(records []Record) []*kgo.Record {
	all := make([]kgo.Record, len(records))
	out := make([]*kgo.Record, len(records))
	for i := range records {
		write(&all[i], &records[i])
		out[i] = &all[i]
	}
	return out
}

// appending is one Append under way.
type appending struct {
	mu        sync.Mutex // guards what follows
	left      int
	positions []freshet.Position
	err       error // the gravest: one of unknown outcome before one that is known

	done chan struct{} // closed when nothing is left
}

func (c *appending) finish(i int, at freshet.Position, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.positions[i] = at
	if err != nil {
		c.positions[i].Offset = -1
		if c.err == nil || refused(c.err) && !refused(err) {
			c.err = err
		}
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// refused reports whether an error says that a record is not in the log.
func refused(err error) bool {
	for _, known := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.TopicAuthorizationFailed,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException, kerr.PolicyViolation, kerr.InvalidTimestamp} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// outcome gives an error of franz-go the form in which a user sees it.
func (a *Appender) outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("append to %s: %w: %w", a.topic, &freshet.Error{Code: freshet.CodeTooLarge,
			Message: fmt.Sprintf("an event has more than the %d bytes that a record of the log may have; send less, or raise max_record_bytes", a.opts.MaxRecordBytes)}, err)
	case refused(err):
		return fmt.Errorf("append to %s: %w: %w", a.topic, &freshet.Error{Code: freshet.CodeUnavailable,
			Message: "Kafka refuses events, of which none of those that failed is in the log; the server's log says why"}, err)
	}
	return a.unknown(err)
}

func (a *Appender) unknown(why error) error {
	return fmt.Errorf("append to %s: %w: %w: %w", a.topic, ErrUnknownOutcome, &freshet.Error{Code: freshet.CodeUnavailable,
		Message: "Kafka does not say whether the events are in the log; send them again, with the same event ids they have no second effect"}, why)
}

// PartitionAppender appends to one partition.
type PartitionAppender struct {
	appender  *Appender
	partition int32
}

// In returns the appender to one partition.
func (a *Appender) In(partition int32) PartitionAppender { return PartitionAppender{a, partition} }

// Append is [Appender.Append] for records of which value and headers count. It returns the offset of the last.
func (a PartitionAppender) Append(ctx context.Context, records ...Record) (last int64, err error) {
	list := make([]Record, len(records))
	for i, r := range records {
		list[i] = Record{Partition: a.partition, Value: r.Value, Headers: r.Headers}
	}
	positions, err := a.appender.Append(ctx, list)
	if err != nil {
		return 0, err
	}
	return positions[len(positions)-1].Offset, nil
}

// partitioner leaves a record in the partition that it names, and finds one for AnyPartition as Java's producer does: by the
// murmur2 hash of its key.
type partitioner struct{ byKey kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.byKey.ForTopic(topic)}
}

type topicPartitioner struct{ byKey kgo.TopicPartitioner }

// RequiresConsistency says that a partition counts that can't be written to at present, but for records that name nothing.
func (topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition != AnyPartition || r.Key != nil
}

func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition != AnyPartition {
		return int(r.Partition)
	}
	return p.byKey.Partition(r, n)
}
