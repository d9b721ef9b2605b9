package e2e_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestReplay sends a real history twice: live, without an order of its own, and as a dump in
// random order where each event carries its place. Both end in exactly the known state.
func TestReplay(t *testing.T) {
	t.Parallel()
	h := loadHistory(t)
	choices := seed(t)
	s, a := startServer(t, "auto_create: true\n")

	t.Run("live", func(t *testing.T) {
		a := a.in(t)
		token := replay(t, a, choices, h.events("live", "", false))
		h.checkFinal(t, a, "default", "live", token, h.changes)
	})
	t.Run("dump", func(t *testing.T) {
		a := a.in(t)
		dump := h.events("dump", "dump", true)
		random(choices, "dump").Shuffle(len(dump), func(i, j int) { dump[i], dump[j] = dump[j], dump[i] })
		token := replay(t, a, choices, dump)
		// An event changed its entity if none that came before it was newer; 4 producers keep
		// the order of each entity.
		h.checkFinal(t, a, "dump", "dump", token, newest(dump))
	})
	t.Run("sent again", func(t *testing.T) {
		a := a.in(t)
		before := a.stats().Outcomes
		token := replay(t, a, choices+1, h.events("live", "", false))
		h.checkFinal(t, a, "default", "live", token, h.changes)
		after := a.stats().Outcomes
		if n := after["repeated"] - before["repeated"]; n != int64(len(h.revisions)) {
			t.Errorf("%d events counted as repeated, want all %d", n, len(h.revisions))
		}
	})
	t.Run("audit", func(t *testing.T) {
		a := a.in(t)
		r := a.audit()
		if want := int64(2 * len(h.final)); r.Entities != want || r.Tombstones != int64(2*len(h.dead)) || r.Records != int64(3*len(h.revisions)) {
			t.Errorf("the audit counts %d entities, %d tombstones, %d records; want %d, %d, %d",
				r.Entities, r.Tombstones, r.Records, want, 2*len(h.dead), 3*len(h.revisions))
		}
	})
	t.Run("started again", func(t *testing.T) {
		a := a.in(t)
		s.stop()
		s.start()
		h.checkFinal(t, a, "default", "live", "", h.changes)
		h.checkFinal(t, a, "dump", "dump", "", nil)
		a.audit()
	})
}

// replay sends events with four producers and returns the token of all of them.
func replay(t *testing.T, a *api, choices uint64, events []event) string {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var tokens []string
	parts := byEntity(events, 4)
	parallel(len(parts), parts, func(part []event) {
		p := &producer{url: a.url, http: a.http, random: random(choices, part[0].EntityID), most: 200, wait: 5 * time.Millisecond,
			acked: func(_ []event, token string) {
				mu.Lock()
				defer mu.Unlock()
				tokens = append(tokens, token)
			}}
		if err := p.send(context.Background(), part); err != nil {
			t.Error(err)
		}
		if p.unknown > 0 {
			t.Errorf("%d requests were not answered", p.unknown)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	sent := time.Now()
	applied := a.search("text", "anything", "k", 1, "after", tokens).Applied
	t.Logf("%d events durable after %v, searchable %v later", len(events), sent.Sub(start).Round(time.Millisecond), since(sent))
	return applied
}

// newest counts, for events sent in this order, those that were newer than all before them
// of the same entity.
func newest(events []event) map[string]int {
	counts, head := map[string]int{}, map[string]int64{}
	for _, e := range events {
		if e.Order > head[e.EntityID] {
			head[e.EntityID] = e.Order
			counts[e.EntityID]++
		}
	}
	return counts
}

// TestUnknownOutcomes replays the history through connections that break at random: requests
// cut off, answers dropped or never given. The clients send again what was not acknowledged,
// and nothing counts twice.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	h := loadHistory(t)
	choices := seed(t)
	_, a := startServer(t, "")
	proxy := startFlaky(t, a.url, random(choices, "proxy"))

	events := h.events("e", "", false)
	var mu sync.Mutex
	var tokens []string
	unknown, requests := 0, 0
	parts := byEntity(events, 6)
	parallel(len(parts), parts, func(part []event) {
		// A connection each, so that every request meets a fault of its own.
		p := &producer{url: proxy.url, random: random(choices, part[0].EntityID), most: 40, wait: time.Millisecond,
			http: &http.Client{Timeout: 250 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}},
			acked: func(_ []event, token string) {
				mu.Lock()
				defer mu.Unlock()
				tokens = append(tokens, token)
			}}
		err := p.send(context.Background(), part)
		mu.Lock()
		defer mu.Unlock()
		unknown += p.unknown
		requests += p.requests
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d requests acknowledged, %d with unknown outcome, %d connections broken", requests, unknown, proxy.broken())
	var token string
	for chunk := range slices.Chunk(tokens, 50) {
		token = a.search("text", "anything", "k", 1, "after", chunk).Applied
	}
	a.settle() // requests that were given up may still be taken in
	h.checkFinal(t, a, "default", "e", token, h.changes)
	if repeated := a.stats().Outcomes["repeated"]; unknown < 50 || repeated < 500 {
		t.Errorf("%d unknown outcomes, %d repeated events: the faults did not bite", unknown, repeated)
	}
	a.audit()
}
