package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
	"github.com/freshet-io/freshet/wire"
)

// follower is a process with a copy and no partition of its own.
type follower struct {
	client    *kafka.Client
	state     *embedded.State
	copy      *kafka.Copy
	taken     []freshet.Change
	forgotten []freshet.Change
}

// follow opens a copy; do has it until it is closed.
func follow(t *testing.T, o kafka.Options, fs vfs.FS, do func(*follower)) {
	t.Helper()
	f := &follower{client: open(t, o), state: openCopy(t, fs)}
	f.copy = kafka.NewCopy(f.state, f.client.Options().Topics, func(_ context.Context, _ int32, taken kafka.Taken) error {
		f.taken = append(f.taken, taken.Changes...)
		f.forgotten = append(f.forgotten, taken.Forgotten...)
		return nil
	})
	do(f)
	if err := f.state.CloseCopy(); err != nil {
		t.Error(err)
	}
}

// read takes in everything that is there.
func (f *follower) read(t *testing.T) {
	t.Helper()
	r, err := f.client.NewReplica(f.copy, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	topics := f.client.Options().Topics
	await(t, func() bool {
		for _, topic := range []string{topics.Sync, topics.State, topics.Dead} {
			ends, err := f.client.Ends(deadline(t), topic)
			at, err2 := f.copy.Position(topic, 0)
			if errors.Join(err, err2) != nil || at < ends[0] {
				return false
			}
		}
		return true
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// has says which of the keys the copy has: entities, a dead letter, an entry of a table.
func (f *follower) has(t *testing.T, key string) (entity, letter, entry bool) {
	t.Helper()
	_, entity, err1 := f.state.Latest(freshet.TopicSync, []byte(key), nil)
	_, letter, err2 := f.state.Latest(freshet.TopicDead, append(kafka.Prefix(0), key...), nil)
	_, entry, err3 := f.state.GetTable(broker.TableProcess, append(kafka.Prefix(0), key...))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return entity, letter, entry
}

// A copy that was away until the nulls of keys had gone from the topics does not find out by reading on: it is compared with them.
func TestSweep(t *testing.T) {
	k := kafkatest.Shared(t)
	o := alone(t, options(k.Addrs(), func(o *kafka.Options) {
		o.Topics.Prefix, o.Group, o.SyncDeleteRetention = kafkatest.Name(t)+".", kafkatest.Name(t), time.Second
	}))
	w := own(t, o, vfs.NewCrashableMem())
	commit := func(do func(tx broker.Txn, key string) error, keys ...string) {
		t.Helper()
		tx := w.Begin()
		for _, key := range keys {
			if err := do(tx, key); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	value := wire.AppendChange(nil, &freshet.Change{Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1, Offset: 1}, Text: "x"})
	letter := wire.AppendDeadLetter(nil, &freshet.DeadLetter{Message: "x"})
	commit(func(tx broker.Txn, key string) error {
		return errors.Join(tx.Put(freshet.TopicSync, []byte(key), value), tx.Put(freshet.TopicDead, []byte(key), letter),
			tx.SetTable(broker.TableProcess, []byte(key), []byte("x")))
	}, "goes", "stays")
	disk, near := vfs.NewCrashableMem(), vfs.NewCrashableMem()
	noted := time.Now()
	for _, fs := range []*vfs.MemFS{disk, near} {
		follow(t, o, fs, func(f *follower) {
			f.read(t)
			if err := f.client.NoteCaughtUp(deadline(t), f.copy, noted); err != nil {
				t.Fatal(err)
			}
		})
	}
	commit(func(tx broker.Txn, key string) error {
		return errors.Join(tx.Remove(freshet.TopicSync, []byte(key)), tx.Remove(freshet.TopicDead, []byte(key)), tx.DeleteTable(broker.TableProcess, []byte(key)))
	}, "goes")
	follow(t, o, near, func(f *follower) { // one that sees the null has the store delete what it has alive
		f.read(t)
		if e, l, s := f.has(t, "goes"); e || l || s || len(f.taken) != 1 || !f.taken[0].Deleted() || !f.taken[0].Again {
			t.Errorf("a copy that is near has %v %v %v, and tells %+v", e, l, s, f.taken)
		}
	})
	topics := w.client.Options().Topics
	for _, topic := range []string{topics.Sync, topics.State, topics.Dead} {
		await(t, func() bool {
			if err := k.Compact(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond)
			return !stands(t, w.client, topic, "goes")
		})
	}
	follow(t, o, disk, func(f *follower) {
		f.read(t)
		if e, l, s := f.has(t, "goes"); !e || !l || !s {
			t.Fatalf("the nulls are there still: %v %v %v", e, l, s)
		}
		if n, err := f.client.Sweep(deadline(t), f.copy, noted.Add(400*time.Millisecond), 0); n != 0 || err != nil {
			t.Errorf("away for a moment, it has lost %d keys, %v", n, err)
		}
		if n, err := f.client.Sweep(deadline(t), f.copy, noted.Add(time.Minute), 0); n != 3 || err != nil {
			t.Errorf("away for long, it has lost %d keys, %v", n, err)
		}
		if e, l, s := f.has(t, "goes"); e || l || s {
			t.Errorf("swept, it has %v %v %v", e, l, s)
		}
		if e, l, s := f.has(t, "stays"); !e || !l || !s {
			t.Errorf("what stays is %v %v %v", e, l, s)
		}
		if n, err := f.client.Sweep(deadline(t), f.copy, noted.Add(time.Minute), 0); n != 0 || err != nil {
			t.Errorf("swept again, it has lost %d keys, %v", n, err)
		}
	})
}

// stands reports whether a topic has any record of a key, nulls included.
func stands(t *testing.T, c *kafka.Client, topic, key string) bool {
	t.Helper()
	starts, err := c.Starts(deadline(t), topic)
	ends, err2 := c.Ends(deadline(t), topic)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	r, err := c.NewReader(freshet.Position{Topic: topic, Offset: starts[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		got, err := r.Read(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			for _, rec := range f.Records {
				if bytes.HasSuffix(rec.Key, []byte(key)) {
					return true
				}
			}
			if f.Next >= ends[0] {
				return false
			}
		}
	}
}
