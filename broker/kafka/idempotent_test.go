package kafka_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// unfenced are options for a log of one partition whose owners can't be fenced.
func unfenced(t *testing.T, o kafka.Options) kafka.Options {
	o.Delivery = kafka.DeliveryIdempotent
	return alone(t, o)
}

// watched has an owner see what others write.
func (w *owner) watched() *owner {
	w.t.Helper()
	r, err := w.client.NewReplica(w.copy, nil)
	if err == nil {
		err = r.Watch(w.Partition)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	go r.Run(w.t.Context())
	return w
}

// step is a transaction that says a number in each topic and moves the position behind it.
func (w *owner) step(entity string, n int64) (broker.Txn, error) {
	c := freshet.Change{Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1, Offset: n}, Text: strconv.FormatInt(n, 10)}
	tx := w.Begin()
	return tx, errors.Join(tx.Put(freshet.TopicSync, []byte(entity), wire.AppendChange(nil, &c)),
		tx.SetTable(broker.TableProcess, []byte("n"), []byte(c.Text)),
		tx.Put(freshet.TopicDead, wire.DeadLetterKey(1, 0), wire.AppendDeadLetter(nil, &freshet.DeadLetter{Position: freshet.Position{Offset: 1}, Message: c.Text})),
		tx.Move(broker.Member{Group: "process"}, freshet.TopicRaw, 0, n+1))
}

func (w *owner) mustCommit(entity string, n int64) {
	w.t.Helper()
	tx, err := w.step(entity, n)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// commitsInVain writes a transaction, which comes too late.
func (w *owner) commitsInVain(entity string, n int64) {
	w.t.Helper()
	tx, err := w.step(entity, n)
	if err == nil {
		err = tx.Commit()
	}
	if !errors.Is(err, broker.ErrFenced) {
		w.t.Fatalf("a deposed owner's commit gives %v", err)
	}
}

// says is what an owner's copy holds: the number in each topic, and the position.
func (w *owner) says(entity string) string {
	w.t.Helper()
	r, _, err := w.Latest(freshet.TopicSync, []byte(entity), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := wire.DecodeChange(freshet.Key{}, r.Value, wire.Head)
	if err != nil {
		w.t.Fatal(err)
	}
	n, _, err := w.GetTable(broker.TableProcess, []byte("n"))
	if err != nil {
		w.t.Fatal(err)
	}
	d, _, err := w.Latest(freshet.TopicDead, wire.DeadLetterKey(1, 0), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := wire.DecodeDeadLetter(d.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	next, err := w.Position("process", "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(c.Text, " ", string(n), " ", l.Message, " ", next)
}

// A process dies when its batch is in the log, and any part of what follows: the next owner writes the rest.
func TestBatchIsFinished(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		rng := rand.New(rand.NewPCG(3, 4))
		disk := vfs.NewCrashableMem()
		for n := int64(1); n < 12; n++ {
			w := own(t, o, disk)
			if n > 1 {
				if got, want := w.says("e"), fmt.Sprint(n-1, " ", n-1, " ", n-1, " ", n); got != want {
					t.Fatalf("after batch %d the next owner has %q, want %q", n-1, got, want)
				}
			}
			tx, err := w.step("e", n)
			if err == nil {
				err = kafka.CommitAndDie(tx, func(*kgo.Record) bool { return rng.IntN(2) == 0 })
			}
			if err != nil {
				t.Fatal(err)
			}
			w.close()
			if disk = vfs.NewCrashableMem(); n%2 == 0 { // it may have read the batch before it takes the partition
				follow(t, o, disk, func(f *follower) { f.read(t) })
			}
		}
	})
}

// Who had lost the partition takes the last batch of another away, and takes the partition again before anybody has looked, and dies: the batch is
// finished all the same.
func TestBatchIsTakenAwayInVain(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		w := own(t, o, vfs.NewCrashableMem())
		w.mustCommit("e", 1)
		tx, err := w.step("e", 2)
		if err == nil {
			err = kafka.CommitAndDie(tx, func(*kgo.Record) bool { return false })
		}
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		begin := func() (term int64) { return foreign(t, o, "\x00\x00claim", `{"format":1}`, -1) }
		first := begin()
		begin()
		foreign(t, o, "\x00\x00batch\x00", "", first)
		begin()
		if got := own(t, o, vfs.NewCrashableMem()).says("e"); got != "2 2 2 3" {
			t.Errorf("the next owner has %q", got)
		}
	})
}

// foreign writes a record to vector.sync as one would in a term, if it is not negative, and returns its offset.
func foreign(t *testing.T, o kafka.Options, key, value string, term int64) int64 {
	t.Helper()
	c := open(t, o)
	producer, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	r := &kgo.Record{Topic: c.Options().Topics.Sync, Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	if term >= 0 {
		r.Headers = []kgo.RecordHeader{{Key: "freshet.term", Value: binary.BigEndian.AppendUint64(nil, uint64(term))}}
	}
	if err := producer.ProduceSync(deadline(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return r.Offset
}

// An owner that gives the partition up, and does not know that it has lost it before, has not missed what was decided since.
func TestZombieGivesUp(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		disk := vfs.NewCrashableMem()
		zombie := own(t, o, disk)
		zombie.mustCommit("e", 1)
		tx, err := zombie.step("e", 2)
		if err != nil {
			t.Fatal(err)
		}
		next := own(t, o, vfs.NewCrashableMem())
		next.mustCommit("e", 5)
		if err := kafka.SendRest(tx); err != nil { // what followed its last batch was under way
			t.Fatal(err)
		}
		zombie.close()
		next.close()
		follow(t, o, disk, func(f *follower) { f.read(t) })
		if got := own(t, o, disk).says("e"); got != "5 5 5 6" {
			t.Errorf("it has %q", got)
		}
	})
}

// A process takes a partition again that it had lost, in the same session: what it writes counts again.
func TestSessionTakesAgain(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		first := own(t, o, vfs.NewCrashableMem())
		first.mustCommit("e", 1)
		own(t, o, vfs.NewCrashableMem()).mustCommit("e", 2)
		disk := vfs.NewCrashableMem()
		follow(t, o, disk, func(f *follower) { f.read(t) }) // it knows who has lost the partition
		if err := first.take(0, time.Minute); err != nil {
			t.Fatal(err)
		}
		first.mustCommit("e", 3)
		first.mustCommit("f", 4) // who takes the partition writes what follows the last batch again, whosoever that is
		if got := own(t, o, disk).says("e"); got != "3 4 4 5" {
			t.Errorf("the next owner has %q", got)
		}
	})
}

// What a zombie has written does not count for who takes the partition, if the owner before has died without mending it.
func TestZombieDoesNotCount(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		zombie := own(t, o, vfs.NewCrashableMem())
		zombie.mustCommit("e", 1)
		before := own(t, o, vfs.NewCrashableMem())
		before.mustCommit("e", 5)
		before.mustCommit("f", 6) // the last batch alone would be written again
		tx, err := zombie.step("e", 2)
		if err == nil {
			err = kafka.SendRest(tx) // it was under way
		}
		if err != nil {
			t.Fatal(err)
		}
		zombie.commitsInVain("e", 3)
		disk := vfs.NewCrashableMem()
		follow(t, o, disk, func(f *follower) { f.read(t) }) // it passes over what does not count, and knows of it
		next := own(t, o, disk)
		if got := next.says("e"); got != "5 6 6 7" {
			t.Errorf("the next owner has %q", got)
		}
		if last := lastOf(t, next.client, o); last["e"] != "5" || last["n"] != "6" || last["position"] != "7" || last["letter"] != "6" {
			t.Errorf("the log says %v", last)
		}
	})
}

// A log goes over to transactions and back: each finishes what the other has begun, and what an owner without them writes late does not count.
func TestDeliveryChanges(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		with := o
		with.Delivery = kafka.DeliveryTransactional
		first := own(t, with, vfs.NewCrashableMem())
		first.mustCommit("e", 1)
		zombie := own(t, o, vfs.NewCrashableMem())
		if got := zombie.says("e"); got != "1 1 1 2" {
			t.Fatalf("without transactions it has %q", got)
		}
		zombie.mustCommit("e", 2)
		first.commitsInVain("e", 2)
		dies := own(t, o, vfs.NewCrashableMem())
		tx, err := dies.step("e", 3)
		if err == nil {
			err = kafka.CommitAndDie(tx, func(*kgo.Record) bool { return false })
		}
		if err != nil {
			t.Fatal(err)
		}
		fenced := own(t, with, vfs.NewCrashableMem())
		if got := fenced.says("e"); got != "3 3 3 4" {
			t.Errorf("with transactions again it has %q", got)
		}
		fenced.mustCommit("e", 4)
		if tx, err = zombie.step("e", 2); err == nil {
			err = kafka.SendRest(tx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := own(t, with, vfs.NewCrashableMem()).says("e"); got != "4 4 4 5" {
			t.Errorf("the owner after it has %q", got)
		}
		if got := own(t, o, vfs.NewCrashableMem()).says("e"); got != "4 4 4 5" {
			t.Errorf("without them again it has %q", got)
		}
	})
}

// An owner that does not know that it has lost the partition writes behind the next one: what that one has decided comes to stand
// in the log again, for whoever reads it, and the one before finds out.
func TestZombieWritesBehind(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		zombie := own(t, o, vfs.NewCrashableMem())
		zombie.mustCommit("e", 1)
		next := own(t, o, vfs.NewCrashableMem()).watched()
		next.mustCommit("e", 5)
		zombie.commitsInVain("e", 2)
		await(t, func() bool {
			last := lastOf(t, next.client, o)
			return last["e"] == "5" && last["n"] == "5" && last["position"] == "6" && last["letter"] == "5"
		})
		if got := next.says("e"); got != "5 5 5 6" {
			t.Errorf("the owner has %q", got)
		}
		if got := zombie.says("e"); got != "1 1 1 2" {
			t.Errorf("the zombie has %q", got)
		}
		next.close()
		if got := own(t, o, vfs.NewCrashableMem()).says("e"); got != "5 5 5 6" {
			t.Errorf("the owner after it has %q", got)
		}
	})
}

// lastOf is what compaction would leave of the log: the number in the last record of each key.
func lastOf(t *testing.T, c *kafka.Client, o kafka.Options) map[string]string {
	t.Helper()
	out := map[string]string{}
	topics := c.Options().Topics
	for _, topic := range []string{topics.Sync, topics.State, topics.Dead} {
		ends, err := c.Ends(deadline(t), topic)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.NewReader(freshet.Position{Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		for next := int64(0); next < ends[0]; {
			fetched, err := r.Read(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fetched {
				next = f.Next
				for i := range f.Records {
					name, value := meaning(t, &f.Records[i], topic == topics.Dead)
					out[name] = value
				}
			}
		}
		r.Close()
	}
	return out
}

// meaning is what a record says of step.
func meaning(t *testing.T, r *kafka.Record, letter bool) (name, value string) {
	t.Helper()
	switch {
	case bytes.HasPrefix(r.Key, []byte("\x00\x00claim")) || bytes.HasPrefix(r.Key, []byte("\x00\x00batch")):
		return "", ""
	case string(r.Key) == "\x00\x00decided":
		var n int64
		if _, err := fmt.Sscanf(string(r.Value), `{"format":1,"decided":%d}`, &n); err != nil {
			t.Fatal(err)
		}
		return "position", fmt.Sprint(n)
	case r.Value == nil:
		return string(r.Key), ""
	case letter:
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		return "letter", l.Message
	case r.Key[0] == byte(broker.TableProcess):
		return string(r.Key[1:]), string(r.Value)
	}
	c, err := wire.DecodeChange(freshet.Key{}, r.Value, wire.Head)
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Key), c.Text
}

// Owners that can't be fenced follow on each other while those before go on until they notice: in the end the last state is that of the last
// step, wherever one looks.
func TestUnfencedOwnersFollowEachOther(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = unfenced(t, o)
		rng := rand.New(rand.NewPCG(5, 6))
		var zombies sync.WaitGroup
		disks := make(chan *vfs.MemFS, 20) // of those that have noticed: they go on with what they have
		for range 14 {
			disk := vfs.NewCrashableMem()
			select {
			case disk = <-disks:
			default:
			}
			w := own(t, o, disk).watched()
			next, err := w.Position("process", "", 0)
			if err != nil {
				t.Fatal(err)
			}
			zombies.Go(func() {
				for n := next; ; n++ {
					tx, err := w.step(fmt.Sprint("e", n%7), n)
					if err == nil {
						err = tx.Commit()
					}
					if errors.Is(err, broker.ErrFenced) {
						w.close()
						disks <- disk
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
			time.Sleep(time.Duration(20+rng.IntN(80)) * time.Millisecond)
		}
		last := own(t, o, vfs.NewCrashableMem()).watched()
		zombies.Wait()
		next, err := last.Position("process", "", 0)
		if err != nil || next < 20 {
			t.Fatalf("%d steps, %v", next, err)
		}
		want := fmt.Sprint(next-1, " ", next-1, " ", next-1, " ", next)
		if got := last.says(fmt.Sprint("e", (next-1)%7)); got != want {
			t.Errorf("the last owner has %q, want %q", got, want)
		}
		await(t, func() bool {
			log := lastOf(t, last.client, o)
			for e := range min(7, next) {
				n := next - 1 - e
				if log[fmt.Sprint("e", n%7)] != fmt.Sprint(n) {
					return false
				}
			}
			return log["n"] == fmt.Sprint(next-1) && log["position"] == fmt.Sprint(next)
		})
	})
}

// A batch larger than a record is in parts.
func TestBatchInParts(t *testing.T) {
	c := open(t, options(fake(t, 1).ListenAddrs(), func(o *kafka.Options) { o.MaxRecordBytes = 1 << 20 }))
	topics := c.Options().Topics
	var all []*kgo.Record
	for i := range 50 {
		all = append(all, &kgo.Record{Topic: topics.Sync, Partition: 3, Key: []byte(fmt.Sprint("k", i)), Value: bytes.Repeat([]byte{byte(i)}, 100_000),
			Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "", Value: []byte{}}}})
	}
	all = append(all, &kgo.Record{Topic: topics.State, Key: []byte("gone")}, &kgo.Record{Topic: topics.Dead, Key: []byte{}, Value: []byte{}},
		&kgo.Record{Topic: topics.Keyed, Partition: 300, Value: []byte("v")})
	parts, back, err := c.BatchRoundTrip(all)
	if err != nil || parts != 5 || len(back) != len(all) {
		t.Fatalf("%d parts, %d records, %v", parts, len(back), err)
	}
	for i, r := range back {
		w := all[i]
		if r.Topic != w.Topic || r.Partition != w.Partition || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Value, w.Value) || (r.Value == nil) != (w.Value == nil) ||
			len(r.Headers) != len(w.Headers) {
			t.Fatalf("record %d is %v", i, r)
		}
		for k, h := range r.Headers {
			if h.Key != w.Headers[k].Key || !bytes.Equal(h.Value, w.Headers[k].Value) {
				t.Fatalf("record %d has the header %v", i, h)
			}
		}
	}
}
