package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/broker/kafka"
)

// What comes while it is asked what is old is not old, even where nothing else is there.
func TestExpiringNothingNew(t *testing.T) {
	cluster := fake(t, 1)
	c := ready(t, options(cluster.ListenAddrs()))
	keyed := c.Options().Topics.Keyed
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	asked := false // what is as young as that
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		switch at := r.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0].Timestamp; {
		case at >= 0:
			asked = true
		case at == -1 && asked:
			asked = false
			cluster.SleepControl(func() {
				if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: keyed, Partition: 0}).FirstErr(); err != nil {
					t.Error(err)
				}
			})
		}
		return nil, nil, false
	})
	all, _, err := c.Expiring(deadline(t), time.Now())
	if err != nil || all[0] != (kafka.Expiring{}) {
		t.Errorf("%+v, %v", all[0], err)
	}
	if ends, err := c.Ends(deadline(t), keyed); err != nil || ends[0] == 0 {
		t.Errorf("nothing has come: %v, %v", ends, err)
	}
}

// A leader that is new does not know the end of its partition for a moment, and is asked again.
func TestEndsOfANewLeader(t *testing.T) {
	cluster := fake(t, 1)
	c := ready(t, options(cluster.ListenAddrs()))
	values(t, appender(t, c), 1, "a")
	failures := 3
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if failures--; failures < 0 {
			return nil, nil, false
		}
		answer := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, asked := range r.(*kmsg.ListOffsetsRequest).Topics {
			topic := kmsg.NewListOffsetsResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				partition := kmsg.NewListOffsetsResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.OffsetNotAvailable.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
	ends, err := c.Ends(deadline(t), c.Options().Topics.Raw)
	if err != nil || ends[1] != 1 || failures >= 0 {
		t.Errorf("%v, %v, %d answers to come", ends, err, failures)
	}
}
