package process_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/process/mapping"
	"github.com/freshet-io/freshet/wire"
)

func upsert(payload string) string { return fmt.Sprintf(`{"entity_id":"a","payload":%s}`, payload) }

func patch(payload string) string {
	return fmt.Sprintf(`{"entity_id":"a","op":"patch","payload":%s}`, payload)
}

// A patch gives what an upsert of the merged payload would have given, in one batch or in several;
// text is embedded where it changed.
func TestPatch(t *testing.T) {
	ready := `{"entity_id":"a","vector":[1,2,3,4],"payload":{"text":"red","n":1}}`
	for _, c := range []struct {
		name     string
		events   []string
		text     string
		metadata string
		embedded string // where each event is a batch
	}{
		{"metadata", []string{upsert(`{"text":"red","n":1,"o":{"x":1}}`), patch(`{"n":2,"o":{"y":2}}`)}, "red", `{"n":2,"o":{"x":1,"y":2}}`, "red"},
		{"text", []string{upsert(`{"text":"red","n":1}`), patch(`{"text":"blue"}`)}, "blue", `{"n":1}`, "red blue"},
		{"the same text", []string{upsert(`{"text":"red","n":1}`), patch(`{"text":"red","n":null}`)}, "red", "", "red"},
		{"a joined string", []string{upsert(`{"title":"red","body":"sky"}`), patch(`{"title":"blue"}`)}, "sky\nblue", `{"title":"blue","body":"sky"}`, "sky\nred sky\nblue"},
		{"a string more", []string{upsert(`{"title":"red"}`), patch(`{"about":"a"}`)}, "a\nred", `{"title":"red","about":"a"}`, "red a\nred"},
		{"text that is also joined", []string{upsert(`{"text":"red","title":"red"}`), patch(`{"title":"blue"}`)}, "red", `{"title":"blue"}`, "red"},
		{"text with escapes that is also joined", []string{upsert(`{"text":"r\\d","title":"r\\d"}`), patch(`{"title":"blue"}`)}, `r\d`, `{"title":"blue"}`, `r\d`},
		{"text of two strings joined", []string{upsert(`{"text":"a\nb","x":"a","y":"b"}`), patch(`{"y":"c"}`)}, "a\nb", `{"x":"a","y":"c"}`, "a\nb"},
		{"text joined from then on", []string{upsert(`{"text":"red","title":"blue"}`), patch(`{"text":null}`)}, "blue", `{"title":"blue"}`, "red blue"},
		{"text that is given from then on", []string{upsert(`{"title":"red"}`), patch(`{"text":"red"}`), patch(`{"title":"blue"}`)}, "red", `{"title":"blue"}`, "red"},
		{"text that is no string", []string{upsert(`{"text":5,"title":"red"}`), patch(`{"n":1}`)}, "red", `{"text":5,"title":"red","n":1}`, "red"},
		{"strange text", []string{upsert(`{"text":"<&>\u2028\"\\\u0000😀","n":1}`), patch(`{"n":2}`)}, "<&>\u2028\"\\\x00😀", `{"n":2}`, "<&>\u2028\"\\\x00😀"},
		{"nothing", []string{upsert(`{"text":"red","n":1}`), `{"entity_id":"a","op":"patch"}`, patch(`null`), patch(`{}`)}, "red", `{"n":1}`, "red"},
		{"several", []string{upsert(`{"text":"red"}`), patch(`{"n":1}`), patch(`{"text":"blue"}`), patch(`{"m":2}`)}, "blue", `{"n":1,"m":2}`, "red blue"},
		{"there and back", []string{upsert(`{"text":"red"}`), patch(`{"text":"blue"}`), patch(`{"text":"red"}`)}, "red", "", "red blue red"},
		{"then an upsert", []string{upsert(`{"text":"red","n":1}`), patch(`{"n":2}`), upsert(`{"text":"blue"}`), patch(`{"m":2}`)}, "blue", `{"m":2}`, "red blue"},
		{"a ready vector stays", []string{ready, patch(`{"text":"blue","n":2}`), patch(`{"text":"green"}`)}, "green", `{"n":2}`, ""},
		{"a ready vector has no joined text", []string{`{"entity_id":"a","vector":[1,2,3,4],"payload":{"title":"red"}}`, patch(`{"n":2}`)}, "", `{"title":"red","n":2}`, ""},
		{"another ready vector", []string{ready, `{"entity_id":"a","op":"patch","vector":[4,3,2,1]}`, patch(`{"n":2}`)}, "red", `{"n":2}`, ""},
		{"a ready vector from then on", []string{upsert(`{"title":"red"}`), `{"entity_id":"a","op":"patch","vector":[4,3,2,1],"payload":{"n":1}}`, patch(`{"title":"blue"}`)}, "", `{"title":"blue","n":1}`, "red"},
	} {
		for _, spread := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", c.name, spread), func(t *testing.T) {
				b := newBench(t)
				groups := [][]string{c.events}
				if spread {
					groups = oneByOne(c.events)
				}
				b.send(groups...)
				got := b.state()["a"]
				if got.Text != c.text || string(got.Metadata) != c.metadata || got.Events != uint64(len(c.events)) || len(got.Points) != 1 {
					t.Errorf("text %q, metadata %s after %d events; want %q, %s", got.Text, got.Metadata, got.Events, c.text, c.metadata)
				}
				if asked := strings.Join(b.model.asked(), " "); spread && asked != c.embedded {
					t.Errorf("embedded %q, want %q", asked, c.embedded)
				}
				if got.Points[0].Model != "" && fmt.Sprint(got.Points[0].Vector) != fmt.Sprint(vectorOf(c.text)) {
					t.Errorf("the vector is not that of %q", c.text)
				}
				if d := b.dead(); len(d) > 0 {
					t.Errorf("dead letters %v", d)
				}
				b.mustBeClean()
			})
		}
	}
}

// What can't be patched is a dead letter that says so, and leaves the entity as it was.
func TestRefusedPatches(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		want   string
	}{
		{"no entity", []string{patch(`{"n":1}`)}, "0/0 patch not_found"},
		{"a deleted entity", []string{"a red", "-a", patch(`{"n":1}`)}, "2/0 patch not_found"},
		{"no text left", []string{"a red", patch(`{"text":null}`)}, "1/0 patch no_content"},
		{"blank text", []string{"a red", patch(`{"text":" "}`)}, "1/0 patch no_content"},
		{"text that the model refuses", []string{"a red", patch(`{"text":"bad"}`), patch(`{"n":1}`)}, "1/0 embed embed_failed"},
		{"an order", []string{"a red", `{"entity_id":"a","op":"patch","order":3,"payload":{}}`}, "1/0 map order_mismatch"},
		{"an ordered collection", []string{"a red ^1 @other", `{"entity_id":"a","op":"patch","collection":"other","payload":{}}`}, "1/0 sequence order_mismatch"},
		{"a wrong vector", []string{"a red", `{"entity_id":"a","op":"patch","vector":[1,2]}`}, "1/0 validate wrong_dimension"},
		{"too large", []string{
			upsert(`{"text":"red","x":"` + strings.Repeat("x", 17<<20) + `"}`), patch(`{"y":"` + strings.Repeat("y", 17<<20) + `"}`)}, "1/0 patch too_large"},
	} {
		for _, spread := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", c.name, spread), func(t *testing.T) {
				b := newBench(t)
				if spread {
					b.send(oneByOne(c.events)...)
				} else {
					b.send(c.events)
				}
				if got := strings.Join(b.dead(), ", "); got != c.want {
					t.Errorf("dead letters %s, want %s", got, c.want)
				}
				b.mustBeClean()
			})
		}
	}
	b := newBench(t)
	b.send([]string{patch(`{"n":1}`), "a red"}, []string{`{"entity_id":"a","op":"patch","event_id":"1","payload":{"n":1}}`, `{"entity_id":"a","op":"patch","event_id":"1","payload":{"n":2}}`})
	if got := b.outcomes(); got != "applied 2, repeated 1, dead 1" {
		t.Error("outcomes are", got)
	}
}

// A patch in a collection that nothing has ordered yet does not order it.
func TestPatchSettlesNoOrder(t *testing.T) {
	b := newBench(t)
	b.send([]string{`{"entity_id":"a","op":"patch","collection":"other","payload":{}}`, "a red ^1 @other"})
	if got := b.outcomes(); got != "applied 1, dead 1" {
		t.Error("outcomes are", got)
	}
	b.mustBeClean()
}

// What a patch is applied to must be embeddable itself, so that the outcome does not depend on
// how the log is cut: here the patch meets red, for bad never was.
func TestPatchOfWhatIsRefused(t *testing.T) {
	events := []string{"a red", upsert(`{"text":"bad","n":1}`), patch(`{"text":"blue"}`), patch(`{"text":"bad 2"}`), patch(`{"m":1}`)}
	for _, groups := range [][][]string{oneByOne(events), {events}, {events[:2], events[2:]}, {events[:3], events[3:]}, {events[:1], events[1:]}} {
		b := newBench(t)
		b.send(groups...)
		got := b.state()["a"]
		if got.Text != "blue" || string(got.Metadata) != `{"m":1}` || got.Events != 3 {
			t.Errorf("text %q, metadata %s after %d events", got.Text, got.Metadata, got.Events)
		}
		if d := strings.Join(b.dead(), ", "); d != "1/0 embed embed_failed, 3/0 embed embed_failed" {
			t.Errorf("dead letters %s", d)
		}
		b.mustBeClean()
	}
}

// A state that patches made carries what they were applied to, and the text of that only where it
// is another one; an upsert ends that.
func TestBaseOfPatches(t *testing.T) {
	b := newBench(t)
	b.send([]string{upsert(`{"text":"red","n":1}`)}, []string{patch(`{"n":2}`)}, []string{patch(`{"n":3}`)})
	base := b.state()["a"].Base
	if base == nil || base.Version.Offset != 0 || base.Text != "red" || string(base.Metadata) != `{"n":1}` || base.Ready {
		t.Errorf("the base is %+v", base)
	}
	b.send([]string{upsert(`{"text":"red","n":1}`)})
	if base := b.state()["a"].Base; base != nil {
		t.Errorf("after an upsert the base is %+v", base)
	}
}

// The audit proves what patches were applied to by its digest.
func TestAuditOfPatches(t *testing.T) {
	key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "a"}
	for name, alter := range map[string]func(*freshet.Base){
		"metadata": func(b *freshet.Base) { b.Metadata = []byte(`{"n":2}`) },
		"text":     func(b *freshet.Base) { b.Text = "blue" },
		"version":  func(b *freshet.Base) { b.Version.Offset++ },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.send([]string{upsert(`{"text":"red","n":1}`)}, []string{patch(`{"m":2}`)}, []string{"b red", "-b"})
			b.mustBeClean()
			b.damage(func(tx broker.Txn) error {
				change := b.state()["a"]
				alter(change.Base)
				err := tx.Put(freshet.TopicSync, []byte("a"), wire.AppendChange(nil, &change))
				return err
			})
			b.mustFind("damaged", key, "patched")
		})
	}
}

// An audit that cuts the log elsewhere finds what patches were applied to in vector.sync, as long as
// it matters.
func TestAuditOfPatchesInSeveralBatches(t *testing.T) {
	filler := upsert(`{"text":"filler","x":"` + strings.Repeat("x", 1<<20) + `"}`) // as much as an audit reads at once
	filler = strings.Replace(filler, `"a"`, `"filler"`, 1)
	of := func(entity, event string) string { return strings.Replace(event, `"a"`, `"`+entity+`"`, 1) }
	b := newBench(t)
	steps := []string{`{"text":"red","n":1}`, `{"n":2}`, `{"text":"blue"}`, `{"text":null}`, `{"n":3}`}
	for i, payload := range steps {
		group := []string{filler}
		for _, entity := range []string{"kept", "deleted", "replaced"} {
			if i == 0 {
				group = append(group, of(entity, upsert(payload)))
			} else {
				group = append(group, of(entity, patch(payload)), of(entity, patch(`{"m":null}`)))
			}
		}
		b.send(group)
	}
	b.mustBeClean()
	b.send([]string{filler}, []string{"-deleted", "replaced green"}, []string{filler}, []string{of("replaced", patch(`{"n":4}`)), "deleted again"})
	b.mustBeClean()
	for entity, events := range map[string]uint64{"kept": 8, "deleted": 10, "replaced": 10} {
		if got := b.state()[entity].Events; got != events {
			t.Errorf("%s was changed by %d events, want %d", entity, got, events)
		}
	}
	if d := len(b.dead()); d != 3 {
		t.Errorf("%d dead letters, want 3", d)
	}
	b.damage(func(tx broker.Txn) error {
		change := b.state()["kept"]
		change.Base.Metadata = []byte(`{"n":7}`)
		err := tx.Put(freshet.TopicSync, []byte("kept"), wire.AppendChange(nil, &change))
		return err
	})
	b.mustFind("damaged", freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "kept"}, "patched")
}

// In a configured mapping a patch merges the metadata, and text and embed replace what is stored.
func TestPatchOfAMapping(t *testing.T) {
	m, err := mapping.New(mapping.Config{Changes: []mapping.Change{{Entity: "event.id", Op: `event.?op.orValue("upsert")`, Text: `event.?title`,
		Embed: `event.?said`, Metadata: `{?"n": event.?n, ?"title": event.?title}`, Vector: "event.?v"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mapped := func(b *bench) { b.options.Mapper = m }
	for _, c := range []struct {
		name           string
		events         []string
		text, metadata string
		embedded       string
	}{
		{"metadata", []string{`{"id":"a","title":"red","n":1}`, `{"id":"a","op":"patch","n":2}`}, "red", `{"title":"red","n":2}`, "red"},
		{"removed", []string{`{"id":"a","title":"red","n":1}`, `{"id":"a","op":"patch","n":null}`}, "red", `{"title":"red"}`, "red"},
		{"text", []string{`{"id":"a","title":"red","n":1}`, `{"id":"a","op":"patch","title":"blue"}`}, "blue", `{"title":"blue","n":1}`, "red blue"},
		{"what is embedded stays", []string{`{"id":"a","title":"red","said":"sky"}`, `{"id":"a","op":"patch","n":2}`}, "red", `{"title":"red","n":2}`, "sky"},
		{"what is embedded", []string{`{"id":"a","title":"red","said":"sky"}`, `{"id":"a","op":"patch","said":"sea"}`}, "red", `{"title":"red"}`, "sky sea"},
		{"an event of the default mapping", []string{`{"id":"a","title":"red","said":"sky"}`, `default {"entity_id":"a","op":"patch","payload":{"title":"blue"}}`}, "red", `{"title":"blue"}`, "sky"},
		{"a ready vector", []string{`{"id":"a","title":"red","v":[1,2,3,4]}`, `{"id":"a","op":"patch","title":"blue"}`}, "blue", `{"title":"blue"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, mapped)
			b.send(oneByOne(c.events)...)
			got := b.state()["a"]
			if got.Text != c.text || !sameObject(string(got.Metadata), c.metadata) || got.Events != 2 {
				t.Errorf("text %q, metadata %s after %d events, want %q, %s; dead letters %v", got.Text, got.Metadata, got.Events, c.text, c.metadata, b.dead())
			}
			if asked := strings.Join(b.model.asked(), " "); asked != c.embedded {
				t.Errorf("embedded %q, want %q", asked, c.embedded)
			}
			b.mustBeClean()
		})
	}
}

func sameObject(a, b string) bool {
	var x, y map[string]any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
