package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// answerLimit is how long searches may take to be answered again, when a copy of what they look for dies or falls silent.
const answerLimit = time.Second

// roles are processes of one freshet: one that takes events in and decides them, and three that answer searches, of which whole holds
// all partitions, low and high a half each.
type roles struct {
	t                      *testing.T
	ingest, low, high      *server
	whole                  *server
	events, lowA, highA, w *api
}

func startRoles(t *testing.T) *roles {
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	r := &roles{t: t}
	start := func(role, partitions string) (*server, *api) {
		return startServer(t, yaml+"roles: ["+role+"]\nquery: {partitions: "+partitions+"}\n")
	}
	r.ingest, r.events = start("source, process", "all")
	r.low, r.lowA = start("query", "0-2")
	r.high, r.highA = start("query", "3-5")
	r.whole, r.w = start("query", "all")
	for _, s := range r.servers() {
		s.troubled = true // by what the test does to the others
	}
	return r
}

func (r *roles) servers() map[string]*server {
	return map[string]*server{"ingest": r.ingest, "low": r.low, "high": r.high, "whole": r.whole}
}

// asking are the processes that have to ask others.
func (r *roles) asking() map[string]*api {
	return map[string]*api{"ingest": r.events, "low": r.lowA, "high": r.highA}
}

// peersUp waits until everybody that asks knows so many others that are there.
func (r *roles) peersUp(want float64) {
	r.t.Helper()
	for name, a := range r.asking() {
		eventually(r.t, name+" knows the others", func() bool {
			a.search("text", "who is there", "k", 1)
			m := a.metrics()
			if name == "ingest" {
				return m["freshet_peers_up"] == want
			}
			return m["freshet_peers_up"] == want-1
		})
	}
}

func subjects(n int) string {
	words := strings.Fields("river bridge copper violin harbour lantern meadow engine glacier pepper saddle window orchard thunder velvet marble")
	return fmt.Sprintf("%s and %s near the %s, number %d", words[n%16], words[n/16%16], words[(n*7+3)%16], n)
}

// Searches by processes that hold some partitions, or none, find what one finds that holds all: the same entities with the same
// scores; by text, vector, entity, filter and token.
func TestKafkaRoles(t *testing.T) {
	t.Parallel()
	r := startRoles(t)
	const entities = 400
	var batch []event
	for i := range entities {
		batch = append(batch, event{EntityID: fmt.Sprint("e", i), Payload: text(subjects(i), "n", i, "html", "<b>&</b>"), Namespace: []string{"default", "other"}[i%10/9]})
	}
	token := r.events.events(batch...)
	r.peersUp(3)
	var vector struct{ Vector []float32 }
	r.w.must("POST", "/embed", map[string]any{"text": "a bridge over the river"}, &vector)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, search := range [][]any{
		{"text", "a bridge over the river", "k", 10},
		{"text", "thunder in the orchard", "k", 1000},
		{"text", "copper", "k", 7, "filter", map[string]any{"range": map[string]any{"n": map[string]any{"gte": 100, "lt": 200}}}},
		{"text", "copper", "k", 20, "filter", "n < 50 || n > 300", "exact", true},
		{"text", "velvet", "namespace", "other", "include", []string{"text", "metadata"}},
		{"text", "velvet", "include", []string{"text"}},
		{"text", "velvet", "include", []string{}},
		{"entity_id", "e17", "k", 12},
		{"vector", vector.Vector, "k", 15, "ef", 200},
		{"text", "x", "namespace", "nobody"},
	} {
		search = append(search, "after", token)
		want := r.w.search(search...)
		for name, a := range r.asking() {
			sameHits(t, fmt.Sprintf("%v by %s", search, name), a.search(search...), want)
		}
	}
	var minimal, minimalWant found
	r.w.must("POST", "/search?k=9", map[string]any{"text": "marble"}, &minimalWant)
	r.events.must("POST", "/search?k=9", map[string]any{"text": "marble"}, &minimal)
	sameHits(t, "the minimal form", &minimal, &minimalWant)

	for range 20 { // read your writes, wherever the write went and whoever is asked
		id := fmt.Sprint("e", rng.IntN(entities)/10*10)
		after := r.events.events(event{EntityID: id, Payload: text("it is about zeppelins now", "n", -1)})
		for name, a := range r.asking() {
			if e := a.entity(id, "after", after); e.Text != "it is about zeppelins now" {
				t.Errorf("%s of %s: %+v", id, name, e)
			}
			if f := a.search("text", "it is about zeppelins now", "after", after, "k", 1); len(f.Hits) != 1 || f.Hits[0].Score < 0.99 {
				t.Errorf("%s finds %+v", name, f.Hits)
			}
		}
		after = r.events.delete(id)
		for _, a := range r.asking() {
			a.gone(id, "after", after)
		}
		token = after
	}
	r.w.await(token)
	var want json.RawMessage
	r.w.must("GET", "/v1/collections", nil, &want)
	for name, a := range r.asking() {
		var got json.RawMessage
		if a.must("GET", "/v1/collections", nil, &got); string(got) != string(want) {
			t.Errorf("collections of %s are %s, want %s", name, got, want)
		}
	}
	r.problems(token)
}

// problems are what processes answer that don't have a role, and to searches that are wrong.
func (r *roles) problems(token string) {
	t := r.t
	for _, c := range []struct {
		a            *api
		method, path string
		body         any
		status       int
		code         string
		says         string
	}{
		{r.lowA, "POST", "/v1/events", event{EntityID: "x"}, http.StatusMisdirectedRequest, "misdirected", r.ingest.url()},
		{r.w, "DELETE", "/v1/entities/e1", nil, http.StatusMisdirectedRequest, "misdirected", r.ingest.url()},
		{r.lowA, "GET", "/v1/changes?follow=false", nil, http.StatusMisdirectedRequest, "misdirected", r.whole.url()},
		{r.lowA, "GET", "/v1/admin/dlq", nil, http.StatusMisdirectedRequest, "misdirected", r.ingest.url()},
		{r.lowA, "DELETE", "/v1/collections/default", nil, http.StatusMisdirectedRequest, "misdirected", r.ingest.url()},
		{r.highA, "GET", "/v1/admin/export", nil, http.StatusMisdirectedRequest, "misdirected", r.whole.url()},
		{r.lowA, "POST", "/v1/admin/pause", nil, http.StatusMisdirectedRequest, "misdirected", r.ingest.url()},
		{r.events, "POST", "/v1/admin/snapshot", nil, http.StatusMisdirectedRequest, "misdirected", "the role query"},
		{r.events, "POST", "/v1/search", map[string]any{"text": "a", "collection": "none"}, http.StatusNotFound, "unknown_collection", "none"},
		{r.events, "POST", "/v1/search", map[string]any{"vector": []int{1}}, http.StatusBadRequest, "wrong_dimension", ""},
		{r.events, "POST", "/v1/search", map[string]any{"text": "a", "filter": "n +"}, http.StatusBadRequest, "invalid_field", ""},
		{r.events, "POST", "/v1/search", map[string]any{"entity_id": "nobody"}, http.StatusNotFound, "not_found", "nobody"},
		{r.lowA, "POST", "/v1/internal/search", map[string]any{"node": "another", "partitions": "1"}, http.StatusMisdirectedRequest, "misdirected", "another"},
		{r.events, "POST", "/v1/internal/counts", map[string]any{"node": "none", "partitions": "1"}, http.StatusMisdirectedRequest, "misdirected", "holds nothing"},
	} {
		var p problem
		status := c.a.must(c.method, c.path, c.body, &p)
		refused(t, p, status, c.status, c.code, c.says)
	}
	// What nobody has decided yet is waited for, and the error says how far it is.
	r.events.pause()
	late := r.events.events(event{EntityID: "late", Payload: text("late")})
	for _, a := range []*api{r.events, r.lowA} {
		f, status := a.trySearch("text", "late", "after", late, "timeout_ms", 700)
		refused(t, f.problem, status, http.StatusGatewayTimeout, "position_not_reached", "events.keyed/")
	}
	r.events.resume()
	r.events.entity("late", "after", late)
	for name, a := range map[string]*api{"low": r.lowA, "whole": r.w, "ingest": r.events} {
		if report := a.audit(); name == "ingest" && report.Records == 0 {
			t.Errorf("%s audits %+v", name, report)
		}
	}
}

func sameHits(t *testing.T, what string, got, want *found) {
	t.Helper()
	type comparable struct {
		id, version, event, metadata string
		text                         *string
		score                        float64
	}
	of := func(f *found) map[string]comparable {
		m := map[string]comparable{}
		for i, h := range f.Hits {
			if i > 0 && h.Score > f.Hits[i-1].Score {
				t.Errorf("%s: not best first", what)
			}
			m[h.EntityID] = comparable{h.EntityID, h.Version, h.SourceEventID, string(h.Metadata), h.Text, h.Score}
		}
		if len(m) != len(f.Hits) {
			t.Errorf("%s: an entity stands twice", what)
		}
		return m
	}
	if g, w := of(got), of(want); !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\n%+v\nwant\n%+v", what, g, w)
	}
}

// With two copies of each partition searches are answered within a second whichever dies, or falls silent. Without one the
// error names the partitions, unless the caller wants what there is.
func TestKafkaCopiesDie(t *testing.T) {
	t.Parallel()
	r := startRoles(t)
	const entities = 60
	var batch []event
	for i := range entities {
		batch = append(batch, event{EntityID: fmt.Sprint("e", i), Payload: text(subjects(i))})
	}
	r.w.await(r.events.events(batch...))
	r.peersUp(3)
	all := func(name string, a *api) {
		t.Helper()
		begun := time.Now()
		f, status := a.trySearch("text", "river", "k", 100)
		if status != http.StatusOK || len(f.Hits) != entities {
			t.Errorf("%s: status %d %s, %d hits", name, status, f.Detail, len(f.Hits))
		}
		took := time.Since(begun)
		t.Logf("%s: answered after %v", name, took.Round(time.Millisecond))
		if took > answerLimit {
			t.Errorf("%s: answered after %v", name, took)
		}
	}
	each := func(what string) {
		t.Helper()
		for name, a := range r.asking() {
			all(what+", by "+name, a)
		}
	}
	each("all are there")

	r.whole.kill()
	each("one with all was killed")
	r.peersUp(2)
	each("and is known to be dead")
	r.whole.start()
	r.w = newAPI(t, r.whole.url)
	r.peersUp(3)

	for range 3 {
		for name, s := range map[string]*server{"low": r.low, "whole": r.whole} {
			if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			all(name+" is frozen, by ingest", r.events)
			all(name+" is frozen, by high", r.highA)
			all(name+" is still frozen, by ingest", r.events)
			if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			r.peersUp(3)
		}
	}

	r.whole.stop()
	if !strings.Contains(r.whole.out.tail(100), "this process takes part") {
		t.Error("it has not said that it takes part")
	}
	eventually(t, "one that has stopped is forgotten", func() bool { return r.events.metrics()["freshet_peers"] == 2 })
	r.high.kill()
	for _, a := range []*api{r.events, r.lowA} {
		f, status := a.trySearch("text", "river", "k", 100)
		refused(t, f.problem, status, http.StatusServiceUnavailable, "unavailable", "partitions 3-5", r.high.url())
		var some struct {
			found
			Missing []int `json:"missing_partitions"`
		}
		status = a.must("POST", "/v1/search", map[string]any{"text": "river", "k": 100, "partial": true}, &some)
		if status != http.StatusOK || !reflect.DeepEqual(some.Missing, []int{3, 4, 5}) || len(some.Hits) == 0 || len(some.Hits) >= entities {
			t.Errorf("what there is: status %d %s, %d hits, missing %v", status, some.Detail, len(some.Hits), some.Missing)
		}
	}
	r.whole.start() // from the snapshot that its stop wrote
	if said := r.whole.out.tail(1000); !strings.Contains(said, "snapshots=1 ") || !strings.Contains(said, "rejected_snapshots=0") || !strings.Contains(said, "built_from_log=0") {
		t.Errorf("it has not loaded its snapshot:\n%s", said)
	}
	for name, a := range map[string]*api{"ingest": r.events, "low": r.lowA} {
		eventually(t, name+" knows that it is back", func() bool { return a.metrics()["freshet_peers_up"] > 0 })
		all("it is back, by "+name, a)
	}
}
