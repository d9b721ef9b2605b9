package kafkatest_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// deadline of what a test waits for, on a busy machine.
const deadline = 90 * time.Second

func TestSharedKeepsRecords(t *testing.T) {
	k := kafkatest.Shared(t)
	if again := kafkatest.Shared(t); again != k {
		t.Fatal("a second Kafka in one process")
	}
	keepsRecords(t, k)
}

func TestNodeIsRestartedOnItsData(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{})
	topic := keepsRecords(t, k)
	for _, end := range []func(int) error{
		func(id int) error { k.Kill(id); return nil },
		k.Stop,
	} {
		if err := end(0); err != nil {
			t.Fatal(err)
		}
		if err := k.Start(0); err != nil {
			t.Fatal(err)
		}
		if got := read(t, k, topic, 100); len(got) != 100 {
			t.Fatalf("%d of 100 records after a restart", len(got))
		}
	}
}

// keepsRecords writes 100 records into a new topic and reads them.
func keepsRecords(t *testing.T, k *kafkatest.Kafka) (topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	topic = k.Topic(t, 4, nil)
	producer := k.Client(t, kgo.DefaultProduceTopic(topic))
	for i := range 100 {
		producer.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got := read(t, k, topic, 100)
	for i := range 100 {
		if got[fmt.Sprint(i)] != 1 {
			t.Errorf("record %d was read %d times", i, got[fmt.Sprint(i)])
		}
	}
	return topic
}

// read reads a number of records from the start of a topic, and counts how often it met each value.
func read(t *testing.T, k *kafkatest.Kafka, topic string, count int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	consumer := k.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	values := map[string]int{}
	for n := 0; n < count; {
		fetches := consumer.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("read %d of %d records: %v", n, count, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values[string(r.Value)]++; n++ })
	}
	return values
}
