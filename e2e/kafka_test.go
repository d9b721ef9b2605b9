package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// onKafka is the configuration of a process whose log is in a Kafka, with topics of its own: what their names begin with.
func onKafka(t testing.TB, k *kafkatest.Kafka) (yaml, prefix string) {
	name := kafkatest.Name(t)
	yaml = fmt.Sprintf("partitions: 6\nbroker:\n  kafka:\n    brokers: [%s]\n    group: %s\n    topics: {prefix: %s.}\n", strings.Join(k.Addrs(), ", "), name, name)
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

// chaosSeed makes a run of TestKafkaChaos the same again, as far as processes allow.
const chaosSeed = "FRESHET_CHAOS_SEED"

// chaosNodes is how many nodes the Kafka of TestKafkaChaos has: with three of them they are killed too, one at a time.
const chaosNodes = "FRESHET_CHAOS_NODES"

// Three processes on one Kafka, of which one is killed with -9 every few seconds, while writers send events to any of
// them, again until they are accepted: at the end every one of them has every entity in its last state, changed by each event once. So has
// one that knows nothing but the topics, after they were compacted.
func TestKafkaChaos(t *testing.T) {
	t.Parallel()
	seed, err := strconv.ParseUint(os.Getenv(chaosSeed), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("repeat with: %s=%d", chaosSeed, seed)
	lasts := 25 * time.Second
	if v := os.Getenv("FRESHET_CHAOS_SECONDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		lasts = time.Duration(n) * time.Second
	}
	var k *kafkatest.Kafka
	nodes, _ := strconv.Atoi(os.Getenv(chaosNodes))
	if nodes > 1 {
		k = kafkatest.StartCluster(t, nodes)
	} else {
		k = kafkatest.Start(t, kafkatest.Options{})
	}
	yaml, prefix := onKafka(t, k)
	var servers []*server
	var apis []*api
	for range 3 {
		s, a := startServer(t, yaml)
		s.troubled = true
		servers, apis = append(servers, s), append(apis, a)
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	var sent, retried atomic.Int64
	const writers = 4
	var all [writers]*chaosWriter
	for w := range writers {
		all[w] = &chaosWriter{name: w, rng: rand.New(rand.NewPCG(seed, uint64(w))), apis: apis, state: map[string]chaosState{}, sent: &sent, retried: &retried}
		running.Go(func() { all[w].run(t, stop) })
	}
	rng, kills := rand.New(rand.NewPCG(seed, 99)), 0
	for end := time.Now().Add(lasts); time.Now().Before(end); kills++ {
		time.Sleep(time.Duration(1+rng.IntN(2500)) * time.Millisecond)
		if nodes > 1 && rng.IntN(3) == 0 {
			node := rng.IntN(nodes)
			k.Kill(node)
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
			if err := k.Start(node); err != nil {
				t.Fatal(err)
			}
			continue
		}
		s := servers[rng.IntN(len(servers))]
		s.kill()
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		s.start()
	}
	close(stop)
	running.Wait()
	t.Logf("%d events accepted, %d tries failed, %d kills", sent.Load(), retried.Load(), kills)
	if sent.Load() < 100 || kills < 3 {
		t.Errorf("too little was tried")
	}
	for i, a := range apis {
		for _, w := range all {
			w.check(t, i, a)
		}
	}
	for _, topic := range []string{"vector.sync", "freshet.state"} {
		if err := k.Compact(t.Context(), prefix+topic); err != nil {
			t.Fatal(err)
		}
	}
	s, a := startServer(t, yaml)
	s.troubled = true
	for _, w := range all {
		w.check(t, len(apis), a)
	}
	apis = append(apis, a)
	entities := int64(0)
	eventually(t, "all partitions owned", func() bool {
		owned := 0.0
		for _, a := range apis {
			owned += a.metrics()["freshet_partitions_owned"]
		}
		return owned == 6
	})
	for _, a := range apis {
		r := a.audit()
		entities += r.Entities + r.Tombstones
		if r.DeadLetters != 0 {
			t.Errorf("%d dead letters", r.DeadLetters)
		}
	}
	want := int64(0)
	for _, w := range all {
		want += int64(len(w.state))
	}
	if entities != want {
		t.Errorf("the audits of all processes have seen %d entities, want %d", entities, want)
	}
}

// chaosWriter writes entities that nobody else writes.
type chaosWriter struct {
	name          int
	rng           *rand.Rand
	apis          []*api
	state         map[string]chaosState
	sent, retried *atomic.Int64
}

type chaosState struct {
	n       int // events that it has had
	deleted bool
	token   string
}

func (w *chaosWriter) run(t *testing.T, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("w%d-%d", w.name, w.rng.IntN(60))
		s := w.state[id]
		s.n++
		e := event{EventID: fmt.Sprint(s.n), EntityID: id, Op: "upsert", Payload: text(fmt.Sprintf("%s at %d", id, s.n), "n", s.n)}
		if s.deleted = w.rng.IntN(8) == 0; s.deleted {
			e.Op, e.Payload = "delete", nil
		}
		for {
			var in ingested
			status, err := w.apis[w.rng.IntN(len(w.apis))].call("POST", "/v1/events", e, &in)
			if err == nil && status == http.StatusOK && in.Accepted == 1 {
				s.token = in.Token
				break
			}
			if err == nil && status < 500 && status != http.StatusTooManyRequests {
				t.Errorf("event %+v: status %d %s", e, status, in.Detail)
				return
			}
			w.retried.Add(1)
			time.Sleep(time.Duration(5+w.rng.IntN(40)) * time.Millisecond)
		}
		w.sent.Add(1)
		w.state[id] = s
		if n%20 == 19 { // a token holds on every process
			a := w.apis[w.rng.IntN(len(w.apis))]
			var got entity
			status, err := a.call("GET", entityPath(id, "after", s.token, "timeout_ms", "60000"), nil, &got)
			if err != nil || status >= 500 {
				continue // it was killed meanwhile
			}
			if err := s.differs(status, &got); err != nil {
				t.Errorf("%s right after event %d: %v", id, s.n, err)
			}
		}
	}
}

func (s *chaosState) differs(status int, got *entity) error {
	switch {
	case s.deleted && status != http.StatusNotFound:
		return fmt.Errorf("it is deleted, status %d: %+v", status, got)
	case s.deleted:
		return nil
	case status != http.StatusOK:
		return fmt.Errorf("status %d %s", status, got.Detail)
	case got.Events != s.n:
		return fmt.Errorf("it was changed by %d events, want %d", got.Events, s.n)
	case string(got.Metadata) != fmt.Sprintf(`{"n":%d}`, s.n):
		return errors.New("its metadata is " + string(got.Metadata))
	}
	return nil
}

// check holds a process to what was accepted.
func (w *chaosWriter) check(t *testing.T, process int, a *api) {
	t.Helper()
	wrong := 0
	for id, s := range w.state {
		got, status := a.get(id, "after", s.token)
		if err := s.differs(status, got); err != nil {
			if wrong++; wrong <= 3 {
				t.Errorf("process %d: %s: %v", process, id, err)
			}
		}
	}
	if wrong > 3 {
		t.Errorf("process %d: %d entities of writer %d are wrong", process, wrong, w.name)
	}
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
