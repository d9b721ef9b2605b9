package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReadYourWrites has many writers that read at once what they wrote, by search and by
// id, and readers that are handed their tokens. No answer may be older than its token.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	const writers, rivals = 12, 2
	rounds := 150
	if testing.Short() {
		rounds = 25
	}
	_, a := startServer(t, "")
	var checks atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		handed := make(chan write, 4)
		wg.Go(func() {
			defer close(handed)
			for n := 1; n <= rounds; n++ {
				wrote, err := a.write(w, n)
				if err == nil {
					err = a.readBack(wrote, true)
				}
				if err != nil {
					t.Error(err)
					return
				}
				checks.Add(1)
				handed <- wrote
			}
		})
		for range rivals {
			wg.Go(func() {
				for wrote := range handed {
					if err := a.readBack(wrote, false); err != nil {
						t.Error(err)
					}
					checks.Add(1)
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d reads with a token in %v", checks.Load(), since(start))
	a.audit()
}

// write is one state that a writer gave its entity.
type write struct {
	writer, n int
	deleted   bool
	token     string
}

func (w *write) id() string   { return fmt.Sprintf("writer/%d", w.writer) }
func (w *write) text() string { return fmt.Sprintf("writer %d", w.writer) + words[w.writer] }

var words = [...]string{" apples", " bridges", " candles", " dragons", " engines", " feathers", " glaciers", " hammers",
	" islands", " jackets", " kettles", " lanterns"}

// write upserts the writer's entity with its number, or deletes it now and then. The text
// changes every third time, else the metadata alone does.
func (a *api) write(writer, n int) (write, error) {
	w := write{writer: writer, n: n, deleted: n%7 == 0}
	e := event{EntityID: w.id(), Op: "delete"}
	if !w.deleted {
		e.Op, e.Payload = "upsert", text(fmt.Sprintf("%s %d", w.text(), n/3), "n", n, "writer", writer)
	}
	var in ingested
	status, err := a.call("POST", "/v1/events", e, &in)
	if err == nil && (status != http.StatusOK || in.Accepted != 1) {
		err = fmt.Errorf("writer %d: status %d %s", writer, status, in.Detail)
	}
	w.token = in.Token
	return w, err
}

// readBack reads the entity of a write with its token, by id and by search. alone says that
// nothing newer can have been written.
func (a *api) readBack(w write, alone bool) error {
	stale := func(how string, n int, live bool) error {
		switch {
		case live && n > w.n && !alone: // newer
		case !live && !alone: // the writer may have deleted it since
		case live && (w.deleted || n != w.n), !live && !w.deleted:
			return fmt.Errorf("%s: %s is live: %v with number %d, its token is of number %d, deleted: %v", how, w.id(), live, n, w.n, w.deleted)
		}
		return nil
	}
	var e entity
	status, err := a.call("GET", entityPath(w.id(), "after", w.token, "timeout_ms", "60000"), nil, &e)
	if err != nil {
		return err
	}
	if status != http.StatusOK && status != http.StatusNotFound {
		return fmt.Errorf("GET %s: status %d %s", w.id(), status, e.Detail)
	}
	n, err := numberIn(e.Metadata)
	if err == nil {
		err = stale("get", n, status == http.StatusOK)
	}
	if err != nil {
		return err
	}
	var f found
	request := fields([]any{"text", w.text(), "k", 1, "after", w.token, "timeout_ms", 60_000, "filter", map[string]any{"eq": map[string]any{"writer": w.writer}}})
	if status, err = a.call("POST", "/v1/search", request, &f); err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("search: status %d %s", status, f.Detail)
	}
	if len(f.Hits) == 0 {
		return stale("search", 0, false)
	}
	if n, err = numberIn(f.Hits[0].Metadata); err != nil {
		return err
	}
	return stale("search", n, true)
}

func numberIn(metadata json.RawMessage) (int, error) {
	var m struct{ N int }
	if len(metadata) == 0 {
		return 0, nil
	}
	err := json.Unmarshal(metadata, &m)
	return m.N, err
}
