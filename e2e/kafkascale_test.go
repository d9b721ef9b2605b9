package e2e_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// Settings of the scale.
const (
	scaleDim        = 64
	scalePartitions = 4
	scaleEfc        = 100 // the default
	idleFor         = 3 * time.Second
)

// layouts are what processes do, by name: what their configuration says of it. Where they don't hold the index another process does.
var layouts = []struct{ name, yaml string }{
	{"owned", "roles: [source, process]\nprocess: {copies: owned}\n"},
	{"roles", "roles: [source, process]\n"},
	{"everything", ""},
}

// scaled is what one layout of processes has used for some events, in processor seconds per million of them.
type scaled struct {
	process, query float64 // of the processes that decide, and of the one that has nothing but the index
	idle           float64 // processors that all of them used before there was anything to do
	perSecond      float64 // events, from the first decision until all indexes have all links
	batch          float64 // events in a batch
}

// TestKafkaScale prints what a million events cost freshet in processor time, with one, two and four processes on four partitions: where each
// does everything, and where they decide and another one holds the index, with copies of all partitions or of those that they own. All events wait in events.keyed before one of them is decided, so that
// batches are as large with four processes as with one; what the routers have used is counted too.
func TestKafkaScale(t *testing.T) {
	figures(t)
	events, rounds := figureOf(t, "FRESHET_KAFKA_EVENTS", 60_000), figureOf(t, "FRESHET_KAFKA_ROUNDS", 2)
	k := kafkatest.Start(t, kafkatest.Options{Fast: true})
	set := openData(t, events, scaleDim, 1)
	at := time.Now().UnixMilli()
	var facts []fact
	for i := range events {
		facts = append(facts, factOf(t, event{EventID: fmt.Sprint("scale-", i), EntityID: strconv.Itoa(i), Timestamp: at,
			Payload: map[string]any{"row": i}, Vector: set.Base.Row(i)}))
	}
	runs := map[string][]scaled{}
	name := func(layout string, n int) string { return fmt.Sprintf("%s_%d", layout, n) }
	for range rounds {
		for _, n := range []int{1, 2, 4} {
			for _, layout := range layouts {
				s := scaleOf(t, k, layout.yaml, n, facts)
				runs[name(layout.name, n)] = append(runs[name(layout.name, n)], s)
				t.Logf("%s, %d processes: %+v", layout.name, n, s)
			}
		}
	}
	report := map[string]any{"events": events, "dim": scaleDim, "partitions": scalePartitions, "rounds": rounds}
	of := func(runs []scaled, what func(scaled) float64) float64 {
		var all []float64
		for _, s := range runs {
			all = append(all, what(s))
		}
		return median(all)
	}
	for _, layout := range layouts {
		for _, n := range []int{1, 2, 4} {
			some := runs[name(layout.name, n)]
			report[name(layout.name, n)] = map[string]any{
				"process_cpu_s_per_million": of(some, func(s scaled) float64 { return s.process }),
				"query_cpu_s_per_million":   of(some, func(s scaled) float64 { return s.query }),
				"cpu_s_per_million":         of(some, func(s scaled) float64 { return s.process + s.query }),
				"idle_cores":                of(some, func(s scaled) float64 { return s.idle }),
				"events_per_s":              of(some, func(s scaled) float64 { return s.perSecond }),
				"events_per_batch":          of(some, func(s scaled) float64 { return s.batch }),
			}
		}
	}
	show(t, report)
}

// scaleOf has so many processes take events in; where they have roles another one holds the index.
func scaleOf(t *testing.T, k *kafkatest.Kafka, layout string, processes int, facts []fact) (s scaled) {
	t.Helper()
	roles := layout != ""
	yaml, prefix := vectorsOnKafka(t, k, scalePartitions, scaleDim, scaleEfc)
	var servers []*server
	var deciding, indexes []*api
	start := func(more string) *api {
		server, a := startServer(t, yaml+more)
		servers = append(servers, server)
		return a
	}
	for range processes {
		deciding = append(deciding, start(layout))
	}
	if indexes = deciding; roles {
		indexes = []*api{start("roles: [query]\n")}
	}
	defer func() {
		for _, server := range servers {
			server.kill()
		}
	}()
	for _, a := range deciding {
		eventually(t, "partitions shared", func() bool {
			return a.metrics()["freshet_partitions_owned"] == float64(scalePartitions/processes)
		})
		a.pause()
	}
	used := func() (all []time.Duration) {
		for _, server := range servers {
			all = append(all, cpuOf(t, server.cmd.Process.Pid))
		}
		return all
	}
	asleep := used()
	time.Sleep(idleFor)
	before := used()
	for i := range before {
		s.idle += (before[i] - asleep[i]).Seconds() / idleFor.Seconds()
	}

	inTransaction(t, k, prefix+"events.raw", facts)()
	sum := func(of func(a *api) float64) (n float64) {
		for _, a := range deciding {
			n += of(a)
		}
		return n
	}
	until(t, "all events forwarded", func() bool {
		return sum(func(a *api) float64 { return a.metrics()["freshet_router_forwarded_total"] }) == float64(len(facts))
	})
	began := time.Now()
	for _, a := range deciding {
		a.resume()
	}
	awaitIndexed(t, deciding[0], func() bool {
		return sum(func(a *api) float64 { return float64(a.stats().decisions()) }) >= float64(len(facts))
	}, indexes...)
	s.perSecond = float64(len(facts)) / time.Since(began).Seconds()
	for i, after := range used() {
		cost := (after - before[i]).Seconds() / float64(len(facts)) * 1e6
		if i < processes {
			s.process += cost
		} else {
			s.query += cost
		}
	}
	for _, a := range indexes {
		if n := a.stats().Entities; n != int64(len(facts)) {
			t.Errorf("an index has %d entities, want %d", n, len(facts))
		}
	}
	s.batch = float64(len(facts)) / float64(batchesOf(t, k, prefix+"vector.sync"))
	return s
}

// batchesOf counts the batches that have been decided: each ends with a mark in vector.sync.
func batchesOf(t *testing.T, k *kafkatest.Kafka, topic string) (n int) {
	t.Helper()
	ends, err := k.Admin().ListCommittedOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, o := range ends[topic] {
		if o.Offset > 0 {
			left++
		}
	}
	client := k.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	defer client.Close()
	for left > 0 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Key) == "\x00\x00decided" && !r.Attrs.IsControl() {
				n++
			}
			if r.Offset == ends[topic][r.Partition].Offset-1 {
				left--
			}
		})
	}
	return n
}
