package kafkatest_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// hung is how long a request goes without an answer that is taken for held back.
const hung = 500 * time.Millisecond

func TestLanes(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{Lanes: 2})
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	topic := k.Topic(t, 1, nil)
	lane := k.Lane(0)
	cut := k.Client(t, kgo.SeedBrokers(lane.Addrs()...), kgo.DefaultProduceTopic(topic))
	other := k.Client(t, kgo.SeedBrokers(k.Lane(1).Addrs()...), kgo.DefaultProduceTopic(topic))
	produce := func(client *kgo.Client, value string) <-chan error {
		done := make(chan error, 1)
		client.Produce(ctx, kgo.StringRecord(value), func(_ *kgo.Record, err error) { done <- err })
		return done
	}
	acked := func(done <-chan error) {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	hangs := func(done <-chan error) {
		t.Helper()
		select {
		case err := <-done:
			t.Fatalf("a lane that is cut gave an answer: %v", err)
		case <-time.After(hung):
		}
	}
	end := func() int64 {
		t.Helper()
		ends, err := kadm.NewClient(other).ListEndOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		o, _ := ends.Lookup(topic, 0)
		return o.Offset
	}
	acked(produce(cut, "before"))
	acked(produce(other, "before, another lane"))

	lane.Cut()
	first := produce(cut, "cut")
	hangs(first)
	acked(produce(other, "while the first is cut"))
	if got := end(); got != 3 {
		t.Fatalf("%d records while a lane is cut, want 3", got)
	}
	// A client that begins in the lane hangs from its connection on.
	late := k.Client(t, kgo.SeedBrokers(lane.Addrs()...), kgo.RequestTimeoutOverhead(time.Second)) // of the first request
	soon, stop := context.WithTimeout(ctx, hung)
	defer stop()
	if err := late.Ping(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a new connection of a lane that is cut: %v", err)
	}
	lane.Heal()
	acked(first)
	if err := late.Ping(ctx); err != nil {
		t.Fatal(err)
	}

	lane.CutAnswers(0)
	second := produce(cut, "without an answer")
	for end() != 5 {
		if err := ctx.Err(); err != nil {
			t.Fatalf("the request has not arrived: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	hangs(second)
	// The answer is lost, and the client sends the record again: Kafka knows it.
	lane.Drop(0)
	lane.Heal(0)
	acked(second)
	want := map[string]int{"before": 1, "before, another lane": 1, "cut": 1, "while the first is cut": 1, "without an answer": 1}
	if got := read(t, k, topic); !maps.Equal(got, want) {
		t.Errorf("the topic has %v, want %v", got, want)
	}
}
