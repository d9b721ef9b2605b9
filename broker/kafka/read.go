package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
)

var (
	// ErrNotRetained is returned when reading from an offset before the first one of a partition.
	ErrNotRetained = errors.New("offset is older than the first one in the log")
	// ErrLost is returned when the log no longer has what a reader has read, or does not reach up to where it is to read.
	ErrLost = errors.New("the log has lost records")
	// ErrReplaced is returned when a topic was deleted and made again while it is read.
	ErrReplaced = errors.New("the topic was deleted and made again")
	// ErrClosed is returned by what has been closed.
	ErrClosed = errors.New("the connection to Kafka is closed")
)

// Fetched is what a read gave of one partition.
type Fetched struct {
	Topic     string
	Partition int32
	Records   []Record // committed ones, in order of offset; none if there was nothing but marks of transactions
	Next      int64    // where reading goes on: behind the records and the marks of transactions that follow them
	End       int64    // behind the last committed record, as of this read: the reader has caught up if Next is as much
}

// Reader reads partitions from given offsets on, outside of groups. It sees only what is committed. Read is for one
// goroutine, the other methods for any.
type Reader struct {
	client *Client
	kgo    *kgo.Client

	mu     sync.Mutex // guards what follows
	next   map[place]int64
	failed []*partitionError // told after what others have given
}

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// fetchWait is how long a broker waits for records: a partition that is added waits as long for its first answer.
const fetchWait = 500 * time.Millisecond

// NewReader returns a reader of partitions, each from its offset on.
func (c *Client) NewReader(from ...freshet.Position) (*Reader, error) {
	return c.newReader(fetchWait, from...)
}

func (c *Client) newReader(wait time.Duration, from ...freshet.Position) (*Reader, error) {
	consumer, err := c.connect(
		kgo.FetchMaxBytes(int32(c.opts.FetchBytes)),
		kgo.FetchMaxPartitionBytes(int32(c.opts.FetchBytes)),
		kgo.FetchMaxWait(wait),
		// The end of a session, as the client is closed, races with a fetch in franz-go 1.22.2; a reader's few partitions need none.
		kgo.DisableFetchSessions(),
		// The marks of transactions tell how far a partition is read where no record follows them.
		kgo.KeepControlRecords(),
	)
	if err != nil {
		return nil, err
	}
	r := &Reader{client: c, kgo: consumer, next: map[place]int64{}}
	r.Add(from...)
	return r, nil
}

// Add begins with partitions that are not read yet.
func (r *Reader) Add(from ...freshet.Position) {
	if len(from) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := map[string]map[int32]kgo.Offset{}
	for _, p := range from {
		if at[p.Topic] == nil {
			at[p.Topic] = map[int32]kgo.Offset{}
		}
		if err := r.client.keeps(p); err != nil {
			r.failed = append(r.failed, err)
			continue
		}
		at[p.Topic][p.Partition] = kgo.NewOffset().At(p.Offset - r.client.shift(p.Topic, p.Partition))
		r.next[place{p.Topic, p.Partition}] = p.Offset
	}
	r.kgo.AddConsumePartitions(at)
}

// keeps is an error about a place before the first of a partition that was shifted.
func (c *Client) keeps(p freshet.Position) *partitionError {
	if shift := c.shift(p.Topic, p.Partition); p.Offset < shift {
		return &partitionError{place{p.Topic, p.Partition}, p.Offset, fmt.Errorf("%w, which is %d", ErrNotRetained, shift)}
	}
	return nil
}

// pause leaves a partition out until it is resumed. A Read that runs meanwhile may still return records of it.
func (r *Reader) pause(at place) {
	r.kgo.PauseFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

func (r *Reader) resume(at place) {
	r.kgo.ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

// Remove ends with a partition. A Read that runs meanwhile may still return records of it.
func (r *Reader) Remove(topic string, partition int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(place{topic, partition})
}

// drop ends with a partition; mu is held.
func (r *Reader) drop(at place) {
	delete(r.next, at)
	r.kgo.RemoveConsumePartitions(map[string][]int32{at.topic: {at.partition}})
}

// Close ends the connection; a Read that waits returns ErrClosed.
func (r *Reader) Close() { r.kgo.Close() }

// Read returns what has come, of one partition at least: it waits for it. While the cluster is away it waits for that too.
// The bytes of the records are the caller's.
//
// Besides the end of ctx, ErrClosed and what the cluster refuses, errors are ErrNotRetained, ErrLost and ErrReplaced: they name the partition, which is not read
// any more; the others are, if Read is called again.
func (r *Reader) Read(ctx context.Context) ([]Fetched, error) {
	for {
		if err := r.takeFailure(ctx); err != nil {
			return nil, err
		}
		fetches := r.kgo.PollFetches(ctx)
		switch {
		case fetches.IsClientClosed():
			return nil, ErrClosed
		case ctx.Err() != nil && fetches.NumRecords() == 0:
			return nil, ctx.Err()
		}
		var all []Fetched
		fetches.EachTopic(func(t kgo.FetchTopic) {
			for i := range t.Partitions {
				if f, ok := r.take(t.Topic, &t.Partitions[i]); ok {
					all = append(all, f)
				}
			}
		})
		if len(all) > 0 {
			return all, nil
		}
	}
}

// take is what an answer holds of a partition; its error is kept for later.
func (r *Reader) take(topic string, p *kgo.FetchPartition) (f Fetched, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := place{topic, p.Partition}
	next, ours := r.next[at]
	if ended := errors.Is(p.Err, context.Canceled) || errors.Is(p.Err, context.DeadlineExceeded); p.Err != nil && !ended {
		// What franz-go does not try again by itself is not tried again at all: it would fail in the same way for ever.
		r.failed = append(r.failed, &partitionError{at, next, p.Err})
		if ours {
			r.drop(at)
		}
	}
	if len(p.Records) == 0 {
		return f, false
	}
	shift := r.client.shift(topic, p.Partition)
	f = Fetched{Topic: topic, Partition: p.Partition, Next: p.Records[len(p.Records)-1].Offset + 1 + shift, End: p.LastStableOffset + shift}
	f.Records = make([]Record, 0, len(p.Records))
	for _, rec := range p.Records {
		if !rec.Attrs.IsControl() {
			f.Records = append(f.Records, read(rec))
			f.Records[len(f.Records)-1].Offset += shift
		}
	}
	if _, still := r.next[at]; still {
		r.next[at] = f.Next
	}
	return f, true
}

// takeFailure returns an error that an earlier answer held, once.
func (r *Reader) takeFailure(ctx context.Context) error {
	r.mu.Lock()
	if len(r.failed) == 0 {
		r.mu.Unlock()
		return nil
	}
	p := r.failed[0]
	r.failed = r.failed[1:]
	r.mu.Unlock()
	var lost *kgo.ErrDataLoss
	switch {
	case errors.As(p.cause, &lost):
		p.cause = fmt.Errorf("%w: %w", ErrLost, p.cause)
	case errors.Is(p.cause, kerr.UnknownTopicID):
		p.cause = fmt.Errorf("%w: %w", ErrReplaced, p.cause)
	case errors.Is(p.cause, kerr.OffsetOutOfRange):
		starts, err := r.client.Starts(ctx, p.at.topic)
		if first := starts[p.at.partition]; err != nil {
			p.cause = errors.Join(p.cause, err)
		} else if p.next < first {
			p.cause = fmt.Errorf("%w, which is %d", ErrNotRetained, first)
		} else {
			p.cause = fmt.Errorf("%w: the log ends before it", ErrLost)
		}
	}
	return p
}

// partitionError is what went wrong with a partition.
type partitionError struct {
	at    place
	next  int64
	cause error
}

func (e *partitionError) Error() string {
	return fmt.Sprintf("read partition %d of %s from offset %d: %v", e.at.partition, e.at.topic, e.next, e.cause)
}

func (e *partitionError) Unwrap() error { return e.cause }
