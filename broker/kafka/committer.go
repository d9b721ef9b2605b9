package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Committer commits what is decided in the partitions that this process owns: what waits at the same time in one transaction
// of Kafka, a few of them at once. It is safe for concurrent use.
type Committer struct {
	client   *Client
	copy     *Copy
	reader   *SharedReader
	commands *Appender // to events.keyed

	mu      sync.Mutex // guards session
	session *session   // the last one
}

// NewCommitter returns the committer of a process; commands appends to events.keyed.
func (c *Client) NewCommitter(copy *Copy, commands *Appender) *Committer {
	return &Committer{client: c, copy: copy, reader: c.NewSharedReader(), commands: commands}
}

// Reader reads what the owned partitions decide. Others of the process may share it, for other partitions.
func (c *Committer) Reader() *SharedReader { return c.reader }

// Close ends all ownership.
func (c *Committer) Close() {
	c.reader.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.session.end()
	}
}

// current is a session that has not ended; if need be a new one.
func (c *Committer) current(ctx context.Context) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.over() {
		s, err := c.client.newSession(ctx)
		if err != nil {
			return nil, err
		}
		c.session = s
	}
	return c.session, nil
}

// How a process commits. While the brokers write the marks of a transaction they hold the records of the next one of the same
// producer back, for 20 ms by default: so producers take turns, and each has rested when its turn comes again.
const (
	lanes    = 8 // producers
	underWay = 2 // transactions at once; what waits meanwhile goes together
)

// session is a number of transactional producers with ids that nobody had before. They end together, with the first error:
// who has been fenced by one of them must not go on with another.
type session struct {
	id      string
	single  *kgo.Client      // the producer of all, where there are no transactions; nil where there are
	timeout time.Duration    // of a transaction
	turns   chan struct{}    // holds one of each transaction under way
	free    chan *kgo.Client // the one that has rested longest first
	ended   chan struct{}

	mu      sync.Mutex // guards what follows, and the close of ended
	waiting []*commit
}

// commit are the records of one partition on their way.
type commit struct {
	records []*kgo.Record
	done    chan error // of capacity 1
}

var errSessionEnded = errors.New("a transaction of this process has failed, so all of its partitions are taken anew")

func (c *Client) newSession(ctx context.Context) (*session, error) {
	if c.opts.Delivery == DeliveryIdempotent {
		return c.newIdempotentSession()
	}
	s := &session{id: newSessionID(), timeout: c.opts.DeliveryTimeout, free: make(chan *kgo.Client, lanes), turns: make(chan struct{}, underWay), ended: make(chan struct{})}
	err := all(lanes, func(lane int) error {
		producer, err := c.transactional(laneID(s.id, lane))
		if err != nil {
			return err
		}
		s.free <- producer
		// Before anything is claimed under the id: who fences it later must be later than this.
		_, _, err = producer.ProducerID(ctx)
		return err
	})
	if err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// all calls f for 0 to n-1 at once.
func all(n int, f func(int) error) error {
	errs := make([]error, n)
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { errs[i] = f(i) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// over reports whether the session has ended.
func (s *session) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// end refuses all that is not under way.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over() {
		return
	}
	close(s.ended)
	if s.single != nil {
		go s.single.Close() // it may be one of its own callbacks that ends the session
	}
	for {
		select {
		case producer := <-s.free:
			producer.Close()
		default:
			return
		}
	}
}

// giveBack makes a producer free again.
func (s *session) giveBack(producer *kgo.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over() {
		producer.Close()
		return
	}
	s.free <- producer
}

// commit returns when records are committed, all or none; without transactions when all are durable. After an error the outcome is unknown, and the
// session has ended. The records of a partition must not be given before those before are committed.
func (s *session) commit(records []*kgo.Record) error {
	if s.single != nil {
		return s.deliver(records)
	}
	c := &commit{records: records, done: make(chan error, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case s.turns <- struct{}{}:
		select {
		case producer := <-s.free:
			s.transact(producer)
		case <-s.ended:
			s.refuse()
		}
		<-s.turns
	case <-s.ended:
		s.refuse()
	}
	return <-c.done
}

// take takes all that waits.
func (s *session) take() []*commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.waiting
	s.waiting = nil
	return all
}

// refuse answers all that waits: it will not be sent.
func (s *session) refuse() {
	for _, c := range s.take() {
		c.done <- errSessionEnded
	}
}

// transact commits all that waits as one transaction.
func (s *session) transact(producer *kgo.Client) {
	all := s.take()
	var records []*kgo.Record
	for _, c := range all {
		records = append(records, c.records...)
	}
	var err error
	if len(records) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		err = transact(ctx, producer, records)
		cancel()
	}
	if err != nil {
		s.end()
	}
	s.giveBack(producer)
	for _, c := range all {
		c.done <- err
	}
}
