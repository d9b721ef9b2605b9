package e2e_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// collection is an entry of GET /v1/collections.
type collection struct {
	Name       string `json:"name"`
	Model      string `json:"model"`
	Dim        int    `json:"dim"`
	Metric     string `json:"metric"`
	Order      string `json:"order"`
	Namespaces []struct {
		Name     string `json:"name"`
		Entities int    `json:"entities"`
	} `json:"namespaces"`
}

func (a *api) collections() []collection {
	a.t.Helper()
	var l struct{ Collections []collection }
	a.must("GET", "/v1/collections", nil, &l)
	return l.Collections
}

// TestSeedRoutes is the minimal form: POST /search?k=10 and POST /embed.
func TestSeedRoutes(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	var all []event
	for i := range 30 {
		all = append(all, event{EntityID: fmt.Sprint(i), Payload: text(fmt.Sprintf("seed text number %d", i))})
	}
	a.await(a.events(all...))
	for path, want := range map[string]int{"/search": 10, "/search?k=3": 3, "/search?k=100": 30} {
		_, _, raw, err := a.do("POST", path, "application/json", strings.NewReader(`{"text": "seed text"}`))
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Hits []map[string]any `json:"hits"`
		}
		if err := json.Unmarshal(raw, &f); err != nil || len(f.Hits) != want {
			t.Fatalf("%s: %d hits, want %d: %s", path, len(f.Hits), want, clip(raw))
		}
		for _, h := range f.Hits {
			if _, ok := h["score"].(float64); len(h) != 2 || h["entity_id"] == "" || !ok {
				t.Errorf("%s: hit %v, want entity_id and score alone", path, h)
			}
		}
	}
	for _, c := range []struct{ path, body, code, field string }{
		{"/search", `{}`, "missing_field", "text"},
		{"/search", `{"text":null}`, "missing_field", "text"},
		{"/search", `{"text":""}`, "invalid_field", "text"},
		{"/search", `{"text":7}`, "invalid_field", "text"},
		{"/search", `{"text":"x","k":3}`, "unknown_field", "k"},
		{"/search", `[]`, "invalid_json", ""},
		{"/search", ``, "invalid_json", ""},
		{"/search?k=0", `{"text":"x"}`, "invalid_field", "k"},
		{"/search?k=x", `{"text":"x"}`, "invalid_field", "k"},
		{"/search?k=10001", `{"text":"x"}`, "invalid_field", "k"},
		{"/embed", `{}`, "missing_field", "text"},
		{"/embed", `{"text":" "}`, "invalid_field", "text"},
		{"/embed", `{"txt":"x"}`, "unknown_field", "txt"},
	} {
		var p problem
		status := a.must("POST", c.path, c.body, &p)
		refused(t, p, status, http.StatusBadRequest, c.code)
		if p.Field != c.field {
			t.Errorf("%s %s: field %q, want %q", c.path, c.body, p.Field, c.field)
		}
	}

	var one, two struct{ Vector []float64 }
	a.must("POST", "/embed", map[string]any{"text": "grey herons fish"}, &one)
	a.must("POST", "/embed", map[string]any{"text": "grey herons fish"}, &two)
	norm := 0.0
	for i, x := range one.Vector {
		norm += x * x
		if x != two.Vector[i] {
			t.Fatal("the same text gives two vectors")
		}
	}
	if len(one.Vector) != 256 || math.Abs(norm-1) > 1e-3 {
		t.Errorf("the vector has %d dimensions and squared length %v, want 256 and 1", len(one.Vector), norm)
	}
	// A vector that /embed gave searches like its text.
	byText, byVector := a.search("text", "seed text number 7"), &found{}
	var v struct{ Vector []float32 }
	a.must("POST", "/embed", map[string]any{"text": "seed text number 7"}, &v)
	byVector = a.search("vector", v.Vector)
	if fmt.Sprint(byText.ids()) != fmt.Sprint(byVector.ids()) {
		t.Errorf("by text %v, by vector %v", byText.ids(), byVector.ids())
	}
}

// TestRoutes is what the rest of the routes answer.
func TestRoutes(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "collections: {wide: {dim: 8, metric: l2}}\n")
	token := a.events(event{EventID: "ev", EntityID: "e", Timestamp: 1234, Payload: text("an entity", "n", 1)},
		event{EntityID: "w", Collection: "wide", Namespace: "ns", Vector: []float32{1, 2, 3, 4, 5, 6, 7, 8}})
	a.await(token)

	t.Run("entity", func(t *testing.T) {
		a := a.in(t)
		e := a.entity("e")
		at, err := time.Parse(time.RFC3339, e.UpdatedAt)
		if e.Collection != "default" || e.Namespace != "default" || e.SourceEventID != "ev" || e.Timestamp != 1234 || e.Version == "" ||
			string(e.Metadata) != `{"n":1}` || err != nil || time.Since(at).Abs() > time.Hour {
			t.Errorf("entity %+v", e)
		}
		e = a.entity("w", "collection", "wide", "namespace", "ns")
		if e.Text != "" || string(e.Metadata) != "{}" || !regexp.MustCompile(`^events.raw/\d+@1$`).MatchString(e.SourceEventID) {
			t.Errorf("entity %+v, want no text, no metadata, its place in the log as source", e)
		}
		for path, code := range map[string]string{
			"/v1/entities/e?k=1":           "unknown_field",
			"/v1/entities/e?order=1":       "unknown_field",
			"/v1/entities/e?timeout_ms=0":  "invalid_field",
			"/v1/entities/e?timeout_ms=x":  "invalid_field",
			"/v1/entities/e?after=x":       "invalid_field",
			"/v1/entities/e?collection=":   "invalid_field",
			"/v1/entities/":                "invalid_field",
			"/v1/entities/e?namespace=%ff": "invalid_utf8",
		} {
			var p problem
			status := a.must("GET", path, nil, &p)
			if status != http.StatusBadRequest || p.Code != code {
				t.Errorf("GET %s: status %d %s (%s), want 400 %s", path, status, p.Code, p.Detail, code)
			}
		}
		for path, code := range map[string]string{"/v1/entities/e?order=0": "invalid_field", "/v1/entities/e?after=" + token: "unknown_field",
			"/v1/entities/e?event_id=": "invalid_field"} {
			var p problem
			if status := a.must("DELETE", path, nil, &p); status != http.StatusBadRequest || p.Code != code {
				t.Errorf("DELETE %s: status %d %s, want 400 %s", path, status, p.Code, code)
			}
		}
		var p problem
		status := a.must("DELETE", "/v1/entities/e?collection=nowhere", nil, &p)
		refused(t, p, status, http.StatusNotFound, "unknown_collection")
	})
	t.Run("collections", func(t *testing.T) {
		c := a.in(t).collections()
		if len(c) != 2 || c[0].Name != "default" || c[0].Dim != 256 || c[0].Metric != "cosine" || c[0].Model == "" ||
			c[1].Name != "wide" || c[1].Dim != 8 || c[1].Metric != "l2" || c[1].Model != "" ||
			len(c[1].Namespaces) != 1 || c[1].Namespaces[0].Name != "ns" || c[1].Namespaces[0].Entities != 1 {
			t.Errorf("collections %+v", c)
		}
	})
	t.Run("health", func(t *testing.T) {
		a := a.in(t)
		var ok struct {
			Status string `json:"status"`
			Lag    *int64 `json:"lag_records"`
		}
		if status := a.must("GET", "/healthz", nil, &ok); status != http.StatusOK || ok.Status != "ok" {
			t.Errorf("/healthz: status %d %+v", status, ok)
		}
		if status := a.must("GET", "/readyz", nil, &ok); status != http.StatusOK || ok.Lag == nil || *ok.Lag != 0 {
			t.Errorf("/readyz: status %d %+v", status, ok)
		}
		a.pause()
		a.events(event{EntityID: "late", Payload: text("late")})
		if a.must("GET", "/readyz", nil, &ok); *ok.Lag != 1 {
			t.Errorf("/readyz reports a lag of %d with one event not decided", *ok.Lag)
		}
		a.resume()
	})
	t.Run("metrics", func(t *testing.T) {
		a := a.in(t)
		status, h, raw, err := a.do("GET", "/metrics", "", nil)
		if err != nil || status != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Fatalf("/metrics: status %d %s %v", status, h.Get("Content-Type"), err)
		}
		for _, line := range []string{"freshet_events_accepted_total 3", `freshet_process_events_total{outcome="applied"} `, "freshet_lag_records ",
			"freshet_http_request_seconds_count{route=\"POST /v1/events\"} 2", "go_goroutines "} {
			if !strings.Contains(string(raw), "\n"+line) {
				t.Errorf("/metrics has no line %q", line)
			}
		}
	})
	t.Run("openapi", func(t *testing.T) {
		a := a.in(t)
		var doc struct {
			OpenAPI string                    `json:"openapi"`
			Paths   map[string]map[string]any `json:"paths"`
		}
		a.must("GET", "/openapi.json", nil, &doc)
		if !strings.HasPrefix(doc.OpenAPI, "3.") {
			t.Errorf("openapi %q", doc.OpenAPI)
		}
		for path, method := range map[string]string{"/v1/events": "post", "/v1/search": "post", "/v1/entities/{id}": "get", "/v1/collections": "get",
			"/search": "post", "/embed": "post", "/healthz": "get", "/readyz": "get", "/v1/admin/audit": "post", "/v1/admin/dlq": "get", "/v1/admin/snapshot": "post"} {
			if doc.Paths[path][method] == nil {
				t.Errorf("openapi.json doesn't describe %s %s", method, path)
			}
		}
	})
	t.Run("page", func(t *testing.T) {
		status, h, raw, err := a.in(t).do("GET", "/", "", nil)
		if err != nil || status != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), "text/html") || len(raw) == 0 {
			t.Errorf("/: status %d %s, %d bytes, %v", status, h.Get("Content-Type"), len(raw), err)
		}
	})
	t.Run("elsewhere", func(t *testing.T) {
		a := a.in(t)
		for path, want := range map[string]int{"GET /nowhere": 404, "GET /v1/search": 405, "PUT /v1/events": 405, "POST /v1/entities/e": 405} {
			method, path, _ := strings.Cut(path, " ")
			code := map[int]string{404: "not_found", 405: "method_not_allowed"}[want]
			var p problem
			status := a.must(method, path, nil, &p)
			refused(t, p, status, want, code, path)
		}
	})
}
