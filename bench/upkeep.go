package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// UpkeepOptions are the settings of Upkeep.
type UpkeepOptions struct {
	Binary   string
	Entities int
	Dim      int
	Rate     float64 // events/s while retention is measured
	Seconds  float64 // of each of those measurements
	Rounds   int     // of those, with and without
	Dir      string
}

// UpkeepResult is what it costs to look after a server.
type UpkeepResult struct {
	Entities int  `json:"entities"`
	Dim      int  `json:"dim"`
	Audit    Cost `json:"audit"`   // of the running server
	Backup   Cost `json:"backup"`  // likewise, into a file
	Restore  Cost `json:"restore"` // of that file into a folder
	Verify   Cost `json:"verify"`  // of the restored folder
	// RestartS is from the start on the restored folder to the first answer from all entities.
	RestartS  float64         `json:"restart_s"`
	Retention []RetentionCost `json:"retention"`
}

// Cost is what one job took. Bytes are those of the backup, or of the folder that was looked at.
type Cost struct {
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes,omitempty"`
	// RSSGrowthBytes is by how much the resident set of the server was larger meanwhile than before, at most.
	RSSGrowthBytes int64 `json:"rss_growth_bytes,omitempty"`
}

// RetentionCost is the age of events when a search finds them, with old events let go all the time and without.
type RetentionCost struct {
	On       bool    `json:"on"`
	P50Ms    float64 `json:"p50_ms"`
	P99Ms    float64 `json:"p99_ms"`
	AckP99Ms float64 `json:"ack_p99_ms"`
	CutBytes int64   `json:"cut_bytes"` // of events.raw
}

// retentionAlways lets events go as soon as there is a segment of them.
const retentionAlways = "retention: {bytes: 1, interval: 100ms}\n"

// Upkeep fills a server, and measures an audit, a backup and its restore, and what retention costs live events.
func Upkeep(ctx context.Context, o UpkeepOptions, progress func(string)) (*UpkeepResult, error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &UpkeepResult{Entities: o.Entities, Dim: o.Dim}
	if err := r.jobs(ctx, o, dir, progress); err != nil {
		return nil, err
	}
	for range o.Rounds {
		for _, config := range []string{"", retentionAlways} {
			c, err := retentionCost(ctx, o, config)
			if err != nil {
				return nil, err
			}
			progress(fmt.Sprintf("retention %v: p99 %.1f ms, %d bytes cut", c.On, c.P99Ms, c.CutBytes))
			r.Retention = append(r.Retention, c)
		}
	}
	return r, nil
}

// jobs measures what is done with a folder.
func (r *UpkeepResult) jobs(ctx context.Context, o UpkeepOptions, dir string, progress func(string)) error {
	cfg := fmt.Sprintf("collections: {default: {dim: %d}}\nlimits: {backlog_bytes: 1099511627776}\n", o.Dim)
	s, err := startServer(ctx, o.Binary, dir, cfg, 2)
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	v := newVectors(o.Dim)
	var filled StartResult
	if err := filled.fill(ctx, s, StartOptions{Entities: o.Entities, Dim: o.Dim, Metadata: true}, v, progress); err != nil {
		return err
	}
	if r.Audit, err = s.cost(func() error { return s.audit(ctx) }); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	r.Audit.Bytes = folderBytes(filepath.Join(s.dir, "journal"))
	progress(fmt.Sprintf("audited in %.1f s", r.Audit.Seconds))
	file, restored := filepath.Join(dir, "backup.tar"), filepath.Join(dir, "restored")
	if r.Backup, err = s.cost(func() error { return run(ctx, o.Binary, "backup", file, "--server", s.base) }); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	r.Backup.Bytes = info.Size()
	progress(fmt.Sprintf("backed up in %.1f s", r.Backup.Seconds))
	s.kill()
	for _, job := range []struct {
		cost *Cost
		args []string
	}{{&r.Restore, []string{"restore", file, "--data", restored}}, {&r.Verify, []string{"verify", "--data", restored, "--config", filepath.Join(dir, "config.yaml")}}} {
		if *job.cost, err = s.cost(func() error { return run(ctx, o.Binary, job.args...) }); err != nil {
			return err
		}
		job.cost.Bytes = r.Backup.Bytes
		progress(fmt.Sprintf("%s: %.1f s", job.args[0], job.cost.Seconds))
	}
	for i, arg := range s.cmd.Args {
		if arg == s.dir {
			s.cmd.Args[i] = restored
		}
	}
	took, _, err := s.restart(ctx, o.Entities, v)
	r.RestartS = round(took.Seconds())
	return err
}

// audit has the server compare everything; it must find nothing.
func (s *server) audit(ctx context.Context) error {
	var report struct {
		Found int `json:"found"`
	}
	if err := s.call(ctx, http.MethodPost, "/v1/admin/audit", nil, &report); err != nil {
		return err
	}
	if report.Found != 0 {
		return fmt.Errorf("it finds %d differences", report.Found)
	}
	return nil
}

// cost measures a job, and by how much the server grows meanwhile.
func (s *server) cost(job func() error) (c Cost, err error) {
	before, began := resident(s.cmd.Process.Pid), time.Now()
	most := before
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = job()
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-tick.C:
			most = max(most, resident(s.cmd.Process.Pid))
		}
	}
	return Cost{Seconds: round(time.Since(began).Seconds()), RSSGrowthBytes: most - before}, err
}

// run runs the binary with arguments.
func run(ctx context.Context, binary string, args ...string) error {
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("freshet %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// retentionCost runs a stream of events on a server of its own.
func retentionCost(ctx context.Context, o UpkeepOptions, config string) (c RetentionCost, err error) {
	f := FreshnessOptions{Binary: o.Binary, Rate: o.Rate, Seconds: o.Seconds, Every: 10, Connections: 32, Config: config, Dir: o.Dir}
	f.after = func(s *server) (err error) {
		c.CutBytes, err = s.metric(ctx, "freshet_journal_cut_bytes_total")
		return err
	}
	r, err := Freshness(ctx, f)
	if err != nil {
		return c, err
	}
	c.On, c.P50Ms, c.P99Ms, c.AckP99Ms = config != "", r.P50Ms, r.P99Ms, r.AckP99Ms
	return c, nil
}

// metric reads a figure without labels.
func (s *server) metric(ctx context.Context, name string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			return int64(v), err
		}
	}
	return 0, fmt.Errorf("the server has no metric %s", name)
}
