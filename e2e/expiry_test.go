package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestExpiry: from its time on an entity is in no answer, it is deleted soon, and stays so over a
// kill; a newer event moves or clears its time.
func TestExpiry(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "snapshot: {interval: 100ms}\n")
	at := func(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }
	expiring := func(id string, at int64) event {
		return event{EntityID: id, ExpiresAt: at, Payload: text("the kettle of "+id, "id", id)}
	}
	soon := at(1500 * time.Millisecond)
	token := a.events(expiring("past", at(-time.Hour)), expiring("soon", soon), expiring("moved", soon), expiring("cleared", soon),
		expiring("later", at(time.Hour)), event{EntityID: "never", Payload: text("the kettle of never")})
	a.gone("past", "after", token)
	a.events(event{EntityID: "moved", Op: "patch", ExpiresAt: at(time.Hour)})
	token = a.events(event{EntityID: "cleared", Payload: text("the kettle of cleared")})
	if e := a.entity("soon", "after", token); e.ExpiresAt != soon {
		t.Errorf("the entity says that it expires at %d, want %d", e.ExpiresAt, soon)
	}
	if ids := a.search("text", "kettle", "k", 10).ids(); len(ids) != 5 {
		t.Errorf("before it expires a search finds %v", ids)
	}
	time.Sleep(time.Until(time.UnixMilli(soon)) - 300*time.Millisecond)
	s.kill() // it expires while nobody runs
	time.Sleep(time.Until(time.UnixMilli(soon)) + 10*time.Millisecond)
	s.start()
	for range 2 {
		if ids := a.search("text", "kettle", "k", 10).ids(); len(ids) != 4 {
			t.Errorf("a search finds %v, want what has not expired", ids)
		}
		a.gone("soon")
		f, status := a.trySearch("entity_id", "soon")
		refused(t, f.problem, status, http.StatusNotFound, "not_found")
		for _, id := range []string{"moved", "cleared", "later", "never"} {
			a.entity(id)
		}
		eventually(t, "the deletion", func() bool { r := a.audit(); return r.Tombstones == 2 && r.Entities == 4 })
		s.kill()
		s.start()
	}
	token = a.events(event{EntityID: "soon", Payload: text("the kettle is back")})
	a.entity("soon", "after", token)

	// Many at once, among few that stay: an answer is as long as it can be.
	var all []event
	due := at(700 * time.Millisecond)
	for i := range 2000 {
		all = append(all, event{EntityID: fmt.Sprint("many", i), ExpiresAt: due, Payload: text("a teapot, a teapot")})
	}
	for i := range 5 {
		all = append(all, event{EntityID: fmt.Sprint("few", i), Payload: text("a teapot and its lid")})
	}
	a.await(a.events(all...))
	time.Sleep(time.Until(time.UnixMilli(due)))
	for range 20 {
		f := a.search("text", "a teapot, a teapot", "k", 5)
		if len(f.Hits) != 5 {
			t.Fatalf("a search gives %d hits, want 5", len(f.Hits))
		}
		for _, h := range f.Hits {
			if len(h.EntityID) > 4 && h.EntityID[:4] == "many" {
				t.Fatalf("a search gives %s, which has expired", h.EntityID)
			}
		}
	}
	eventually(t, "all deletions", func() bool { r := a.audit(); return r.Tombstones >= 2001 })
}
