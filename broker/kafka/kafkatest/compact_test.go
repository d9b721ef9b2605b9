package kafkatest_test

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// TestCompact writes each of 10 keys 100 times, in one segment and within a second, and deletes one:
// after a compaction a reader meets the last record of each and no other.
func TestCompact(t *testing.T) {
	k := kafkatest.Shared(t)
	topic := k.Topic(t, 3, map[string]string{"cleanup.policy": "compact", "segment.ms": "86400000", "delete.retention.ms": "0"})
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	producer := k.Client(t, kgo.DefaultProduceTopic(topic))
	for i := range 1000 {
		record := kgo.KeyStringRecord(fmt.Sprint("key ", i%10), fmt.Sprint(i))
		if i == 999 {
			record.Value = nil
		}
		producer.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"": 1}
	for i := 990; i < 999; i++ {
		want[fmt.Sprint(i)] = 1
	}
	for _, compacted := range []string{"once", "again, when the tombstone is due"} {
		if err := k.Compact(ctx, topic); err != nil {
			t.Fatal(err)
		}
		last := kgo.StringRecord("last") // no compaction has gone beyond
		last.Key = []byte("key of " + compacted)
		if err := producer.ProduceSync(ctx, last).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want["last"]++
		if got := read(t, k, topic); !maps.Equal(got, want) {
			t.Fatalf("compacted %s, it has %v, want %v", compacted, got, want)
		}
		delete(want, "") // no reader meets the tombstone after the second time
	}
	configs, err := kadm.NewClient(producer).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		own := c.Source == kmsg.ConfigSourceDynamicTopicConfig
		switch c.Key {
		case "segment.ms":
			if *c.Value != "86400000" {
				t.Errorf("segment.ms is %s after a compaction", *c.Value)
			}
		case "min.cleanable.dirty.ratio", "min.compaction.lag.ms":
			if own {
				t.Errorf("%s=%s is still set after a compaction", c.Key, *c.Value)
			}
		}
	}
}
