package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// BacklogOptions are the settings of Backlog.
type BacklogOptions struct {
	Binary     string
	Rate       int // events/s
	Seconds    float64
	EventBytes int
	Dir        string
}

// BacklogResult says what a backlog costs in memory: processing is paused, so that all that is sent waits.
type BacklogResult struct {
	Events       int     `json:"events"`
	EventsPerS   float64 `json:"events_per_s"`
	LagRecords   int64   `json:"lag_records"` // as the server says at the end
	JournalBytes int64   `json:"journal_bytes"`
	// Resident set of the server: after the first tenth of the time, at most after that, and at the end.
	RSSBeginBytes int64   `json:"rss_begin_bytes"`
	RSSMostBytes  int64   `json:"rss_most_bytes"`
	RSSEndBytes   int64   `json:"rss_end_bytes"`
	Seconds       float64 `json:"seconds"`
}

// backlogTick is how often events are sent.
const backlogTick = 50 * time.Millisecond

// Backlog sends events at a fixed rate to a server that does not process them.
func Backlog(ctx context.Context, o BacklogOptions) (*BacklogResult, error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := startServer(ctx, o.Binary, dir, "limits: {backlog_bytes: 1099511627776}\n", 1)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := s.call(ctx, http.MethodPost, "/v1/admin/pause", nil, nil); err != nil {
		return nil, err
	}
	lines := makeBodies(o.EventBytes)[0].lines
	r := &BacklogResult{}
	start := time.Now()
	length := time.Duration(o.Seconds * float64(time.Second))
	tick := time.NewTicker(backlogTick)
	defer tick.Stop()
	var body bytes.Buffer
	for ; time.Since(start) < length && ctx.Err() == nil; <-tick.C {
		body.Reset()
		for due := int(time.Since(start).Seconds() * float64(o.Rate)); r.Events < due; r.Events++ {
			body.Write(lines[r.Events%len(lines)])
			body.WriteByte('\n')
		}
		if body.Len() == 0 {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/events", bytes.NewReader(body.Bytes()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		if err := s.do(req, nil); err != nil {
			return nil, err
		}
		r.RSSEndBytes = resident(s.cmd.Process.Pid)
		if time.Since(start) < length/10 || r.RSSBeginBytes == 0 {
			r.RSSBeginBytes = r.RSSEndBytes
		}
		r.RSSMostBytes = max(r.RSSMostBytes, r.RSSEndBytes)
	}
	took := time.Since(start)
	var ready struct {
		Lag int64 `json:"lag_records"`
	}
	if err := s.call(ctx, http.MethodGet, "/readyz", nil, &ready); err != nil {
		return nil, fmt.Errorf("ask for the lag: %w", err)
	}
	r.LagRecords, r.JournalBytes = ready.Lag, folderBytes(filepath.Join(s.dir, "journal"))
	r.EventsPerS, r.Seconds = round(float64(r.Events)/took.Seconds()), round(took.Seconds())
	return r, ctx.Err()
}
