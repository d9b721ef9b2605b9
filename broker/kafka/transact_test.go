package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet"
)

// slowly are hooks of a producer that gets the partitions of a topic slowly: one record is sent, and another one holds what follows up.
type slowly struct {
	producer      *kgo.Client
	first, second *kgo.Record
}

func (s *slowly) OnNewClient(c *kgo.Client) { s.producer = c }

func (s *slowly) OnProduceRecordBuffered(r *kgo.Record) {
	if r == s.first {
		time.AfterFunc(20*time.Millisecond, func() { s.producer.Produce(context.Background(), s.second, nil) })
	}
}

func (s *slowly) OnProduceRecordPartitioned(r *kgo.Record, _ int32) {
	if r == s.second {
		time.Sleep(300 * time.Millisecond)
	}
}

// A transaction is committed though the producer comes to know the partitions of its records only when they have been written.
func TestTransactionInNewTopic(t *testing.T) {
	cluster := fake(t, 1, kfake.SeedTopics(2, "topic"))
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		time.Sleep(100 * time.Millisecond) // both records wait for it
		return nil, nil, false
	})
	c := open(t, options(cluster.ListenAddrs()))
	s := &slowly{
		first:  &kgo.Record{Topic: "topic", Partition: 0, Value: []byte("first")},
		second: &kgo.Record{Topic: "topic", Partition: 1, Value: []byte("second")},
	}
	if err := c.Transact(deadline(t), []*kgo.Record{s.first}, kgo.WithHooks(s)); err != nil {
		t.Fatal(err)
	}
	if got, _ := until(t, reader(t, c, freshet.Position{Topic: "topic"}), 0, 1); fmt.Sprint(got) != "[first]" {
		t.Errorf("committed: %v", got)
	}
}
