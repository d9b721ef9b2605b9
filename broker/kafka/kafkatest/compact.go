package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// markerPause is how long Compact waits for the cleaner before it writes markers again: the first
// may come before a node knows the settings.
const markerPause = time.Second

// compactNow are the settings that have the cleaner take everything but the active segment, and
// have a segment end with the next append.
var compactNow = map[string]string{
	"segment.ms":                "1",
	"min.cleanable.dirty.ratio": "0",
	"min.compaction.lag.ms":     "0",
}

// Compact has Kafka compact a compacted topic now, and returns when every running node that has a
// replica is through with what the topic had when it was called. An open transaction holds that up.
//
// It adds a control record to each partition, an abort marker of a transaction that never was: no
// consumer sees it, but offsets go on. A tombstone is dropped by the first compaction that begins
// delete.retention.ms after one that met it.
func (k *Kafka) Compact(ctx context.Context, topic string) error {
	admin := kadm.NewClient(k.admin)
	m, err := admin.Metadata(ctx, topic)
	if err != nil {
		return fmt.Errorf("compacting %s: %w", topic, err)
	}
	if err := m.Topics[topic].Err; err != nil {
		return fmt.Errorf("compacting %s: %w", topic, err)
	}
	// Compaction ends where the active segment begins, which is at or beyond these.
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("compacting %s: %w", topic, err)
	}
	restore, err := k.setTopic(ctx, topic, compactNow)
	if err != nil {
		return fmt.Errorf("compacting %s: %w", topic, err)
	}
	err = k.rollUntil(ctx, topic, func() (waiting string) {
		for _, p := range m.Topics[topic].Partitions {
			end, _ := ends.Lookup(topic, p.Partition)
			for _, id := range p.Replicas {
				if n := k.nodes[id]; n.running() && n.cleanedTo(topic, p.Partition) < end.Offset {
					return fmt.Sprintf("node %d has compacted partition %d up to offset %d of %d", id, p.Partition, n.cleanedTo(topic, p.Partition), end.Offset)
				}
			}
		}
		return ""
	})
	if err := restore(); err != nil {
		return fmt.Errorf("settings of %s after a compaction: %w", topic, err)
	}
	if err != nil {
		return fmt.Errorf("compacting %s: %w", topic, err)
	}
	return nil
}

// rollUntil writes markers into each partition until nothing is waited for.
func (k *Kafka) rollUntil(ctx context.Context, topic string, waiting func() string) error {
	for {
		if err := k.mark(ctx, topic); err != nil {
			return err
		}
		for end := time.Now().Add(markerPause); time.Now().Before(end); {
			if waiting() == "" {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: %s", ctx.Err(), waiting())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// mark writes an abort marker of a new producer into each partition of a topic.
func (k *Kafka) mark(ctx context.Context, topic string) error {
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, k.admin)
	if err != nil {
		return fmt.Errorf("a producer's id: %w", err)
	}
	admin := kadm.NewClient(k.admin)
	m, err := admin.Metadata(ctx, topic)
	if err != nil {
		return err
	}
	written, err := admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID:    resp.ProducerID,
		ProducerEpoch: resp.ProducerEpoch,
		Topics:        m.Topics.TopicsSet(),
	})
	if err != nil {
		return fmt.Errorf("a marker: %w", err)
	}
	written.EachPartition(func(p kadm.TxnMarkersPartitionResponse) {
		if p.Err != nil {
			err = fmt.Errorf("a marker in partition %d: %w", p.Partition, p.Err)
		}
	})
	return err
}

// setTopic alters settings of a topic, and returns what puts them back.
func (k *Kafka) setTopic(ctx context.Context, topic string, settings map[string]string) (restore func() error, err error) {
	admin := kadm.NewClient(k.admin)
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	before, err := described.On(topic, nil)
	if err == nil {
		err = before.Err
	}
	if err != nil {
		return nil, err
	}
	var set, reset []kadm.AlterConfig
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		set = append(set, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		back := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name}
		for _, c := range before.Configs {
			if c.Key == name && c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				back = kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: c.Value}
			}
		}
		reset = append(reset, back)
	}
	alter := func(ctx context.Context, configs []kadm.AlterConfig) error {
		altered, err := admin.AlterTopicConfigs(ctx, configs, topic)
		if err != nil {
			return err
		}
		for _, a := range altered {
			if a.Err != nil {
				return fmt.Errorf("%w: %s", a.Err, a.ErrMessage)
			}
		}
		return nil
	}
	if err := alter(ctx, set); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
		defer cancel()
		return alter(ctx, reset)
	}, nil
}

// cleanedTo is the offset up to which a node has compacted a partition; 0 before the first time.
func (n *node) cleanedTo(topic string, partition int32) int64 {
	// A version and a count, and then lines of topic, partition, offset. Kafka replaces it whole.
	text, err := os.ReadFile(filepath.Join(n.logDir(), "cleaner-offset-checkpoint"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var t string
		var p int32
		var offset int64
		if _, err := fmt.Sscan(line, &t, &p, &offset); err == nil && t == topic && p == partition {
			return offset
		}
	}
	return 0
}
