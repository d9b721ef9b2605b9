package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
)

// TestOrder is about which of two events of an entity is the later one.
func TestOrder(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "collections: {ordered: {}, plain: {}}\n")
	ordered := func(order int64, op, s string) event {
		e := event{EntityID: "e", Collection: "ordered", Order: order, Op: op}
		if op == "" {
			e.Payload = text(s)
		}
		return e
	}

	t.Run("an upsert older than a delete", func(t *testing.T) {
		a := a.in(t)
		a.events(ordered(10, "", "ten"))
		a.gone("e", "collection", "ordered", "after", a.events(ordered(20, "delete", "")))
		token := a.events(ordered(15, "", "fifteen"))
		a.gone("e", "collection", "ordered", "after", token)
		if f := a.search("text", "fifteen", "collection", "ordered", "after", token); len(f.Hits) != 0 {
			t.Errorf("the tombstone was revived: %v", f.ids())
		}
		token = a.events(ordered(25, "", "twenty-five"))
		if e := a.entity("e", "collection", "ordered", "after", token); e.Text != "twenty-five" || e.Events != 3 {
			t.Errorf("text %q after %d events, want the newest after 3", e.Text, e.Events)
		}
	})
	t.Run("a delete older than an upsert", func(t *testing.T) {
		a := a.in(t)
		token := a.events(ordered(24, "delete", ""))
		if e := a.entity("e", "collection", "ordered", "after", token); e.Text != "twenty-five" {
			t.Errorf("text %q", e.Text)
		}
		token = a.delete("e", "collection", "ordered", "order", "26")
		a.gone("e", "collection", "ordered", "after", token)
	})
	t.Run("the same order twice", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EntityID: "same", Collection: "ordered", Order: 5, Payload: text("first")})
		token := a.events(event{EntityID: "same", Collection: "ordered", Order: 5, Payload: text("second")})
		if e := a.entity("same", "collection", "ordered", "after", token); e.Text != "second" {
			t.Errorf("text %q, want that of the later place in the log", e.Text)
		}
	})
	t.Run("the largest order", func(t *testing.T) {
		a := a.in(t)
		token := a.events(event{EntityID: "max", Collection: "ordered", Order: 1<<63 - 1, Payload: text("the largest")},
			event{EntityID: "max", Collection: "ordered", Order: 1<<53 + 1, Payload: text("smaller")})
		if e := a.entity("max", "collection", "ordered", "after", token); e.Text != "the largest" {
			t.Errorf("text %q", e.Text)
		}
	})
	t.Run("no order in an ordered collection", func(t *testing.T) {
		a := a.in(t)
		token := a.events(event{EntityID: "none", Collection: "ordered", Payload: text("no order")})
		warned(t, a.await(token), "order_mismatch", `"ordered"`)
		warned(t, a.await(a.delete("max", "collection", "ordered")), "order_mismatch")
		a.entity("max", "collection", "ordered")
	})
	t.Run("an order in a collection without", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EntityID: "e", Collection: "plain", Payload: text("no order")})
		token := a.events(event{EntityID: "e", Collection: "plain", Order: 3, Payload: text("an order")})
		warned(t, a.await(token), "order_mismatch", `"plain"`)
		if e := a.entity("e", "collection", "plain"); e.Text != "no order" {
			t.Errorf("text %q", e.Text)
		}
	})
	t.Run("what settled the order is listed, and stays", func(t *testing.T) {
		a := a.in(t)
		for range 2 {
			got := map[string]string{}
			for _, c := range a.collections() {
				got[c.Name] = c.Order
			}
			if want := fmt.Sprint(map[string]string{"default": "undecided", "ordered": "source", "plain": "none"}); fmt.Sprint(got) != want {
				t.Errorf("orders %v, want %s", got, want)
			}
			s.kill()
			s.start()
		}
	})
	t.Run("timestamps out of order", func(t *testing.T) {
		a := a.in(t)
		a.events(event{EntityID: "clock", Collection: "plain", Timestamp: 2000, Payload: text("sent first")})
		token := a.events(event{EntityID: "clock", Collection: "plain", Timestamp: 1000, Payload: text("sent second")})
		if e := a.entity("clock", "collection", "plain", "after", token); e.Text != "sent second" || e.Timestamp != 1000 {
			t.Errorf("text %q of %d: timestamps don't order events, the log does", e.Text, e.Timestamp)
		}
	})
	a.audit()
}

// TestVersions checks that versions sort as the changes of an entity do.
func TestVersions(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "collections: {ordered: {}}\n")
	last := map[string]string{}
	for i := range 300 {
		for _, collection := range []string{"default", "ordered"} {
			e := event{EntityID: "v", Collection: collection, Payload: text(fmt.Sprintf("version %d", i))}
			if collection == "ordered" {
				e.Order = int64(i*i*i) + 1
			}
			v := a.entity("v", "collection", collection, "after", a.events(e)).Version
			if v <= last[collection] {
				t.Fatalf("%s: version %q comes after %q, and sorts before it", collection, v, last[collection])
			}
			last[collection] = v
		}
	}
	if f := a.search("text", "version", "collection", "ordered"); len(f.Hits) != 1 || f.Hits[0].Version != last["ordered"] {
		t.Errorf("the hit has another version than the entity: %+v, %s", f.Hits, last["ordered"])
	}
}

// TestRepeatedEvents is about what makes an event the same event.
func TestRepeatedEvents(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "collections: {other: {}}\ndedupe: {max_ids: 500}\n")
	upsert := func(id, entity, s string) event { return event{EventID: id, EntityID: entity, Payload: text(s)} }

	token := a.events(upsert("1", "a", "one"), upsert("1", "a", "one again"), upsert("2", "a", "two"), upsert("1", "a", "one late"))
	if e := a.entity("a", "after", token); e.Text != "two" || e.Events != 2 {
		t.Errorf("text %q after %d events, want two after 2", e.Text, e.Events)
	}
	token = a.events(event{EventID: "2", EntityID: "a", Op: "delete"})
	if e := a.entity("a", "after", token); e.Events != 2 {
		t.Errorf("a delete with the id of an upsert counts: %d events", e.Events)
	}
	elsewhere := upsert("1", "a", "another namespace")
	elsewhere.Namespace = "n"
	token = a.events(upsert("1", "b", "another entity"), elsewhere, event{EventID: "1", EntityID: "a", Collection: "other", Payload: text("another collection")})
	a.entity("b", "after", token)
	a.entity("a", "namespace", "n")
	a.entity("a", "collection", "other")

	s.kill()
	s.start()
	token = a.events(upsert("2", "a", "after a restart"))
	if e := a.entity("a", "after", token); e.Text != "two" || e.Events != 2 {
		t.Errorf("text %q after %d events: a restart forgot the event id", e.Text, e.Events)
	}
	// Beyond the window an id is forgotten, as it is declared.
	var many []event
	for i := range 1200 {
		many = append(many, upsert(fmt.Sprint("m", i), "c", fmt.Sprint("many ", i)))
	}
	a.events(many...)
	token = a.events(upsert("2", "a", "outside the window"))
	if e := a.entity("a", "after", token); e.Text != "outside the window" {
		t.Errorf("text %q: 1200 ids later the window of 500 still holds the id", e.Text)
	}
	a.audit()
}

// TestAutoCreate makes collections as events name them.
func TestAutoCreate(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "auto_create: true\n")
	f, status := a.trySearch("text", "x", "collection", "fresh")
	refused(t, f.problem, status, http.StatusNotFound, "unknown_collection", `"fresh"`)
	token := a.events(event{EntityID: "e", Collection: "fresh", Payload: text("a fresh collection")})
	for range 2 {
		if f := a.search("text", "fresh", "collection", "fresh", "after", token); len(f.Hits) != 1 {
			t.Errorf("%d hits in the new collection", len(f.Hits))
		}
		if f := a.search("text", "fresh"); len(f.Hits) != 0 {
			t.Errorf("the default collection has %v", f.ids())
		}
		all := a.collections()
		if len(all) != 2 || all[1].Name != "fresh" || all[1].Model != all[0].Model || all[1].Dim != 256 || all[1].Metric != "cosine" {
			t.Errorf("collections %+v, want fresh as a copy of default", all)
		}
		s.kill()
		s.start()
	}
	e, status := a.get("e", "collection", "nowhere")
	refused(t, e.problem, status, http.StatusNotFound, "unknown_collection")
	a.audit()
}
