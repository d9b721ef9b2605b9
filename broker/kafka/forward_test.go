package kafka_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// Whatever fails, no forward stands in the log before those that were given before it: else a router that begins again would send what is missing
// behind what has made it look like a repetition.
func TestForwardsHaveNoHoles(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.MessageTooLarge, kerr.InvalidRecord, kerr.OutOfOrderSequenceNumber, kerr.NotLeaderForPartition} {
		t.Run(code.Message, func(t *testing.T) {
			cluster := fake(t, 1)
			c := ready(t, options(cluster.ListenAddrs(), func(o *kafka.Options) { o.Partitions = 2 }))
			var requests, failed atomic.Int64
			cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				if n := requests.Add(1); n%2 == 0 || n > 40 {
					return nil, nil, false
				}
				failed.Add(1)
				return kafkatest.Refuse(kreq.(*kmsg.ProduceRequest), code), nil, true
			})
			const records, each = 60_000, 3000
			for done := 0; done < records; {
				f, err := c.NewForwarder()
				if err != nil {
					t.Fatal(err)
				}
				for err == nil && done < records {
					var batch []kafka.Record
					for i := done; i < done+each; i++ {
						batch = append(batch, kafka.Record{Partition: int32(i % 2), Value: strconv.AppendInt(nil, int64(i/2), 10)})
					}
					if err = f.Append(deadline(t), batch); err == nil {
						done += each
					}
				}
				if err != nil {
					if again := f.Append(deadline(t), []kafka.Record{{Value: []byte("behind a failure")}}); again == nil {
						t.Error("a forwarder goes on after a failure")
					}
				}
				f.Close()
			}
			if failed.Load() < 5 {
				t.Errorf("only %d of %d requests failed", failed.Load(), requests.Load())
			}
			for p := range int32(2) {
				r := reader(t, c, freshet.Position{Topic: c.Options().Topics.Keyed, Partition: p})
				for last := -1; last < records/2-1; {
					fetched, err := r.Read(deadline(t))
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range fetched {
						for _, rec := range f.Records {
							n, err := strconv.Atoi(string(rec.Value))
							if err != nil || n > last+1 {
								t.Fatalf("%s stands at %d/%d behind %d", rec.Value, p, rec.Offset, last)
							}
							last = max(last, n)
						}
					}
				}
			}
		})
	}
}
