package keyed_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source/keyed"
	"github.com/freshet-io/freshet/wire"
)

// until waits for what must come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 30 s", what)
		}
	}
}

// write appends records to events.raw.
func write(t *testing.T, c *kafka.Client, records ...kafka.Record) {
	t.Helper()
	if _, err := appender(t, c, c.Options().Topics.Raw).Append(deadline(t), records); err != nil {
		t.Fatal(err)
	}
}

func event(entity string) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"entity_id":%q,"payload":{"text":"x"}}`, "id of "+entity, entity)
}

// What a record of a foreign producer becomes.
func TestRouterReads(t *testing.T) {
	trace := "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01"
	headers := func(pairs ...string) (all []kafka.Header) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, kafka.Header{Name: pairs[i], Value: []byte(pairs[i+1])})
		}
		return all
	}
	large := `{"entity_id":"a","payload":{"text":"` + strings.Repeat("x", 1000) + `"}}`
	cases := []struct {
		name              string
		record            kafka.Record
		entity            string // "" = as a whole, in the partition of events.raw
		value             string
		source, trace     string
		isDefault, noText bool
		refused           freshet.Code
	}{
		{name: "an event", record: kafka.Record{Key: []byte("other"), Value: []byte(`{"entity_id":"a","payload":{"text":"x"}}`)}, entity: "a", value: `{"entity_id":"a","payload":{"text":"x"}}`},
		{name: "one named by its key", record: kafka.Record{Key: []byte("b"), Value: []byte(`{"payload":{"text":"x"}}`)}, entity: "b", value: `{"entity_id":"b","payload":{"text":"x"}}`},
		{name: "a tombstone", record: kafka.Record{Key: []byte("c")}, entity: "c", value: `{"entity_id":"c","op":"delete"}`},
		{name: "headers", record: kafka.Record{Key: []byte("d"), Headers: headers(freshet.HeaderSource, "shop", freshet.HeaderTrace, trace,
			freshet.HeaderCommand, "purge", freshet.HeaderChange, "7", freshet.HeaderRefused, "{}")}, entity: "d", value: `{"entity_id":"d","op":"delete"}`, source: "shop", trace: trace},
		{name: "a cloud event", record: kafka.Record{Value: []byte(`{"text":"x"}`), Headers: headers("ce_specversion", "1.0", "ce_id", "1", "ce_source", "/s", "ce_type", "t", "ce_subject", "e",
			"content-type", "application/json")}, entity: "e", value: `{"entity_id":"e","event_id":"1","payload":{"text":"x"}}`, source: "/s", isDefault: true},
		{name: "a cloud event of another version", record: kafka.Record{Value: event("f"), Headers: headers("ce_specversion", "0.3", "ce_id", "1")},
			value: string(event("f")), isDefault: true, refused: freshet.CodeInvalidField},
		{name: "nothing at all", refused: freshet.CodeMissingField},
		{name: "nonsense", record: kafka.Record{Value: []byte("nonsense")}, value: "nonsense", refused: freshet.CodeInvalidJSON},
		{name: "one that fails when it is decided", record: kafka.Record{Value: []byte(`{"entity_id":"g","payload":5}`)}, entity: "g", value: `{"entity_id":"g","payload":5}`},
		{name: "a large one", record: kafka.Record{Value: []byte(large)}, refused: freshet.CodeTooLarge},
	}
	clusters(t, func(t *testing.T, c *kafka.Client) {
		const from = 2
		for _, k := range cases {
			k.record.Partition = from
			write(t, c, k.record)
		}
		l := start(t, c, from, keyed.RouterOptions{EventBytes: 500})
		until(t, "forwards", func() bool { return l.Forwarded.Load() == int64(len(cases)) })
		if n := l.Refused.Load(); n != 4 {
			t.Errorf("%d were refused", n)
		}
		id, err := c.TopicID(deadline(t), c.Options().Topics.Raw)
		if err != nil {
			t.Fatal(err)
		}
		all := readAll(t, c, c.Options().Topics.Keyed)
		for i, k := range cases {
			home, change := int32(from), 0
			if k.entity != "" {
				home, change = wire.Partition(entity(k.entity), partitions), 1
			}
			n := 0
			for _, r := range all[home] {
				origin := kafka.Forwarded(id, from, int64(i), change)
				if header(r, origin.Name) != string(origin.Value) {
					continue
				}
				n++
				if string(r.Value) != k.value || header(r, freshet.HeaderSource) != k.source || header(r, freshet.HeaderTrace) != k.trace ||
					(header(r, freshet.HeaderDefaultEvent) != "") != k.isDefault || header(r, freshet.HeaderCommand) != "" || header(r, freshet.HeaderChange) != "" ||
					(k.refused != "") != strings.Contains(header(r, freshet.HeaderRefused), `"`+string(k.refused)+`"`) {
					t.Errorf("%s: %s %+v", k.name, r.Value, r.Headers)
				}
			}
			if n != 1 {
				t.Errorf("%s is %d times in partition %d", k.name, n, home)
			}
		}
	})
}

// A batch that is refused takes with it what is behind it in its partition, and nothing is passed over.
func TestRouterFailures(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := open(t, kafka.Options{Brokers: cluster.ListenAddrs(), Partitions: partitions, Logger: slog.New(slog.DiscardHandler)})
	want, events, order := map[string]int{}, map[string]string{}, []string{}
	for i := range 4000 {
		key := fmt.Sprint("k", i)
		order, events[key], want[fmt.Sprintf("id of %s/0", key)] = append(order, key), string(event(key)), 1
	}
	foreign(t, c, nil, events, order)
	keyedID, err := c.TopicID(deadline(t), c.Options().Topics.Keyed)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		of := len(req.Topics) == 1 && (req.Topics[0].Topic == c.Options().Topics.Keyed || kafka.TopicID(req.Topics[0].TopicID) == keyedID)
		if n := requests.Add(1); !of || n%2 == 0 || n > 12 {
			return nil, nil, false
		}
		return kafkatest.Refuse(req, kerr.MessageTooLarge), nil, true
	})
	producing := make(chan struct{})
	close(producing)
	route(t, c, keyed.RouterOptions{}, producing)
	if requests.Load() == 0 {
		t.Error("no request was seen")
	}
	check(t, c, want)
}

// What events.raw no longer has is told, and counted; the rest is forwarded.
func TestRouterIsLate(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		raw := c.Options().Topics.Raw
		send := func(from, to int) {
			for i := from; i < to; i++ {
				write(t, c, kafka.Record{Partition: 1, Value: event(fmt.Sprint("e", i))})
			}
		}
		send(0, 5)
		first := start(t, c, 1, keyed.RouterOptions{})
		settle(t, c, first.Router, 1)
		first.stop()
		send(5, 12)
		discard(t, c, raw, 9)
		second := start(t, c, 1, keyed.RouterOptions{})
		settle(t, c, second.Router, 1)
		if n, lost := second.Forwarded.Load(), second.Lost.Load(); n != 3 || lost != 4 || first.Lost.Load() != 0 {
			t.Errorf("%d are forwarded, %d lost", n, lost)
		}
		// One that finds no position begins where the log begins, and has lost nothing.
		o := c.Options()
		o.Group += "-other"
		third := start(t, open(t, o), 1, keyed.RouterOptions{})
		until(t, "forwards", func() bool { return third.Forwarded.Load() == 3 })
		if third.Lost.Load() != 0 {
			t.Errorf("%d are lost", third.Lost.Load())
		}
	})
}

func admin(t *testing.T, c *kafka.Client) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Options().Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// discard has a partition begin at an offset.
func discard(t *testing.T, c *kafka.Client, topic string, offset int64) {
	t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 1, offset, -1)
	responses, err := admin(t, c).DeleteRecords(deadline(t), offsets)
	if err := errors.Join(err, responses.Error()); err != nil {
		t.Fatal(err)
	}
}

// Where events.raw is deleted and made again, its first events are not taken for those that the old one had.
func TestRouterOfATopicMadeAgain(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		raw := c.Options().Topics.Raw
		l := start(t, c, 1, keyed.RouterOptions{})
		for range 5 {
			write(t, c, kafka.Record{Partition: 1, Value: event("of one partition")})
		}
		settle(t, c, l.Router, 1)
		old, err := c.TopicID(deadline(t), raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin(t, c).DeleteTopics(deadline(t), raw); err != nil {
			t.Fatal(err)
		}
		until(t, "other topic", func() bool {
			_, err := c.Ensure(deadline(t))
			id, problem := c.TopicID(deadline(t), raw)
			return err == nil && problem == nil && id != old
		})
		for range 3 {
			write(t, c, kafka.Record{Partition: 1, Value: event("of one partition")})
		}
		until(t, "forwards", func() bool { return l.Forwarded.Load() == 8 })
		n := 0
		for p := range int32(partitions) {
			n += len(decided(t, c, p))
		}
		if n != 8 {
			t.Errorf("%d count", n)
		}
	})
}

// shy is a mapping whose registry is away at first.
type shy struct {
	process.Default
	calls *atomic.Int64
}

func (m shy) Map(r process.Record) ([]process.Draft, error) {
	if m.calls.Add(1) < 4 {
		return nil, &freshet.Error{Code: freshet.CodeUnavailable, Message: "the registry is away"}
	}
	return m.Default.Map(r)
}

func TestRouterWaitsForWhatMappingNeeds(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		for i := range 3 {
			write(t, c, kafka.Record{Partition: 1, Value: event(fmt.Sprint("e", i))})
		}
		m := shy{calls: new(atomic.Int64)}
		l := start(t, c, 1, keyed.RouterOptions{Mapper: m, Form: 1})
		until(t, "pause", func() bool { return l.Paused.Load() || l.Forwarded.Load() == 3 })
		settle(t, c, l.Router, 1)
		if l.Forwarded.Load() != 3 || l.Refused.Load() != 0 || l.Failures.Load() != 0 || l.Paused.Load() || m.calls.Load() != 6 {
			t.Errorf("%d forwarded, %d refused, %d failures, %d calls", l.Forwarded.Load(), l.Refused.Load(), l.Failures.Load(), m.calls.Load())
		}
	})
}
