package e2e_test

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// Others write a collection into vector.sync, by two partitioners, while freshet writes another one: every process finds the last state
// of each entity, after a kill -9 from its snapshot and the tail, and as a new process from what compaction has left.
func TestKafkaExternal(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, prefix := onKafka(t, k)
	yaml = "collections:\n  default: {dim: 4, source: external}\n  texts: {}\nsnapshot: {interval: 1s}\n" + yaml
	_, a := startServer(t, yaml)
	s, b := startServer(t, yaml)

	const entities = 1000
	last := map[string]int{} // -1 = deleted
	job := func(p kgo.Partitioner) *kgo.Client {
		return k.Client(t, kgo.RecordPartitioner(p), kgo.DefaultProduceTopic(prefix+"vector.sync"))
	}
	jobs := []*kgo.Client{job(kgo.StickyKeyPartitioner(nil)), // murmur2, as Java's
		job(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int { // as confluent-kafka's
			return func(r *kgo.Record, n int) int { return int(crc32.ChecksumIEEE(r.Key) % uint32(n)) }
		}))}
	produce := func(job int, key string, value []byte) {
		jobs[job].Produce(t.Context(), &kgo.Record{Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	write := func(i, state int) {
		id := fmt.Sprint("e", i)
		var value []byte
		if last[id] = state; state >= 0 {
			value = fmt.Appendf(nil, `{"entity_id":%q,"vector":[1,%d,%d,0.5],"timestamp":%d,"metadata":{"source_event_id":"v%d","state":%d}}`,
				id, i%7, i%11, 1_700_000_000_000+state, state, state)
		}
		produce(i%2, id, value)
	}
	flush := func() {
		t.Helper()
		for _, j := range jobs {
			if err := j.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	texts := func(from, to int) {
		for i := from; i < to; i++ {
			a.events(event{EventID: "a", Collection: "texts", EntityID: fmt.Sprint("t", i), Payload: text(fmt.Sprint("text ", i))})
		}
	}
	differs := func(x *api) error {
		for id, state := range last {
			e, status := x.get(id)
			if state < 0 {
				if status != http.StatusNotFound {
					return fmt.Errorf("%s was deleted, and is %+v", id, e)
				}
				continue
			}
			if want := fmt.Sprintf(`{"state":%d}`, state); status != http.StatusOK || string(e.Metadata) != want || e.SourceEventID != fmt.Sprint("v", state) || e.Timestamp != 1_700_000_000_000+int64(state) {
				return fmt.Errorf("%s has status %d and is %+v, want state %d", id, status, e, state)
			}
		}
		if e, status := x.get("t3", "collection", "texts"); status != http.StatusOK || e.Text != "text 3" {
			return fmt.Errorf("t3 has status %d and is %+v", status, e)
		}
		return nil
	}
	check := func(what string, x *api) {
		t.Helper()
		var err error
		defer func() {
			if err != nil {
				t.Log(what, err)
			}
		}()
		eventually(t, what+": every entity in its last state", func() bool {
			err = differs(x)
			return err == nil
		})
		alive := 0
		for _, state := range last {
			if state >= 0 {
				alive++
			}
		}
		if f := x.search("vector", []float32{1, 1, 1, 1}, "k", entities); len(f.Hits) != alive {
			t.Errorf("%s: a search finds %d entities, want %d", what, len(f.Hits), alive)
		}
		x.audit()
	}

	for i := range entities {
		write(i, 0)
	}
	flush()
	texts(0, 10)
	check("written", a)
	check("written", b)
	s.kill()
	for i := range entities {
		switch i % 5 {
		case 1:
			write(i, 1)
			write(i, 2)
		case 2:
			write(i, -1)
		case 3:
			write(i, -1)
			write(i, 3)
		}
	}
	produce(1, "e5", []byte(`{"vector":[1,2]}`)) // of a wrong dimension
	last["e5"] = -1
	flush()
	texts(10, 20)
	check("changed", a)
	s.start()
	check("killed, and started again", b)

	if n := a.metrics()["freshet_external_bad_total"]; n != 1 {
		t.Errorf("%v bad records, want 1", n)
	}
	refused := event{EventID: "x", EntityID: "e1", Vector: []float32{1, 2, 3, 4}}
	var in ingested
	if status, err := a.call("POST", "/v1/events", []event{refused}, &in); err != nil || in.Accepted != 0 || len(in.Rejected) != 1 || !strings.Contains(in.Rejected[0].Message, "source: external") {
		t.Errorf("an event of a collection that others write was answered %d, %+v, %v", status, in, err)
	}
	raw := k.Client(t, kgo.DefaultProduceTopic(prefix+"events.raw"))
	if err := raw.ProduceSync(t.Context(), &kgo.Record{Value: []byte(`{"entity_id":"e1","vector":[1,2,3,4]}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event of a producer a dead letter", func() bool { return len(a.deadLetters()) == 1 })
	if err := k.Compact(t.Context(), prefix+"vector.sync"); err != nil {
		t.Fatal(err)
	}
	s.kill()
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}
	s.start()
	check("from compacted topics", b)

	// One that writes where freshet does stops it, with the names of both.
	s.troubled = true
	produce(0, "\x00\x05texts\x07default"+"t3", []byte(`{"vector":[1,2,3,4]}`))
	flush()
	<-s.exited
	if said := s.out.tail(20); !strings.Contains(said, `collection "texts" is written by freshet`) || !strings.Contains(said, "another producer") {
		t.Errorf("it stopped with:\n%s", said)
	}
}
