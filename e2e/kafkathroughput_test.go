package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// Settings of the throughput.
const (
	throughputDim        = 256 // that of the built-in model
	throughputPartitions = 4
	throughputM          = 16
	wantedRecall         = 0.98 // at 10
	recallK              = 10
	faustEvents          = 5000 // of the new ones
	warmEvents           = 2000 // of each phase
)

// turn is an engine at work on a topic of its own.
type turn interface {
	topic() string
	// consume calls publish, and returns what it took from then until the index has so many events, with all their links.
	consume(events int, publish func()) (wall, cpu time.Duration)
	// search returns the entities nearest to each query.
	search(ef int) [][]int
	close()
}

// judge knows the exact answers.
type judge struct {
	set   *dataset.Set
	state live
	limit []float64 // the distance of the last true neighbour of each query
}

func newJudge(t *testing.T, set *dataset.Set, state live) *judge {
	t.Helper()
	base := dataset.NewMatrix(0, set.Base.Dim)
	for _, row := range state {
		if row >= 0 {
			base.Data = append(base.Data, set.Base.Row(row)...)
		}
	}
	truth, err := dataset.Truth(base, set.Queries, ann.Cosine, recallK)
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{set: set, state: state}
	for q, rows := range truth {
		j.limit = append(j.limit, dataset.Distance(ann.Cosine, set.Queries.Row(q), base.Row(int(rows[recallK-1]))))
	}
	return j
}

// recall of answers. An entity that is deleted, found twice, or unknown fails the test.
func (j *judge) recall(t *testing.T, answers [][]int) float64 {
	t.Helper()
	right := 0
	for q, found := range answers {
		seen := map[int]bool{}
		for _, entity := range found {
			if entity < 0 || entity >= len(j.state) || j.state[entity] < 0 || seen[entity] {
				t.Fatalf("query %d finds entity %d, which is not there, or twice", q, entity)
			}
			seen[entity] = true
			if dataset.WithinTie(dataset.Distance(ann.Cosine, j.set.Queries.Row(q), j.set.Base.Row(j.state[entity])), j.limit[q]) {
				right++
			}
		}
	}
	return float64(right) / float64(recallK*len(answers))
}

// least is the smallest ef, in steps of a fifth, with the recall that is wanted.
func (j *judge) least(t *testing.T, e turn) (ef int, recall float64) {
	t.Helper()
	for ef = recallK; ef <= 1000; ef = max(ef+1, ef*6/5) {
		if recall = j.recall(t, e.search(ef)); recall >= wantedRecall {
			return ef, recall
		}
	}
	t.Fatalf("recall is %v at ef %d", recall, ef)
	return 0, 0
}

// series is what an engine has shown, by phase, in order of the rounds.
type series struct {
	rate, cpu  map[string][]float64 // events per second; processor seconds per million events
	ef, recall []float64
}

func newSeries() *series { return &series{rate: map[string][]float64{}, cpu: map[string][]float64{}} }

func (s *series) note(phase string, events int, wall, cpu time.Duration) {
	s.rate[phase] = append(s.rate[phase], float64(events)/wall.Seconds())
	s.cpu[phase] = append(s.cpu[phase], cpu.Seconds()/float64(events)*1e6)
}

func (s *series) report() map[string]any {
	out := map[string]any{}
	for phase, rates := range s.rate {
		out[phase] = map[string]any{"events_per_s": median(rates), "runs": allDigits(rates), "cpu_s_per_million": median(s.cpu[phase])}
	}
	if len(s.ef) > 0 {
		out["ef"], out["recall"] = median(s.ef), median(s.recall)
	}
	return out
}

// over is the median of the ratios of the rounds: rounds differ by what else the machine does.
func (s *series) over(o *series, phase string) float64 {
	var ratios []float64
	for i, rate := range s.rate[phase] {
		ratios = append(ratios, rate/o.rate[phase][i])
	}
	return median(ratios)
}

// TestKafkaThroughput prints how many events a second come from events.raw into the index, beside the same job in Python: batched, and
// with Faust. All have the same events with ready vectors, the same M and efConstruction; ef is what each needs for the same recall.
func TestKafkaThroughput(t *testing.T) {
	figures(t)
	entities, rounds := figureOf(t, "FRESHET_KAFKA_ENTITIES", 30_000), figureOf(t, "FRESHET_KAFKA_ROUNDS", 2)
	l := &throughput{t: t, efc: figureOf(t, "FRESHET_KAFKA_EFC", 200), k: kafkatest.Start(t, kafkatest.Options{Fast: true}),
		queries: filepath.Join(t.TempDir(), "queries.fvecs"), capacity: 2*entities + 1}
	if l.venv = os.Getenv("FRESHET_PEERS"); l.venv == "" {
		l.venv = filepath.Join("..", peers.DefaultVenv)
	}
	l.set = openData(t, 2*entities, throughputDim, 1000)
	if err := dataset.WriteFvecs(l.queries, l.set.Queries); err != nil {
		t.Fatal(err)
	}
	phases, state := phasesOf(t, l.set, entities)
	j := newJudge(t, l.set, state)

	var warm []phase // the brokers' code is compiled while it runs
	for _, p := range phases {
		warm = append(warm, phase{p.name, p.facts[:min(warmEvents, len(p.facts))]})
	}
	l.run(l.freshet(), warm, newSeries(), nil)
	freshet, batched, faust := newSeries(), newSeries(), newSeries()
	for round := range rounds {
		turns := []func(){
			func() { l.run(l.freshet(), phases, freshet, j) },
			func() { l.run(l.python("batched"), phases, batched, j) },
			func() { l.faust(phases[0].facts, faust) },
		}
		for i := range turns {
			turns[(round+i)%len(turns)]()
		}
	}
	ratios := map[string]float64{}
	for _, p := range phases {
		ratios[p.name] = freshet.over(batched, p.name)
	}
	show(t, map[string]any{"data": l.set.Name, "dim": throughputDim, "entities": entities, "m": throughputM, "ef_construction": l.efc, "rounds": rounds,
		"freshet": freshet.report(), "batched": batched.report(), "faust": faust.report(),
		"freshet_over_batched": ratios, "freshet_over_faust": map[string]float64{"new": freshet.over(faust, "new")}})
}

// throughput is what the engines have in common.
type throughput struct {
	t             *testing.T
	k             *kafkatest.Kafka
	set           *dataset.Set
	queries, venv string
	efc, capacity int
}

// run has an engine take in all phases, one after the other; the judge, if there is one, looks at what it finds at the end.
func (l *throughput) run(e turn, phases []phase, to *series, j *judge) {
	defer e.close()
	for _, p := range phases {
		publish := inTransaction(l.t, l.k, e.topic(), p.facts)
		wall, cpu := e.consume(len(p.facts), publish)
		to.note(p.name, len(p.facts), wall, cpu)
		l.t.Logf("%T %s: %.0f events/s, %.1f s of processors", e, p.name, float64(len(p.facts))/wall.Seconds(), cpu.Seconds())
	}
	if j == nil {
		return
	}
	ef, recall := j.least(l.t, e)
	to.ef, to.recall = append(to.ef, float64(ef)), append(to.recall, recall)
}

// faust has Faust take in events that stand there when it starts, as it reads what is not committed too. Its clock begins with the first of them.
func (l *throughput) faust(facts []fact, to *series) {
	facts = facts[:min(faustEvents, len(facts))]
	s := l.stream("faust")
	inTransaction(l.t, l.k, s.Raw, facts)()
	p := l.start(s)
	defer p.Close()
	before := cpuOf(l.t, p.PID())
	c, err := p.Consume(len(facts))
	if err != nil || c.Live != len(facts) {
		l.t.Fatalf("%+v, %v", c, err)
	}
	wall := time.Duration(c.WallSeconds * float64(time.Second))
	to.note("new", len(facts), wall, cpuOf(l.t, p.PID())-before)
	l.t.Logf("faust: %.0f events/s", float64(len(facts))/wall.Seconds())
}

// pythonTurn is the batched job in Python.
type pythonTurn struct {
	l *throughput
	p *peers.Process
	s peers.Stream
}

func (l *throughput) stream(kind string) peers.Stream {
	return peers.Stream{Venv: l.venv, Kind: kind, Brokers: l.k.Addrs(), Raw: l.k.Topic(l.t, throughputPartitions, nil),
		Sync: l.k.Topic(l.t, throughputPartitions, map[string]string{"cleanup.policy": "compact"}), Group: kafkatest.Name(l.t),
		Dim: throughputDim, M: throughputM, Efc: l.efc, Capacity: l.capacity, Queries: l.queries}
}

func (l *throughput) start(s peers.Stream) *peers.Process {
	p, err := peers.StartStream(l.t.Context(), s)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *throughput) python(kind string) turn {
	s := l.stream(kind)
	return &pythonTurn{l, l.start(s), s}
}

func (e *pythonTurn) topic() string { return e.s.Raw }
func (e *pythonTurn) close()        { e.p.Close() }

func (e *pythonTurn) consume(events int, publish func()) (wall, cpu time.Duration) {
	var taken sync.WaitGroup
	var err error
	before := cpuOf(e.l.t, e.p.PID())
	taken.Go(func() { _, err = e.p.Consume(events) })
	start := time.Now()
	publish()
	taken.Wait()
	if wall = time.Since(start); err != nil {
		e.l.t.Fatal(err)
	}
	return wall, cpuOf(e.l.t, e.p.PID()) - before
}

func (e *pythonTurn) search(ef int) [][]int {
	r, err := e.p.Search(ef, recallK, 0, true)
	if err != nil || len(r.IDs) != recallK*e.l.set.Queries.Rows() {
		e.l.t.Fatalf("%d ids, %v", len(r.IDs), err)
	}
	answers := make([][]int, len(r.IDs)/recallK)
	for i, id := range r.IDs {
		answers[i/recallK] = append(answers[i/recallK], int(id))
	}
	return answers
}

// freshetTurn is a process of freshet.
type freshetTurn struct {
	l   *throughput
	s   *server
	a   *api
	raw string
}

func (l *throughput) freshet() turn {
	yaml, prefix := vectorsOnKafka(l.t, l.k, throughputPartitions, throughputDim, l.efc)
	s, a := startServer(l.t, yaml)
	eventually(l.t, "all partitions owned", func() bool { return a.metrics()["freshet_partitions_owned"] == throughputPartitions })
	return &freshetTurn{l, s, a, prefix + "events.raw"}
}

// vectorsOnKafka is onKafka, with a default collection of ready vectors.
func vectorsOnKafka(t *testing.T, k *kafkatest.Kafka, partitions, dim, efc int) (yaml, prefix string) {
	yaml, prefix = onKafkaWith(t, k, partitions)
	return yaml + fmt.Sprintf("collections: {default: {dim: %d}}\nindex: {m: %d, ef_construction: %d, target_recall: 2}\n", dim, throughputM, efc), prefix
}

func (e *freshetTurn) topic() string { return e.raw }
func (e *freshetTurn) close()        { e.s.kill() }

func (e *freshetTurn) consume(events int, publish func()) (wall, cpu time.Duration) {
	decided, used := e.a.stats().decisions(), cpuOf(e.l.t, e.s.cmd.Process.Pid)
	start := time.Now()
	publish()
	awaitIndexed(e.l.t, e.a, func() bool { return e.a.stats().decisions() >= decided+int64(events) }, e.a)
	wall, cpu = time.Since(start), cpuOf(e.l.t, e.s.cmd.Process.Pid)-used
	if letters := e.a.deadLetters(); len(letters) > 0 {
		e.l.t.Fatalf("dead letters, the first: %+v", letters[0])
	}
	return wall, cpu
}

// awaitIndexed waits until all events are decided, and the indexes of some processes have them, with all their links. Deletions of what
// never was, in every partition, give the token by which that is seen.
func awaitIndexed(t *testing.T, intake *api, decided func() bool, indexes ...*api) {
	t.Helper()
	until(t, "events decided", decided)
	var nobody []event
	for i := range 64 {
		nobody = append(nobody, event{EntityID: "nobody-" + strconv.Itoa(i), Op: "delete"})
	}
	token := intake.events(nobody...)
	for _, a := range indexes {
		a.get("nobody-0", "after", token)
		until(t, "all vectors linked", func() bool { return a.stats().InBuffer == 0 })
	}
}

// until is eventually, for what may take minutes. It asks seldom: asking costs the processes that are measured.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); ; {
		asked := time.Now()
		if holds() {
			return
		}
		if asked.After(end) {
			t.Fatalf("%s: not within 5 minutes", what)
		}
		time.Sleep(max(50*time.Millisecond, 10*time.Since(asked)))
	}
}

func (e *freshetTurn) search(ef int) [][]int {
	queries := e.l.set.Queries
	answers := make([][]int, queries.Rows())
	var each sync.WaitGroup
	for part := range 2 {
		each.Go(func() {
			for q := part; q < len(answers); q += 2 {
				var f found
				status, err := e.a.call("POST", "/v1/search", map[string]any{"vector": queries.Row(q), "k": recallK, "ef": ef, "include": []string{}}, &f)
				if err != nil || len(f.Hits) != recallK {
					e.l.t.Errorf("query %d: status %d, %d hits, %v", q, status, len(f.Hits), err)
					return
				}
				for _, h := range f.Hits {
					entity, err := strconv.Atoi(h.EntityID)
					if err != nil {
						e.l.t.Error(err)
					}
					answers[q] = append(answers[q], entity)
				}
			}
		})
	}
	each.Wait()
	if e.l.t.Failed() {
		e.l.t.FailNow()
	}
	return answers
}
