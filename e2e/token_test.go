package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
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
