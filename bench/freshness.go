package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// FreshnessOptions are the settings of Freshness.
type FreshnessOptions struct {
	Binary      string  // the freshet to run
	Rate        float64 // events/s
	Seconds     float64
	Every       int // each so many-th event is searched for
	Connections int
	Config      string // more lines of configuration
	after       func(*server) error
	Dir         string // where the data folder is made; "" means a temporary one
}

// FreshnessResult is what Freshness measured.
type FreshnessResult struct {
	P50Ms        float64 `json:"p50_ms"`
	P99Ms        float64 `json:"p99_ms"`
	MaxMs        float64 `json:"max_ms"`
	EventsPerS   float64 `json:"events_per_s"` // acknowledged
	Wanted       float64 `json:"wanted_per_s"`
	Searched     int     `json:"searched"` // events that were searched for until found
	Searches     int64   `json:"searches"` // how many searches that took
	AckP50Ms     float64 `json:"ack_p50_ms"`
	AckP99Ms     float64 `json:"ack_p99_ms"`
	Connections  int     `json:"connections"`
	WordsPerText int     `json:"words_per_text"`
}

const wordsPerText = 12

// Freshness sends events at a steady rate over HTTP, each in a request of its own, and
// measures for a sample of them the time from sending the event to the end of the first
// search that returns it. The search does not wait for the event (no token): it is repeated
// from the moment at which the event is sent.
func Freshness(ctx context.Context, o FreshnessOptions) (*FreshnessResult, error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := startServer(ctx, o.Binary, dir, o.Config, 2*o.Connections)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	f := &freshnessRun{server: s, opts: o, rng: rand.New(rand.NewPCG(1, 2))}
	f.prepare()
	r, err := f.run(ctx)
	if err == nil && o.after != nil {
		err = o.after(s)
	}
	return r, err
}

type freshnessRun struct {
	server *server
	opts   FreshnessOptions
	rng    *rand.Rand
	events [][]byte
	texts  []string

	mu       sync.Mutex // guards what follows
	fresh    []time.Duration
	acks     []time.Duration
	failure  error
	searches atomic.Int64
}

func (f *freshnessRun) prepare() {
	n := int(f.opts.Rate * f.opts.Seconds)
	f.events, f.texts = make([][]byte, n), make([]string, n)
	for i := range n {
		f.texts[i] = text(f.rng, wordsPerText)
		f.events[i] = event(fmt.Sprintf("e%d", i), entityName(i), f.texts[i])
	}
}

func entityName(i int) string { return fmt.Sprintf("entity-%07d", i) }

func (f *freshnessRun) run(ctx context.Context) (*FreshnessResult, error) {
	slots := make(chan struct{}, f.opts.Connections)
	var all sync.WaitGroup
	start := time.Now()
	for i := range f.events {
		due := start.Add(time.Duration(float64(i) / f.opts.Rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		slots <- struct{}{}
		sampled := i%f.opts.Every == 0
		if sampled {
			all.Go(func() { f.find(ctx, i, due) })
		}
		all.Go(func() {
			defer func() { <-slots }()
			f.send(ctx, i)
		})
	}
	all.Wait()
	took := time.Since(start)
	if f.failure != nil {
		return nil, f.failure
	}
	return &FreshnessResult{P50Ms: quantile(f.fresh, 0.5), P99Ms: quantile(f.fresh, 0.99), MaxMs: quantile(f.fresh, 1),
		EventsPerS: round(float64(len(f.acks)) / took.Seconds()), Wanted: f.opts.Rate, Searched: len(f.fresh), Searches: f.searches.Load(),
		AckP50Ms: quantile(f.acks, 0.5), AckP99Ms: quantile(f.acks, 0.99), Connections: f.opts.Connections, WordsPerText: wordsPerText}, nil
}

func (f *freshnessRun) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure == nil {
		f.failure = err
	}
}

func (f *freshnessRun) send(ctx context.Context, i int) {
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.server.base+"/v1/events", bytes.NewReader(f.events[i]))
	if err != nil {
		f.fail(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	if err := f.server.do(req, nil); err != nil {
		f.fail(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acks = append(f.acks, time.Since(start))
}

// find searches until the event's entity is among the hits. The clock starts when the event
// was due, so a producer that lags behind counts.
func (f *freshnessRun) find(ctx context.Context, i int, due time.Time) {
	body := map[string]any{"text": f.texts[i], "k": 3, "include": []string{}}
	want := entityName(i)
	for time.Since(due) < 30*time.Second {
		var answer struct {
			Hits []struct {
				EntityID string `json:"entity_id"`
			} `json:"hits"`
		}
		if err := f.server.call(ctx, http.MethodPost, "/v1/search", body, &answer); err != nil {
			f.fail(err)
			return
		}
		f.searches.Add(1)
		for _, h := range answer.Hits {
			if h.EntityID == want {
				f.mu.Lock()
				f.fresh = append(f.fresh, time.Since(due))
				f.mu.Unlock()
				return
			}
		}
	}
	f.fail(fmt.Errorf("%s was not found within 30 s", want))
}
