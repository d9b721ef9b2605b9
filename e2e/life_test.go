package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReadyAfterBacklog kills a server with a backlog: the next one is ready only when all of
// it counts, with no token to wait for.
func TestReadyAfterBacklog(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	a.pause()
	const n = 20_000
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"entity_id":"b%d","payload":{"text":"backlog entry %d of a long list"}}`+"\n", i, i)
	}
	if in, status := a.post("application/x-ndjson", body.String()); status != http.StatusOK || in.Accepted != n {
		t.Fatalf("status %d, %d accepted", status, in.Accepted)
	}
	if lag := a.stats().LagRecords; lag != n {
		t.Errorf("a lag of %d records, want %d", lag, n)
	}
	s.kill()
	s.start()
	if e := a.entity(fmt.Sprintf("b%d", n-1)); e.Events != 1 {
		t.Errorf("the last entity was changed by %d events", e.Events)
	}
	if r := a.audit(); r.Entities != n {
		t.Errorf("%d entities, want %d", r.Entities, n)
	}
}

// TestStopWithOpenRequests stops a server whose clients wait for it, and it for them.
func TestStopWithOpenRequests(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	a.pause()
	token := a.events(event{EntityID: "e", Payload: text("never decided")})

	ended := make(chan string, 3)
	var streamed ingested
	open := func(name, method, path string, body io.Reader, head func(http.Header)) {
		req, err := http.NewRequest(method, a.url()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		head(req.Header)
		go func() {
			res, err := a.http.Do(req)
			if err == nil {
				raw, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if path == "/v1/events" {
					_ = json.Unmarshal(raw, &streamed)
				}
			}
			ended <- name
		}()
	}
	body, send := streamBody(t)
	open("an idle stream of events", "POST", "/v1/events", body, func(h http.Header) {
		h.Set("Content-Type", "application/x-ndjson")
	})
	send(`{"entity_id":"streamed","payload":{"text":"streamed"}}` + "\n")
	open("a search that waits", "GET", entityPath("e", "after", token, "timeout_ms", "60000"), nil, func(http.Header) {})
	open("the live figures", "GET", "/v1/admin/live", nil, func(http.Header) {})
	eventually(t, "the streamed event is durable", func() bool { return a.stats().Accepted == 2 })

	s.stop()
	body.Close() // which the client waits for
	for range 3 {
		select {
		case <-ended:
		case <-time.After(deadline):
			t.Fatal("a request did not end with the server")
		}
	}
	if streamed.Code != "unavailable" || streamed.Accepted != 1 || streamed.RejectedCount != 0 || streamed.Token == "" {
		t.Errorf("the stream was answered with %+v, want 1 accepted, and that the server is stopping", streamed)
	}
	s.start()
	a.entity("e")
	a.entity("streamed")
}

// TestDefaults runs the program as its README says: no configuration at all.
func TestDefaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		t.Skipf("the default port is taken: %v", err)
	}
	l.Close()
	s := newServer(t, "")
	s.arguments, s.folder = []string{"run"}, t.TempDir()
	s.start()
	if s.url() != "http://127.0.0.1:8080" {
		t.Errorf("it serves %s", s.url())
	}
	a := newAPI(t, s.url)
	a.await(a.events(event{EntityID: "e", Payload: text("no configuration")}))
	if _, err := os.Stat(filepath.Join(s.folder, "freshet-data", "FORMAT")); err != nil {
		t.Errorf("the data folder: %v", err)
	}
	if out, errs, status := command(t, nil, "audit"); status != 0 || !strings.Contains(out, "clean") {
		t.Errorf("freshet audit: status %d: %s%s", status, out, errs)
	}
	other := newServer(t, "")
	other.arguments = []string{"run", "--data", other.data}
	if out := other.refused(); !strings.Contains(out, "127.0.0.1:8080") || !strings.Contains(out, "--listen") {
		t.Errorf("a taken port: %s", out)
	}
	if _, err := os.Stat(other.data); err == nil {
		t.Error("the server that found its port taken made a data folder")
	}
}
