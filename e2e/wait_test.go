package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTokenTimeout holds processing: a search that can't see what it must is an error that
// names the position reached, never a stale answer.
func TestTokenTimeout(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	before := a.events(event{EntityID: "e", Payload: text("before the pause")})
	a.await(before)
	a.pause()
	token := a.events(event{EntityID: "e", Payload: text("during the pause")})

	start := time.Now()
	f, status := a.trySearch("text", "pause", "after", token, "timeout_ms", 50)
	refused(t, f.problem, status, http.StatusGatewayTimeout, "position_not_reached", "events.raw/", "@1 is not decided", "@0")
	if f.Field != "after" || len(f.Hits) > 0 {
		t.Errorf("field %q, %d hits; want after, none", f.Field, len(f.Hits))
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("the answer came after %v, before timeout_ms", took)
	}
	var e entity
	status = a.must("GET", entityPath("e", "after", token, "timeout_ms", "20"), nil, &e)
	refused(t, e.problem, status, http.StatusGatewayTimeout, "position_not_reached", "events.raw/")
	if got := a.entity("e", "after", before); got.Text != "before the pause" {
		t.Errorf("what was decided before the pause reads %q", got.Text)
	}

	// Who waits gets the answer as soon as processing goes on.
	answer := make(chan *entity, 1)
	go func() {
		var e entity
		if _, err := a.call("GET", entityPath("e", "after", token, "timeout_ms", "30000"), nil, &e); err != nil {
			e.Text = err.Error()
		}
		answer <- &e
	}()
	a.resume()
	if e := <-answer; e.Text != "during the pause" {
		t.Errorf("who waited read %q", e.Text)
	}
}

// TestTokenRefused presents tokens that this log can't have given out.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	_, other := startServer(t, "")
	one := event{EntityID: "e", Payload: text("one")}
	token := a.events(one)
	foreign := other.events(one)

	f, status := a.trySearch("text", "one", "after", foreign)
	refused(t, f.problem, status, http.StatusConflict, "foreign_token", "after:")
	f, status = a.trySearch("text", "one", "after", []string{token, foreign})
	refused(t, f.problem, status, http.StatusConflict, "foreign_token", "two logs")
	e, status := a.get("e", "after", foreign)
	refused(t, e.problem, status, http.StatusConflict, "foreign_token")
	for _, bad := range []string{"hello", "AQ", token[:len(token)-2], token + "AAAA", strings.Repeat("A", 100_000)} {
		f, status := a.trySearch("text", "one", "after", bad)
		refused(t, f.problem, status, http.StatusBadRequest, "invalid_field", "after:")
	}
	for _, bad := range []any{7, true, []int{1}, map[string]string{}} {
		f, status := a.trySearch("text", "one", "after", bad)
		refused(t, f.problem, status, http.StatusBadRequest, "invalid_field", "after:")
	}

	// A position behind the end: a backup of the folder is started, which lacks what came later.
	a.await(token)
	s.stop()
	backup := newServer(t, "")
	if err := os.CopyFS(backup.data, os.DirFS(s.data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(backup.data, "LOCK")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s.start()
	later := a.events(one)
	backup.start()
	b := newAPI(t, backup.url)
	if e := b.entity("e", "after", token); e.Text != "one" {
		t.Errorf("the backup does not take the token from before it: %+v", e)
	}
	f, status = b.trySearch("text", "one", "after", later, "timeout_ms", 1000)
	if status == http.StatusOK || status == http.StatusGatewayTimeout {
		t.Errorf("status %d for a position behind the end of the log, want an error at once", status)
	}
	refused(t, f.problem, status, http.StatusConflict, "foreign_token", "no record of this log")
}

// TestTokenLines asks for an answer line by line: each line's token covers its events.
func TestTokenLines(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	body, send := streamBody(t)
	req, err := http.NewRequest("POST", a.url()+"/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Accept", "application/x-ndjson")
	answers := make(chan *http.Response, 1)
	go func() {
		res, err := a.http.Do(req)
		if err != nil {
			t.Error(err)
		}
		answers <- res
	}()
	send(`{"entity_id":"l0","payload":{"text":"line 0"}}` + "\n")
	res := <-answers
	if res == nil {
		t.FailNow()
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	for i := range 5 {
		var line ingested
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("line %d of the answer: %v", i, err)
		}
		if line.Accepted != 1 || line.Token == "" {
			t.Fatalf("line %d of the answer: %+v, want one accepted event and its token", i, line)
		}
		// The request goes on; its first events can be waited for already.
		if e := a.entity(fmt.Sprintf("l%d", i), "after", line.Token); e.Text != fmt.Sprintf("line %d", i) {
			t.Errorf("text %q", e.Text)
		}
		if i < 4 {
			send(fmt.Sprintf(`{"entity_id":"l%d","payload":{"text":"line %d"}}`+"\n", i+1, i+1))
		}
	}
	send("{bad\n")
	var line ingested
	if err := lines.Decode(&line); err != nil || line.Accepted != 0 || line.RejectedCount != 1 || line.Rejected[0].Index != 5 || line.Rejected[0].Code != "invalid_json" {
		t.Errorf("answer to the bad line: %+v, %v; want it rejected with index 5", line, err)
	}
	body.Close()
	if lines.More() {
		t.Error("the answer goes on behind the last chunk")
	}
}
