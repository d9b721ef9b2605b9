package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// onKafka is the configuration of a process whose log is in a Kafka, with topics of its own: what their names begin with.
func onKafka(t testing.TB, k *kafkatest.Kafka) (yaml, prefix string) { return onKafkaWith(t, k, 6) }

// onKafkaWith is onKafka with a number of partitions.
func onKafkaWith(t testing.TB, k *kafkatest.Kafka, partitions int) (yaml, prefix string) {
	name := kafkatest.Name(t)
	yaml = fmt.Sprintf("partitions: %d\nbroker:\n  kafka:\n    brokers: [%s]\n    group: %s\n    topics: {prefix: %s.}\n", partitions,
		strings.Join(k.Addrs(), ", "), name, name)
	return yaml, name + "."
}

// One process on Kafka does what one without does: it starts on empty topics, answers by tokens, forgets nothing over a
// kill -9, and builds its copy from the topics alone.
func TestKafka(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	s, a := startServer(t, yaml)
	var token string
	for i := range 50 {
		token = a.events(event{EventID: "a", EntityID: fmt.Sprint("doc-", i), Payload: text(fmt.Sprintf("page %d about rivers", i), "n", i)},
			event{EventID: "a", EntityID: fmt.Sprint("doc-", i), Payload: text("a repetition")})
		if e := a.entity(fmt.Sprint("doc-", i), "after", token); e.Events != 1 || e.Text != fmt.Sprintf("page %d about rivers", i) {
			t.Fatalf("doc-%d is %+v", i, e)
		}
	}
	a.gone("doc-7", "after", a.delete("doc-7"))
	check := func() {
		t.Helper()
		if f := a.search("text", "rivers", "k", 100, "after", token); len(f.Hits) != 49 {
			t.Errorf("%d hits, want 49", len(f.Hits))
		}
		a.gone("doc-7")
		if r := a.audit(); r.Entities != 49 || r.Tombstones != 1 || r.DeadLetters != 0 {
			t.Errorf("audited: %+v", r)
		}
	}
	owned := func() {
		t.Helper()
		eventually(t, "all partitions owned", func() bool { return a.metrics()["freshet_partitions_owned"] == 6 })
	}
	owned()
	check()
	s.kill()
	s.start()
	owned()
	check()
	s.kill()
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}
	s.start()
	owned()
	check()
}

// Foreign producers write to events.raw by whatever partitioner, as JSON with the entity as key, while others send events of the
// same entities over HTTP: each counts once, and a deletion by either holds.
func TestKafkaProducers(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, prefix := onKafka(t, k)
	_, a := startServer(t, yaml)
	s, b := startServer(t, yaml)
	produce := func(partitioner kgo.Partitioner, entities int, value func(i int) string) {
		t.Helper()
		client := k.Client(t, kgo.RecordPartitioner(partitioner), kgo.DefaultProduceTopic(prefix+"events.raw"))
		for i := range entities {
			client.Produce(t.Context(), &kgo.Record{Key: []byte(fmt.Sprint("e", i)), Value: []byte(value(i))}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
	const entities = 300
	produce(kgo.StickyKeyPartitioner(nil), entities, func(i int) string {
		return fmt.Sprintf(`{"event_id":"java-%d","entity_id":"e%d","timestamp":%d,"payload":{"text":"first %d"}}`, i, i, 1_700_000_000_000+i, i)
	})
	s.kill() // routers of its partitions go on elsewhere
	produce(kgo.RoundRobinPartitioner(), entities, func(i int) string {
		return fmt.Sprintf(`{"event_id":"any-%d","entity_id":"e%d","payload":{"text":"second %d"}}`, i, i, i)
	})
	var batch []event
	for i := range entities {
		batch = append(batch, event{EventID: fmt.Sprint("http-", i), EntityID: fmt.Sprint("e", i), Payload: text(fmt.Sprint("third ", i))})
	}
	a.await(a.events(batch...))
	eventually(t, "each entity changed by three events", func() bool {
		for i := range entities {
			var e entity
			if status, err := a.call("GET", entityPath(fmt.Sprint("e", i)), nil, &e); err != nil || status != http.StatusOK || e.Events != 3 {
				return false
			}
		}
		return true
	})
	s.start()
	produce(kgo.ManualPartitioner(), entities/2, func(i int) string { // all of them in partition 0, with a mistake
		if i == 7 {
			return "{not JSON"
		}
		return fmt.Sprintf(`{"entity_id":"e%d","op":"delete"}`, i)
	})
	for _, x := range []*api{a, b} {
		eventually(t, "half of them deleted", func() bool {
			f := x.search("text", "third", "k", 1000)
			return len(f.Hits) == entities/2+1
		})
		if e := x.entity("e7"); e.Events != 3 {
			t.Errorf("e7 is %+v", e)
		}
	}
	eventually(t, "the dead letter on both", func() bool { return len(a.deadLetters()) == 1 && len(b.deadLetters()) == 1 })
}
