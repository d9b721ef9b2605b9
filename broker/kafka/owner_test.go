package kafka_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// alone are options for a log of one partition.
func alone(t *testing.T, o kafka.Options) kafka.Options {
	t.Helper()
	o.Partitions = 1
	if _, err := open(t, o).Ensure(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return o
}

// count commits transaction after transaction, each of which moves the position by one and says so, until it is deposed.
func (w *owner) count(stop <-chan struct{}) (err error) {
	next, err := w.Position("process", "", 0)
	if err != nil {
		return err
	}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		c := freshet.Change{Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1, Offset: next}, Text: strconv.FormatInt(next, 10)}
		tx := w.Begin()
		err := errors.Join(tx.Put(freshet.TopicSync, []byte(fmt.Sprint("e", next%7)), wire.AppendChange(nil, &c)),
			tx.SetTable(broker.TableProcess, []byte("n"), []byte(c.Text)),
			tx.Put(freshet.TopicDead, []byte("letter"), wire.AppendDeadLetter(nil, &freshet.DeadLetter{Message: c.Text})),
			tx.Move(broker.Member{Group: "process"}, freshet.TopicRaw, 0, next+1))
		if err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		next++
	}
}

// check holds the parts of what was committed to each other.
func (w *owner) check() error {
	next, err := w.Position("process", "", 0)
	if err != nil || next == 0 {
		return err
	}
	want := strconv.FormatInt(next-1, 10)
	n, _, err := w.GetTable(broker.TableProcess, []byte("n"))
	if err != nil || string(n) != want {
		return fmt.Errorf("the position is %d, the table says %q, %v", next, n, err)
	}
	r, _, err := w.Latest(freshet.TopicDead, []byte("letter"), nil)
	if err != nil {
		return err
	}
	if l, err := wire.DecodeDeadLetter(r.Value); err != nil || l.Message != want {
		return fmt.Errorf("the position is %d, the dead letter says %q, %v", next, l.Message, err)
	}
	r, _, err = w.Latest(freshet.TopicSync, []byte(fmt.Sprint("e", (next-1)%7)), nil)
	if err != nil {
		return err
	}
	if c, err := wire.DecodeChange(freshet.Key{}, r.Value, wire.Head); err != nil || c.Text != want {
		return fmt.Errorf("the position is %d, vector.sync says %q, %v", next, c.Text, err)
	}
	return nil
}

// Owners depose each other in the middle of whatever they do, some of them with a copy that is behind, some with an empty one; those
// that are deposed go on until they find out. Every step is in the log once, in order.
func TestOwnersDeposeEachOther(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = alone(t, o)
		rng := rand.New(rand.NewPCG(1, 2))
		disks := []*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem(), vfs.NewCrashableMem()}
		busy := make([]bool, len(disks))
		var zombies sync.WaitGroup
		var mu sync.Mutex // guards busy
		stop := make(chan struct{})
		for round := range 25 {
			disk := rng.IntN(len(disks))
			mu.Lock()
			if busy[disk] || rng.IntN(6) == 0 {
				disks[disk] = vfs.NewCrashableMem() // the one before goes on with its own
			}
			busy[disk] = true
			fs := disks[disk]
			mu.Unlock()
			w := own(t, o, fs)
			if err := w.check(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			zombies.Go(func() {
				if err := w.count(stop); err != nil && !errors.Is(err, broker.ErrFenced) {
					t.Errorf("round %d: %v", round, err)
				}
				w.close()
				mu.Lock()
				defer mu.Unlock()
				if disks[disk] == fs {
					busy[disk] = false
				}
			})
			time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		}
		close(stop)
		zombies.Wait()

		last := own(t, o, vfs.NewCrashableMem())
		if err := last.check(); err != nil {
			t.Fatal(err)
		}
		end, err := last.Position("process", "", 0)
		if err != nil || end < 25 {
			t.Fatalf("%d steps, %v", end, err)
		}
		r, err := last.client.NewReader(freshet.Position{Topic: last.client.Options().Topics.Sync})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for step := int64(0); step < end; {
			fetched, err := r.Read(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fetched {
				for _, rec := range f.Records {
					key, err := wire.ParseKey(rec.Key)
					if err != nil {
						continue // a marker or a claim
					}
					if c, err := wire.DecodeChange(key, rec.Value, wire.Head); err != nil || c.Version.Offset != step {
						t.Fatalf("step %d of %d is followed by %d at offset %d, %v", step-1, end, c.Version.Offset, rec.Offset, err)
					}
					step++
				}
			}
		}
	})
}
