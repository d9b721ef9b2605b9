package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTokenOutcomes has one test for each outcome that decides a position: once the token
// of an event has been waited for, the outcome shows.
func TestTokenOutcomes(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "auto_create: true\n")
	// decided waits for a token and checks that nothing is warned of.
	decided := func(t *testing.T, a *api, token string) {
		t.Helper()
		if w := a.await(token); len(w) > 0 {
			t.Errorf("warnings %q, want none", w)
		}
	}

	t.Run("searchable", func(t *testing.T) {
		a := a.in(t)
		token := a.events(event{EventID: "s1", EntityID: "heron", Payload: text("a grey heron stands in the reeds")})
		f := a.search("text", "heron in the reeds", "k", 1, "after", token)
		if len(f.Hits) != 1 || f.Hits[0].EntityID != "heron" || f.Hits[0].SourceEventID != "s1" {
			t.Errorf("found %+v, want the heron of event s1", f.Hits)
		}
		if e := a.entity("heron", "after", token); e.Text != "a grey heron stands in the reeds" {
			t.Errorf("text %q", e.Text)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EntityID: "otter", Payload: text("an otter swims up the river")})
		token := a.events(event{EntityID: "otter", Op: "delete"})
		if f := a.search("text", "an otter swims up the river", "k", 10, "after", token); strings.Contains(fmt.Sprint(f.ids()), "otter") {
			t.Errorf("the deleted otter is found: %v", f.ids())
		}
		a.gone("otter", "after", token)
		decided(t, a, token)
	})
	t.Run("deleted through the API", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EntityID: "newt", Payload: text("a newt hides under a stone")})
		token := a.delete("newt", "event_id", "newt-gone")
		a.gone("newt", "after", token)
	})
	t.Run("unchanged", func(t *testing.T) {
		a := a.in(t)
		first := a.entity("crane", "after", a.events(event{EntityID: "crane", Payload: text("cranes fly south")}))
		token := a.events(event{EntityID: "crane", Payload: text("cranes fly south")})
		decided(t, a, token)
		if e := a.entity("crane", "after", token); e.Text != first.Text || e.Version <= first.Version {
			t.Errorf("after the same content again: text %q version %s, before %s", e.Text, e.Version, first.Version)
		}
		if n := a.stats().Outcomes["unchanged"]; n != 1 {
			t.Errorf("%d events count as unchanged, want 1", n)
		}
	})
	t.Run("superseded", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EntityID: "tern", Order: 7, Payload: text("seven terns"), Collection: "ordered"})
		token := a.events(event{EntityID: "tern", Order: 6, Payload: text("six terns"), Collection: "ordered"})
		decided(t, a, token)
		if e := a.entity("tern", "collection", "ordered", "after", token); e.Text != "seven terns" || e.Events != 1 {
			t.Errorf("text %q after %d events, want that of the newer order", e.Text, e.Events)
		}
	})
	t.Run("repeated", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EventID: "r1", EntityID: "robin", Payload: text("a robin sings")})
		token := a.events(event{EventID: "r1", EntityID: "robin", Payload: text("the id came once already")})
		decided(t, a, token)
		if e := a.entity("robin", "after", token); e.Text != "a robin sings" || e.Events != 1 {
			t.Errorf("text %q after %d events, want the first one's alone", e.Text, e.Events)
		}
	})
	t.Run("dead-lettered", func(t *testing.T) {
		a := a.in(t)
		token := a.events(event{EventID: "d1", EntityID: "dodo", Vector: []float32{1, 2, 3}},
			event{EventID: "d2", EntityID: "duck", Payload: text("a duck dives")})
		warned(t, a.await(token), "events.raw/", "wrong_dimension", "3 dimensions")
		if e := a.entity("duck", "after", token); len(e.Warnings) != 1 || e.Text != "a duck dives" {
			t.Errorf("the entity has text %q and warnings %q, want the warning there too", e.Text, e.Warnings)
		}
		a.gone("dodo", "after", token)
		letters := a.deadLetters()
		if len(letters) != 1 || letters[0].EntityID != "dodo" || letters[0].EventID != "d1" || letters[0].Stage != "validate" || letters[0].Class != "wrong_dimension" {
			t.Errorf("dead letters %+v, want that of the dodo", letters)
		}
		decided(t, a, a.events(event{EntityID: "drake", Payload: text("no dead letter")})) // another token warns of nothing
	})
	a.audit()
}

// TestTokenDropped has a mapping that passes over some events.
func TestTokenDropped(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, `
mapping:
  changes:
    - when: event.kind == "bird"
      entity: event.name
      event_id: event.id
      text: event.song
      metadata: '{"weight": event.weight}'
`)
	body := `{"kind": "bird", "name": "wren", "id": 1, "song": "a loud trill", "weight": 9}
{"kind": "fish", "name": "carp", "id": 2}
{"kind": "bird", "name": "bunting", "id": 3, "song": 4, "weight": 20}
{"name": "nothing else"}
`
	in, status := a.post("application/x-ndjson", body)
	if status != http.StatusOK || in.Accepted != 4 {
		t.Fatalf("status %d, %d accepted: %s %+v; any object is taken with a mapping", status, in.Accepted, in.Detail, in.Rejected)
	}
	f := a.search("text", "trill", "k", 10, "after", in.Token)
	if ids := fmt.Sprint(f.ids()); ids != "[wren]" || string(f.Hits[0].Metadata) != `{"weight":9}` {
		t.Errorf("found %+v, want the wren alone", f.Hits)
	}
	if len(f.Warnings) != 2 {
		t.Errorf("warnings %q, want one for each of the two events that can't be mapped, none for the dropped one", f.Warnings)
	}
	if o := a.stats().Outcomes; o["dropped"] != 1 || o["applied"] != 1 || o["dead_lettered"] != 2 {
		t.Errorf("outcomes %v, want 1 dropped, 1 applied, 2 dead", o)
	}
	alone, _ := a.post("application/json", `{"kind": "fish", "name": "pike", "id": 5}`)
	if w := a.await(alone.Token); len(w) > 0 {
		t.Errorf("a dropped event gives the warnings %q, want none", w)
	}
	// A delete through the API is understood whatever the mapping says.
	a.gone("wren", "after", a.delete("wren"))
	a.audit()
}

// TestTokenOverPartitions sends one body whose events fall into all 16 partitions, and waits
// for all of them with its one token.
func TestTokenOverPartitions(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	const n = 400
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"entity_id":"p%d","payload":{"text":"partition event %d"}}`+"\n", i, i)
		fmt.Fprintf(&body, `{"entity_id":"p%d","vector":[1]}`+"\n", i) // a dead letter, to see its partition
	}
	in, status := a.post("application/x-ndjson", body.String())
	if status != http.StatusOK || in.Accepted != 2*n {
		t.Fatalf("status %d, %d accepted", status, in.Accepted)
	}
	f := a.search("text", "partition event", "k", 1000, "after", in.Token, "include", []string{})
	if len(f.Hits) != n {
		t.Errorf("%d hits, want all %d", len(f.Hits), n)
	}
	if len(f.Warnings) != 11 || !strings.Contains(f.Warnings[10], "more") {
		t.Errorf("%d warnings, want 10 and one that says there are more: %q", len(f.Warnings), f.Warnings)
	}
	partitions := map[int]bool{}
	for _, l := range a.deadLetters() {
		partitions[l.Partition] = true
	}
	if len(partitions) != 16 {
		t.Errorf("the body fell into %d partitions, want 16", len(partitions))
	}
	if f := a.search("text", "x", "k", 1, "after", f.Applied); len(f.Hits) != 1 {
		t.Errorf("applied is no token to search after: %+v", f)
	}
}

// TestTokenMerged waits for a list of tokens.
func TestTokenMerged(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	a.pause()
	var tokens []string
	for i := range 20 {
		tokens = append(tokens, a.events(event{EntityID: fmt.Sprintf("m%d", i), Payload: text(fmt.Sprintf("merged %d", i))}))
	}
	f, status := a.trySearch("text", "merged", "after", tokens, "timeout_ms", 20)
	refused(t, f.problem, status, http.StatusGatewayTimeout, "position_not_reached")
	a.resume()
	if f := a.search("text", "merged", "k", 100, "after", tokens); len(f.Hits) != 20 {
		t.Errorf("%d hits after 20 tokens, want 20", len(f.Hits))
	}
	path := entityPath("m19")
	for i, token := range tokens {
		path += map[bool]string{true: "?", false: "&"}[i == 0] + "after=" + token
	}
	var e entity
	if status := a.must("GET", path, nil, &e); status != http.StatusOK || e.Text != "merged 19" {
		t.Errorf("GET after 20 tokens: status %d, text %q", status, e.Text)
	}
}

// TestTokenTimeout holds processing: a search that can't see what it must is an error that
// names the position reached, never a stale answer.
func TestTokenTimeout(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	before := a.events(event{EntityID: "e", Payload: text("before the pause")})
	a.await(before)
	a.pause()
	token := a.events(event{EntityID: "e", Payload: text("during the pause")})

	start := time.Now()
	f, status := a.trySearch("text", "pause", "after", token, "timeout_ms", 50)
	refused(t, f.problem, status, http.StatusGatewayTimeout, "position_not_reached", "events.raw/", "@1 is not decided", "@0")
	if f.Field != "after" || len(f.Hits) > 0 {
		t.Errorf("field %q, %d hits; want after, none", f.Field, len(f.Hits))
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("the answer came after %v, before timeout_ms", took)
	}
	var e entity
	status = a.must("GET", entityPath("e", "after", token, "timeout_ms", "20"), nil, &e)
	refused(t, e.problem, status, http.StatusGatewayTimeout, "position_not_reached", "events.raw/")
	if got := a.entity("e", "after", before); got.Text != "before the pause" {
		t.Errorf("what was decided before the pause reads %q", got.Text)
	}

	// Who waits gets the answer as soon as processing goes on.
	answer := make(chan *entity, 1)
	go func() {
		var e entity
		if _, err := a.call("GET", entityPath("e", "after", token, "timeout_ms", "30000"), nil, &e); err != nil {
			e.Text = err.Error()
		}
		answer <- &e
	}()
	a.resume()
	if e := <-answer; e.Text != "during the pause" {
		t.Errorf("who waited read %q", e.Text)
	}
}

// TestTokenRefused presents tokens that this log can't have given out.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	_, other := startServer(t, "")
	one := event{EntityID: "e", Payload: text("one")}
	token := a.events(one)
	foreign := other.events(one)

	f, status := a.trySearch("text", "one", "after", foreign)
	refused(t, f.problem, status, http.StatusConflict, "foreign_token", "after:")
	f, status = a.trySearch("text", "one", "after", []string{token, foreign})
	refused(t, f.problem, status, http.StatusConflict, "foreign_token", "two logs")
	e, status := a.get("e", "after", foreign)
	refused(t, e.problem, status, http.StatusConflict, "foreign_token")
	for _, bad := range []string{"hello", "AQ", token[:len(token)-2], token + "AAAA", strings.Repeat("A", 100_000)} {
		f, status := a.trySearch("text", "one", "after", bad)
		refused(t, f.problem, status, http.StatusBadRequest, "invalid_field", "after:")
	}
	for _, bad := range []any{7, true, []int{1}, map[string]string{}} {
		f, status := a.trySearch("text", "one", "after", bad)
		refused(t, f.problem, status, http.StatusBadRequest, "invalid_field", "after:")
	}

	// A position behind the end: a backup of the folder is started, which lacks what came later.
	a.await(token)
	s.stop()
	backup := newServer(t, "")
	if err := os.CopyFS(backup.data, os.DirFS(s.data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(backup.data, "LOCK")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s.start()
	later := a.events(one)
	backup.start()
	b := newAPI(t, backup.url)
	if e := b.entity("e", "after", token); e.Text != "one" {
		t.Errorf("the backup does not take the token from before it: %+v", e)
	}
	f, status = b.trySearch("text", "one", "after", later, "timeout_ms", 1000)
	if status == http.StatusOK || status == http.StatusGatewayTimeout {
		t.Errorf("status %d for a position behind the end of the log, want an error at once", status)
	}
	refused(t, f.problem, status, http.StatusConflict, "foreign_token", "no record of this log")
}

// TestTokenLines asks for an answer line by line: each line's token covers its events.
func TestTokenLines(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	body, send := streamBody(t)
	req, err := http.NewRequest("POST", a.url()+"/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Accept", "application/x-ndjson")
	answers := make(chan *http.Response, 1)
	go func() {
		res, err := a.http.Do(req)
		if err != nil {
			t.Error(err)
		}
		answers <- res
	}()
	send(`{"entity_id":"l0","payload":{"text":"line 0"}}` + "\n")
	res := <-answers
	if res == nil {
		t.FailNow()
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	for i := range 5 {
		var line ingested
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("line %d of the answer: %v", i, err)
		}
		if line.Accepted != 1 || line.Token == "" {
			t.Fatalf("line %d of the answer: %+v, want one accepted event and its token", i, line)
		}
		// The request goes on; its first events can be waited for already.
		if e := a.entity(fmt.Sprintf("l%d", i), "after", line.Token); e.Text != fmt.Sprintf("line %d", i) {
			t.Errorf("text %q", e.Text)
		}
		if i < 4 {
			send(fmt.Sprintf(`{"entity_id":"l%d","payload":{"text":"line %d"}}`+"\n", i+1, i+1))
		}
	}
	send("{bad\n")
	var line ingested
	if err := lines.Decode(&line); err != nil || line.Accepted != 0 || line.RejectedCount != 1 || line.Rejected[0].Index != 5 || line.Rejected[0].Code != "invalid_json" {
		t.Errorf("answer to the bad line: %+v, %v; want it rejected with index 5", line, err)
	}
	body.Close()
	if lines.More() {
		t.Error("the answer goes on behind the last chunk")
	}
}
