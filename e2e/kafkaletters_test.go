package e2e_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// Foreign events that could not be read are dead letters in the partition that they came in. Once they can be, a replay that any process is
// asked for hands each of their changes on to the partition of its entity, once, whoever is killed meanwhile. What was never an
// event is dropped. All of it with the commands.
func TestKafkaLetters(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	registries := []*srfake.Registry{srfake.New(), srfake.New()} // of each process its own
	yaml, prefix := onKafka(t, k)
	yaml += "mapping: {changes: [{for_each: event.items, entity: item.id, text: item.title}]}\n"
	of := func(r *srfake.Registry) string {
		t.Cleanup(r.Close)
		return yaml + "schema_registry: {urls: ['" + r.URL() + "']}\n"
	}
	s, a := startServer(t, of(registries[0]))
	other, b := startServer(t, of(registries[1]))
	s.troubled, other.troubled = true, true

	const events, items = 300, 4
	const schema = `{"type":"record","name":"E","fields":[{"name":"items","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"id","type":"string"},{"name":"title","type":"string"}]}}}]}`
	client := k.Client(t, kgo.DefaultProduceTopic(prefix+"events.raw"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range events {
		var list []map[string]any
		for j := range items {
			list = append(list, map[string]any{"id": fmt.Sprint("e", i*items+j), "title": fmt.Sprintf("the tide of %d", i)})
		}
		body, err := avro.MustParse(schema).Encode(map[string]any{"items": list})
		if err != nil {
			t.Fatal(err)
		}
		client.Produce(t.Context(), &kgo.Record{Partition: int32(i % 6), Value: append(binary.BigEndian.AppendUint32([]byte{0}, 7), body...)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	client.Produce(t.Context(), &kgo.Record{Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("1")}}}, nil)
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*api{a, b} {
		eventually(t, "all of them dead letters", func() bool { return len(x.deadLetters()) == events+1 })
	}
	list := a.deadLetters()
	for i := range list[1:] {
		if list[i].At > list[i+1].At {
			t.Errorf("%s is listed before %s", list[i].At, list[i+1].At)
		}
	}
	shown := func(args ...string) (out string, status int) {
		t.Helper()
		out, errs, status := command(t, nil, append([]string{"dlq"}, args...)...)
		return out + errs, status
	}
	out, _ := shown("list", "--limit", "1", "--latest", "--server", b.url())
	place, _, _ := strings.Cut(out, " ")
	if out, status := shown("show", place, "--server", a.url()); status != 0 || strings.Count(out, `"offset"`) != 1 {
		t.Errorf("show %s: %d %s", place, status, out)
	}
	lettersHaveHeaders(t, k, prefix, list)

	if out, status := shown("replay", "--stage", "decode", "--server", b.url()); status != 1 || !strings.Contains(out, "1 failed again") {
		t.Errorf("a replay of what can't be read says %d %q", status, out)
	}
	// One process knows the schema first: what it hands on to the other is a dead letter there, of one change each.
	registries[1].SeedSchema("s", 1, 7, sr.Schema{Schema: schema})
	came := map[string]bool{}
	for _, l := range list {
		came[fmt.Sprint(l.Partition, "@", l.Offset)] = true
	}
	eventually(t, "dead letters of what was handed on", func() bool {
		shown("replay", "--class", "unknown_schema", "--server", b.url())
		return slices.ContainsFunc(a.deadLetters(), func(l deadLetter) bool { return !came[fmt.Sprint(l.Partition, "@", l.Offset)] })
	})
	registries[0].SeedSchema("s", 1, 7, sr.Schema{Schema: schema})
	for kills := 0; ; kills++ {
		done := make(chan string, 1)
		go func() {
			out, status := shown("replay", "--class", "unknown_schema", "--json", "--server", b.url())
			done <- fmt.Sprint(status, " ", out)
		}()
		var kill <-chan time.Time
		if kills < 3 {
			kill = time.After(time.Duration(20+60*kills) * time.Millisecond)
		}
		select {
		case said := <-done:
			if !strings.HasPrefix(said, "0 ") {
				if kills == 30 {
					t.Fatal(said)
				}
				time.Sleep(time.Second) // it is remembered for 10 s that the registry does not know a schema
				continue
			}
			t.Logf("after %d tries %s", kills, said)
		case <-kill:
			victim := []*server{s, other}[kills%2]
			victim.kill()
			if victim == other {
				<-done
			}
			victim.start()
			if victim == s {
				<-done
			}
			continue
		}
		break
	}
	for _, x := range []*api{a, b} {
		eventually(t, "the dead letters gone", func() bool { return len(x.deadLetters()) == 1 })
		for i := range events * items {
			id, want := fmt.Sprint("e", i), fmt.Sprintf("the tide of %d", i/items)
			eventually(t, id, func() bool {
				e, status := x.get(id)
				return status == http.StatusOK && e.Text == want
			})
			if e := x.entity(id); e.Events != 1 {
				t.Fatalf("%s was changed by %d events", id, e.Events)
			}
		}
	}
	if out, status := shown("drop", "--stage", "decode", "--server", a.url()); status != 0 || !strings.HasPrefix(out, "1 dead letters dropped") {
		t.Errorf("drop says %d %q", status, out)
	}
	for _, x := range []*api{a, b} {
		eventually(t, "no dead letters", func() bool { return len(x.deadLetters()) == 0 })
	}
	eventually(t, "all partitions owned", func() bool {
		return a.metrics()["freshet_partitions_owned"]+b.metrics()["freshet_partitions_owned"] == 6
	})
	a.settle()
	b.settle()
	if ra, rb := a.audit(), b.audit(); ra.Entities+rb.Entities != events*items {
		t.Errorf("%d and %d entities, want %d", ra.Entities, rb.Entities, events*items)
	}
}

// lettersHaveHeaders holds the records of vector.sync.dlq to the dead letters, as a reader of those of Kafka Connect would.
func lettersHaveHeaders(t *testing.T, k *kafkatest.Kafka, prefix string, letters []deadLetter) {
	t.Helper()
	want := map[string]deadLetter{}
	for _, l := range letters {
		want[fmt.Sprintf("%s/%d@%d", l.Topic, l.Partition, l.Offset)] = l
	}
	client := k.Client(t, kgo.ConsumeTopics(prefix+"vector.sync.dlq"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for len(want) > 0 {
		fetches := client.PollFetches(t.Context())
		if err := errors.Join(fetches.Err(), t.Context().Err()); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			h := map[string]string{}
			for _, x := range r.Headers {
				h[strings.TrimPrefix(x.Key, "__connect.errors.")] = string(x.Value)
			}
			name := h["topic"] + "/" + h["partition"] + "@" + h["offset"]
			l, ok := want[name]
			if !ok {
				return // a record of the owner itself
			}
			delete(want, name)
			if !json.Valid(r.Value) || h["stage"] != l.Stage || h["exception.class.name"] != l.Class || h["exception.message"] != l.Message {
				t.Errorf("%s has the headers %v", name, h)
			}
		})
	}
}
