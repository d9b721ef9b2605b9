package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/freshet-io/freshet"
)

// SharedReader reads many partitions, each for a reader of its own, by one connection to each broker: a broker answers one request for all
// of them instead of one for each. A partition whose reader does not keep up is left out until it does, so it holds
// none of the others up. All methods are safe for concurrent use.
type SharedReader struct {
	client *Client

	mu     sync.Mutex // guards what follows, and the fields of subscriptions that say so
	reader *Reader    // nil until somebody subscribes, and after an error that it does not survive
	stop   func()     // ends its reading
	closed bool
	subs   map[place]*Subscription
	// Of the read under way, which may give records of before they were ended or begun.
	ended map[place]bool
	anew  map[place]bool

	running sync.WaitGroup
}

// Subscription is what one reader gets of a SharedReader: a partition, from an offset on. Read is for one goroutine.
type Subscription struct {
	shared *SharedReader
	from   freshet.Position
	ready  chan struct{} // holds one when there is something new

	// Guarded by SharedReader.mu.
	queue  []Fetched
	bytes  int64
	paused bool
	err    error
}

// sharedWait is how long a broker waits for records of any partition: one that is begun with, or gone on with, waits as long for its first.
const sharedWait = 100 * time.Millisecond

// sharedPause is between two reads: what comes meanwhile comes together, and is decided and committed together. It takes a fifth less of a
// broker's processor at 5,000 events/s than none, and adds a millisecond where a commit takes several.
const sharedPause = 2 * time.Millisecond

// NewSharedReader returns a reader that connects when it is first needed.
func (c *Client) NewSharedReader() *SharedReader {
	return &SharedReader{client: c, subs: map[place]*Subscription{}, ended: map[place]bool{}, anew: map[place]bool{}}
}

// Subscribe begins with a partition that nobody here reads.
func (s *SharedReader) Subscribe(from freshet.Position) (*Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	at := place{from.Topic, from.Partition}
	if s.subs[at] != nil {
		return nil, fmt.Errorf("partition %d of %s is read already", from.Partition, from.Topic)
	}
	if err := s.client.keeps(from); err != nil {
		return nil, err
	}
	if s.reader == nil {
		r, err := s.client.newReader(sharedWait)
		if err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(context.Background())
		s.reader, s.stop = r, stop
		s.running.Go(func() { s.run(ctx, r) })
	}
	sub := &Subscription{shared: s, from: from, ready: make(chan struct{}, 1)}
	s.subs[at] = sub
	s.anew[at] = s.ended[at]
	s.reader.Add(from)
	return sub, nil
}

// Close ends the connections; a Read that waits returns ErrClosed.
func (s *SharedReader) Close() {
	s.mu.Lock()
	s.closed = true
	s.fail(ErrClosed)
	s.mu.Unlock()
	s.running.Wait()
}

// fail ends all subscriptions with an error, and the connections; mu is held.
func (s *SharedReader) fail(err error) {
	for at, sub := range s.subs {
		delete(s.subs, at)
		sub.fail(err)
	}
	if s.reader != nil {
		s.stop()
		s.reader = nil
	}
	clear(s.ended)
	clear(s.anew)
}

// run gives out what a reader reads, until it is not the reader any more.
func (s *SharedReader) run(ctx context.Context, r *Reader) {
	defer r.Close()
	for s.begin(r) {
		fetched, err := r.Read(ctx)
		s.give(r, fetched, err)
		time.Sleep(sharedPause)
	}
}

// begin says that a read begins; false means that there is to be none.
func (s *SharedReader) begin(r *Reader) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ended)
	clear(s.anew)
	return s.reader == r
}

// give hands on what was read. Of a partition that was begun with anew meanwhile it may be what stood before: that is read again.
func (s *SharedReader) give(r *Reader, fetched []Fetched, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader != r {
		return
	}
	for _, f := range fetched {
		at := place{f.Topic, f.Partition}
		sub := s.subs[at]
		if sub == nil || s.anew[at] {
			continue
		}
		if sub.put(f); sub.bytes >= int64(s.client.opts.FetchBytes) && !sub.paused {
			sub.paused = true
			r.pause(at)
		}
	}
	var failed *partitionError
	switch {
	case err == nil:
	case !errors.As(err, &failed) || failed.at.topic == "" || errors.Is(err, ErrReplaced):
		// A client stays with the topics that it has found: who reads one that was made again begins with a new client.
		s.fail(err)
		return
	case s.subs[failed.at] != nil && !s.anew[failed.at]:
		s.subs[failed.at].fail(err)
		delete(s.subs, failed.at)
	}
	for at, anew := range s.anew {
		if anew {
			r.Remove(at.topic, at.partition)
			r.Add(s.subs[at].from)
		}
	}
}

// put adds what was read; mu is held.
func (sub *Subscription) put(f Fetched) {
	sub.queue = append(sub.queue, f)
	for i := range f.Records {
		sub.bytes += memory(&f.Records[i])
	}
	sub.wake()
}

// fail has Read return an error behind what was read; mu is held.
func (sub *Subscription) fail(err error) {
	sub.err = err
	sub.wake()
}

func (sub *Subscription) wake() {
	select {
	case sub.ready <- struct{}{}:
	default:
	}
}

// Read returns what has come since the last one, at least something: it waits for it. Errors are as of [Reader.Read].
func (sub *Subscription) Read(ctx context.Context) ([]Fetched, error) {
	for {
		if fetched, err := sub.take(); fetched != nil || err != nil {
			return fetched, err
		}
		select {
		case <-sub.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (sub *Subscription) take() ([]Fetched, error) {
	s := sub.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	fetched := sub.queue
	sub.queue, sub.bytes = nil, 0
	sub.resume()
	if fetched != nil {
		return fetched, nil
	}
	return nil, sub.err
}

// resume goes on with what was left out; mu is held.
func (sub *Subscription) resume() {
	if at := (place{sub.from.Topic, sub.from.Partition}); sub.paused && sub.shared.subs[at] == sub {
		sub.shared.reader.resume(at)
	}
	sub.paused = false
}

// Close ends the reading of the partition.
func (sub *Subscription) Close() {
	s := sub.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{sub.from.Topic, sub.from.Partition}
	if s.subs[at] != sub {
		return
	}
	sub.resume()
	delete(s.subs, at)
	delete(s.anew, at)
	s.ended[at] = true
	s.reader.Remove(at.topic, at.partition)
	sub.fail(ErrClosed)
}
