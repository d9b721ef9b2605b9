package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestIDs writes, reads, finds and deletes entities whose ids have all that an id may have.
func TestIDs(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "auto_create: true\n")
	ids := []string{
		"plain", "with space", " leading", "trailing ", "a/b/c", "/leading", "trailing/", "a//b", "/", "//", ".", "..", "...",
		"a/../b", "./a", "../../etc/passwd", "100%", "%2F", "%2e%2e", "%zz", "a+b", "a&b=c", "a?b", "a#b", "a;b", "a:b", "@", "~", "*",
		`quo"te`, `back\slash`, "<script>", "ünïcödé", "日本語", "🎉", "👩‍👩‍👧", "עברית", "e\u0301", "\u00e9", "\u00a0", "\u2028", "\ufeff", "\ufffd",
		strings.Repeat("x", 1024), strings.Repeat("é", 512), strings.Repeat("/", 1024), strings.Repeat("%", 1024),
		"entities", "v1", "{id}", "null", "0", "-1", "http://example.com/a?b=c#d",
	}
	var all []event
	for i, id := range ids {
		all = append(all, event{EventID: id, EntityID: id, Payload: text(fmt.Sprintf("entity number %d", i), "i", i)})
	}
	token := a.events(all...)
	check := func() {
		t.Helper()
		for i, id := range ids {
			e := a.entity(id, "after", token)
			if e.EntityID != id || e.SourceEventID != id || e.Text != fmt.Sprintf("entity number %d", i) {
				t.Errorf("GET %q gives %q of event %q, text %q", id, e.EntityID, e.SourceEventID, e.Text)
			}
		}
		f := a.search("text", "entity number", "k", 1000, "include", []string{})
		seen := map[string]bool{}
		for _, id := range f.ids() {
			seen[id] = true
		}
		for _, id := range ids {
			if !seen[id] {
				t.Errorf("a search over everything doesn't find %q", id)
			}
		}
		if len(f.Hits) != len(ids) {
			t.Errorf("%d hits, want %d", len(f.Hits), len(ids))
		}
	}
	check()
	s.stop()
	s.start() // from the snapshot
	check()
	for _, id := range ids {
		if f := a.search("entity_id", id, "k", 1); len(f.Hits) != 1 || f.Hits[0].EntityID == id {
			t.Errorf("a search like %q finds %v, want one other", id, f.ids())
		}
	}
	// The same ids serve as namespace and collection.
	for i, id := range ids {
		token := a.events(event{EntityID: "e", Namespace: id, Collection: id, Payload: text(fmt.Sprintf("in %d", i))})
		e := a.entity("e", "namespace", id, "collection", id, "after", token)
		if e.Namespace != id || e.Collection != id || e.Text != fmt.Sprintf("in %d", i) {
			t.Errorf("in %q: got namespace %q, collection %q, text %q", id, e.Namespace, e.Collection, e.Text)
		}
	}
	// Slashes need not be escaped, as long as no part between them is empty or dots.
	var e entity
	if status := a.must("GET", "/v1/entities/a/b/c", nil, &e); status != http.StatusOK || e.EntityID != "a/b/c" {
		t.Errorf("GET with slashes as they are: status %d, entity %q", status, e.EntityID)
	}
	for _, path := range []string{"a//b", "/leading", "trailing//", "./a", "a/../b", ".."} {
		var p problem
		status := a.must("GET", "/v1/entities/"+path, nil, &p)
		refused(t, p, status, http.StatusBadRequest, "invalid_field", "entity_id", "%2F")
	}
	for _, id := range ids {
		a.gone(id, "after", a.delete(id))
	}
	for _, bad := range []string{strings.Repeat("x", 1025), "a\nb", "a\x00b", "a\x7fb", "\u0085"} {
		e, status := a.get(bad)
		refused(t, e.problem, status, http.StatusBadRequest, "invalid_field", "entity_id")
	}
	for _, path := range []string{"/v1/entities/%ff", "/v1/entities/a%c3%28"} {
		var e entity
		status := a.must("GET", path, nil, &e)
		refused(t, e.problem, status, http.StatusBadRequest, "invalid_utf8", "entity_id")
	}
	a.audit()
}

// TestNamespaces checks that tenants don't see each other.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	var tokens []string
	for _, ns := range []string{"", "red", "blue"} {
		tokens = append(tokens, a.events(event{EntityID: "same", Namespace: ns, Payload: text("the same words in " + ns)},
			event{EntityID: "only" + ns, Namespace: ns, Payload: text("the same words once more")}))
	}
	for _, ns := range []string{"default", "red", "blue"} {
		f := a.search("text", "the same words", "k", 10, "namespace", ns, "after", tokens)
		own := strings.TrimPrefix(ns, "default")
		if len(f.Hits) != 2 || a.entity("same", "namespace", ns).Text != "the same words in "+own || a.entity("only"+own, "namespace", ns).Namespace != ns {
			t.Errorf("namespace %s has %v", ns, f.ids())
		}
	}
	a.gone("onlyred")
	a.gone("same", "namespace", "red", "after", a.delete("same", "namespace", "red"))
	a.entity("same")
	if f := a.search("text", "the same words", "namespace", "nobody"); len(f.Hits) != 0 {
		t.Errorf("an empty namespace has %v", f.ids())
	}
}
