package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
)

type entity struct {
	EntityID      string `json:"entity_id"`
	Collection    string
	Namespace     string
	Version       string
	Text          string
	Metadata      json.RawMessage
	SourceEventID string `json:"source_event_id"`
	UpdatedAt     string `json:"updated_at"`
	Timestamp     int64
	Events        uint64
	Points        int
	Revision      uint32
}

func TestEntity(t *testing.T) {
	a := start(t)
	said := " r\u00e9d\n\t\u2028<&> \"shirt\" \U0001f600 "
	raw, _ := json.Marshal(said)
	a.send(`{"event_id":"e","entity_id":"a","timestamp":1700000000123,"payload":{"n": 1.50,"text":` + string(raw) + `,"deep":{"x":[ ]}}}`)
	e := must[entity](t, a.get("/v1/entities/a"))
	if e.Text != said {
		t.Errorf("the text is %q, it came as %q", e.Text, said)
	}
	if string(e.Metadata) != `{"n":1.50,"deep":{"x":[]}}` && string(e.Metadata) != `{"n": 1.50,"deep":{"x":[ ]}}` {
		t.Errorf("the metadata is %s", e.Metadata)
	}
	at, err := time.Parse(time.RFC3339Nano, e.UpdatedAt)
	if err != nil || time.Since(at) > time.Hour || time.Since(at) < -time.Hour {
		t.Errorf("updated_at is %s, %v", e.UpdatedAt, err)
	}
	e.Text, e.Metadata, e.UpdatedAt = "", nil, ""
	want := entity{EntityID: "a", Collection: "default", Namespace: "default", Version: e.Version, SourceEventID: "e",
		Timestamp: 1700000000123, Events: 1, Points: 1, Revision: 1}
	if fmt.Sprint(e) != fmt.Sprint(want) || len(e.Version) != 32 {
		t.Errorf("%+v, want %+v", e, want)
	}
	before := e.Version
	a.send(text("a", "blue"))
	if e = must[entity](t, a.get("/v1/entities/a")); e.Version <= before || e.Events != 2 || string(e.Metadata) != "{}" {
		t.Errorf("after an update: %+v", e)
	}
}

// Ids hold all kinds of bytes; in the path they are escaped, slashes need not be.
func TestEntityIDsInPaths(t *testing.T) {
	a := start(t)
	ids := []string{"a/b", "a b", "a?b#c", "100%", "a%2Fb", "é漢😀", "a//b", "../a", ".", "..", "/", "a/", "//", "a+b", "{id}", `"\`, strings.Repeat("é", 512)}
	for _, id := range ids {
		a.send(text(id, "text of "+id))
	}
	for _, id := range ids {
		e := must[entity](t, a.get("/v1/entities/"+escape(id)))
		if e.EntityID != id || e.Text != "text of "+id {
			t.Errorf("%q is answered with %q", id, e.EntityID)
		}
	}
	if e := must[entity](t, a.get("/v1/entities/a/b")); e.EntityID != "a/b" {
		t.Errorf("a/b as it is gives %q", e.EntityID)
	}
	for _, id := range ids {
		del := must[ingested](t, a.do("DELETE", "/v1/entities/"+escape(id), "", ""))
		a.get("/v1/entities/"+escape(id)+"?after="+del.Token).mustFail(t, "deleted "+id, 404, "not_found", "entity_id", "")
	}
}

// escape is an id as one part of a path; its dots too, because clients resolve "..".
func escape(id string) string { return strings.ReplaceAll(url.PathEscape(id), ".", "%2E") }

func TestDelete(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"), `{"entity_id":"a","namespace":"n","payload":{"text":"red"}}`,
		`{"entity_id":"o","collection":"vec","order":5,"vector":[1,0,0]}`)
	for _, c := range []struct{ path, read string }{
		{"/v1/entities/a", "/v1/entities/a?"},
		{"/v1/entities/a?namespace=n&event_id=d1", "/v1/entities/a?namespace=n&"},
		{"/v1/entities/o?collection=vec&order=9", "/v1/entities/o?collection=vec&"},
		{"/v1/entities/never", "/v1/entities/never?"}, // an event like any other
	} {
		in := must[ingested](t, a.do("DELETE", c.path, "", ""))
		if in.Accepted != 1 || in.Rejected == nil || in.Token == "" {
			t.Errorf("DELETE %s: %+v", c.path, in)
		}
		a.get(c.read+"after="+in.Token).mustFail(t, c.path, 404, "not_found", "entity_id", "")
	}
	// Where a source orders, a delete without an order is a dead letter, and an older one nothing.
	a.send(`{"entity_id":"p","collection":"vec","order":5,"vector":[1,0,0]}`)
	for _, query := range []string{"", "&order=4"} {
		in := must[ingested](t, a.do("DELETE", "/v1/entities/p?collection=vec"+query, "", ""))
		if e := must[entity](t, a.get("/v1/entities/p?collection=vec&after="+in.Token)); e.Events != 1 {
			t.Errorf("DELETE with %q: %+v", query, e)
		}
	}
	// A repeat of a delete does not take away what came since.
	a.send(`{"entity_id":"a","namespace":"n","payload":{"text":"back"}}`)
	in := must[ingested](t, a.do("DELETE", "/v1/entities/a?namespace=n&event_id=d1", "", ""))
	if e := must[entity](t, a.get("/v1/entities/a?namespace=n&after="+in.Token)); e.Text != "back" {
		t.Errorf("after a repeated delete: %+v", e)
	}
}

func TestCollections(t *testing.T) {
	a := start(t)
	a.send(text("a", "red"), text("b", "red"), `{"entity_id":"a","namespace":"n","payload":{"text":"red"}}`)
	type namespace struct {
		Name             string
		Entities, Points int
	}
	list := must[struct {
		Collections []struct {
			Name, Model, Metric, Order string
			Dim                        int
			Namespaces                 []namespace
		}
	}](t, a.get("/v1/collections")).Collections
	if len(list) != 2 || list[0].Name != freshet.DefaultCollection || list[1].Name != "vec" {
		t.Fatalf("%+v", list)
	}
	if d := list[0]; d.Dim != 256 || d.Metric != "cosine" || d.Model == "" || d.Order != "none" || fmt.Sprint(d.Namespaces) != "[{default 2 2} {n 1 1}]" {
		t.Errorf("default is %+v", d)
	}
	if v := list[1]; v.Dim != 3 || v.Model != "" || v.Order != "undecided" || v.Namespaces == nil {
		t.Errorf("vec is %+v", v)
	}
}
