package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// A reader that says in which rack it is reads from the replica there: it goes on while it is cut off from the leader, where one without a
// rack does not. When that replica dies it goes on with the leader.
func TestReadsFromTheRack(t *testing.T) {
	const withRack, withoutRack = 0, 1 // lanes
	k := kafkatest.Start(t, kafkatest.Options{Nodes: 3, Lanes: 2,
		Settings: map[string]string{"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}})
	c := ready(t, options(k.Addrs()))
	raw := c.Options().Topics.Raw
	leader, err := k.Leader(deadline(t), raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	near := (leader + 1) % 3
	a := appender(t, c)
	n := 0
	write := func() {
		t.Helper()
		if _, err := a.Append(deadline(t), []kafka.Record{{Value: fmt.Append(nil, n)}}); err != nil {
			t.Fatal(err)
		}
		n++
	}
	reader := func(lane int, rack string) *kafka.Reader {
		t.Helper()
		r, err := open(t, options(k.Lane(lane).Addrs(), func(o *kafka.Options) { o.Rack = rack })).NewReader(freshet.Position{Topic: raw})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	// read reads up to what was written last.
	read := func(r *kafka.Reader, most time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), most)
		defer cancel()
		for {
			fetched, err := r.Read(ctx)
			if err != nil {
				return err
			}
			for _, f := range fetched {
				for _, rec := range f.Records {
					if string(rec.Value) == fmt.Sprint(n-1) {
						return nil
					}
				}
			}
		}
	}
	there, anywhere := reader(withRack, kafkatest.Rack(near)), reader(withoutRack, "")
	for range 2 { // the leader's answer to the first fetch says where to go
		write()
		for _, r := range []*kafka.Reader{there, anywhere} {
			if err := read(r, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, lane := range []int{withRack, withoutRack} {
		k.Lane(lane).Cut(leader)
	}
	write()
	if err := read(there, 20*time.Second); err != nil {
		t.Errorf("cut off from the leader, with the follower %d in its rack: %v", near, err)
	}
	if err := read(anywhere, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cut off from the leader, without a rack: %v", err)
	}
	for _, lane := range []int{withRack, withoutRack} {
		k.Lane(lane).Heal()
	}
	k.Kill(near)
	write()
	begun := time.Now()
	for _, r := range []*kafka.Reader{there, anywhere} {
		if err := read(r, 30*time.Second); err != nil {
			t.Errorf("without the follower in the rack: %v", err)
		}
	}
	t.Logf("read %v after the follower has died", time.Since(begun))

	// Whoever begins now is sent to a leader whose address takes connections and closes them, until another one leads.
	if err := k.Start(near); err != nil {
		t.Fatal(err)
	}
	k.Kill(leader)
	if ends, err := open(t, options(k.Lane(withRack).Addrs())).Ends(deadline(t), raw); err != nil || ends[0] != int64(n) {
		t.Errorf("after the leader has died partition 0 ends at %d, want %d: %v", ends[0], n, err)
	}
}
