package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// FuzzPosts sends bodies of any kind to every route that reads one: the answer is JSON, a
// refusal is a problem document, and nothing is the server's own fault.
func FuzzPosts(f *testing.F) {
	for _, s := range []string{`{"text":"red","k":3}`, `{"vector":[1,0,0],"collection":"vec"}`, `{"entity_id":"a","filter":{"eq":{"n":1}}}`,
		`{"text":"a","after":"AQ","include":["text"],"timeout_ms":1}`, `[{"entity_id":"a","payload":{"text":"x"}}]`, "{}\n{}\n", `{"entity_id":"v","collection":"vec","vector":[1,2,3],"order":4}`,
		`{"text":"a","filter":{"and":[{"range":{"t":{"gte":"2026-01-01T00:00:00Z"}}},{"prefix":{"s":"x"}}]}}`} {
		f.Add(s, false)
		f.Add(s, true)
	}
	a := start(f)
	a.send(text("a", "red"))
	f.Fuzz(func(t *testing.T, body string, lines bool) {
		kind := asJSON
		if lines {
			kind = asLines
		}
		for _, path := range []string{"/v1/events", "/v1/search", "/search", "/embed"} {
			got := (&api{t, a.node}).do("POST", path, kind, body)
			if got.status >= 500 && got.status != http.StatusGatewayTimeout || !json.Valid(got.body) {
				t.Fatalf("POST %s %q: status %d, %s", path, body, got.status, got.body)
			}
			if got.status == http.StatusOK {
				continue
			}
			var p problem
			if err := json.Unmarshal(got.body, &p); err != nil || p.Status != got.status || p.Code == "" || p.Detail == "" || p.Code == "internal" {
				t.Fatalf("POST %s %q: status %d, %s", path, body, got.status, got.body)
			}
		}
	})
}
