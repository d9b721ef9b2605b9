package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// figuresVariable makes the tests of figures measure; `make bench-kafka` sets it.
const figuresVariable = "FRESHET_KAFKA_FIGURES"

// percentiles are of a run, in milliseconds.
type percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// sample gathers durations.
type sample struct {
	mu  sync.Mutex // guards all
	all []time.Duration
}

func (s *sample) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

func (s *sample) percentiles() percentiles {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.all)
	at := func(q float64) float64 {
		if len(s.all) == 0 {
			return 0
		}
		return float64(s.all[int(q*float64(len(s.all)-1))].Microseconds()) / 1000
	}
	return percentiles{len(s.all), at(0.5), at(0.99), at(1)}
}

// figures skips a test that measures unless it is asked for.
func figures(t *testing.T) {
	if os.Getenv(figuresVariable) == "" {
		t.Skip("make bench-kafka measures")
	}
}

// show prints figures as a line of JSON.
func show(t *testing.T, figures map[string]any) {
	out, err := json.Marshal(figures)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(out))
}

// TestKafkaLatency prints how long an event takes from its sending until it is found, at a steady rate, with either delivery; beside the
// time that the broker alone takes from producing to consuming, in the same run.
func TestKafkaLatency(t *testing.T) {
	figures(t)
	const rate, batch, lasts = 5000, 25, 20 * time.Second
	k := kafkatest.Start(t, kafkatest.Options{Fast: true})
	all := map[string]any{"rate": rate, "partitions": 6}
	for _, delivery := range []string{"transactional", "idempotent"} {
		yaml, _ := onKafka(t, k)
		s, a := startServer(t, yaml+"    delivery: "+delivery+"\n")
		eventually(t, "all partitions owned", func() bool { return a.metrics()["freshet_partitions_owned"] == 6 })
		steady(t, a, rate, batch, 20*time.Second, &sample{}) // the compilers of the JVM are done by then
		var fresh, floor sample
		var floors sync.WaitGroup
		floors.Go(func() { floorOf(t, k, lasts, &floor) })
		sent := steady(t, a, rate, batch, lasts, &fresh)
		floors.Wait()
		s.kill()
		all[delivery] = map[string]any{"sent_per_s": float64(sent) / lasts.Seconds(),
			"sent_to_searchable": fresh.percentiles(), "broker_alone": floor.percentiles()}
	}
	show(t, all)
}

// TestKafkaFailover prints how long the partitions of a process that was killed with -9 wait for others, and searches elsewhere.
func TestKafkaFailover(t *testing.T) {
	figures(t)
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	var servers []*server
	var apis []*api
	for range 3 {
		s, a := startServer(t, yaml)
		servers, apis = append(servers, s), append(apis, a)
	}
	var over, answers sample
	for n := range 20 {
		eventually(t, "partitions shared", func() bool {
			for _, b := range apis {
				if b.metrics()["freshet_partitions_owned"] != 2 {
					return false
				}
			}
			return true
		})
		servers[n%3].kill()
		killed := time.Now()
		b := apis[(n+1)%3]
		b.search("text", "an answer", "k", 1)
		answers.add(time.Since(killed))
		var each sync.WaitGroup
		for p := range 12 { // some are of its partitions
			each.Go(func() {
				token := b.in(t).events(event{EntityID: fmt.Sprintf("f%d-%d", n, p), Payload: text("a failover")})
				b.in(t).entity(fmt.Sprintf("f%d-%d", n, p), "after", token)
			})
		}
		each.Wait()
		over.add(time.Since(killed))
		servers[n%3].start()
	}
	show(t, map[string]any{"partitions": 6, "failover": over.percentiles(), "search_after_kill": answers.percentiles()})
}

// steady sends events at a rate and waits for one of each batch until it is found. They are updates of 20,000 entities whose text stays: two
// processors would not link 5,000 new vectors a second beside all else.
func steady(t *testing.T, a *api, rate, batch int, lasts time.Duration, took *sample) (sent int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(time.Second * time.Duration(batch) / time.Duration(rate))
	defer tick.Stop()
	var waiting sync.WaitGroup
	for begun := time.Now(); time.Since(begun) < lasts; <-tick.C {
		var body bytes.Buffer
		for i := range batch {
			fmt.Fprintf(&body, `{"entity_id":"s%d","payload":{"text":"the state of sensor %d in its hall","n":%d}}`+"\n", (sent+i)%20_000, (sent+i)%20_000, sent+i)
		}
		last := fmt.Sprintf("/v1/entities/s%d", (sent+batch-1)%20_000)
		sent += batch
		waiting.Go(func() {
			start := time.Now()
			res, err := client.Post(a.url()+"/v1/events", "application/x-ndjson", &body)
			if err != nil {
				t.Error(err)
				return
			}
			var in ingested
			err = json.NewDecoder(res.Body).Decode(&in)
			res.Body.Close()
			if err != nil || in.Accepted != int64(batch) {
				t.Errorf("%+v, %v", in, err)
				return
			}
			if res, err = client.Get(a.url() + last + "?timeout_ms=60000&after=" + in.Token); err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("GET %s: %s", last, res.Status)
				return
			}
			took.add(time.Since(start))
		})
	}
	waiting.Wait()
	return sent
}

// floorOf measures the broker alone: from producing a record to consuming it.
func floorOf(t *testing.T, k *kafkatest.Kafka, lasts time.Duration, took *sample) {
	topic := k.Topic(t, 1, nil)
	consumer := k.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	producer := k.Client(t, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	done := make(chan struct{})
	const every = 5 * time.Millisecond
	records := int(lasts / every)
	go func() {
		defer close(done)
		for n := 0; n < records; {
			fetches := consumer.PollFetches(t.Context())
			if t.Context().Err() != nil {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				n++
				var at int64
				_, _ = fmt.Sscan(string(r.Value), &at)
				took.add(time.Since(time.Unix(0, at)))
			})
		}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range records {
		producer.Produce(t.Context(), &kgo.Record{Value: []byte(fmt.Sprint(time.Now().UnixNano()))}, nil)
		<-tick.C
	}
	<-done
}
