package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source/keyed"
)

// holding is a process with an empty copy that owns a partition of events.keyed.
type holding struct {
	*kafka.Partition
	commits *kafka.Committer
	state   *embedded.State
}

// hold takes a partition.
func hold(t *testing.T, c *kafka.Client, partition int32) (*holding, error) {
	state, err := embedded.OpenCopy("copy", "kafka", logID, embedded.Options{FS: disk.New(vfs.NewMem(), nil), CacheBytes: 1 << 20, Partitions: partitions})
	if err != nil {
		return nil, err
	}
	nothing := func(context.Context, int32, kafka.Taken) error { return nil }
	commits := c.NewCommitter(kafka.NewCopy(state, c.Options().Topics, nothing), appender(t, c, c.Options().Topics.Keyed))
	p, err := commits.Own(deadline(t), partition)
	if err != nil {
		commits.Close()
		return nil, errors.Join(err, state.CloseCopy())
	}
	return &holding{p, commits, state}, nil
}

// end gives the partition back, if it is still held.
func (h *holding) end(t *testing.T) {
	h.Partition.Close()
	h.commits.Close()
	if err := h.state.CloseCopy(); err != nil {
		t.Error(err)
	}
}

// owning is one that routes the partition of events.raw with the same number.
type owning struct {
	*holding
	router *keyed.Router
	cancel context.CancelFunc
	ended  chan error // of the router
}

// owned takes a partition, and routes it.
func owned(t *testing.T, c *kafka.Client, partition int32, o keyed.RouterOptions) *owning {
	t.Helper()
	h, err := hold(t, c, partition)
	if err != nil {
		t.Error(err)
		return nil
	}
	w := &owning{holding: h, ended: make(chan error, 1)}
	o.Client, o.Reader, o.Owner, o.Logger = c, w.commits.Reader(), w.Partition, slog.New(slog.DiscardHandler)
	w.router = keyed.NewRouter(o, partition)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.ended <- w.router.Run(ctx) }()
	return w
}

// end ends the process. What its router said is returned.
func (w *owning) end(t *testing.T) error {
	w.cancel()
	err := <-w.ended
	w.holding.end(t)
	return err
}

// moody is a mapping that gives something else each time that it is asked: the changes of an event, nothing, or that it knows no such schema.
type moody struct{ process.Mapper }

func (m moody) Map(r process.Record) ([]process.Draft, error) {
	switch rand.IntN(8) {
	case 0, 1, 2:
		return nil, &freshet.Error{Code: freshet.CodeUnknownSchema, Message: "not today"}
	case 3:
		return nil, nil
	}
	return m.Mapper.Map(r)
}

// A record that gives something else each time that it is read is forwarded as one of it, once, whichever owners forward it: those that are killed in the
// middle, and those that go on until they find out that they are owners no more.
func TestOwnersForwardOnce(t *testing.T) {
	for _, delivery := range []string{kafka.DeliveryTransactional, kafka.DeliveryIdempotent} {
		t.Run(delivery, func(t *testing.T) {
			clusters(t, func(t *testing.T, c *kafka.Client) {
				const events, items = 4000, 3
				o := c.Options()
				o.Delivery = delivery
				c = open(t, o)
				all, order := map[string]string{}, []string{}
				for i := range events {
					key := fmt.Sprint("user", i)
					order = append(order, key)
					all[key] = fmt.Sprintf(`{"event_id":"%d","items":[{"id":"a%d","title":"T"},{"id":"b%d","title":"T"},{"id":"c%d","title":"T"}]}`, i, i, i, i)
				}
				producing := make(chan struct{})
				go func() { foreign(t, c, byCRC(), all, order); close(producing) }()
				options := keyed.RouterOptions{Mapper: moody{purchases(t)}, Form: codec.FormObjects}
				var running sync.WaitGroup
				for p := range int32(partitions) {
					running.Go(func() { ownInTurn(t, c, p, options, producing) })
				}
				running.Wait()

				type outcome struct{ refused, changes, total int }
				got := map[string]outcome{}
				for p := range int32(partitions) {
					for _, r := range decided(t, c, p) {
						is := got[parse(t, r.Value).Event]
						if header(r, freshet.HeaderRefused) != "" {
							is.refused++
						} else {
							change, _ := strconv.Atoi(header(r, freshet.HeaderChange))
							is.changes |= 1 << change
						}
						is.total++
						got[parse(t, r.Value).Event] = is
					}
				}
				kinds := map[outcome]int{}
				for event, is := range got {
					if is != (outcome{1, 0, 1}) && is != (outcome{0, 0b1110, items}) {
						t.Errorf("event %s: %+v", event, is)
					}
					kinds[is]++
				}
				if len(kinds) < 2 || len(got) == events {
					t.Errorf("%d of %d events, as %v: they are to be of all kinds", len(got), events, kinds)
				}
				t.Logf("%v", kinds)
			})
		})
	}
}

// ownInTurn has a partition owned by one process after the other until all of it is forwarded.
func ownInTurn(t *testing.T, c *kafka.Client, p int32, o keyed.RouterOptions, producing <-chan struct{}) {
	rng := rand.New(rand.NewPCG(uint64(p), 7))
	var left []*owning
	defer func() {
		for _, w := range left {
			if err := w.end(t); err != nil && !errors.Is(err, broker.ErrFenced) {
				t.Errorf("a router that was deposed ends with %v", err)
			}
		}
	}()
	for kills := 0; ; kills++ {
		w := owned(t, c, p, o)
		if w == nil {
			return
		}
		left = append(left, w)
		select {
		case <-producing:
			if kills >= 6 {
				settle(t, c, w.router, p)
				return
			}
		default:
		}
		enough, most := int64(1+rng.IntN(600)), 300*time.Millisecond
		for from := time.Now(); w.router.Forwarded.Load() < enough && time.Since(from) < most; {
			time.Sleep(time.Millisecond)
		}
		if rng.IntN(2) == 0 { // the others go on, beside the next one
			w.commits.Close()
		}
	}
}
