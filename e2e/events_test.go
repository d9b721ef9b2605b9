package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestEventRefused sends events that are refused before the answer: alone, in an array and
// as a line, between two good ones.
func TestEventRefused(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "limits: {event_bytes: 2000}\n")
	cases := []struct{ name, raw, code string }{
		{"no entity", `{"payload":{"text":"x"}}`, "missing_field"},
		{"null entity", `{"entity_id":null,"payload":{"text":"x"}}`, "missing_field"},
		{"empty entity", `{"entity_id":"","payload":{"text":"x"}}`, "invalid_field"},
		{"entity is a number", `{"entity_id":7,"payload":{"text":"x"}}`, "invalid_field"},
		{"entity of 1025 bytes", `{"entity_id":"` + strings.Repeat("e", 1025) + `","payload":{"text":"x"}}`, "invalid_field"},
		{"entity of 1025 bytes in two-byte runes", `{"entity_id":"` + strings.Repeat("é", 512) + `x","payload":{"text":"x"}}`, "invalid_field"},
		{"control character", `{"entity_id":"a\u0007b","payload":{"text":"x"}}`, "invalid_field"},
		{"control character behind ASCII", `{"entity_id":"a\u0085b","payload":{"text":"x"}}`, "invalid_field"},
		{"empty event id", `{"event_id":"","entity_id":"a","payload":{"text":"x"}}`, "invalid_field"},
		{"long event id", `{"event_id":"` + strings.Repeat("e", 1025) + `","entity_id":"a"}`, "invalid_field"},
		{"long namespace", `{"namespace":"` + strings.Repeat("n", 1025) + `","entity_id":"a"}`, "invalid_field"},
		{"field twice", `{"entity_id":"a","entity_id":"b","payload":{"text":"x"}}`, "invalid_field"},
		{"unknown field", `{"entity_id":"a","payload":{"text":"x"},"txt":1}`, "unknown_field"},
		{"unknown collection", `{"entity_id":"a","payload":{"text":"x"},"collection":"nowhere"}`, "unknown_collection"},
		{"unknown op", `{"entity_id":"a","payload":{"text":"x"},"op":"insert"}`, "invalid_field"},
		{"patch with an order", `{"entity_id":"a","payload":{"text":"x"},"op":"patch","order":1}`, "order_mismatch"},
		{"negative timestamp", `{"entity_id":"a","payload":{"text":"x"},"timestamp":-1}`, "invalid_field"},
		{"timestamp with a fraction", `{"entity_id":"a","payload":{"text":"x"},"timestamp":1.5}`, "invalid_field"},
		{"order 0", `{"entity_id":"a","payload":{"text":"x"},"order":0}`, "invalid_field"},
		{"order over 64 bits", `{"entity_id":"a","payload":{"text":"x"},"order":9223372036854775808}`, "invalid_field"},
		{"vector is an object", `{"entity_id":"a","vector":{"x":1}}`, "invalid_field"},
		{"NaN", `{"entity_id":"a","vector":[1,NaN]}`, "invalid_json"},
		{"Infinity", `{"entity_id":"a","vector":[1,-Infinity]}`, "invalid_json"},
		{"invalid UTF-8 in an id", "{\"entity_id\":\"a\xff\",\"payload\":{\"text\":\"x\"}}", "invalid_utf8"},
		{"invalid UTF-8 in the payload", "{\"entity_id\":\"a\",\"payload\":{\"text\":\"x\xc3\x28\"}}", "invalid_utf8"},
		{"UTF-8 of a surrogate", "{\"entity_id\":\"a\",\"payload\":{\"text\":\"\xed\xa0\x80\"}}", "invalid_utf8"},
		{"overlong UTF-8", "{\"entity_id\":\"a\",\"payload\":{\"text\":\"\xc0\xaf\"}}", "invalid_utf8"},
		{"single quotes", `{'entity_id':'a'}`, "invalid_json"},
		{"comma at the end", `{"entity_id":"a",}`, "invalid_json"},
		{"leading zero", `{"entity_id":"a","timestamp":01}`, "invalid_json"},
		{"raw control character", "{\"entity_id\":\"a\",\"payload\":{\"text\":\"\x01\"}}", "invalid_json"},
		{"string", `"entity"`, "invalid_json"},
		{"number", `7`, "invalid_json"},
		{"null", `null`, "invalid_json"},
		{"nested too deep", `{"entity_id":"a","payload":{"text":"x","deep":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}}`, "invalid_json"},
		{"too large", `{"entity_id":"a","payload":{"text":"` + strings.Repeat("x", 2000) + `"}}`, "too_large"},
	}
	good := func(n int) string { return fmt.Sprintf(`{"entity_id":"good%d","payload":{"text":"good %d"}}`, n, n) }
	// A whole that is no JSON text says nothing about its parts: these are refused with it.
	whole := []string{"invalid_json", "invalid_utf8"}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := a.in(t)
			in, status := a.post("application/x-ndjson", good(1)+"\n"+c.raw+"\n"+good(2)+"\n")
			if status != http.StatusOK || in.Accepted != 2 || in.RejectedCount != 1 || len(in.Rejected) != 1 ||
				in.Rejected[0].Index != 1 || in.Rejected[0].Code != c.code || in.Rejected[0].Message == "" {
				t.Errorf("line: status %d, accepted %d, rejected %+v; want index 1 rejected as %s", status, in.Accepted, in.Rejected, c.code)
			}
			in, status = a.post("application/json", "["+good(3)+","+c.raw+"]")
			if slices.Contains(whole, c.code) && status == http.StatusBadRequest {
				refused(t, in.problem, status, http.StatusBadRequest, c.code)
			} else if status != http.StatusOK || in.Accepted != 1 || len(in.Rejected) != 1 || in.Rejected[0].Index != 1 || in.Rejected[0].Code != c.code {
				t.Errorf("array: status %d, accepted %d, rejected %+v; want index 1 rejected as %s", status, in.Accepted, in.Rejected, c.code)
			}
			in, status = a.post("application/json", c.raw)
			if status/100 != 4 || in.Accepted != 0 || in.Code != c.code || in.Detail == "" {
				t.Errorf("alone: status %d %s, accepted %d: %s; want it refused as %s", status, in.Code, in.Accepted, in.Detail, c.code)
			}
		})
	}
	a.settle()
	if dead := a.deadLetters(); len(dead) > 0 {
		t.Errorf("dead letters %+v, want none: nothing that was refused was taken", dead)
	}
}

// TestEventDead sends events that are taken, and turn out to be impossible later: each is a
// dead letter, and a search that waits for it is warned.
func TestEventDead(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "collections: {ready: {dim: 3}, plain: {dim: 3, metric: l2}}\n")
	cases := []struct{ name, raw, stage, class string }{
		{"no payload", `{"entity_id":"x"}`, "map", "no_content"},
		{"null payload", `{"entity_id":"x","payload":null}`, "map", "no_content"},
		{"empty text", `{"entity_id":"x","payload":{"text":""}}`, "map", "no_content"},
		{"blank text", `{"entity_id":"x","payload":{"text":" \n\t "}}`, "map", "no_content"},
		{"no string", `{"entity_id":"x","payload":{"n":1,"o":{"s":"deep"}}}`, "map", "no_content"},
		{"payload is a list", `{"entity_id":"x","payload":["text"]}`, "map", "invalid_field"},
		{"payload is a string", `{"entity_id":"x","payload":"text"}`, "map", "invalid_field"},
		{"vector too short", `{"entity_id":"x","vector":[1,2]}`, "validate", "wrong_dimension"},
		{"vector empty", `{"entity_id":"x","vector":[]}`, "validate", "wrong_dimension"},
		{"vector too long", `{"entity_id":"x","collection":"ready","vector":[1,2,3,4]}`, "validate", "wrong_dimension"},
		{"vector of zeros", `{"entity_id":"x","collection":"ready","vector":[0,0,-0.0]}`, "validate", "bad_vector"},
		{"vector of tiny numbers", `{"entity_id":"x","collection":"ready","vector":[1e-60,0,0]}`, "validate", "bad_vector"},
		{"vector over float32", `{"entity_id":"x","collection":"ready","vector":[1e39,0,0]}`, "map", "bad_vector"},
		{"vector of a string", `{"entity_id":"x","collection":"ready","vector":["1",0,0]}`, "map", "bad_vector"},
		{"vector of null", `{"entity_id":"x","collection":"ready","vector":[null,0,0]}`, "map", "bad_vector"},
		{"squares overflow", `{"entity_id":"x","collection":"plain","vector":[3e38,3e38,0]}`, "validate", "bad_vector"},
		{"no vector", `{"entity_id":"x","collection":"ready","payload":{"text":"no model for it"}}`, "validate", "no_content"},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := a.in(t)
			in, status := a.post("application/json", c.raw)
			if status != http.StatusOK || in.Accepted != 1 {
				t.Fatalf("status %d %s: %s; want it taken", status, in.Code, in.Detail)
			}
			warned(t, a.await(in.Token), "dead letter", "("+c.class+")")
			dead := a.deadLetters()
			if len(dead) != i+1 || dead[i].Stage != c.stage || dead[i].Class != c.class || dead[i].Message == "" || dead[i].EntityID != "x" {
				t.Errorf("dead letters %+v, want one more of stage %s, class %s", dead[min(i, len(dead)):], c.stage, c.class)
			} else if string(dead[i].Event) != c.raw {
				t.Errorf("the dead letter has the event %s, sent was %s", dead[i].Event, c.raw)
			}
		})
	}
	for _, collection := range []string{"default", "ready", "plain"} {
		a.gone("x", "collection", collection)
	}
	if r := a.audit(); r.DeadLetters != int64(len(cases)) || r.Entities != 0 {
		t.Errorf("the audit counts %d dead letters and %d entities, want %d and 0", r.DeadLetters, r.Entities, len(cases))
	}
}

// TestEventExtremes sends events at the edges of what is possible; all have their effect.
func TestEventExtremes(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "collections: {wide: {dim: 4096}, narrow: {dim: 2, metric: ip}}\n")

	t.Run("metadata of 1 MB", func(t *testing.T) {
		a := a.in(t)
		blob := strings.Repeat("metadata ", 1<<20/9)
		token := a.events(event{EntityID: "big", Payload: text("a short text", "blob", blob, "n", 1)})
		for n := 2; n <= 3; n++ {
			var m struct {
				Blob string
				N    int
			}
			if err := json.Unmarshal(a.entity("big", "after", token).Metadata, &m); err != nil || m.Blob != blob || m.N != n-1 {
				t.Errorf("metadata came back with %d bytes of %d and n %d: %v", len(m.Blob), len(blob), m.N, err)
			}
			f := a.search("text", "a short text", "k", 1, "filter", map[string]any{"eq": map[string]any{"n": n - 1}})
			if len(f.Hits) != 1 || len(f.Hits[0].Metadata) < len(blob) {
				t.Errorf("a filter on the metadata of 1 MB finds %d hits", len(f.Hits))
			}
			token = a.events(event{EntityID: "big", Payload: text("a short text", "blob", blob, "n", n)})
		}
	})
	t.Run("4096 dimensions", func(t *testing.T) {
		a := a.in(t)
		unit := func(i int) []float32 {
			v := make([]float32, 4096)
			v[i], v[(i+1)%4096] = 0.8, -0.6
			return v
		}
		token := a.events(event{EntityID: "w0", Vector: unit(0), Collection: "wide"}, event{EntityID: "w4095", Vector: unit(4095), Collection: "wide"})
		f := a.search("vector", unit(4095), "k", 2, "collection", "wide", "after", token)
		if ids := f.ids(); !slices.Equal(ids, []string{"w4095", "w0"}) || f.Hits[0].Score < 0.9999 {
			t.Errorf("found %v %+v, want w4095 first with a score of 1", ids, f.Hits)
		}
		g, status := a.trySearch("vector", unit(1)[:4095], "collection", "wide")
		refused(t, g.problem, status, http.StatusBadRequest, "wrong_dimension", "4095", "4096")
		g, status = a.trySearch("text", "no model here", "collection", "wide")
		refused(t, g.problem, status, http.StatusBadRequest, "invalid_field", "no model", "4096")
	})
	t.Run("ready vector in the default collection", func(t *testing.T) {
		a := a.in(t)
		v := make([]float32, 256)
		v[17] = 3
		token := a.events(event{EntityID: "ready", Vector: v, Payload: map[string]any{"kind": "ready"}})
		if f := a.search("vector", v, "k", 1, "after", token); len(f.Hits) != 1 || f.Hits[0].EntityID != "ready" {
			t.Errorf("found %+v", f.Hits)
		}
	})
	t.Run("text without a field text", func(t *testing.T) {
		a := a.in(t)
		token := a.events(event{EntityID: "fields", Payload: map[string]any{"b": "second", "a": "first", "c": "", "n": 5, "o": map[string]any{"s": "no"}}})
		e := a.entity("fields", "after", token)
		if e.Text != "first\nsecond" {
			t.Errorf("text %q, want the strings in order of their names", e.Text)
		}
	})
	t.Run("text byte for byte", func(t *testing.T) {
		a := a.in(t)
		odd := "\u0000\u001f é \u2028 \U0001F389 \uFFFD \r\n\ttab \"quoted\" \\ </script> end "
		token := a.events(event{EntityID: "odd", Payload: text(odd)})
		if e := a.entity("odd", "after", token); e.Text != odd {
			t.Errorf("text %q, sent %q", e.Text, odd)
		}
		in, _ := a.post("application/json", `{"entity_id":"half","payload":{"text":"half \ud83c a pair"}}`)
		if in.Accepted == 1 { // JSON allows it; Unicode has no such character
			if e := a.entity("half", "after", in.Token); e.Text != "half \uFFFD a pair" {
				t.Errorf("half a surrogate pair reads %q", e.Text)
			}
		}
	})
	t.Run("metadata as they came", func(t *testing.T) {
		a := a.in(t)
		raw := `{"big":12345678901234567890,"f":1.10,"e":1e2,"nested":{"z":1,"a":[1,{"b":null}]},"s":"A"}`
		in, _ := a.post("application/json", `{"entity_id":"meta","payload":{"text":"x",`+raw[1:]+`}`)
		if e := a.entity("meta", "after", in.Token); string(e.Metadata) != raw {
			t.Errorf("metadata %s, sent %s", e.Metadata, raw)
		}
	})
	t.Run("long text", func(t *testing.T) {
		a := a.in(t)
		var long strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&long, "Sentence number %d speaks of ordinary weather. ", i)
		}
		long.WriteString("\n\n" + strings.Repeat("Submarine volcanoes pour out lava. ", 25)) // a chunk of its own
		token := a.events(event{EntityID: "long", Payload: text(long.String())})
		e := a.entity("long", "after", token)
		if e.Points < 10 || e.Text != long.String() {
			t.Errorf("a text of %d bytes has %d points, want more than 10, and the text whole", len(e.Text), e.Points)
		}
		f := a.search("text", "lava of submarine volcanoes", "k", 10, "include", []string{})
		if len(f.Hits) == 0 || f.Hits[0].EntityID != "long" || f.Hits[0].Score < 0.5 {
			t.Fatalf("a search for its end finds %+v", f.Hits)
		}
		if n := strings.Count(fmt.Sprint(f.ids()), "long"); n != 1 {
			t.Errorf("the entity is found %d times, want once with its best point", n)
		}
		token = a.events(event{EntityID: "long", Payload: text("Short now.")})
		f = a.search("text", "lava of submarine volcanoes", "k", 10, "after", token)
		for _, h := range f.Hits {
			if h.EntityID == "long" && h.Score > 0.4 {
				t.Errorf("an orphan of the long text is found with score %v", h.Score)
			}
		}
		if e := a.entity("long"); e.Points != 1 {
			t.Errorf("the shrunk entity has %d points, want 1", e.Points)
		}
	})
	a.audit()
}
