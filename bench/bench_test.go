package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet-io/freshet/codec"
)

// build makes the binary that the benchmarks run.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "freshet")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/freshet").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func TestFreshnessMeasuresWhatItSays(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server")
	}
	r, err := Freshness(context.Background(), FreshnessOptions{Binary: build(t), Rate: 100, Seconds: 1, Every: 5, Connections: 4, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Searched != 20 || r.Searches < 20 || r.P50Ms <= 0 || r.P99Ms < r.P50Ms || r.AckP50Ms <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestIngestCountsWhatIsDurable(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server")
	}
	r, err := Ingest(context.Background(), IngestOptions{Binary: build(t), Seconds: 0.3, EventBytes: 200, Connections: 2, Entities: 2000, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if b := r.ReadBack; b.Events < 1000 || b.Missing != 0 || b.Extra != 0 {
		t.Errorf("read back: %+v", b)
	}
	for _, d := range []DurableResult{r.HTTP, r.HTTPProcessing, r.InProcess} {
		if d.EventsPerS < 1000 || d.WriteAmplification < 1 || d.WriteAmplification > 1.2 || d.AckP99Ms < d.AckP50Ms {
			t.Errorf("impossible figures: %s", raw)
		}
	}
	for _, p := range []PipelineRate{r.Pipeline.New, r.Pipeline.Repeated, r.Pipeline.Unchanged} {
		if p.EventsPerS < p.LinkedPerS || p.LinkedPerS <= 0 || p.Bottleneck == "" {
			t.Errorf("impossible figures: %s", raw)
		}
	}
}

// What is not there, and what is there too often, is told apart.
func TestReadBackCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a node")
	}
	dir := t.TempDir()
	n, err := openNode(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	bodies := makeBodies(200)
	b := n.Intake().NewBatch()
	for _, line := range bodies[1].lines {
		if err := b.Add(line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Append(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.Release()
	n.Kill()
	for _, c := range []struct{ first, second int64 }{{0, 1}, {1, 1}, {0, 0}, {0, 2}} {
		sent := newTally(len(bodies))
		sent.bodies[0].Store(c.first)
		sent.bodies[1].Store(c.second)
		r, err := sent.readBack(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		want := ReadBack{Events: (c.first + c.second) * batchEvents, Missing: (c.first + max(0, c.second-1)) * batchEvents,
			Extra: max(0, 1-c.second) * batchEvents, Seconds: r.Seconds}
		if r != want {
			t.Errorf("acknowledged %d and %d: %+v, want %+v", c.first, c.second, r, want)
		}
	}
}

func TestUpkeepMeasuresWhatItSays(t *testing.T) {
	if testing.Short() {
		t.Skip("runs servers")
	}
	r, err := Upkeep(context.Background(), UpkeepOptions{Binary: build(t), Entities: 3000, Dim: 8, Rate: 3000, Seconds: 4, Rounds: 1, Dir: t.TempDir()}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if r.Audit.Seconds <= 0 || r.Backup.Bytes < 3000*8*4 || r.Restore.Seconds <= 0 || r.Verify.Seconds <= 0 || r.RestartS <= 0 {
		t.Errorf("%+v", r)
	}
	if len(r.Retention) != 2 || r.Retention[0].On || r.Retention[0].CutBytes != 0 || !r.Retention[1].On || r.Retention[1].CutBytes == 0 {
		t.Errorf("%+v", r.Retention)
	}
}

// A backlog is on disk, not in memory.
func TestBacklogTakesNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for 20 s")
	}
	r, err := Backlog(context.Background(), BacklogOptions{Binary: build(t), Rate: 20_000, Seconds: 20, EventBytes: 200, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Events < 300_000 || r.LagRecords != int64(r.Events) || r.JournalBytes < int64(r.Events)*200 {
		t.Errorf("%+v", r)
	}
	if grown := r.RSSMostBytes - r.RSSBeginBytes; grown > 32<<20 {
		t.Errorf("the server has grown by %d bytes over a backlog of %d: %+v", grown, r.JournalBytes, r)
	}
}

func TestSizedEventsAreEvents(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for size := 130; size < 400; size++ {
		e := sizedEvent(rng, "event-00000001", "entity-00000001", size)
		if len(e) != size || e[size-1] != '\n' {
			t.Fatalf("%d bytes, want %d: %s", len(e), size, e)
		}
		if _, err := codec.ParseEvent(bytes.TrimSpace(e), codec.Full); err != nil {
			t.Fatalf("%v: %s", err, e)
		}
	}
}

func TestQuantile(t *testing.T) {
	var v []time.Duration
	for i := 1; i <= 100; i++ {
		v = append(v, time.Duration(101-i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(v, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("no values")
	}
}

func BenchmarkPipelineUnchanged(b *testing.B) { benchmarkPipeline(b, 2) }

func BenchmarkPipelineNew(b *testing.B) { benchmarkPipeline(b, 1) }

// benchmarkPipeline is for profiles: the same entities, sent once or several times.
func benchmarkPipeline(b *testing.B, rounds int) {
	for b.Loop() {
		n, err := openNode(context.Background(), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(5, 6))
		events := make([][]byte, 20_000)
		for i := range events {
			events[i] = event("", entityName(i), text(rng, wordsPerText))
			events[i] = bytes.Replace(events[i], []byte(`"event_id":"",`), nil, 1)
		}
		for range rounds {
			r, err := pipelineRate(context.Background(), n, events)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.EventsPerS, "events/s")
		}
		n.Kill()
	}
}
