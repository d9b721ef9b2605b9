package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
)

func reader(t *testing.T, c *kafka.Client, from ...freshet.Position) *kafka.Reader {
	t.Helper()
	r, err := c.NewReader(from...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// values appends a record for each value to a partition of the raw topic.
func values(t *testing.T, a *kafka.Appender, partition int32, values ...string) {
	t.Helper()
	var records []kafka.Record
	for _, v := range values {
		records = append(records, kafka.Record{Partition: partition, Value: []byte(v)})
	}
	if _, err := a.Append(deadline(t), records); err != nil {
		t.Fatal(err)
	}
}

// until reads until a partition has got to an offset, and returns its values and the last answer.
func until(t *testing.T, r *kafka.Reader, partition int32, next int64) (values []string, last kafka.Fetched) {
	t.Helper()
	for last.Next < next {
		got, err := r.Read(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			if f.Partition != partition {
				t.Fatalf("there is something of partition %d", f.Partition)
			}
			for _, rec := range f.Records {
				values = append(values, string(rec.Value))
			}
			last = f
		}
	}
	return values, last
}

// silent makes sure that nothing comes.
func silent(t *testing.T, r *kafka.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReadFromOffsets(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		a := appender(t, c)
		values(t, a, 1, "a", "b", "c")
		values(t, a, 2, "x")
		r := reader(t, c, freshet.Position{Topic: raw, Partition: 1, Offset: 1})
		got, last := until(t, r, 1, 3)
		if fmt.Sprint(got) != "[b c]" || last.Topic != raw || last.End != 3 {
			t.Errorf("%v, %+v", got, last)
		}
		silent(t, r)
		later := time.AfterFunc(300*time.Millisecond, func() { values(t, a, 1, "d") })
		defer later.Stop()
		if got, _ = until(t, r, 1, 4); fmt.Sprint(got) != "[d]" {
			t.Errorf("%v", got)
		}
		r.Remove(raw, 1)
		r.Add(freshet.Position{Topic: raw, Partition: 2})
		values(t, a, 1, "e")
		if got, _ = until(t, r, 2, 1); fmt.Sprint(got) != "[x]" {
			t.Errorf("%v", got)
		}
		silent(t, r)
		starts, err1 := c.Starts(deadline(t), raw)
		ends, err2 := c.Ends(deadline(t), raw)
		if fmt.Sprint(starts, ends, err1, err2) != "map[0:0 1:0 2:0 3:0] map[0:0 1:5 2:1 3:0] <nil> <nil>" {
			t.Error(starts, ends, err1, err2)
		}
	})
}

// Of transactions a reader sees what is committed, and how far it is behind the end.
func TestReadCommitted(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		producer, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.TransactionalID(raw+"-writer"), kgo.DefaultProduceTopic(raw), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		put := func(value string) {
			if err := producer.ProduceSync(deadline(t), &kgo.Record{Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		begin := func() {
			if err := producer.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}
		end := func(how kgo.TransactionEndTry) {
			if err := producer.EndTransaction(deadline(t), how); err != nil {
				t.Fatal(err)
			}
		}
		ends := func() int64 {
			got, err := c.Ends(deadline(t), raw)
			if err != nil {
				t.Fatal(err)
			}
			return got[0]
		}
		r := reader(t, c, freshet.Position{Topic: raw})
		begin()
		put("a")
		put("b")
		silent(t, r)
		if got := ends(); got != 0 {
			t.Errorf("with an open transaction the end is %d", got)
		}
		end(kgo.TryCommit)
		// Two records and the mark of the transaction.
		if got, last := until(t, r, 0, 3); fmt.Sprint(got) != "[a b]" || last.Next != 3 || last.End != 3 || ends() != 3 {
			t.Errorf("%v, %+v, %d", got, last, ends())
		}
		begin()
		put("aborted")
		end(kgo.TryAbort)
		if got, last := until(t, r, 0, 5); len(got) != 0 || last.Next != 5 || ends() != 5 {
			t.Errorf("%v, %+v, %d", got, last, ends())
		}
		begin()
		put("c")
		end(kgo.TryCommit)
		if got, last := until(t, r, 0, 7); fmt.Sprint(got) != "[c]" || last.Next != 7 {
			t.Errorf("%v, %+v", got, last)
		}
	})
}

func TestReadOutsideOfTheLog(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		a := appender(t, c)
		values(t, a, 0, "a", "b", "c")
		values(t, a, 1, "x")
		if err := removeBefore(t, o.Brokers, raw, 0, 2); err != nil {
			t.Fatal(err)
		}
		r := reader(t, c, freshet.Position{Topic: raw, Offset: 1}, freshet.Position{Topic: raw, Partition: 1}, freshet.Position{Topic: raw, Partition: 2, Offset: 9})
		var got []string
		var notRetained, lost int
		for len(got) < 1 || notRetained+lost < 2 {
			fetched, err := r.Read(deadline(t))
			switch {
			case errors.Is(err, kafka.ErrNotRetained):
				notRetained++
				if want := "partition 0 of " + raw + " from offset 1: offset is older than the first one in the log, which is 2"; err.Error() != "read "+want {
					t.Error(err)
				}
			case errors.Is(err, kafka.ErrLost):
				lost++
				if want := "partition 2 of " + raw + " from offset 9: the log has lost records: the log ends before it"; err.Error() != "read "+want {
					t.Error(err)
				}
			case err != nil:
				t.Fatal(err)
			}
			for _, f := range fetched {
				for _, rec := range f.Records {
					got = append(got, string(rec.Value))
				}
			}
		}
		if fmt.Sprint(got, notRetained, lost) != "[x] 1 1" {
			t.Error(got, notRetained, lost)
		}
		values(t, a, 1, "y")
		if got, _ := until(t, r, 1, 2); fmt.Sprint(got) != "[y]" {
			t.Errorf("the partition that is well gives %v", got)
		}
	})
}

// removeBefore deletes the records of a partition before an offset.
func removeBefore(t *testing.T, addrs []string, topic string, partition int32, offset int64) error {
	var o kadm.Offsets
	o.AddOffset(topic, partition, offset, -1)
	done, err := admin(t, addrs).DeleteRecords(deadline(t), o)
	return errors.Join(err, done.Error())
}

// A topic of the same name is not taken for the one that was read.
func TestReadOfAReplacedTopic(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		values(t, appender(t, c), 0, "a", "b")
		r := reader(t, c, freshet.Position{Topic: raw})
		until(t, r, 0, 2)
		remove(t, o.Brokers, raw)
		time.Sleep(time.Second) // a real cluster takes a moment
		if _, err := c.Ensure(deadline(t)); err != nil {
			t.Fatal(err)
		}
		values(t, appender(t, c), 0, "other a", "other b", "other c")
		if got, err := r.Read(deadline(t)); !errors.Is(err, kafka.ErrReplaced) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestReadEndsWithTheReader(t *testing.T) {
	c := ready(t, options(fake(t, 1).ListenAddrs()))
	r := reader(t, c, freshet.Position{Topic: c.Options().Topics.Raw})
	time.AfterFunc(100*time.Millisecond, r.Close)
	if got, err := r.Read(deadline(t)); !errors.Is(err, kafka.ErrClosed) {
		t.Errorf("got %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := reader(t, c, freshet.Position{Topic: c.Options().Topics.Raw}).Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", got, err)
	}
}
