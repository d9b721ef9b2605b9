package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
)

// ready opens a client and makes its topics.
func ready(t *testing.T, o kafka.Options) *kafka.Client {
	t.Helper()
	c := open(t, o)
	if _, err := c.Ensure(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

func appender(t *testing.T, c *kafka.Client) *kafka.Appender {
	t.Helper()
	a, err := c.NewAppender(c.Options().Topics.Raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func code(err error) freshet.Code {
	var e *freshet.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// readAll reads the raw topic from its start to its end.
func readAll(t *testing.T, c *kafka.Client) (all map[int32][]kafka.Record, n int) {
	t.Helper()
	raw := c.Options().Topics.Raw
	ends, err := c.Ends(deadline(t), raw)
	if err != nil {
		t.Fatal(err)
	}
	all = map[int32][]kafka.Record{}
	var from []freshet.Position
	for p, end := range ends {
		if end > 0 {
			from = append(from, freshet.Position{Topic: raw, Partition: p})
		}
	}
	r := reader(t, c, from...)
	for left := len(from); left > 0; {
		got, err := r.Read(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			all[f.Partition] = append(all[f.Partition], f.Records...)
			n += len(f.Records)
			if f.Next >= ends[f.Partition] {
				left--
			}
		}
	}
	return all, n
}

func TestAppend(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		a := appender(t, c)
		if got, err := a.Append(deadline(t), nil); got != nil || err != nil {
			t.Errorf("nothing: %v, %v", got, err)
		}
		sent := make([]kafka.Record, 100)
		for i := range sent {
			sent[i] = kafka.Record{Partition: int32(i % 3), Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i),
				Headers: []kafka.Header{{Name: "source", Value: []byte("s")}, {Name: "empty", Value: []byte{}}}}
		}
		sent[0].Value, sent[0].Headers = nil, nil
		before := time.Now().UnixMilli()
		positions, err := a.Append(deadline(t), sent)
		if err != nil {
			t.Fatal(err)
		}
		all, n := readAll(t, c)
		if n != len(sent) {
			t.Fatalf("%d records, want %d", n, len(sent))
		}
		for i, p := range positions {
			got, want := all[p.Partition][p.Offset], sent[i]
			if got.Time < before || got.Time > time.Now().UnixMilli() {
				t.Errorf("record %d is of %d", i, got.Time)
			}
			want.Offset, want.Time = p.Offset, got.Time
			if p.Topic != c.Options().Topics.Raw || fmt.Sprint(got) != fmt.Sprint(want) || (got.Value == nil) != (want.Value == nil) {
				t.Errorf("record %d is %v, want %v at %v", i, got, want, p)
			}
		}
		if a.Waiting() != 0 {
			t.Errorf("%d bytes wait when all is done", a.Waiting())
		}
	})
}

// The partitions of keys are those of Java's producer: its murmur2 of these is in the tests of Kafka itself (UtilsTest.testMurmur2).
func TestAnyPartition(t *testing.T) {
	hashes := map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107}
	c := ready(t, options(fake(t, 1).ListenAddrs(), func(o *kafka.Options) { o.Partitions = 7 }))
	a := appender(t, c)
	for key, hash := range hashes {
		got, err := a.Append(deadline(t), []kafka.Record{{Partition: kafka.AnyPartition, Key: []byte(key)}})
		if want := (hash & 0x7fffffff) % 7; err != nil || got[0].Partition != want {
			t.Errorf("%q is in %v, want %d, %v", key, got, want, err)
		}
	}
	if got, err := a.Append(deadline(t), []kafka.Record{{Partition: kafka.AnyPartition, Value: []byte("v")}}); err != nil || got[0].Partition < 0 || got[0].Partition > 6 {
		t.Errorf("without a key: %v, %v", got, err)
	}
}

func TestConcurrentAppends(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		a := appender(t, c)
		const writers, appends = 8, 40
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				last := map[int32]int64{}
				for i := range appends {
					var records []kafka.Record
					for j := range 6 {
						records = append(records, kafka.Record{Partition: int32(j % 4), Key: []byte{byte(w)}, Value: fmt.Appendf(nil, "%03d.%d", i, j)})
					}
					positions, err := a.Append(deadline(t), records)
					if err != nil {
						t.Error(err)
						return
					}
					for _, p := range positions {
						if before, ok := last[p.Partition]; ok && p.Offset <= before {
							t.Errorf("%v is not behind %d", p, before)
						}
						last[p.Partition] = p.Offset
					}
				}
			})
		}
		wg.Wait()
		all, n := readAll(t, c)
		if n != writers*appends*6 {
			t.Errorf("%d records, want %d", n, writers*appends*6)
		}
		for p, records := range all {
			last := map[byte]string{}
			for _, r := range records {
				if w := r.Key[0]; string(r.Value) <= last[w] {
					t.Errorf("partition %d: %s of writer %d is behind %s", p, r.Value, w, last[w])
				} else {
					last[w] = string(r.Value)
				}
			}
		}
	})
}

// hold lets requests to append wait until it is released.
func hold(cluster *kfake.Cluster) (release func()) {
	held := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-held })
		return nil, nil, false
	})
	return sync.OnceFunc(func() { close(held) })
}

func TestBackPressure(t *testing.T) {
	cluster := fake(t, 1, kfake.SleepOutOfOrder())
	c := ready(t, options(cluster.ListenAddrs(), func(o *kafka.Options) { o.AppendBytes = 1000 }))
	a := appender(t, c)
	release := hold(cluster)
	defer release()
	large := []kafka.Record{{Value: make([]byte, 5000)}} // the first is let in, however large
	first := make(chan error)
	go func() {
		_, err := a.Append(deadline(t), large)
		first <- err
	}()
	for a.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	if got, err := a.Append(deadline(t), []kafka.Record{{}, {}}); code(err) != freshet.CodeBacklogFull || got != nil || errors.Is(err, kafka.ErrUnknownOutcome) {
		t.Errorf("%v, %v", got, err)
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := a.Append(deadline(t), []kafka.Record{{}, {}}); err != nil {
		t.Error(err)
	}
	if _, n := readAll(t, c); n != 3 {
		t.Errorf("%d records: what was refused is in the log", n)
	}
}

// An append that was given up may become durable still, with the bytes that it had.
func TestUnknownOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		timeout time.Duration
		ctx     func(context.Context) (context.Context, context.CancelFunc)
		cause   error
	}{
		"delivery timeout": {time.Second, context.WithCancel, nil},
		"end of the context": {time.Minute, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fake(t, 1, kfake.SleepOutOfOrder())
			c := ready(t, options(cluster.ListenAddrs(), func(o *kafka.Options) { o.DeliveryTimeout = test.timeout }))
			a := appender(t, c)
			release := hold(cluster)
			defer release()
			value := []byte("before")
			ctx, cancel := test.ctx(deadline(t))
			defer cancel()
			got, err := a.Append(ctx, []kafka.Record{{Value: value}})
			if !errors.Is(err, kafka.ErrUnknownOutcome) || code(err) != freshet.CodeUnavailable || got != nil {
				t.Fatalf("%v, %v", got, err)
			}
			if test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("the cause is lost: %v", err)
			}
			copy(value, "after.")
			release()
			for a.Waiting() > 0 {
				time.Sleep(time.Millisecond)
			}
			if all, n := readAll(t, c); n != 1 || string(all[0][0].Value) != "before" {
				t.Errorf("the log has %v", all)
			}
		})
	}
}

// A record that is too large fails alone; of the others it is said where they are.
func TestTooLarge(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o.MaxRecordBytes = 1 << 20
		c := ready(t, o)
		a := appender(t, c)
		got, err := a.Append(deadline(t), []kafka.Record{{Value: []byte("a")}, {Value: make([]byte, 1<<20)}, {Value: []byte("b")}})
		if code(err) != freshet.CodeTooLarge || errors.Is(err, kafka.ErrUnknownOutcome) || !strings.Contains(err.Error(), "1048576") {
			t.Error(err)
		}
		offsets := []int64{}
		for _, p := range got {
			offsets = append(offsets, p.Offset)
		}
		if !slices.Equal(offsets, []int64{0, -1, 1}) {
			t.Errorf("offsets %v", offsets)
		}
		if _, n := readAll(t, c); n != 2 {
			t.Errorf("%d records", n)
		}
	})
}

func TestAppendAfterClose(t *testing.T) {
	a := appender(t, ready(t, options(fake(t, 1).ListenAddrs())))
	a.Close()
	if _, err := a.Append(deadline(t), []kafka.Record{{Value: []byte("a")}}); code(err) != freshet.CodeUnavailable {
		t.Error(err)
	}
}
