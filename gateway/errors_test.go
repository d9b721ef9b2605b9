package gateway_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// Everything that a caller can get wrong has a code, a status, and names the field.
func TestErrors(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"), `{"entity_id":"v","collection":"vec","vector":[1,0,0]}`)
	foreign := base64.RawURLEncoding.EncodeToString([]byte{1, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 1, 0})
	far := must[found](t, a.post("/v1/search", `{"text":"red"}`)).Applied
	raw, _ := base64.RawURLEncoding.DecodeString(far)
	beyond := base64.RawURLEncoding.EncodeToString(append(raw[:9:9], 0, 0, 100, 0))
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		method, path, body string
		status             int
		code, field        string
		detail             string
	}{
		{"POST", "/v1/search", ``, 400, "invalid_json", "", "end of input"},
		{"POST", "/v1/search", `{"text":`, 400, "invalid_json", "", "byte 8"},
		{"POST", "/v1/search", `{"text":"a"} {}`, 400, "invalid_json", "", "behind"},
		{"POST", "/v1/search", `["text"]`, 400, "invalid_json", "", "no JSON object"},
		{"POST", "/v1/search", `"text"`, 400, "invalid_json", "", "no JSON object"},
		{"POST", "/v1/search", "{\"text\":\"\xff\"}", 400, "invalid_utf8", "", ""},
		{"POST", "/v1/search", `{"text":"\ud800"}`, 400, "invalid_utf8", "", ""},
		{"POST", "/v1/search", `{"text":"` + strings.Repeat("a", 4<<20) + `"}`, 413, "too_large", "", "4194304"},
		{"POST", "/v1/search", `{"text":"` + strings.Repeat("a", 64<<10+1) + `"}`, 413, "too_large", "text", "65536"},
		{"POST", "/v1/search", `{}`, 400, "missing_field", "text", "0 are given"},
		{"POST", "/v1/search", `{"text":null}`, 400, "missing_field", "text", "0 are given"},
		{"POST", "/v1/search", `{"text":"a","entity_id":"b"}`, 400, "missing_field", "text", "2 are given"},
		{"POST", "/v1/search", `{"text":"a","colour":"b"}`, 400, "unknown_field", "colour", "openapi"},
		{"POST", "/v1/search", `{"Text":"a"}`, 400, "unknown_field", "Text", "openapi"},
		{"POST", "/v1/search", `{"text":"a","text":"b"}`, 400, "invalid_field", "text", "twice"},
		{"POST", "/v1/search", `{"text":5}`, 400, "invalid_field", "text", "a string"},
		{"POST", "/v1/search", `{"text":" "}`, 400, "invalid_field", "text", "empty"},
		{"POST", "/v1/search", `{"text":"a","k":"many"}`, 400, "invalid_field", "k", "an integer"},
		{"POST", "/v1/search", `{"text":"a","k":1.5}`, 400, "invalid_field", "k", "an integer"},
		{"POST", "/v1/search", `{"text":"a","k":0}`, 400, "invalid_field", "k", "1 to 10000"},
		{"POST", "/v1/search", `{"text":"a","k":-1}`, 400, "invalid_field", "k", "1 to 10000"},
		{"POST", "/v1/search", `{"text":"a","k":10001}`, 400, "invalid_field", "k", "1 to 10000"},
		{"POST", "/v1/search", `{"text":"a","ef":-1}`, 400, "invalid_field", "ef", "-1"},
		{"POST", "/v1/search", `{"text":"a","ef":99999}`, 400, "invalid_field", "ef", "99999"},
		{"POST", "/v1/search", `{"text":"a","exact":1}`, 400, "invalid_field", "exact", "true or false"},
		{"POST", "/v1/search", `{"text":"a","timeout_ms":0}`, 400, "invalid_field", "timeout_ms", "1 to 300000"},
		{"POST", "/v1/search", `{"text":"a","timeout_ms":300001}`, 400, "invalid_field", "timeout_ms", "1 to 300000"},
		{"POST", "/v1/search", `{"text":"a","include":["vector"]}`, 400, "invalid_field", "include", `"vector"`},
		{"POST", "/v1/search", `{"text":"a","include":"text"}`, 400, "invalid_field", "include", "an array"},
		{"POST", "/v1/search", `{"text":"a","filter":{"equal":{"n":1}}}`, 400, "invalid_field", "filter", "equal"},
		{"POST", "/v1/search", `{"text":"a","filter":{"eq":5}}`, 400, "invalid_field", "filter", "eq"},
		{"POST", "/v1/search", `{"text":"a","filter":[]}`, 400, "invalid_field", "filter", ""},
		{"POST", "/v1/search", `{"text":"a","collection":"nowhere"}`, 404, "unknown_collection", "collection", "nowhere"},
		{"POST", "/v1/search", `{"text":"a","collection":""}`, 400, "invalid_field", "collection", "1 to 1024"},
		{"POST", "/v1/search", `{"text":"a","namespace":"a\u0000"}`, 400, "invalid_field", "namespace", "control character"},
		{"POST", "/v1/search", `{"text":"a","namespace":7}`, 400, "invalid_field", "namespace", "a string"},
		{"POST", "/v1/search", `{"text":"a","collection":"vec"}`, 400, "invalid_field", "text", "no model"},
		{"POST", "/v1/search", `{"vector":[1,2],"collection":"vec"}`, 400, "wrong_dimension", "vector", "2 dimensions"},
		{"POST", "/v1/search", `{"vector":[],"collection":"vec"}`, 400, "wrong_dimension", "vector", "0 dimensions"},
		{"POST", "/v1/search", `{"vector":[0,0,0],"collection":"vec"}`, 400, "bad_vector", "vector", "zeros"},
		{"POST", "/v1/search", `{"vector":[1,"x",3],"collection":"vec"}`, 400, "invalid_field", "vector", "float32"},
		{"POST", "/v1/search", `{"vector":[1,1e39,3],"collection":"vec"}`, 400, "invalid_field", "vector", "float32"},
		{"POST", "/v1/search", `{"vector":{"a":1}}`, 400, "invalid_field", "vector", "an array"},
		{"POST", "/v1/search", `{"entity_id":"nobody"}`, 404, "not_found", "entity_id", "nobody"},
		{"POST", "/v1/search", `{"entity_id":""}`, 400, "invalid_field", "entity_id", "1 to 1024"},
		{"POST", "/v1/search", `{"entity_id":"` + long + `"}`, 400, "invalid_field", "entity_id", "1025"},
		{"POST", "/v1/search", `{"text":"a","after":"x"}`, 400, "invalid_field", "after", "pass it on as it came"},
		{"POST", "/v1/search", `{"text":"a","after":""}`, 400, "invalid_field", "after", ""},
		{"POST", "/v1/search", `{"text":"a","after":5}`, 400, "invalid_field", "after", "token"},
		{"POST", "/v1/search", `{"text":"a","after":[5]}`, 400, "invalid_field", "after", "token"},
		{"POST", "/v1/search", `{"text":"a","after":"` + foreign + `"}`, 409, "foreign_token", "after", "0909090909090909"},
		{"POST", "/v1/search", `{"text":"a","after":["` + far + `","` + foreign + `"]}`, 409, "foreign_token", "after", "two logs"},
		{"POST", "/v1/search", `{"text":"a","after":"` + beyond + `"}`, 409, "foreign_token", "after", "no record of this log"},

		{"POST", "/search", `{}`, 400, "missing_field", "text", "missing"},
		{"POST", "/search", `{"vector":[1]}`, 400, "unknown_field", "vector", ""},
		{"POST", "/search?k=0", `{"text":"a"}`, 400, "invalid_field", "k", `"0"`},
		{"POST", "/search?k=x", `{"text":"a"}`, 400, "invalid_field", "k", `"x"`},
		{"POST", "/search?k=10001", `{"text":"a"}`, 400, "invalid_field", "k", "10001"},
		{"POST", "/embed", `{}`, 400, "missing_field", "text", "missing"},
		{"POST", "/embed", `{"text":""}`, 400, "invalid_field", "text", "empty"},
		{"POST", "/embed", `{"text":"a","collection":"vec"}`, 400, "invalid_field", "text", "no model"},
		{"POST", "/embed", `{"text":"a","collection":"nowhere"}`, 404, "unknown_collection", "collection", "nowhere"},
		{"POST", "/embed", `{"text":"a","collection":""}`, 400, "invalid_field", "collection", ""},

		{"GET", "/v1/entities/nobody", "", 404, "not_found", "entity_id", "nobody"},
		{"GET", "/v1/entities/", "", 400, "invalid_field", "entity_id", "1 to 1024"},
		{"GET", "/v1/entities/" + long, "", 400, "invalid_field", "entity_id", "1025"},
		{"GET", "/v1/entities/a%00", "", 400, "invalid_field", "entity_id", "control character"},
		{"GET", "/v1/entities/a%ff", "", 400, "invalid_utf8", "entity_id", "UTF-8"},
		{"GET", "/v1/entities/b//a", "", 400, "invalid_field", "entity_id", "%2F"},
		{"DELETE", "/v1/entities/b/../a", "", 400, "invalid_field", "entity_id", "%2F"},
		{"DELETE", "/v1/entities/./a", "", 400, "invalid_field", "entity_id", "%2F"},
		{"GET", "/v1/entities/a?colection=x", "", 400, "unknown_field", "colection", "collection"},
		{"GET", "/v1/entities/a?order=5", "", 400, "unknown_field", "order", ""},
		{"GET", "/v1/entities/a?collection=x&collection=y", "", 400, "unknown_field", "collection", "twice"},
		{"GET", "/v1/entities/a?collection=nowhere", "", 404, "unknown_collection", "collection", "nowhere"},
		{"GET", "/v1/entities/a?namespace=", "", 400, "invalid_field", "namespace", ""},
		{"GET", "/v1/entities/a?timeout_ms=0", "", 400, "invalid_field", "timeout_ms", "300000"},
		{"GET", "/v1/entities/a?timeout_ms=soon", "", 400, "invalid_field", "timeout_ms", "soon"},
		{"GET", "/v1/entities/a?after=x", "", 400, "invalid_field", "after", ""},
		{"GET", "/v1/entities/a?after=" + foreign, "", 409, "foreign_token", "after", ""},
		{"DELETE", "/v1/entities/a?collection=nowhere", "", 404, "unknown_collection", "collection", "nowhere"},
		{"DELETE", "/v1/entities/a?order=0", "", 400, "invalid_field", "order", ">= 1"},
		{"DELETE", "/v1/entities/a?event_id=", "", 400, "invalid_field", "event_id", ""},
		{"DELETE", "/v1/entities/a?after=x", "", 400, "unknown_field", "after", ""},

		{"POST", "/v1/events", ``, 400, "invalid_json", "", ""},
		{"POST", "/v1/events", `[]`, 400, "missing_field", "", "no event"},
		{"POST", "/v1/events", `{"entity_id":"a"`, 400, "invalid_json", "", ""},
		{"POST", "/v1/events", `[{"entity_id":"a"},]`, 400, "invalid_json", "", ""},
		{"POST", "/v1/events", `{"entity_id":""}`, 400, "invalid_field", "", "no event was accepted"},
		{"POST", "/v1/events", text("a", "x") + "\n" + text("b", "y"), 400, "invalid_json", "", "x-ndjson"},
		{"POST", "/v1/events", `{"entity_id":"a","collection":"nowhere"}`, 400, "unknown_collection", "", "nowhere"},
		{"POST", "/v1/events", `{"entity_id":"a","payload":"` + strings.Repeat("x", 4<<20) + `"}`, 413, "too_large", "", "4194304"},

		{"GET", "/v1/admin/dlq?from=-1", "", 400, "invalid_field", "from", "-1"},
		{"GET", "/v1/admin/dlq?from=x", "", 400, "invalid_field", "from", ""},
		{"GET", "/v1/admin/dlq?limit=0", "", 400, "invalid_field", "limit", "1 to 1000"},
		{"GET", "/v1/admin/dlq?limit=1001", "", 400, "invalid_field", "limit", "1001"},

		{"GET", "/v1/nothing", "", 404, "not_found", "", "openapi"},
		{"GET", "/v1/search", "", 405, "method_not_allowed", "", "POST"},
		{"PUT", "/v1/entities/a", "", 405, "method_not_allowed", "", "GET"},
		{"POST", "/metrics", "", 405, "method_not_allowed", "", "GET"},
	} {
		what := fmt.Sprintf("%s %.60s %.80s", c.method, c.path, c.body)
		got := a.do(c.method, c.path, "application/json", c.body)
		got.mustFail(t, what, c.status, c.code, c.field, c.detail)
		if c.status == 405 && got.header.Get("Allow") == "" {
			t.Errorf("%s: the answer does not say which methods there are", what)
		}
	}
	if f := must[found](t, a.post("/v1/search", `{"text":"red","after":null,"k":null,"filter":null,"include":null,"timeout_ms":null,"vector":null,"entity_id":null,"collection":null,"namespace":null}`)); f.ids() != "a" {
		t.Errorf("null is not as absent: %+v", f)
	}
	if got := a.post("/v1/admin/audit", ""); !strings.Contains(string(got.body), `"clean":true`) {
		t.Errorf("what was refused has left a trace: %s", got.body)
	}
}
