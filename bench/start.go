package bench

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// StartOptions are the settings of Start.
type StartOptions struct {
	Binary   string
	Entities int
	Dim      int
	Metadata bool   // two fields of metadata, a category and a number
	Tail     int    // entities that change after the snapshot
	Rounds   int    // starts of each sort
	Config   string // more lines of configuration
	Dir      string
	Keep     bool // leave the data folder
}

// StartResult is what Start measured: times from the start of the process to the answer to the first search.
type StartResult struct {
	Entities       int       `json:"entities"`
	Dim            int       `json:"dim"`
	Tail           int       `json:"tail"`
	WarmS          []float64 `json:"warm_s"`     // with the files in the page cache
	ColdS          []float64 `json:"cold_s"`     // without
	WarmCPUS       []float64 `json:"warm_cpu_s"` // processor time until then: on a busy machine it is steadier than the clock
	ColdCPUS       []float64 `json:"cold_cpu_s"`
	SnapshotBytes  int64     `json:"snapshot_bytes"`
	SnapshotS      float64   `json:"snapshot_s"`       // to write it
	BytesPerEntity float64   `json:"bytes_per_entity"` // resident memory of the process after a start
	IndexBytes     float64   `json:"index_bytes_per_entity"`
	IngestS        float64   `json:"ingest_s"` // until all could be searched
	LinkS          float64   `json:"link_s"`   // until all were in the graph, from the beginning
}

const (
	startBatch   = 1000 // events of a request
	startCentres = 1000
	startSpread  = 0.6
	pollEvery    = 5 * time.Millisecond
)

// Start fills a server with entities of ready vectors, kills it, and measures how long it takes to serve again.
func Start(ctx context.Context, o StartOptions, progress func(string)) (*StartResult, error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, err
	}
	if !o.Keep {
		defer os.RemoveAll(dir)
	}
	cfg := fmt.Sprintf("collections: {default: {dim: %d}}\nsnapshot: {interval: 10h}\nlimits: {backlog_bytes: 1099511627776}\n%s\n", o.Dim, o.Config)
	s, err := startServer(ctx, o.Binary, dir, cfg, 2)
	if err != nil {
		return nil, err
	}
	defer func() { s.kill() }()
	r := &StartResult{Entities: o.Entities, Dim: o.Dim, Tail: o.Tail}
	v := newVectors(o.Dim)
	if err := r.fill(ctx, s, o, v, progress); err != nil {
		return nil, err
	}
	for _, sort := range []struct {
		wall, cpu *[]float64
		cold      bool
	}{{&r.WarmS, &r.WarmCPUS, false}, {&r.ColdS, &r.ColdCPUS, true}} {
		for range o.Rounds {
			s.kill()
			if sort.cold {
				if err := dropCache(s.dir); err != nil {
					return nil, err
				}
			}
			took, cpu, err := s.restart(ctx, o.Entities, v)
			if err != nil {
				return nil, err
			}
			*sort.wall, *sort.cpu = append(*sort.wall, round(took.Seconds())), append(*sort.cpu, round(cpu.Seconds()))
			progress(fmt.Sprintf("served after %v", took.Round(time.Millisecond)))
		}
	}
	r.BytesPerEntity = round(float64(resident(s.cmd.Process.Pid)) / float64(o.Entities))
	shards, err := s.shards(ctx)
	r.IndexBytes = round(float64(shards.bytes) / float64(o.Entities))
	return r, err
}

// fill sends the entities, waits for the graph, saves it, and changes some.
func (r *StartResult) fill(ctx context.Context, s *server, o StartOptions, v *vectors, progress func(string)) error {
	began := time.Now()
	if err := s.send(ctx, v, 0, o.Entities, o.Metadata, "a"); err != nil {
		return err
	}
	if err := s.until(ctx, func(n shardTotals) bool { return n.entities == o.Entities }); err != nil {
		return err
	}
	r.IngestS = round(time.Since(began).Seconds())
	progress(fmt.Sprintf("%d entities can be searched after %.1f s", o.Entities, r.IngestS))
	if err := s.until(ctx, func(n shardTotals) bool { return n.buffered == 0 }); err != nil {
		return err
	}
	r.LinkS = round(time.Since(began).Seconds())
	began = time.Now()
	if err := s.call(ctx, http.MethodPost, "/v1/admin/snapshot", nil, nil); err != nil {
		return err
	}
	r.SnapshotS, r.SnapshotBytes = round(time.Since(began).Seconds()), folderBytes(filepath.Join(s.dir, "index"))
	progress(fmt.Sprintf("linked after %.1f s, saved in %.1f s", r.LinkS, r.SnapshotS))
	if err := s.send(ctx, v, 0, o.Tail, o.Metadata, "b"); err != nil {
		return err
	}
	for {
		var live struct {
			Lag int64 `json:"lag_records"`
		}
		if err := s.call(ctx, http.MethodGet, "/v1/admin/stats", nil, &live); err != nil || live.Lag == 0 {
			return err
		}
		time.Sleep(pollEvery)
	}
}

// vectors are points around centres, in random order.
type vectors struct {
	rng     *rand.Rand
	centres [][]float64
}

func newVectors(dim int) *vectors {
	v := &vectors{rng: rand.New(rand.NewPCG(7, 8))}
	for range startCentres {
		c := make([]float64, dim)
		for i := range c {
			c[i] = v.rng.NormFloat64()
		}
		v.centres = append(v.centres, c)
	}
	return v
}

// append appends another vector as a JSON array.
func (v *vectors) append(b []byte) []byte { return appendVector(b, v.next()) }

// appendVector appends a vector as a JSON array.
func appendVector(b []byte, vector []float32) []byte {
	b = append(b, '[')
	for i, x := range vector {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'f', 4, 32)
	}
	return append(b, ']')
}

// entityID has 30 bytes.
func entityID(i int) string { return fmt.Sprintf("tenant-4711/document-%010d", i) }

// send sends an event for each of the entities from one to another.
func (s *server) send(ctx context.Context, v *vectors, from, to int, metadata bool, round string) error {
	var body []byte
	for at := from; at < to; at += startBatch {
		body = body[:0]
		for i := at; i < min(to, at+startBatch); i++ {
			body = fmt.Appendf(body, `{"event_id":"%s%d","entity_id":%q,"payload":{`, round, i, entityID(i))
			if metadata {
				body = fmt.Appendf(body, `"category":"c%d","price":%d.%02d`, v.rng.IntN(100), v.rng.IntN(1000), v.rng.IntN(100))
			}
			body = append(v.append(append(body, `},"vector":`...)), "}\n"...)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		if err := s.do(req, nil); err != nil {
			return err
		}
	}
	return nil
}

// shardTotals are figures of all shards.
type shardTotals struct {
	entities, buffered int
	bytes              int64
}

func (s *server) shards(ctx context.Context) (n shardTotals, err error) {
	var answer struct {
		Shards []struct {
			Entities int   `json:"entities"`
			InBuffer int   `json:"in_buffer"`
			Bytes    int64 `json:"bytes"`
		} `json:"shards"`
	}
	err = s.call(ctx, http.MethodGet, "/v1/admin/shards", nil, &answer)
	for _, sh := range answer.Shards {
		n.entities += sh.Entities
		n.buffered += sh.InBuffer
		n.bytes += sh.Bytes
	}
	return n, err
}

func (s *server) until(ctx context.Context, done func(shardTotals) bool) error {
	for {
		n, err := s.shards(ctx)
		if err != nil || done(n) {
			return err
		}
		time.Sleep(20 * pollEvery)
	}
}

// restart runs the server's command again and returns the time, and the processor time, until a search is
// answered from all entities.
func (s *server) restart(ctx context.Context, entities int, v *vectors) (took, cpu time.Duration, err error) {
	query := append(v.append([]byte(`{"k":10,"vector":`)), '}')
	old := s.cmd
	s.cmd = exec.CommandContext(ctx, old.Path, old.Args[1:]...)
	s.cmd.Stderr = os.Stderr
	s.http.CloseIdleConnections()
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, 0, err
	}
	for {
		var answer struct {
			Hits []struct{} `json:"hits"`
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/search", bytes.NewReader(query))
		if err != nil {
			return 0, 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		if err = s.do(req, &answer); err == nil {
			took, cpu = time.Since(began), childCPU(s.cmd.Process.Pid)
			if n, err := s.shards(ctx); err != nil || n.entities != entities || len(answer.Hits) != min(10, entities) {
				return 0, 0, fmt.Errorf("after the start there are %d entities and %d hits, want %d and 10: %w", n.entities, len(answer.Hits), entities, err)
			}
			return took, cpu, nil
		}
		if time.Since(began) > startTimeout || ctx.Err() != nil {
			return 0, 0, fmt.Errorf("the server did not serve again: %w", err)
		}
		time.Sleep(pollEvery)
	}
}

// dropCache takes the files of a folder out of the page cache.
func dropCache(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return forgetPages(f)
	})
}

// resident returns the memory of a process in bytes, 0 where that is not known.
func resident(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(raw), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
