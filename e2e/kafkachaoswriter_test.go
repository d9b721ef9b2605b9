package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chaosWriter writes entities that nobody else writes, and knows what has to become of them.
type chaosWriter struct {
	c        *chaos
	name     string
	rng      *rand.Rand
	entities int
	script   []event       // what is sent, instead of events by chance
	raw      *kgo.Client   // sends to events.raw, without event ids; else it is sent over HTTP
	batch    int           // events of a request
	total    int           // events; 0 = as many as there is time for
	every    time.Duration // between two requests

	made   int
	state  map[string]chaosState
	tokens []string
}

// chaosState is what an entity must be.
type chaosState struct {
	n       int // events that it has had
	deleted bool
	text    string
	token   string // of the last of them; "" if it came by events.raw
}

// historyPrefix begins the event ids of the history.
const historyPrefix = "history"

// openWriters makes those that write what they can, and for a number of events more of them, which write those and the history until shortly before the end.
func (c *chaos) openWriters(events int) {
	add := func(w chaosWriter) {
		w.c, w.rng, w.state = c, rand.New(rand.NewPCG(c.rng.Uint64(), 0)), map[string]chaosState{}
		w.name = fmt.Sprint("w", len(c.writers))
		if w.total > 0 {
			w.every = c.lasts * 9 / 10 * time.Duration(w.batch) / time.Duration(w.total)
		}
		c.writers = append(c.writers, &w)
	}
	raw := c.k.Client(c.t, kgo.DefaultProduceTopic(c.prefix+"events.raw"))
	pause := time.Duration(0)
	if events > 0 {
		pause = 20 * time.Millisecond
	}
	for range 3 {
		add(chaosWriter{entities: 60, batch: 1, every: pause})
	}
	add(chaosWriter{entities: 60, batch: 2, every: pause, raw: raw})
	if events == 0 {
		return
	}
	const writers = 8 // one waits as long as the process that it asks is frozen
	for i := range writers {
		w := chaosWriter{entities: 1500, batch: 200, total: events / writers}
		if i == 0 {
			w.raw = raw
		}
		add(w)
	}
	c.history = loadHistory(c.t)
	for _, script := range byEntity(c.history.events(historyPrefix, "history", false), 2) {
		add(chaosWriter{script: script, batch: 7, total: len(script)})
	}
}

// run sends until all is sent, or until stop is closed where there is no end.
func (w *chaosWriter) run(t *testing.T, stop <-chan struct{}) {
	for n, begun := 0, time.Now(); w.total == 0 || w.made < w.total; n++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Until(begun.Add(time.Duration(n) * w.every))):
		}
		batch := w.next()
		token, err := w.send(batch)
		if err != nil {
			t.Errorf("%d events of writer %s, the first %+v: %v", len(batch), w.name, batch[0], err)
			return
		}
		w.c.sent.Add(int64(len(batch)))
		if w.raw != nil {
			continue
		}
		w.tokens = append(w.tokens, token)
		for _, e := range batch {
			if s, ok := w.state[e.EntityID]; ok {
				s.token = token
				w.state[e.EntityID] = s
			}
		}
		if n%20 == 19 && w.script == nil { // a token holds on every process
			id := batch[len(batch)-1].EntityID
			s := w.state[id]
			status, got, err := s.read(w.c.apis[w.rng.IntN(len(w.c.apis))], id)
			if err != nil || status >= 500 {
				continue // it was killed meanwhile
			}
			if err := s.differs(status, got); err != nil {
				t.Errorf("%s right after event %d: %v", id, s.n, err)
			}
		}
	}
}

// next makes a batch.
func (w *chaosWriter) next() (batch []event) {
	size := w.batch
	if w.total > 0 {
		size = min(size, w.total-w.made)
	}
	if w.script != nil {
		batch = w.script[w.made : w.made+size]
	} else {
		for range size {
			batch = append(batch, w.event(fmt.Sprintf("%s-%d", w.name, w.rng.IntN(w.entities))))
		}
	}
	w.made += size
	return batch
}

// event makes an event of an entity: a new state, with the same text or another, a patch of it, a deletion, or one that was sent before.
func (w *chaosWriter) event(id string) event {
	s := w.state[id]
	if w.raw == nil && s.n > 0 && w.rng.IntN(10) == 0 {
		return event{EventID: fmt.Sprint(1 + w.rng.IntN(s.n)), EntityID: id, Payload: text("a repetition")}
	}
	s.n++
	e := event{EntityID: id}
	if w.raw == nil {
		e.EventID = fmt.Sprint(s.n)
	}
	switch live := s.n > 1 && !s.deleted; {
	case w.rng.IntN(8) == 0:
		s.deleted = true
		e.Op = "delete"
	case live && w.rng.IntN(4) == 0:
		e.Op, e.Payload = "patch", map[string]any{"n": s.n}
	default:
		if !live || w.rng.IntN(3) == 0 {
			s.text = fmt.Sprintf("%s at %d", id, s.n)
		}
		s.deleted = false
		e.Op, e.Payload = "upsert", text(s.text, "n", s.n)
	}
	w.state[id] = s
	return e
}

// send sends a batch until it is accepted. An error is that it was refused.
func (w *chaosWriter) send(batch []event) (token string, err error) {
	if w.raw != nil {
		return "", w.produce(batch)
	}
	for {
		var in ingested
		status, err := w.c.apis[w.rng.IntN(len(w.c.apis))].call("POST", "/v1/events", batch, &in)
		if err == nil && status == http.StatusOK && in.Accepted == int64(len(batch)) {
			return in.Token, nil
		}
		if err == nil && status < 500 && status != http.StatusTooManyRequests {
			return "", fmt.Errorf("status %d %s, %d accepted, rejected: %+v", status, in.Detail, in.Accepted, in.Rejected)
		}
		w.c.retried.Add(1)
		time.Sleep(time.Duration(5+w.rng.IntN(40)) * time.Millisecond)
	}
}

// produce writes a batch to events.raw, each event with its entity as key.
func (w *chaosWriter) produce(batch []event) error {
	var records []*kgo.Record
	for _, e := range batch {
		value, err := json.Marshal(e)
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Key: []byte(e.EntityID), Value: value})
	}
	return w.raw.ProduceSync(context.Background(), records...).FirstErr()
}

// read reads an entity as soon as its last event counts.
func (s *chaosState) read(a *api, id string) (status int, got *entity, err error) {
	pairs := []string{"timeout_ms", fmt.Sprint(deadline.Milliseconds())}
	if s.token != "" {
		pairs = append(pairs, "after", s.token)
	}
	got = &entity{}
	status, err = a.call("GET", entityPath(id, pairs...), nil, got)
	return status, got, err
}

func (s *chaosState) differs(status int, got *entity) error {
	switch {
	case s.deleted && status != http.StatusNotFound:
		return fmt.Errorf("it is deleted, status %d: %+v", status, got)
	case s.deleted:
		return nil
	case status != http.StatusOK:
		return fmt.Errorf("status %d %s, want it live after %d events", status, got.Detail, s.n)
	case got.Events != s.n:
		return fmt.Errorf("it was changed by %d events, want %d", got.Events, s.n)
	case got.Text != s.text:
		return fmt.Errorf("its text is %q, want %q", got.Text, s.text)
	case string(got.Metadata) != fmt.Sprintf(`{"n":%d}`, s.n):
		return fmt.Errorf("its metadata is %s after %d events", got.Metadata, s.n)
	}
	return nil
}

// check holds a process to what was accepted: every token is honoured, and every entity is what it must be, once all is decided.
func (w *chaosWriter) check(t *testing.T, process int, a *api) {
	t.Helper()
	if len(w.tokens) > 0 {
		last := chaosState{token: w.tokens[len(w.tokens)-1]}
		within(t, settled, fmt.Sprintf("process %d honours the last token of writer %s", process, w.name), func() bool {
			status, _, err := last.read(a, "any")
			return err == nil && status < 500
		})
	}
	wrong := w.wrong(a)
	for end := time.Now().Add(settled); w.raw != nil && len(wrong) > 0 && time.Now().Before(end); wrong = w.wrong(a) {
		time.Sleep(time.Second) // no token says when these are decided
	}
	for _, what := range wrong[:min(len(wrong), 5)] {
		t.Errorf("process %d: %s", process, what)
	}
	if len(wrong) > 5 {
		t.Errorf("process %d: %d things are wrong about writer %s, which has %d entities", process, len(wrong), w.name, len(w.state))
	}
}

// wrong is what is not as it must be.
func (w *chaosWriter) wrong(a *api) (all []string) {
	var mu sync.Mutex // guards all
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, fmt.Sprintf(format, args...))
	}
	parallel(8, w.tokens, func(token string) {
		s := chaosState{token: token}
		if status, got, err := s.read(a, "any"); err != nil || status != http.StatusNotFound || got.Code != "not_found" {
			complain("token %s of writer %s: status %d %s: %v", token, w.name, status, got.Detail, err)
		}
	})
	parallel(8, keys(w.state), func(id string) {
		s := w.state[id]
		status, got, err := s.read(a, id)
		if err == nil {
			err = s.differs(status, got)
		}
		if err != nil {
			complain("%s: %v", id, err)
		}
	})
	return all
}
