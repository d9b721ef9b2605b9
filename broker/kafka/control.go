package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// Control is freshet.control: one partition, to which all nodes write and of which each has all in its copy. It is what a catalog
// needs of a log. All methods are safe for concurrent use.
//
// Writers take turns by a transactional id: who takes it fences the one before, whose transaction is finished or undone by then.
// The new writer's first record, the claim, stands behind all that was committed; who has read it knows the newest state
// and decides on that. It keeps the id, and as long as it can commit nobody has written since. If it can't, nothing of
// its transaction counts, or all does: it takes the id anew, reads which of both it was, and decides again.
//
// A write returns when all that read can see it, so what a node acknowledges is known to whoever asks later, on any node.
type Control struct {
	client *Client
	copy   *Copy
	id     freshet.LogID   // of the log; the copy has one of its own
	life   context.Context // ends with Close
	close  context.CancelFunc

	writing sync.Mutex     // one write at a time; guards what follows
	writer  *controlWriter // nil: the id is another's
	taking  sync.Mutex     // one record after the other; held while the copy and whoever takes get what was read
}

// Taker takes in control records, in the order of the log. After an error it gets them again.
type Taker = func([]broker.Record) error

// OpenControl returns freshet.control with all in the copy that was committed. The log has its identity by then; see [Client.Identity].
func (c *Client) OpenControl(ctx context.Context, copy *Copy) (*Control, error) {
	ctl := &Control{client: c, copy: copy}
	ctl.life, ctl.close = context.WithCancel(context.Background())
	err := ctl.untilIdentified(ctx)
	if err != nil {
		ctl.Close()
		return nil, ctl.failed("read", err)
	}
	return ctl, nil
}

// untilIdentified reads what was committed. The commit of the identity, a moment ago perhaps, may not be told to readers yet.
func (c *Control) untilIdentified(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.client.opts.DeliveryTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		if err := c.catchUp(ctx, func([]broker.Record) error { return nil }); err != nil {
			return err
		}
		if c.id, err = c.copy.identity(); !errors.Is(err, errNoIdentity) || !sleep(ctx, backoff(failures)) {
			return err
		}
	}
}

func (c *Control) failed(what string, err error) error {
	return fmt.Errorf("%s %s: %w", what, c.client.opts.Topics.Control, err)
}

// Close ends the connection; a write that is under way fails.
func (c *Control) Close() {
	c.close()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.release()
}

// ID is the identity of the log.
func (c *Control) ID() freshet.LogID { return c.id }

// OneSequence reports that each partition has offsets of its own.
func (c *Control) OneSequence() bool { return false }

// Scan calls yield for the latest record of each key that the copy has.
func (c *Control) Scan(topic string, lower, upper []byte, yield func(broker.Record) error) error {
	return c.copy.state.Scan(topic, lower, upper, yield)
}

// Run hands on what is written, by this node and others, as soon as it can be read. It returns nil when ctx ends. An error of take, of the copy
// or of Kafka that does not go away by itself ends it.
func (c *Control) Run(ctx context.Context, take Taker) error {
	at, err := c.position()
	if err != nil {
		return err
	}
	err = c.client.readControl(ctx, at, func(f Fetched) (bool, error) { return false, c.take(f, take) })
	if ctx.Err() != nil {
		return nil
	}
	return c.failed("follow", err)
}

// CatchUp hands on what others have written up to now.
func (c *Control) CatchUp(take Taker) error {
	ctx, cancel := context.WithTimeout(c.life, c.client.opts.DeliveryTimeout)
	defer cancel()
	if err := c.catchUp(ctx, take); err != nil {
		return c.failed("read", err)
	}
	return nil
}

func (c *Control) catchUp(ctx context.Context, take Taker) error {
	end, err := c.client.controlEnd(ctx)
	if err != nil {
		return err
	}
	return c.reach(ctx, end, take)
}

// position is how far the copy has the topic.
func (c *Control) position() (int64, error) { return c.copy.Position(c.client.opts.Topics.Control, 0) }

// reach reads until the copy has everything below an offset.
func (c *Control) reach(ctx context.Context, until int64, take Taker) error {
	at, err := c.position()
	if err != nil || at >= until {
		return err
	}
	return c.client.readControl(ctx, at, func(f Fetched) (bool, error) { return f.Next >= until, c.take(f, take) })
}

// take hands records on, and then puts them into the copy. What the copy has already it passes over.
func (c *Control) take(f Fetched, take Taker) error {
	c.taking.Lock()
	defer c.taking.Unlock()
	at, err := c.position()
	if err != nil || f.Next <= at {
		return lasting(err)
	}
	records := latestControl(f, at)
	err = c.checkIdentity(records)
	if err == nil && len(records) > 0 {
		err = take(records)
	}
	if err != nil {
		return lasting(err)
	}
	_, err = c.copy.commit(func(tx *embedded.Txn) error {
		for _, r := range records {
			put := tx.Put
			if r.Value == nil {
				put = func(topic string, key, _ []byte) error { return tx.Remove(topic, key) }
			}
			if err := put(freshet.TopicControl, r.Key, r.Value); err != nil {
				return err
			}
		}
		return tx.Move(c.copy.member, f.Topic, f.Partition, f.Next)
	})
	return lasting(err)
}

// latestControl are the control records at or above an offset, of each key the last. One without a value removes its key.
func latestControl(f Fetched, at int64) (records []broker.Record) {
	seen := map[string]bool{}
	for _, r := range slices.Backward(f.Records) {
		if r.Offset < at || isClaim(r.Key) || seen[string(r.Key)] {
			continue
		}
		seen[string(r.Key)] = true
		records = append(records, broker.Record{Offset: r.Offset, Key: r.Key, Value: r.Value})
	}
	slices.Reverse(records)
	return records
}

// checkIdentity refuses the record of another log.
func (c *Control) checkIdentity(records []broker.Record) error {
	for _, r := range records {
		if string(r.Key) != identityKey {
			continue
		}
		if i, err := parseIdentity(r.Value); err != nil {
			return err
		} else if i.Next != nil {
			return fmt.Errorf("%s lays it out anew: end this process, and start it again when that is done", i.Next.By)
		} else if i.id != c.id && c.id != (freshet.LogID{}) {
			return fmt.Errorf("it is of log %s now, it was of log %s: end this process and start it again", i.ID, wire.LogIDString(c.id))
		}
	}
	return nil
}

// WriteControl writes the records that decide returns, all or none of them, on top of all that was written before. It tries for
// DeliveryTimeout, while other nodes write or brokers are away; after an error it may have happened or not.
func (c *Control) WriteControl(decide func() ([]broker.Record, error), take Taker) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	ctx, cancel := context.WithTimeout(c.life, c.client.opts.DeliveryTimeout)
	defer cancel()
	return c.client.persist(ctx, func() error {
		err := c.write(ctx, decide, take)
		if err != nil {
			c.release()
		}
		return err
	})
}

func (c *Control) write(ctx context.Context, decide func() ([]broker.Record, error), take Taker) error {
	held := c.writer != nil
	if !held {
		w, claim, err := c.client.takeControl(ctx)
		if err != nil {
			return err
		}
		c.writer = w
		if err := c.reach(ctx, claim+1, take); err != nil {
			return err
		}
	}
	records, err := decide()
	switch {
	case err != nil && held: // perhaps others have written what it misses
		return err
	case err != nil || len(records) == 0:
		return lasting(err)
	}
	last, err := c.writer.commit(ctx, records)
	if err != nil {
		return err
	}
	return c.reach(ctx, last+1, take)
}

// release leaves the writing to others; writing is held.
func (c *Control) release() {
	if c.writer != nil {
		c.writer.Close()
		c.writer = nil
	}
}

// controlWriter writes to freshet.control as long as nobody else takes its transactional id.
type controlWriter struct {
	producer *kgo.Client
	topic    string
}

// takeControl makes this process the writer of freshet.control. All that the ones before have committed is below the offset of the claim.
func (c *Client) takeControl(ctx context.Context) (w *controlWriter, claim int64, err error) {
	producer, err := c.transactional("control")
	if err != nil {
		return nil, 0, err
	}
	w = &controlWriter{producer, c.opts.Topics.Control}
	if claim, err = w.commit(ctx, []broker.Record{{Key: []byte(claimKey), Value: []byte("{}")}}); err != nil {
		w.Close()
		return nil, 0, err
	}
	return w, claim, nil
}

func (w *controlWriter) Close() { w.producer.Close() }

// commit writes records in one transaction, and returns the offset of the last. After an error the outcome is unknown.
func (w *controlWriter) commit(ctx context.Context, records []broker.Record) (last int64, err error) {
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Topic: w.topic, Key: r.Key, Value: r.Value}
	}
	if err := transact(ctx, w.producer, out); err != nil {
		return 0, err
	}
	return out[len(out)-1].Offset, nil
}

// readControl calls f with what stands in freshet.control from an offset on, until f is done or fails.
func (c *Client) readControl(ctx context.Context, from int64, f func(Fetched) (done bool, err error)) error {
	reader, err := c.NewReader(freshet.Position{Topic: c.opts.Topics.Control, Offset: from})
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		fetched, err := reader.Read(ctx)
		if err != nil {
			return err
		}
		for _, x := range fetched {
			if done, err := f(x); done || err != nil {
				return err
			}
		}
	}
}

// controlEnd is the end of what is committed in freshet.control.
func (c *Client) controlEnd(ctx context.Context) (int64, error) {
	ends, err := c.Ends(ctx, c.opts.Topics.Control)
	return ends[0], err
}

// lastingError is one that trying again does not mend.
type lastingError struct{ error }

func (e lastingError) Unwrap() error { return e.error }

func lasting(err error) error {
	if err == nil {
		return nil
	}
	return lastingError{err}
}

// persist tries to write to freshet.control until it succeeds, ctx ends or the error is lasting.
func (c *Client) persist(ctx context.Context, try func() error) error {
	for failures := 1; ; failures++ {
		err := try()
		var last lastingError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &last):
			return last.error
		case errors.Is(err, kerr.TransactionalIDAuthorizationFailed) || errors.Is(err, kerr.TopicAuthorizationFailed):
			return fmt.Errorf("write %s: %w; the user needs the rights Read and Write on the topic, and Write on the transactional ids that begin with %q",
				c.opts.Topics.Control, err, c.opts.Group+"-")
		}
		if !sleep(ctx, backoff(failures)) {
			return fmt.Errorf("write %s: %w", c.opts.Topics.Control, err)
		}
	}
}
