package bench

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/node"
)

// IngestOptions are the settings of Ingest.
type IngestOptions struct {
	Binary      string
	Seconds     float64 // of each durable measurement
	EventBytes  int
	Connections int
	Entities    int // of the pipeline measurements
	Dir         string
}

// IngestResult is what Ingest measured.
type IngestResult struct {
	HTTP           DurableResult  `json:"http"`
	HTTPProcessing DurableResult  `json:"http_processing"` // the same while what was accepted is processed
	InProcess      DurableResult  `json:"in_process"`
	Pipeline       PipelineResult `json:"pipeline"`
	ReadBack       ReadBack       `json:"read_back"`
}

// DurableResult is a rate of durable, acknowledged events. Processing says whether they are processed meanwhile.
type DurableResult struct {
	EventsPerS         float64 `json:"events_per_s"`
	AckP50Ms           float64 `json:"ack_p50_ms"` // of a request or batch
	AckP99Ms           float64 `json:"ack_p99_ms"`
	WriteAmplification float64 `json:"write_amplification"` // bytes in the journal / bytes of events
	Cores              float64 `json:"cores"`               // CPU time / wall time of the server (in process: of everything)
	Seconds            float64 `json:"seconds"`
	EventBytes         int     `json:"event_bytes"`
	BatchEvents        int     `json:"batch_events"`
	Processing         string  `json:"processing"`
}

// PipelineResult is rates from first event sent to last event searchable, in process.
type PipelineResult struct {
	New       PipelineRate `json:"new"`       // entities never seen before
	Repeated  PipelineRate `json:"repeated"`  // the same entities with new content
	Unchanged PipelineRate `json:"unchanged"` // the same entities with the same content
}

// PipelineRate is one of them.
type PipelineRate struct {
	EventsPerS  float64            `json:"events_per_s"`           // until searchable
	LinkedPerS  float64            `json:"events_per_s_to_linked"` // until in the graph, too
	StageShares map[string]float64 `json:"stage_shares"`           // of the time that batches spent in stages
	Bottleneck  string             `json:"bottleneck"`
}

const batchEvents = 5000 // about 1 MB of 200-byte events

// Ingest measures how fast events become durable, over HTTP and in process, and how fast they
// become searchable.
func Ingest(ctx context.Context, o IngestOptions) (*IngestResult, error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var r IngestResult
	bodies := makeBodies(o.EventBytes)
	sent := newTally(len(bodies))
	data, err := r.HTTP.overHTTP(ctx, o, filepath.Join(dir, "http"), bodies, "paused", sent)
	if err != nil {
		return nil, fmt.Errorf("over HTTP: %w", err)
	}
	if r.ReadBack, err = sent.readBack(ctx, data); err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	if err := os.RemoveAll(data); err != nil {
		return nil, err
	}
	if data, err = r.HTTPProcessing.overHTTP(ctx, o, filepath.Join(dir, "processing"), bodies, "on", newTally(len(bodies))); err != nil {
		return nil, fmt.Errorf("over HTTP, with processing: %w", err)
	}
	if err := os.RemoveAll(data); err != nil {
		return nil, err
	}
	if err := r.inProcess(ctx, o, filepath.Join(dir, "process"), bodies); err != nil {
		return nil, fmt.Errorf("in process: %w", err)
	}
	if err := r.pipeline(ctx, o, filepath.Join(dir, "pipeline")); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return &r, nil
}

// body is a request: its bytes, and where its lines end.
type body struct {
	raw   []byte
	lines [][]byte
}

// makeBodies makes different bodies that together touch every partition.
func makeBodies(eventBytes int) []body {
	rng := rand.New(rand.NewPCG(3, 4))
	bodies := make([]body, 16)
	for i := range bodies {
		for k := range batchEvents {
			n := i*batchEvents + k
			line := sizedEvent(rng, fmt.Sprintf("event-%08d", n), fmt.Sprintf("entity-%08d", n), eventBytes)
			bodies[i].raw = append(bodies[i].raw, line...)
			bodies[i].lines = append(bodies[i].lines, bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	return bodies
}

// overHTTP sends to a server in a process of its own, kills it, as kill -9 does, and returns its data folder.
func (r *DurableResult) overHTTP(ctx context.Context, o IngestOptions, dir string, bodies []body, processing string, sent *tally) (data string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	s, err := startServer(ctx, o.Binary, dir, "limits: {backlog_bytes: 1099511627776}\nretention: {disk_share: 1}\n", o.Connections)
	if err != nil {
		return "", err
	}
	defer s.kill()
	if processing == "paused" {
		if err := s.call(ctx, http.MethodPost, "/v1/admin/pause", nil, nil); err != nil {
			return "", err
		}
	}
	cpu := childCPU(s.cmd.Process.Pid)
	acks, took, err := drive(ctx, o, func(i int) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/events", bytes.NewReader(bodies[i%len(bodies)].raw))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		var answer struct {
			Accepted int `json:"accepted"`
		}
		err = s.do(req, &answer)
		sent.note(i, answer.Accepted)
		return answer.Accepted, err
	})
	if err != nil {
		return "", err
	}
	*r = durable(o, acks, took, folderBytes(filepath.Join(s.dir, "journal")))
	r.Processing = processing
	r.Cores = round((childCPU(s.cmd.Process.Pid) - cpu).Seconds() / took.Seconds())
	return s.dir, nil
}

func (r *IngestResult) inProcess(ctx context.Context, o IngestOptions, dir string, bodies []body) error {
	n, err := openNode(ctx, dir)
	if err != nil {
		return err
	}
	defer n.Kill()
	n.Processor().Pause()
	cpu := ownCPU()
	acks, took, err := drive(ctx, o, func(i int) (int, error) {
		b := n.Intake().NewBatch()
		defer b.Release()
		for _, line := range bodies[i%len(bodies)].lines {
			if err := b.Add(line); err != nil {
				return 0, err
			}
		}
		_, err := b.Append(ctx)
		return b.Len(), err
	})
	if err != nil {
		return err
	}
	r.InProcess = durable(o, acks, took, n.Log().RawWritten())
	r.InProcess.Cores = round((ownCPU() - cpu).Seconds() / took.Seconds())
	return nil
}

// ack is one acknowledged request.
type ack struct {
	events int
	took   time.Duration
}

// drive sends from several goroutines until the time is over.
func drive(ctx context.Context, o IngestOptions, send func(i int) (int, error)) ([]ack, time.Duration, error) {
	var mu sync.Mutex
	var acks []ack
	var failure error
	var all sync.WaitGroup
	start := time.Now()
	until := start.Add(time.Duration(o.Seconds * float64(time.Second)))
	for c := range o.Connections {
		all.Go(func() {
			for i := c; time.Now().Before(until) && ctx.Err() == nil; i += o.Connections {
				begin := time.Now()
				n, err := send(i)
				mu.Lock()
				if err != nil {
					failure = err
					mu.Unlock()
					return
				}
				acks = append(acks, ack{n, time.Since(begin)})
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if failure == nil {
		failure = ctx.Err()
	}
	return acks, time.Since(start), failure
}

func durable(o IngestOptions, acks []ack, took time.Duration, written int64) DurableResult {
	events := 0
	times := make([]time.Duration, len(acks))
	for i, a := range acks {
		events += a.events
		times[i] = a.took
	}
	return DurableResult{EventsPerS: round(float64(events) / took.Seconds()), AckP50Ms: quantile(times, 0.5), AckP99Ms: quantile(times, 0.99),
		WriteAmplification: round(float64(written) / float64(events*(o.EventBytes-1))), Seconds: round(took.Seconds()),
		EventBytes: o.EventBytes, BatchEvents: batchEvents, Processing: "paused"}
}

func folderBytes(dir string) (total int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}

func openNode(ctx context.Context, dir string) (*node.Node, error) {
	cfg := config.Defaults()
	cfg.Data = dir
	cfg.Limits.BacklogBytes = 1 << 40
	return node.Open(ctx, node.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// childCPU is the CPU time of a process, from the operating system's account; 0 where it
// keeps none that can be read.
func childCPU(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var user, system int64
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	fmt.Sscan(string(fields[11]), &user)
	fmt.Sscan(string(fields[12]), &system)
	const ticksPerSecond = 100
	return time.Duration(user+system) * time.Second / ticksPerSecond
}
