package e2e_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"sync"
	"testing"
)

// revision is one line of a history: an entity was created, updated or deleted.
type revision struct {
	Seq    int64  `json:"seq"`
	TS     int64  `json:"ts"` // seconds
	Commit string `json:"commit"`
	Op     string `json:"op"` // "c", "u", "d"
	Key    string `json:"key"`
	Text   string `json:"text"`
}

// history is tldr_history: every change of the pages of a handbook, and an exact answer key
// of the state in which it ends.
type history struct {
	revisions []revision
	final     map[string]string // git blob hash of each live page
	dead      map[string]string // last text of each page that was deleted for good
	changes   map[string]int    // how many revisions each page has
	last      map[string]revision
}

func loadHistory(t testing.TB) *history {
	t.Helper()
	h := &history{final: map[string]string{}, dead: map[string]string{}, changes: map[string]int{}, last: map[string]revision{}}
	eachLine(t, shared(t, "data", "tldr_history", "changes_2013_2020.jsonl"), func(line string) error {
		var r revision
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return err
		}
		h.revisions = append(h.revisions, r)
		h.changes[r.Key]++
		if r.Op == "d" {
			h.dead[r.Key] = h.last[r.Key].Text
		} else {
			delete(h.dead, r.Key)
		}
		h.last[r.Key] = r
		return nil
	})
	header := true
	eachLine(t, shared(t, "data", "tldr_history", "final_state.tsv"), func(line string) error {
		cells := strings.Split(line, "\t")
		if !header {
			h.final[cells[0]] = cells[1]
		}
		header = false
		return nil
	})
	if len(h.revisions) != 6051 || len(h.final) != 2147 || len(h.final)+len(h.dead) != len(h.last) {
		t.Fatalf("tldr_history has %d revisions, %d final pages and %d deleted ones of %d: not the data that this test knows",
			len(h.revisions), len(h.final), len(h.dead), len(h.last))
	}
	return h
}

func eachLine(t testing.TB, path string, use func(line string) error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		if err := use(scanner.Text()); err != nil {
			t.Fatalf("%s:%d: %v", path, n, err)
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
}

// event is the event of a revision. prefix tells the event ids of several runs apart. Where the
// log orders events, half of the entities are updated by patches.
func (r *revision) event(prefix, collection string, ordered bool) event {
	e := event{EventID: fmt.Sprintf("%s-%d", prefix, r.Seq), EntityID: r.Key, Timestamp: r.TS * 1000, Collection: collection}
	if ordered {
		e.Order = r.Seq + 1
	}
	if r.Op == "d" {
		e.Op = "delete"
		return e
	}
	platform, _, _ := strings.Cut(strings.TrimPrefix(r.Key, "pages/"), "/")
	e.Payload = text(r.Text, "seq", r.Seq, "commit", r.Commit, "platform", platform, "at", r.TS)
	if r.Op == "u" && !ordered && crc32.ChecksumIEEE([]byte(r.Key))%2 == 0 {
		e.Op, e.Payload = "patch", text(r.Text, "seq", r.Seq, "commit", r.Commit, "at", r.TS)
	}
	return e
}

func (h *history) events(prefix, collection string, ordered bool) []event {
	out := make([]event, len(h.revisions))
	for i := range h.revisions {
		out[i] = h.revisions[i].event(prefix, collection, ordered)
	}
	return out
}

// blobHash is the hash that git gives a file with this content.
func blobHash(text string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text))
	return hex.EncodeToString(sum[:])
}

// checkFinal holds a collection to the answer key: every live page with its exact text,
// metadata and number of changes (nil counts are not compared), every other page gone, and
// neither more nor less in searches.
func (h *history) checkFinal(t *testing.T, a *api, collection, prefix, token string, counts map[string]int) {
	t.Helper()
	if token != "" {
		a.await(token)
	}
	var mu sync.Mutex
	wrong := map[string]int{}
	complain := func(kind, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if wrong[kind]++; wrong[kind] <= 3 {
			t.Errorf("%s: %s", collection, fmt.Sprintf(format, args...))
		}
	}
	parallel(8, keys(h.last), func(key string) {
		var e entity
		status, err := a.call("GET", entityPath(key, "collection", collection), nil, &e)
		want, live := h.final[key]
		last := h.last[key]
		switch {
		case err != nil:
			complain("error", "%v", err)
		case !live && status != 404:
			complain("dead", "%s is deleted, status %d", key, status)
		case !live:
		case status != 200:
			complain("missing", "%s: status %d, want it live", key, status)
		case blobHash(e.Text) != want:
			complain("text", "%s has the text %.60q, not that of its last revision %d", key, e.Text, last.Seq)
		case e.SourceEventID != fmt.Sprintf("%s-%d", prefix, last.Seq) || e.Timestamp != last.TS*1000:
			complain("event", "%s comes from %s at %d, want revision %d", key, e.SourceEventID, e.Timestamp, last.Seq)
		case !strings.Contains(string(e.Metadata), fmt.Sprintf(`"seq":%d`, last.Seq)):
			complain("metadata", "%s has the metadata %s, want those of revision %d", key, e.Metadata, last.Seq)
		case counts != nil && e.Events != counts[key]:
			complain("events", "%s was changed by %d events, want %d", key, e.Events, counts[key])
		}
	})
	for kind, n := range wrong {
		if n > 3 {
			t.Errorf("%s: %d complaints of the kind %q", collection, n, kind)
		}
	}
	h.checkSearches(t, a, collection)
}

// checkSearches searches for every deleted page and some live ones, over all entities.
func (h *history) checkSearches(t *testing.T, a *api, collection string) {
	t.Helper()
	whole := func(text string, exact bool) {
		t.Helper()
		f := a.search("text", text, "k", 10_000, "collection", collection, "include", []string{}, "exact", exact)
		seen := map[string]bool{}
		for i, hit := range f.Hits {
			if _, live := h.final[hit.EntityID]; !live {
				t.Errorf("%s: a search for %.40q finds the deleted %s", collection, text, hit.EntityID)
			}
			if seen[hit.EntityID] {
				t.Errorf("%s: a search for %.40q finds %s twice", collection, text, hit.EntityID)
			}
			if i > 0 && hit.Score > f.Hits[i-1].Score {
				t.Errorf("%s: hit %d of %.40q scores more than the one before it", collection, i, text)
			}
			seen[hit.EntityID] = true
		}
		if len(seen) != len(h.final) {
			t.Errorf("%s: a search over everything finds %d entities, want %d (exact: %v)", collection, len(seen), len(h.final), exact)
		}
	}
	for i, text := range keys(h.byDeadText()) {
		if i < 8 {
			whole(text, i%2 == 0)
		}
		for _, hit := range a.search("text", text, "k", 10, "collection", collection, "include", []string{}).Hits {
			if _, live := h.final[hit.EntityID]; !live {
				t.Errorf("%s: a search for the text of deleted pages finds the deleted %s", collection, hit.EntityID)
			}
		}
	}
	for _, key := range keys(h.final)[:10] {
		f := a.search("text", h.last[key].Text, "k", 1, "collection", collection, "include", []string{"text"})
		if len(f.Hits) != 1 || f.Hits[0].Text == nil || f.Hits[0].EntityID != key && f.Hits[0].Score < 0.99 {
			t.Errorf("%s: a search for the text of %s finds %+v first", collection, key, f.Hits)
		}
	}
}

// byDeadText maps the last texts of deleted pages to their keys.
func (h *history) byDeadText() map[string]string {
	m := map[string]string{}
	for key, text := range h.dead {
		m[text] = key
	}
	return m
}
