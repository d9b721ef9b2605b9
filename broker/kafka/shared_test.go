package kafka_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
)

func shared(t *testing.T, c *kafka.Client) *kafka.SharedReader {
	t.Helper()
	s := c.NewSharedReader()
	t.Cleanup(s.Close)
	return s
}

func subscribe(t *testing.T, s *kafka.SharedReader, from freshet.Position) *kafka.Subscription {
	t.Helper()
	sub, err := s.Subscribe(from)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// consume reads n records, which must stand one behind the other from an offset on, each with its partition and offset as its value.
func consume(t *testing.T, sub *kafka.Subscription, partition int32, from, n int64) {
	t.Helper()
	for next := from; next < from+n; {
		got, err := sub.Read(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			for _, rec := range f.Records {
				if want := fmt.Sprint(partition, " ", next); f.Partition != partition || rec.Offset != next || string(rec.Value) != want {
					t.Fatalf("partition %d at %d gives %q of partition %d at %d", partition, next, rec.Value, f.Partition, rec.Offset)
				}
				next++
			}
		}
	}
}

// numbered appends records from an offset on, each with its partition and offset as its value.
func numbered(t *testing.T, a *kafka.Appender, partition int32, from, n int) {
	t.Helper()
	var records []string
	for i := range n {
		records = append(records, fmt.Sprint(partition, " ", from+i))
	}
	values(t, a, partition, records...)
}

// Each gets its own partition from its own place on, however often it begins anew while others read and records come.
func TestSharedReaderGivesEachItsOwn(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		s := shared(t, c)
		const records = 2000
		var all sync.WaitGroup
		for p := range int32(4) {
			a := appender(t, c)
			all.Go(func() {
				for from := 0; from < records; from += 50 {
					numbered(t, a, p, from, 50)
				}
			})
			all.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(p)))
				for from := int64(0); from < records; {
					sub := subscribe(t, s, freshet.Position{Topic: raw, Partition: p, Offset: from})
					n := min(1+rng.Int64N(400), records-from)
					consume(t, sub, p, from, n)
					sub.Close()
					from = max(0, from+n-rng.Int64N(20)*min(1, records-from-n))
				}
			})
		}
		all.Wait()
	})
}

// One that does not read holds nobody up, takes no more memory than is allowed, and misses nothing.
func TestSharedReaderWaitsForNobody(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o.FetchBytes = 32 << 10
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		s := shared(t, c)
		const records = 6000 // some 1.5 MB in memory
		slow := subscribe(t, s, freshet.Position{Topic: raw})
		quick := subscribe(t, s, freshet.Position{Topic: raw, Partition: 1})
		a := appender(t, c)
		for from := 0; from < records; from += 1000 {
			numbered(t, a, 0, from, 1000)
			numbered(t, a, 1, from, 1000)
		}
		consume(t, quick, 1, 0, records)
		time.Sleep(300 * time.Millisecond)
		if n := slow.Waiting(); n < 32<<10 || n > 1<<20 {
			t.Errorf("%d bytes wait for the one that does not read", n)
		}
		consume(t, slow, 0, 0, records)
		numbered(t, a, 0, records, 1)
		consume(t, slow, 0, records, 1)
		// It leaves while it is left out.
		slow.Close()
		slow = subscribe(t, s, freshet.Position{Topic: raw})
		time.Sleep(300 * time.Millisecond)
		slow.Close()
		consume(t, subscribe(t, s, freshet.Position{Topic: raw}), 0, 0, records+1)
	})
}

// What is wrong with one partition is told to its reader alone; a topic that was made again is nobody's of before.
func TestSharedReaderErrors(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o)
		raw := c.Options().Topics.Raw
		s := shared(t, c)
		a := appender(t, c)
		numbered(t, a, 0, 0, 5)
		well := subscribe(t, s, freshet.Position{Topic: raw})
		consume(t, well, 0, 0, 5)
		if _, err := s.Subscribe(freshet.Position{Topic: raw}); err == nil {
			t.Error("a partition has two readers")
		}
		lost := subscribe(t, s, freshet.Position{Topic: raw, Partition: 2, Offset: 9})
		for range 2 {
			if got, err := lost.Read(deadline(t)); !errors.Is(err, kafka.ErrLost) {
				t.Errorf("got %v, %v", got, err)
			}
		}
		lost.Close()
		numbered(t, a, 2, 0, 1)
		consume(t, subscribe(t, s, freshet.Position{Topic: raw, Partition: 2}), 2, 0, 1)
		numbered(t, a, 0, 5, 1)
		consume(t, well, 0, 5, 1)

		other := subscribe(t, s, freshet.Position{Topic: c.Options().Topics.Keyed})
		remove(t, o.Brokers, raw)
		time.Sleep(time.Second) // a real cluster takes a moment
		if _, err := c.Ensure(deadline(t)); err != nil {
			t.Fatal(err)
		}
		numbered(t, appender(t, c), 0, 0, 9)
		for _, sub := range []*kafka.Subscription{well, other} {
			if got, err := sub.Read(deadline(t)); !errors.Is(err, kafka.ErrReplaced) {
				t.Errorf("got %v, %v", got, err)
			}
			sub.Close()
		}
		well = subscribe(t, s, freshet.Position{Topic: raw})
		consume(t, well, 0, 0, 9)

		time.AfterFunc(100*time.Millisecond, s.Close)
		if got, err := well.Read(deadline(t)); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("got %v, %v", got, err)
		}
		if _, err := s.Subscribe(freshet.Position{Topic: raw}); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("subscribed to what is closed: %v", err)
		}
	})
}
