package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestDeadLetters(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"), `{"event_id":"e","entity_id":"b","payload":{}}`, `{"entity_id":"c","vector":[1]}`)
	type letter struct {
		Topic             string
		Offset            int64
		Ordinal, Attempts int
		Stage, Class, At  string
		EntityID          string `json:"entity_id"`
		EventID           string `json:"event_id"`
		Event             json.RawMessage
		Bytes             int
	}
	list := func(query string) []letter {
		return must[struct {
			D []letter `json:"dead_letters"`
		}](t, a.get("/v1/admin/dlq"+query)).D
	}
	all := list("")
	if len(all) != 2 || all[0].Offset != 1 || all[0].Class != "no_content" || all[0].EntityID != "b" || all[0].EventID != "e" ||
		string(all[0].Event) != `{"event_id":"e","entity_id":"b","payload":{}}` || all[0].Bytes != len(all[0].Event) || all[0].Topic != "events.raw" ||
		all[0].Attempts != 1 || all[0].Stage != "map" || all[1].Class != "wrong_dimension" {
		t.Errorf("%+v", all)
	}
	if got := list("?from=2&limit=1"); len(got) != 1 || got[0].Offset != 2 {
		t.Errorf("from 2: %+v", got)
	}
	if got := list("?from=3"); got == nil || len(got) != 0 {
		t.Errorf("from 3: %+v", got)
	}
	if got := list("?limit=1"); len(got) != 1 {
		t.Errorf("one: %+v", got)
	}
}

func TestAdmin(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"), text("b", "blue"), `{"entity_id":"b","op":"delete"}`)
	for _, c := range []struct{ method, path, want string }{
		{"POST", "/v1/admin/audit", `{"clean":true,"whole":true,"through":2,"records":3,"entities":1,"tombstones":1,"points":1,"dead_letters":0,"found":0,"repaired":0,"differences":[]}`},
		{"POST", "/v1/admin/snapshot", `{"written":1}`},
		{"POST", "/v1/admin/snapshot", `{"written":0}`},
		{"POST", "/v1/admin/pause", `{"paused":true}`},
		{"GET", "/v1/admin/stats", `"paused":true`},
		{"POST", "/v1/admin/resume", `{"paused":false}`},
		{"GET", "/v1/admin/stats", `"paused":false`},
		{"GET", "/v1/admin/stats", `"accepted":3,"decided":3,"lag_records":0`},
		{"GET", "/v1/admin/shards", `{"shards":[{"collection":"default","namespace":"default","entities":1,"tombstones":1,"points":1`},
		{"GET", "/healthz", `{"status":"ok"}`},
		{"GET", "/readyz", `{"lag_records":0,"status":"ready"}`},
		{"GET", "/metrics", `freshet_events_accepted_total 3`},
		{"GET", "/metrics", `freshet_process_events_total{outcome="deleted"} 1`},
		{"GET", "/metrics", `freshet_entities 1`},
		{"GET", "/", "<title>page</title>"},
	} {
		if got := a.do(c.method, c.path, "", ""); got.status != http.StatusOK || !strings.Contains(string(got.body), c.want) {
			t.Errorf("%s %s: status %d, %.2000s; want %s", c.method, c.path, got.status, got.body, c.want)
		}
	}
	csp := a.get("/").header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'self'") {
		t.Error("the page has the policy", csp)
	}
}

// Live figures come as server-sent events, the first at once, until the peer goes.
func TestLive(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"))
	must[found](t, a.post("/v1/search", `{"text":"red"}`))
	server := httptest.NewServer(a.node.Gateway())
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/admin/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Error("the type is", kind)
	}
	lines := bufio.NewScanner(res.Body)
	for range 2 {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		var live struct {
			Accepted, Decided, Entities, Searches int64
			Outcomes                              map[string]int64
			SearchMs                              struct{ P50 *float64 } `json:"search_ms"`
		}
		if err := json.Unmarshal([]byte(data), &live); !ok || err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if live.Accepted != 1 || live.Decided != 1 || live.Entities != 1 || live.Searches != 1 || live.Outcomes["applied"] != 1 || live.SearchMs.P50 == nil {
			t.Errorf("%s", data)
		}
		if lines.Scan(); lines.Text() != "" {
			t.Errorf("an event ends with %q", lines.Text())
		}
	}
	cancel()
	for lines.Scan() {
	}
	server.Close() // blocks while a request goes on
}

// Requests of many clients at once don't disturb each other.
func TestManyClients(t *testing.T) {
	a := start(t)
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := range 10 {
				entity := fmt.Sprintf("c%d-%d", c, i)
				var in ingested
				var f found
				_ = json.Unmarshal(a.post("/v1/events", text(entity, "words of "+entity)).body, &in)
				got := a.post("/v1/search", fmt.Sprintf(`{"text":"words of %s","k":10000,"after":%q}`, entity, in.Token))
				_ = json.Unmarshal(got.body, &f)
				if !strings.Contains(" "+f.ids()+" ", " "+entity+" ") {
					t.Errorf("%s is not found right after it was sent: %.200s", entity, got.body)
				}
			}
		})
	}
	clients.Wait()
}
