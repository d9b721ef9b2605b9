package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// tallies are the counters that steps add to: step n to that of its remainder.
const tallies = 5

// tally is a transaction that adds one to a counter, in each topic, and moves the position by one.
func (w *owner) tally() (broker.Txn, error) {
	at, err := w.Position("process", "", 0)
	if err != nil {
		return nil, err
	}
	k := at % tallies
	name := []byte(fmt.Sprint("n", k))
	v, ok, err := w.GetTable(broker.TableProcess, name)
	if err != nil {
		return nil, err
	}
	n := 0
	if ok {
		if n, err = strconv.Atoi(string(v)); err != nil {
			return nil, err
		}
	}
	n++
	c := freshet.Change{Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1, Offset: at}, Text: strconv.Itoa(n)}
	tx := w.Begin()
	return tx, errors.Join(tx.Put(freshet.TopicSync, []byte(fmt.Sprint("e", k)), wire.AppendChange(nil, &c)),
		tx.SetTable(broker.TableProcess, name, []byte(c.Text)),
		tx.Put(freshet.TopicDead, wire.DeadLetterKey(k+1, 0), wire.AppendDeadLetter(nil, &freshet.DeadLetter{Position: freshet.Position{Offset: k + 1}, Message: c.Text})),
		tx.Move(broker.Member{Group: "process"}, freshet.TopicRaw, 0, at+1))
}

// count is what a counter says after so many steps.
func count(steps, k int64) string { return fmt.Sprint((steps - k + tallies - 1) / tallies) }

// tallied reports a counter that is not what the position says, in the copy of an owner.
func (w *owner) tallied() error {
	end, err := w.Position("process", "", 0)
	if err != nil {
		return err
	}
	for k := range min(tallies, end) {
		want := count(end, k)
		n, _, err := w.GetTable(broker.TableProcess, []byte(fmt.Sprint("n", k)))
		if err != nil {
			return err
		}
		e, _, err := w.Latest(freshet.TopicSync, []byte(fmt.Sprint("e", k)), nil)
		if err != nil {
			return err
		}
		c, err := wire.DecodeChange(freshet.Key{}, e.Value, wire.Head)
		if err != nil {
			return err
		}
		d, _, err := w.Latest(freshet.TopicDead, wire.DeadLetterKey(k+1, 0), nil)
		if err != nil {
			return err
		}
		l, err := wire.DecodeDeadLetter(d.Value)
		if err != nil {
			return err
		}
		if string(n) != want || c.Text != want || l.Message != want {
			return fmt.Errorf("after %d steps counter %d should be %s; freshet.state has %s, vector.sync %s, vector.sync.dlq %s", end, k, want, n, c.Text, l.Message)
		}
	}
	return nil
}

// Processes take a partition from each other all the time, in the same session or a new one, with their copy or an empty one, and each topic has its
// own broker, so that they get to the topics in different orders; now and then one dies with its last batch written in part, or gives the partition
// back. Every step counts once, in every topic.
func TestUnfencedOwnersContend(t *testing.T) {
	contend := func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		c := &contest{begun: time.Now()}
		var running sync.WaitGroup
		for i := range 4 {
			running.Go(func() {
				one := contender{c, rand.New(rand.NewPCG(seed, uint64(i))), minPause}
				disk := vfs.NewCrashableMem()
				for !c.over() {
					if one.rng.IntN(5) == 0 {
						disk = vfs.NewCrashableMem()
					}
					w := candidate(t, o, disk)
					if err := one.contend(w); err != nil {
						t.Error(err)
						return
					}
					w.close()
				}
			})
		}
		running.Wait()
		last := own(t, o, vfs.NewCrashableMem()).watched()
		if err := last.tallied(); err != nil {
			t.Fatal(err)
		}
		steps, err := last.Position("process", "", 0)
		if err != nil || steps < 2*tallies {
			t.Fatalf("%d steps, %v", steps, err)
		}
		// What compaction would leave says the same.
		await(t, func() bool {
			log := lastOf(t, last.client, o)
			for k := range int64(tallies) {
				if want := count(steps, k); log[fmt.Sprint("e", k)] != want || log[fmt.Sprint("n", k)] != want {
					return false
				}
			}
			return log["position"] == fmt.Sprint(steps)
		})
	}
	t.Run("fake", func(t *testing.T) { contend(t, options(fake(t, 3).ListenAddrs())) })
	t.Run("real", func(t *testing.T) { contend(t, genuine(t)) })
}

// contest goes on for some seconds, and until there was something to be lost.
type contest struct {
	begun time.Time
	steps atomic.Int64
}

func (c *contest) over() bool {
	t := time.Since(c.begun)
	return t > 4*time.Second && c.steps.Load() > 4*tallies || t > time.Minute
}

// contender is a process of a contest.
type contender struct {
	*contest
	rng   *rand.Rand
	pause time.Duration // at most, when others were later: longer each time, as all that is done on a slow machine would be to take the partition
}

const minPause, maxPause = 10 * time.Millisecond, 4 * time.Second

// contend takes the partition again and again in one session until that ends.
func (c *contender) contend(w *owner) (err error) {
	replica, err := w.client.NewReplica(w.copy, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- replica.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	for range 1 + c.rng.IntN(6) {
		if c.over() {
			return nil
		}
		patience := time.Minute
		if c.rng.IntN(4) == 0 {
			patience = time.Duration(c.rng.IntN(30)) * time.Millisecond // somebody else is to have it
		}
		if err := w.take(0, patience); err != nil {
			time.Sleep(rand.N(c.pause))
			c.pause = min(2*c.pause, maxPause)
			continue
		}
		if err := w.tallied(); err != nil {
			return fmt.Errorf("when the partition is taken: %w", err)
		}
		if err := replica.Watch(w.Partition); err != nil {
			return err
		}
		before := c.steps.Load()
		died, err := c.tallies(w)
		if c.steps.Load() > before {
			c.pause = minPause
		}
		replica.Leave(0)
		if died || err != nil {
			return err
		}
		w.Partition.Close()
		if w.Partition = nil; c.rng.IntN(3) == 0 {
			if err := replica.Follow(0); err != nil {
				return err
			}
			time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond)
			replica.Leave(0)
		}
	}
	return nil
}

// tallies goes on until the partition is lost, or it is enough.
func (c *contender) tallies(w *owner) (died bool, err error) {
	for range 1 + c.rng.IntN(60) {
		tx, err := w.tally()
		if err != nil {
			return false, err
		}
		if c.rng.IntN(60) == 0 {
			// An error is that the session was over.
			_ = kafka.CommitAndDie(tx, func(*kgo.Record) bool { return c.rng.IntN(2) == 0 })
			return true, nil
		}
		if err := tx.Commit(); err != nil {
			if errors.Is(err, broker.ErrFenced) {
				err = nil
			}
			return false, err
		}
		c.steps.Add(1)
	}
	return false, nil
}
