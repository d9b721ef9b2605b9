package process_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
)

func TestDefaultMapping(t *testing.T) {
	for _, c := range []struct{ name, event, text, metadata string }{
		{"text and metadata", `{"entity_id":"a","payload":{"text":"red","n":1,"deep":{"text":"x"}}}`, "red", `{"n":1,"deep":{"text":"x"}}`},
		{"text alone", `{"entity_id":"a","payload":{"text":"red"}}`, "red", ""},
		{"text as it came", `{"entity_id":"a","payload":{"text":"  red\n"}}`, "  red\n", ""},
		{"escapes", `{"entity_id":"a","payload":{"text":"r\u00e9d \ud83d\ude00\t\"\/\\"}}`, "réd 😀\t\"/\\", ""},
		{"an escaped name", `{"entity_id":"a","payload":{"t\u0065xt":"red","\u006e":1}}`, "red", `{"\u006e":1}`},
		{"strings in byte order of their names", `{"entity_id":"a","payload":{"b":"2","a":"1","B":"0","é":"4","n":5,"none":""}}`,
			"0\n1\n2\n4", `{"b":"2","a":"1","B":"0","é":"4","n":5,"none":""}`},
		{"text that is no string", `{"entity_id":"a","payload":{"text":5,"title":"red"}}`, "red", `{"text":5,"title":"red"}`},
		{"text that is null", `{"entity_id":"a","payload":{"text":null,"title":"red"}}`, "red", `{"text":null,"title":"red"}`},
		{"of a name that stands twice the last", `{"entity_id":"a","payload":{"text":"one","n":1,"text":"two","n":2}}`, "two", `{"n":1,"n":2}`},
		{"both of a name that stands twice", `{"entity_id":"a","payload":{"t":"one","s":"x","t":"two"}}`, "x\none\ntwo", `{"t":"one","s":"x","t":"two"}`},
		{"spaces around", ` { "entity_id" : "a" , "payload" : { "text" : "red" , "n" : [ 1 ] } } `, "red", `{"n" : [ 1 ]}`},
		{"a vector and no text", `{"entity_id":"a","vector":[1],"payload":{"title":"red"}}`, "", `{"title":"red"}`},
		{"a vector and a text", `{"entity_id":"a","vector":[1],"payload":{"text":"red"}}`, "red", ""},
		{"a vector alone", `{"entity_id":"a","vector":[1]}`, "", ""},
		{"a vector and no payload", `{"entity_id":"a","vector":[1],"payload":null}`, "", ""},
		{"a vector and an empty payload", `{"entity_id":"a","vector":[1],"payload":{}}`, "", ""},
		{"a deletion takes nothing", `{"entity_id":"a","op":"delete","payload":{"text":"red"}}`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := []byte(c.event)
			drafts, err := process.Default{}.Map(process.Record{Value: raw})
			if err != nil || len(drafts) != 1 {
				t.Fatal(drafts, err)
			}
			clear(raw) // drafts of the default mapping must not need it, ids, text and metadata that is
			d := drafts[0]
			if d.Text != c.text || string(d.Metadata) != c.metadata || d.Embed != d.Text || d.Key.Entity != "a" {
				t.Errorf("text %q, metadata %s, embedded %q; want %q and %s", d.Text, d.Metadata, d.Embed, c.text, c.metadata)
			}
		})
	}
}

// An event that can't be mapped still names its entity, where it got that far.
func TestDefaultMappingNamesTheEntityAtFault(t *testing.T) {
	raw := `{"event_id":"e","entity_id":"a","collection":"c","namespace":"n","payload":[1]}`
	drafts, err := process.Default{}.Map(process.Record{Value: []byte(raw)})
	var e *freshet.Error
	if !errors.As(err, &e) || e.Field != "payload" || !strings.Contains(e.Message, "object") {
		t.Errorf("error %v", err)
	}
	if len(drafts) != 1 || drafts[0].EventID != "e" || drafts[0].Key != (freshet.Key{Collection: "c", Namespace: "n", Entity: "a"}) {
		t.Errorf("drafts %+v", drafts)
	}
}

// The largest id and a megabyte of metadata come through as they are.
func TestLargeMetadataAndIDsComeThrough(t *testing.T) {
	b := newBench(t)
	id := strings.Repeat("é", freshet.MaxIDBytes/2)
	meta := `{"blob":"` + strings.Repeat("x", 1<<20) + `"}`
	b.send([]string{`{"entity_id":"` + id + `","payload":{"text":"red",` + meta[1:] + `}`})
	c, ok := b.state()[id]
	if !ok || string(c.Metadata) != meta || c.Text != "red" {
		t.Errorf("an id of %d bytes with %d bytes of metadata: found %v, %d bytes", len(id), len(meta), ok, len(c.Metadata))
	}
	b.mustBeClean()
}
