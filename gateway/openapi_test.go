package gateway_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// schemas checks answers against openapi.json: a small part of JSON Schema, and strictly: a
// field that an object's schema does not name is an error.
type schemas struct {
	root map[string]any
}

func (s schemas) resolve(schema map[string]any) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		return s.root["components"].(map[string]any)["schemas"].(map[string]any)[name].(map[string]any)
	}
	return schema
}

// of is the schema of a route's answer.
func (s schemas) of(method, path string, status int, kind string) (map[string]any, error) {
	at := any(s.root)
	for _, name := range []string{"paths", path, strings.ToLower(method), "responses", fmt.Sprint(status), "content", kind, "schema"} {
		m, ok := at.(map[string]any)
		if !ok || m[name] == nil {
			return nil, fmt.Errorf("openapi.json has no %s of %s %s with status %d", name, method, path, status)
		}
		at = m[name]
	}
	return at.(map[string]any), nil
}

// problem says where v is not what the schema allows, or "".
func (s schemas) problem(at string, schema map[string]any, v any) string {
	schema = s.resolve(schema)
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Sprintf("%s is %v, none of %v", at, v, enum)
	}
	if kind, ok := schema["type"]; ok && !isOf(kind, v) {
		return fmt.Sprintf("%s is %v, no %v", at, v, kind)
	}
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			if p := s.problem(fmt.Sprintf("%s[%d]", at, i), schema["items"].(map[string]any), e); p != "" {
				return p
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			sub, ok := properties[name].(map[string]any)
			if !ok {
				sub, ok = schema["additionalProperties"].(map[string]any)
			}
			if !ok && properties != nil {
				return fmt.Sprintf("%s.%s is not in the schema", at, name)
			}
			if ok {
				if p := s.problem(at+"."+name, sub, v[name]); p != "" {
					return p
				}
			}
		}
	}
	return ""
}

func isOf(kind, v any) bool {
	if kinds, ok := kind.([]any); ok {
		return slices.ContainsFunc(kinds, func(k any) bool { return isOf(k, v) })
	}
	switch v := v.(type) {
	case nil:
		return kind == "null"
	case bool:
		return kind == "boolean"
	case string:
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer" && v == float64(int64(v))
	case []any:
		return kind == "array"
	}
	return kind == "object"
}

// What the routes answer is what openapi.json says.
func TestAnswersMatchOpenAPI(t *testing.T) {
	a := start(t)
	s := schemas{must[map[string]any](t, a.get("/openapi.json"))}
	token := a.send(`{"event_id":"e","entity_id":"a","timestamp":5,"payload":{"text":"red","n":1}}`, `{"entity_id":"b","payload":{}}`, text("c", "blue"))
	for _, c := range []struct{ method, url, path, body string }{
		{"POST", "/v1/events", "/v1/events", `[` + text("d", "red") + `,5]`},
		{"POST", "/v1/events", "/v1/events", `{"entity_id":""}`},
		{"POST", "/v1/events", "/v1/events", `{"entity_id":"` + strings.Repeat("x", 5<<20) + `"}`},
		{"POST", "/v1/search", "/v1/search", `{"text":"red","include":["text","metadata"],"after":"` + token + `"}`},
		{"POST", "/v1/search", "/v1/search", `{}`},
		{"POST", "/v1/search", "/v1/search", `{"text":"a","collection":"nowhere"}`},
		{"POST", "/search", "/search", `{"text":"red"}`},
		{"POST", "/search", "/search", `{}`},
		{"POST", "/embed", "/embed", `{"text":"red"}`},
		{"POST", "/embed", "/embed", `{"text":"a","collection":"nowhere"}`},
		{"GET", "/v1/entities/a?after=" + token, "/v1/entities/{id}", ""},
		{"GET", "/v1/entities/nobody", "/v1/entities/{id}", ""},
		{"GET", "/v1/entities/a?x=y", "/v1/entities/{id}", ""},
		{"DELETE", "/v1/entities/c", "/v1/entities/{id}", ""},
		{"DELETE", "/v1/entities/c?order=x", "/v1/entities/{id}", ""},
		{"GET", "/v1/collections", "/v1/collections", ""},
		{"GET", "/v1/changes?follow=false&after=now", "/v1/changes", ""},
		{"GET", "/v1/changes?after=" + token, "/v1/changes", ""},
		{"GET", "/v1/changes?collection=none", "/v1/changes", ""},
		{"GET", "/v1/changes?follow=x", "/v1/changes", ""},
		{"GET", "/healthz", "/healthz", ""},
		{"GET", "/readyz", "/readyz", ""},
		{"GET", "/openapi.json", "/openapi.json", ""},
		{"POST", "/v1/admin/audit", "/v1/admin/audit", ""},
		{"POST", "/v1/admin/repair", "/v1/admin/repair", ""},
		{"GET", "/v1/admin/dlq", "/v1/admin/dlq", ""},
		{"GET", "/v1/admin/dlq?limit=x", "/v1/admin/dlq", ""},
		{"GET", "/v1/admin/dlq?order=desc", "/v1/admin/dlq", ""},
		{"POST", "/v1/admin/dlq/replay", "/v1/admin/dlq/replay", `{"all":true}`},
		{"POST", "/v1/admin/dlq/replay", "/v1/admin/dlq/replay", `{"since":"yesterday"}`},
		{"POST", "/v1/admin/dlq/drop", "/v1/admin/dlq/drop", `{"all":true,"dry_run":true}`},
		{"POST", "/v1/admin/dlq/drop", "/v1/admin/dlq/drop", `{}`},
		{"POST", "/v1/admin/snapshot", "/v1/admin/snapshot", ""},
		{"POST", "/v1/admin/pause", "/v1/admin/pause", ""},
		{"POST", "/v1/admin/resume", "/v1/admin/resume", ""},
		{"GET", "/v1/admin/shards", "/v1/admin/shards", ""},
		{"GET", "/v1/admin/index", "/v1/admin/index", ""},
		{"POST", "/v1/admin/index/rebuild", "/v1/admin/index/rebuild", `{"m":1}`},
		{"POST", "/v1/admin/index/rebuild", "/v1/admin/index/rebuild", `{"collection":"none"}`},
		{"POST", "/v1/admin/index/rebuild", "/v1/admin/index/rebuild", `{"kind":"flat"}`},
		{"GET", "/v1/admin/index", "/v1/admin/index", ""},
		{"GET", "/v1/admin/stats", "/v1/admin/stats", ""},
	} {
		if err := a.node.CatchUp(t.Context()); err != nil { // no event of before shows up in what is followed
			t.Fatal(err)
		}
		got := a.do(c.method, c.url, "application/json", c.body)
		schema, err := s.of(c.method, c.path, got.status, got.header.Get("Content-Type"))
		if err != nil {
			t.Error(err)
			continue
		}
		var v any
		if err := json.Unmarshal(got.body, &v); err != nil {
			t.Error(c.url, err)
		} else if p := s.problem("answer", schema, v); p != "" {
			t.Errorf("%s %s, status %d: %s", c.method, c.url, got.status, p)
		}
	}
}

// The request schemas name what is accepted: each field of them is known.
func TestRequestFieldsAreKnown(t *testing.T) {
	a := start(t)
	s := schemas{must[map[string]any](t, a.get("/openapi.json"))}
	for name, path := range map[string]string{"Event": "/v1/events", "SearchRequest": "/v1/search"} {
		schema := s.resolve(map[string]any{"$ref": "#/components/schemas/" + name})
		for field := range schema["properties"].(map[string]any) {
			got := a.post(path, fmt.Sprintf(`{%q:null}`, field))
			if strings.Contains(string(got.body), "unknown_field") {
				t.Errorf("%s has %s, which is refused: %s", name, field, got.body)
			}
		}
	}
	if got := a.post("/v1/events", `{"entity_id":"a","none":null}`); got.status != http.StatusBadRequest || !strings.Contains(string(got.body), "unknown_field") {
		t.Errorf("a field that is none: %s", got.body)
	}
}
