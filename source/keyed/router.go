package keyed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source"
)

// RouterOptions are the settings of a Router.
type RouterOptions struct {
	Client *kafka.Client
	Reader *kafka.SharedReader // that events.raw is read with
	// Owner is the partition of events.keyed with the same number, as the process has it that routes. With it, what a record gives and that it
	// was forwarded is one transaction. It is needed where the same record may give something else when it is read again.
	Owner  *kafka.Partition
	Mapper process.Mapper // that events.keyed is decided with
	// Form says what values and keys of events.raw are. Registry says that they may be in the wire format of a schema registry.
	Form     codec.Form
	Registry bool
	// EventBytes is the size of the largest event that is forwarded, with what a record takes at most as its bound; a larger one
	// is a dead letter without its value. Default source.DefaultEventBytes.
	EventBytes int
	Logger     *slog.Logger
}

// RouterStats are a router's running totals. All fields may be read at any time. What is sent again after a failure counts again.
type RouterStats struct {
	Forwarded atomic.Int64 // records that were appended to events.keyed
	Dropped   atomic.Int64 // records that the mapping gives nothing for
	Refused   atomic.Int64 // records that were forwarded as what can't be mapped
	Lost      atomic.Int64 // records that events.raw no longer had when they were to be read
	Failures  atomic.Int64 // times that it has begun again after an error
	Paused    atomic.Bool  // an error is retried

	lag    atomic.Int64 // records
	oldest atomic.Int64 // ms, of the first record that is not forwarded; 0 = there is none
}

// Lag is how many records of the partition are not forwarded yet, as of the last read, and how old the first of them is.
func (s *RouterStats) Lag(now time.Time) (records int64, age time.Duration) {
	if at := s.oldest.Load(); at > 0 {
		age = max(0, now.Sub(time.UnixMilli(at)))
	}
	return s.lag.Load(), age
}

// Router forwards a partition of events.raw to events.keyed. See the package for why each event has its effect once.
type Router struct {
	opts      RouterOptions
	partition int32
	most      int // bytes of an event
	RouterStats
}

// Limits of a router.
const (
	// An append ends with the piece that reaches one of these.
	appendBytes   = 4 << 20
	appendRecords = 8192
	// headerBytes is room for what a record has beside value and source.
	headerBytes = 64 << 10
	// commitEvery is how often the position is committed: what a crash has sent again.
	commitEvery = 250 * time.Millisecond
	// keepEvery is how often it is committed where nothing has come: Kafka forgets positions of groups without members after a
	// time, by default 7 days.
	keepEvery = time.Hour

	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// NewRouter returns the router of a partition of events.raw. There may be two for a while.
func NewRouter(o RouterOptions, partition int32) *Router {
	most := o.EventBytes
	if most == 0 {
		most = source.DefaultEventBytes
	}
	return &Router{opts: o, partition: partition, most: min(most, o.Client.Options().MaxRecordBytes-headerBytes)}
}

// Run forwards until ctx ends. What fails is tried again, from what was acknowledged; nothing is passed over but what events.raw no
// longer has, which is logged. The error is one that no retry heals: kafka.ErrLost, or broker.ErrFenced of the owner.
func (r *Router) Run(ctx context.Context) error {
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		before := r.Forwarded.Load() + r.Dropped.Load()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, broker.ErrFenced) {
			return err
		}
		if errors.Is(err, kafka.ErrLost) {
			return fmt.Errorf("route %s/%d: %w; its offsets would stand for other events than those that were forwarded: delete and make the topic again, "+
				"and have producers send what is missing", r.topic(), r.partition, err)
		}
		if r.Forwarded.Load()+r.Dropped.Load() > before {
			wait = firstBackoff
		}
		r.Failures.Add(1)
		r.Paused.Store(true)
		r.opts.Logger.Error("routing is tried again", "topic", r.topic(), "partition", r.partition, "error", err, "wait", wait)
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// sleep waits, with a jitter; false means that the context has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d/2 + rand.N(d/2)):
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Router) topic() string { return r.opts.Client.Options().Topics.Raw }

// Group keeps the positions of routers.
func (r *Router) Group() string { return r.opts.Client.Options().Group + "-router" }

// session is the work of a router up to an error.
type session struct {
	*Router
	id      kafka.TopicID    // of events.raw
	to      *kafka.Forwarder // nil where the owner forwards
	pending []kafka.Record
	bytes   int
	done    atomic.Int64 // every record below it is forwarded
}

func (r *Router) session(ctx context.Context) (err error) {
	s := &session{Router: r}
	if s.id, err = r.opts.Client.TopicID(ctx, r.topic()); err != nil {
		return err
	}
	from, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if r.opts.Owner == nil {
		if s.to, err = r.opts.Client.NewForwarder(); err != nil {
			return err
		}
		defer s.to.Close()
	}
	s.done.Store(from)
	ctx, stop := context.WithCancel(ctx)
	committed := make(chan struct{})
	go func() { s.commit(ctx); close(committed) }()
	defer func() { stop(); <-committed }()
	return s.read(ctx, from)
}

// begin is the offset to go on from: the committed one, else the first.
func (s *session) begin(ctx context.Context) (int64, error) {
	next, ok, err := s.opts.Client.Checkpoint(ctx, s.Group(), s.topic(), s.id, s.partition)
	if err != nil {
		return 0, err
	}
	if s.opts.Owner != nil { // it may know of more
		routed, known, err := s.opts.Owner.Routed(s.id)
		if err != nil {
			return 0, err
		}
		if known && (!ok || routed > next) {
			next, ok = routed, true
		}
	}
	starts, err := s.opts.Client.Starts(ctx, s.topic())
	if err != nil {
		return 0, err
	}
	first, there := starts[s.partition]
	switch {
	case !there:
		return 0, fmt.Errorf("%s has no partition %d", s.topic(), s.partition)
	case ok && next < first:
		s.Lost.Add(first - next)
		s.opts.Logger.Error("events are lost: events.raw no longer has them, they were not forwarded in time; raise raw_retention, and have "+
			"producers send them again", "topic", s.topic(), "partition", s.partition, "from", next, "to", first)
	case ok:
		return next, nil
	}
	return first, nil
}

// read forwards what comes from an offset on.
func (s *session) read(ctx context.Context, from int64) error {
	reader, err := s.opts.Reader.Subscribe(freshet.Position{Topic: s.topic(), Partition: s.partition, Offset: from})
	if err != nil {
		return err
	}
	defer reader.Close()
	for first := true; ; first = false {
		fetched, err := reader.Read(ctx)
		if err != nil {
			return err // records that are gone are counted at the new beginning
		}
		if first { // the reader stays with the topic that it has found
			id, err := s.opts.Client.TopicID(ctx, s.topic())
			if err != nil {
				return err
			}
			if id != s.id {
				return kafka.ErrReplaced
			}
		}
		for _, f := range fetched {
			if err := s.forward(ctx, &f); err != nil {
				return err
			}
		}
	}
}

// forward forwards what was read.
func (s *session) forward(ctx context.Context, f *kafka.Fetched) error {
	for i := range f.Records {
		rec := &f.Records[i]
		s.oldest.Store(rec.Time)
		s.lag.Store(f.End - rec.Offset)
		pieces, value, err := s.split(ctx, rec)
		if err != nil {
			return err
		}
		if len(pieces) == 0 {
			s.Dropped.Add(1)
		}
		for j, p := range pieces {
			s.pending = append(s.pending, kafka.Record{Partition: p.Partition, Value: value,
				Headers: append(p.Headers, kafka.Forwarded(s.id, s.partition, rec.Offset, p.Change))})
			s.bytes += len(value)
			full, whole := s.bytes >= appendBytes || len(s.pending) >= appendRecords, j == len(pieces)-1
			if full && (whole || s.opts.Owner == nil) {
				if err := s.append(ctx, rec.Offset+1); err != nil {
					return err
				}
			}
		}
	}
	if err := s.append(ctx, f.Next); err != nil {
		return err
	}
	s.done.Store(f.Next)
	if s.lag.Store(max(0, f.End-f.Next)); f.Next >= f.End {
		s.oldest.Store(0)
	}
	s.Paused.Store(false)
	return nil
}

// append makes the pending records durable: with the owner, all that comes of the records of events.raw below next.
func (s *session) append(ctx context.Context, next int64) (err error) {
	if s.opts.Owner != nil {
		err = s.opts.Owner.Route(s.id, s.pending, next)
	} else {
		err = s.to.Append(ctx, s.pending)
	}
	if err != nil {
		return err
	}
	s.Forwarded.Add(int64(len(s.pending)))
	clear(s.pending)
	s.pending, s.bytes = s.pending[:0], 0
	return nil
}

// commit keeps the position committed until ctx ends, and once more then.
func (s *session) commit(ctx context.Context) {
	committed, at := int64(-1), time.Time{}
	for more := true; more; {
		more = sleep(ctx, commitEvery)
		done := s.done.Load()
		if done == committed && time.Since(at) < keepEvery {
			continue
		}
		err := s.opts.Client.Commit(context.WithoutCancel(ctx), s.Group(), s.topic(), s.id, s.partition, done)
		if err != nil {
			s.opts.Logger.Warn("the position is committed later", "error", err)
			continue
		}
		committed, at = done, time.Now()
	}
}
