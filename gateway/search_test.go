package gateway_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/node"
	"github.com/freshet-io/freshet/process/mapping"
)

func keyOf(entity string) freshet.Key {
	return freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: entity}
}

func TestSearch(t *testing.T) {
	a := start(t)
	a.send(`{"event_id":"e1","entity_id":"shirt","payload":{"text":"a red cotton shirt","price":20,"tags":["a","b"]}}`,
		`{"entity_id":"shoe","payload":{"text":"a brown leather shoe","price":90}}`,
		`{"entity_id":"cup","payload":{"text":"a white coffee cup"}}`,
		`{"entity_id":"gone","payload":{"text":"a red cotton shirt"}}`, `{"entity_id":"gone","op":"delete"}`,
		`{"entity_id":"tenant","namespace":"t","payload":{"text":"a red cotton shirt"}}`,
		`{"entity_id":"x","collection":"vec","vector":[1,0,0]}`, `{"entity_id":"y","collection":"vec","vector":[0.9,0.1,0]}`,
		`{"entity_id":"z","collection":"vec","vector":[0,0,1],"payload":{"text":"kept"}}`)
	for _, c := range []struct{ body, want string }{
		{`{"text":"red shirt","k":1}`, "shirt"},
		{`{"text":"leather shoe"}`, "shoe shirt cup"},
		{`{"text":"leather shoe","exact":true,"ef":50}`, "shoe shirt cup"},
		{`{"text":"red shirt","namespace":"t"}`, "tenant"},
		{`{"text":"red shirt","namespace":"nobody"}`, ""},
		{`{"entity_id":"x","collection":"vec"}`, "y z"},
		{`{"vector":[0,0,2],"collection":"vec","k":1}`, "z"},
		{`{"text":"shirt","filter":{"range":{"price":{"lt":50}}}}`, "shirt"},
		{`{"text":"shirt","filter":{"and":[{"exists":{"price":true}},{"not":{"eq":{"tags":"a"}}}]}}`, "shoe"},
		{`{"text":"shirt","filter":{"eq":{"price":1}}}`, ""},
	} {
		f := must[found](t, a.post("/v1/search", c.body))
		if f.ids() != c.want {
			t.Errorf("%s finds %q, want %q", c.body, f.ids(), c.want)
		}
		if f.Applied == "" || f.TookMs == nil || f.Hits == nil {
			t.Errorf("%s: %+v lacks a field", c.body, f)
		}
	}

	f := must[found](t, a.post("/v1/search", `{"text":"a red cotton shirt","k":2}`))
	h := f.Hits[0]
	if h.Score < 0.99 || h.Score > 1.001 || f.Hits[1].Score > h.Score || h.SourceEventID != "e1" || len(h.Version) != 32 || h.AgeMs == nil || h.Slot != "0" {
		t.Errorf("the best hit is %+v", h)
	}
	if id := f.Hits[1].SourceEventID; !strings.HasPrefix(id, "events.raw/") {
		t.Errorf("an event without an id is named %q", id)
	}
}

func TestInclude(t *testing.T) {
	a := start(t)
	a.send(`{"entity_id":"a","payload":{"text":"red","n":1}}`)
	for include, want := range map[string]string{
		``:                               `metadata {"n":1}`,
		`,"include":["metadata"]`:        `metadata {"n":1}`,
		`,"include":["text"]`:            `text "red"`,
		`,"include":["text","metadata"]`: `metadata {"n":1} text "red"`,
		`,"include":[]`:                  ``,
	} {
		got := must[struct{ Hits []map[string]json.RawMessage }](t, a.post("/v1/search", `{"text":"red"`+include+`}`)).Hits[0]
		var have []string
		for _, name := range []string{"metadata", "text"} {
			if v, ok := got[name]; ok {
				have = append(have, name+" "+string(v))
			}
		}
		if strings.Join(have, " ") != want {
			t.Errorf("%s gives %v, want %s", include, have, want)
		}
	}
	a.send(text("b", "plain"))
	if got := string(a.post("/v1/search", `{"text":"plain","k":1}`).body); !strings.Contains(got, `"metadata":{}`) {
		t.Error("no metadata is no empty object:", got)
	}
}

// A search with a token waits for its events, and says when one of them came to nothing.
func TestAfter(t *testing.T) {
	a := start(t)
	one, two := a.send(text("a", "red")), a.send(text("b", "blue"))
	for _, after := range []string{fmt.Sprintf("%q", one), fmt.Sprintf("[%q,%q]", one, two), "[]", "null"} {
		if f := must[found](t, a.post("/v1/search", `{"text":"red","after":`+after+`}`)); len(f.Hits) != 2 || f.Warnings != nil {
			t.Errorf("after %s: %+v", after, f)
		}
	}
	applied := must[found](t, a.post("/v1/search", `{"text":"red"}`)).Applied
	if f := must[found](t, a.post("/v1/search", fmt.Sprintf(`{"text":"red","after":%q}`, applied))); len(f.Hits) != 2 {
		t.Errorf("after what an answer said was applied: %+v", f)
	}

	a.post("/v1/admin/pause", "")
	in := must[ingested](t, a.post("/v1/events", text("c", "green")))
	got := a.post("/v1/search", fmt.Sprintf(`{"text":"green","timeout_ms":20,"after":%q}`, in.Token))
	got.mustFail(t, "paused", 504, "position_not_reached", "after", "@2 is not decided yet, the position reached is")
	a.do("GET", "/v1/entities/c?timeout_ms=20&after="+in.Token, "", "").mustFail(t, "paused", 504, "position_not_reached", "after", "@1")
	if f := must[found](t, a.post("/v1/search", `{"text":"green"}`)); len(f.Hits) != 2 {
		t.Errorf("without a token: %+v", f)
	}
	a.post("/v1/admin/resume", "")
	if f := must[found](t, a.post("/v1/search", fmt.Sprintf(`{"text":"green","k":1,"after":%q}`, in.Token))); f.ids() != "c" {
		t.Errorf("after the pause: %+v", f)
	}
	e := must[struct {
		EntityID string `json:"entity_id"`
	}](t, a.get("/v1/entities/c?after="+one+"&after="+in.Token))
	if e.EntityID != "c" {
		t.Errorf("the entity after two tokens: %+v", e)
	}
}

func TestWarnings(t *testing.T) {
	a := start(t)
	in := must[ingested](t, a.post("/v1/events", `[`+text("a", "red")+`,{"entity_id":"b","payload":{}}]`))
	f := must[found](t, a.post("/v1/search", fmt.Sprintf(`{"text":"red","after":%q}`, in.Token)))
	if f.ids() != "a" || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "@1") || !strings.Contains(f.Warnings[0], "no_content") {
		t.Errorf("%+v", f)
	}
	bad := strings.Repeat(`{"entity_id":"b","payload":{}},`, 12)
	in = must[ingested](t, a.post("/v1/events", `[`+bad+text("a", "red")+`]`))
	f = must[found](t, a.post("/v1/search", fmt.Sprintf(`{"text":"red","after":%q}`, in.Token)))
	if len(f.Warnings) != 11 || !strings.Contains(f.Warnings[10], "dlq list") {
		t.Errorf("%d warnings, the last %q", len(f.Warnings), f.Warnings[len(f.Warnings)-1])
	}
	e := must[struct{ Warnings []string }](t, a.get("/v1/entities/a?after="+in.Token))
	if len(e.Warnings) != 11 {
		t.Errorf("the entity has %d warnings", len(e.Warnings))
	}
}

func TestSeedForms(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"), text("b", "blue"), text("c", "green"))
	if got := string(a.post("/search?k=1", `{"text":"red"}`).body); !strings.HasPrefix(got, `{"hits":[{"entity_id":"a","score":`) || strings.Count(got, "entity_id") != 1 {
		t.Error(got)
	}
	if got := a.post("/search", `{"text":"red"}`); strings.Count(string(got.body), "entity_id") != 3 {
		t.Errorf("%s", got.body)
	}
	v := must[struct {
		Vector []float32
		Model  string
	}](t, a.post("/embed", `{"text":"red"}`))
	if len(v.Vector) != 256 || v.Model == "" {
		t.Errorf("%d dimensions of %q", len(v.Vector), v.Model)
	}
	body, _ := json.Marshal(map[string]any{"vector": v.Vector, "k": 1})
	if f := must[found](t, a.post("/v1/search", string(body))); f.ids() != "a" || f.Hits[0].Score < 0.999 {
		t.Errorf("the vector of a text finds %+v", f)
	}
}

// With a mapping any object is an event; a collection that it makes can be waited for, though
// it does not exist when the search arrives.
func TestMapped(t *testing.T) {
	a := start(t, func(o *node.Options) {
		o.Config.AutoCreate = true
		o.Config.Mapping = &mapping.Config{Changes: []mapping.Change{{Entity: "event.sku", Collection: "event.shop", Text: "event.name"}}}
		o.Config.Collections["other"] = config.Collection{Model: config.BuiltinModel, Metric: "cosine"}
	})
	a.post("/v1/admin/pause", "")
	in := must[ingested](t, a.post("/v1/events", `[{"sku":"s1","shop":"berlin","name":"red shirt"},{"any":"thing"},7]`))
	if in.Accepted != 2 || in.RejectedCount != 1 || in.Rejected[0].Index != 2 {
		t.Fatalf("%+v", in)
	}
	a.post("/v1/search", `{"text":"shirt","collection":"berlin"}`).mustFail(t, "too early", 404, "unknown_collection", "collection", "berlin")
	answers := make(chan answer)
	go func() {
		answers <- a.post("/v1/search", fmt.Sprintf(`{"text":"shirt","collection":"berlin","after":%q}`, in.Token))
	}()
	a.post("/v1/admin/resume", "")
	f := must[found](t, <-answers)
	if f.ids() != "s1" || len(f.Warnings) != 1 {
		t.Errorf("%+v", f)
	}
	del := must[ingested](t, a.do("DELETE", "/v1/entities/s1?collection=berlin", "", ""))
	a.get("/v1/entities/s1?collection=berlin&after="+del.Token).mustFail(t, "deleted", 404, "not_found", "entity_id", "s1")
}

// A filter may be written in CEL: it finds what the same filter as an object finds.
func TestFilterInCEL(t *testing.T) {
	a := start(t)
	token := a.send(`{"entity_id":"a","payload":{"text":"red shoes","price":10,"tags":["new"]}}`,
		`{"entity_id":"b","payload":{"text":"red shoes","price":30}}`, `{"entity_id":"c","payload":{"text":"red shoes","price":50,"tags":["old","new"]}}`)
	search := func(filter string) answer {
		return a.post("/v1/search", fmt.Sprintf(`{"text":"red shoes","after":%q,"filter":%s}`, token, filter))
	}
	for cel, want := range map[string]string{`price < 40`: "a b", `\"new\" in tags && price > 10`: "c", `!has(self.tags)`: "b"} {
		got := strings.Fields(must[found](t, search(`"`+cel+`"`)).ids())
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s finds %v, want %s", cel, got, want)
		}
	}
	search(`"price < 40 && size(tags) == 1"`).mustFail(t, "what is no filter", 400, "invalid_field", "filter", "`size(tags)`")
	search(`""`).mustFail(t, "nothing", 400, "invalid_field", "filter", "CEL")
	search(`5`).mustFail(t, "a number", 400, "invalid_field", "filter", "")
}
