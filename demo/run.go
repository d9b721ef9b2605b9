package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sendPeriod   = 50 * time.Millisecond // between requests
	sendMax      = 500                   // events of one request
	probePeriod  = 3 * time.Second
	screenPeriod = time.Second     // of the status line on a terminal
	linePeriod   = 5 * time.Second // of plain lines
	finishWait   = 20 * time.Second
	probesKept   = 200
)

// Options say what Run does.
type Options struct {
	Server   string        // base URL of a server that has the shop's collections
	Watching string        // the folder that the server watches, for the instructions
	Rate     float64       // events/s; above zero
	For      time.Duration // 0: until the context ends
	Shop     ShopOptions
	Out      io.Writer
	Terminal bool // Out is a terminal: one status line is written over and over
}

// Summary is how a run went.
type Summary struct {
	Accepted int64 // by the server's log, of all producers
	Lag      int64 // events not decided at the end
	Entities int64
	P50, P99 *float64 // ms from acceptance to searchable, over the last seconds; nil without events
	Changes  int      // of the demo's own that were looked for
	Missed   int      // of those, not found in time
	Median   time.Duration
	Audited  bool  // false if the audit took too long
	Clean    bool  // log, table and indexes agree
	Found    int64 // differences that the audit found
}

// Run sends the catalogue, prints what to open and to try, and lets the shop live until its
// time is over or ctx ends, which is no error. It returns once the server has decided
// everything and has audited itself.
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.Shop.Run == "" {
		o.Shop.Run = defaultRun
	}
	d := &runner{opts: o, api: &api{base: o.Server, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}}
	defer d.api.http.CloseIdleConnections()
	shop := NewShop(o.Shop)
	if err := d.fill(ctx, shop); err != nil {
		return Summary{}, endedBy(ctx, err)
	}
	fmt.Fprint(o.Out, instructions(o))
	live, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.For > 0 {
		var stop context.CancelFunc
		live, stop = context.WithTimeout(live, o.For)
		defer stop()
	}
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{
		func(ctx context.Context) error { return d.trade(ctx, shop) }, d.look, d.show,
	} {
		parts.Go(func() {
			if err := part(live); err != nil && live.Err() == nil {
				cancel(err)
			}
		})
	}
	parts.Wait()
	if o.Terminal {
		fmt.Fprintln(o.Out)
	}
	if err := context.Cause(live); err != context.DeadlineExceeded && ctx.Err() == nil {
		return Summary{}, err
	}
	return d.finish(context.WithoutCancel(ctx))
}

// endedBy makes a wanted end no error.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// runner is the state of one Run.
type runner struct {
	opts  Options
	api   *api
	token atomic.Value // string: of the last request of the shop

	mu     sync.Mutex      // guards what follows
	probes []time.Duration // the latest, oldest first
	count  int             // of changes looked for
	missed int
}

// fill sends the catalogue and waits until all of it can be searched.
func (d *runner) fill(ctx context.Context, shop *Shop) error {
	catalogue := shop.Catalogue()
	start := time.Now()
	for part := range slices.Chunk(catalogue, sendMax) {
		token, err := d.api.send(ctx, part)
		if err != nil {
			return err
		}
		d.token.Store(token)
	}
	if _, err := d.api.search(ctx, Products, "anything", 1, d.token.Load().(string)); err != nil {
		return fmt.Errorf("wait for the catalogue: %w", err)
	}
	fmt.Fprintf(d.opts.Out, "\n%s products sent, and all of them searchable, within %.2f s.\n", grouped(int64(len(catalogue))), time.Since(start).Seconds())
	return nil
}

// trade lets the shop live at the wanted rate. When the server is slower than that, what was
// not sent within a second is never made.
func (d *runner) trade(ctx context.Context, shop *Shop) error {
	tick := time.NewTicker(sendPeriod)
	defer tick.Stop()
	owed, last := 0.0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			owed = min(owed+now.Sub(last).Seconds()*d.opts.Rate, d.opts.Rate)
			last = now
		}
		events := make([]Event, 0, int(owed))
		for ; owed >= 1; owed-- {
			events = append(events, shop.Next())
		}
		for part := range slices.Chunk(events, sendMax) {
			token, err := d.api.send(ctx, part)
			if err != nil {
				return err
			}
			d.token.Store(token)
		}
	}
}

// look makes a change now and then and notes how long searches took to see it.
func (d *runner) look(ctx context.Context) error {
	p := &probe{api: d.api, run: d.opts.Shop.Run, rng: rand.New(rand.NewPCG(d.opts.Shop.Seed, 0x70726f62))}
	tick := time.NewTicker(probePeriod)
	defer tick.Stop()
	for {
		took, found, err := p.once(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		d.note(took, found)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *runner) note(took time.Duration, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if !found {
		d.missed++
		return
	}
	if d.probes = append(d.probes, took); len(d.probes) > probesKept {
		d.probes = d.probes[1:]
	}
}

// show prints how it goes.
func (d *runner) show(ctx context.Context) error {
	period := linePeriod
	if d.opts.Terminal {
		period = screenPeriod
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	var before stats
	at := time.Now()
	for {
		s, err := d.api.stats(ctx)
		if err != nil {
			return fmt.Errorf("read the server's figures: %w", err)
		}
		now := time.Now()
		if before.Accepted > 0 {
			d.print(s, float64(s.Accepted-before.Accepted)/now.Sub(at).Seconds())
		}
		before, at = s, now
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *runner) print(s stats, rate float64) {
	d.mu.Lock()
	line := statusLine(s, rate, d.probes)
	d.mu.Unlock()
	if d.opts.Terminal {
		line = overwrite(line)
	} else {
		line += "\n"
	}
	_, _ = io.WriteString(d.opts.Out, line)
}

// finish waits until all is decided, and audits.
func (d *runner) finish(ctx context.Context) (s Summary, err error) {
	fmt.Fprint(d.opts.Out, "\nWaiting for the last events, then auditing all of them …\n")
	ctx, cancel := context.WithTimeout(ctx, finishWait)
	defer cancel()
	token, _ := d.token.Load().(string)
	if _, err := d.api.search(ctx, Products, "anything", 1, token); err != nil {
		return s, fmt.Errorf("wait for the last events: %w", err)
	}
	last, err := d.api.stats(ctx)
	if err != nil {
		return s, err
	}
	s = Summary{Accepted: last.Accepted, Lag: last.LagRecords, Entities: last.Entities, P50: last.FreshnessMs.P50, P99: last.FreshnessMs.P99,
		Changes: d.count, Missed: d.missed, Median: median(d.probes)}
	s.Clean, s.Found, err = d.api.audit(ctx)
	if s.Audited = err == nil; err != nil && ctx.Err() == nil {
		return s, fmt.Errorf("audit: %w", err)
	}
	_, err = io.WriteString(d.opts.Out, s.text())
	return s, err
}

func median(values []time.Duration) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// grouped writes a count with a comma between thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	var sb strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			sb.WriteByte(',')
		}
		sb.WriteRune(c)
	}
	return sb.String()
}
