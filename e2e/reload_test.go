package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestReload hangs up on the server again and again while a stream comes in, with other limits, widths and retention each time.
// Nothing may be lost; what needs a restart is refused and named.
func TestReload(t *testing.T) {
	t.Parallel()
	const writers, each = 3, 400
	config := func(i int) string {
		return fmt.Sprintf("index: {ef: %d}\nlimits: {event_bytes: %d}\nsnapshot: {interval: %ds}\nretention: {bytes: %d, interval: 50ms}\n",
			50+i, 100_000+i, 1+i, 1<<20)
	}
	s, a := startServer(t, config(0))
	var wg sync.WaitGroup
	tokens := make([]string, writers)
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				e := event{EntityID: fmt.Sprintf("%d/%d", w, n), Payload: text(fmt.Sprintf("writer %d says %d", w, n), "pad", strings.Repeat("x", 2000))}
				var in ingested
				if status, err := a.call("POST", "/v1/events", e, &in); err != nil || status != http.StatusOK {
					t.Errorf("%d %v", status, err)
					return
				}
				tokens[w] = in.Token
			}
		})
	}
	sent := make(chan struct{})
	go func() { wg.Wait(); close(sent) }()
	reloads := 0
	for done := false; !done || reloads < 3; {
		select {
		case <-sent:
			done = true
		default:
		}
		reloads++
		s.configure(config(reloads))
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("key=limits.event_bytes old=%d new=%d", 100_000+reloads-1, 100_000+reloads)
		eventually(t, want, func() bool { return strings.Contains(s.out.tail(1<<20), want) })
	}
	t.Logf("%d reloads while %d events came in", reloads, writers*each)
	for _, token := range tokens {
		a.await(token)
	}
	for w := range writers {
		for n := range each {
			if id := fmt.Sprintf("%d/%d", w, n); a.entity(id) == nil {
				t.Errorf("%s is lost", id)
			}
		}
	}
	a.audit()

	// The command says the same, and names what needs a restart.
	s.configure(config(reloads) + "listen: 127.0.0.1:1\npartitions: 3\ncollections: {more: {dim: 3}}\n")
	_, said, status := command(t, nil, "config", "reload", "--server", s.url())
	if status != 1 || !strings.Contains(said, "partitions: 16 → 3; ") || strings.Contains(said, "listen") { // the flag goes before it
		t.Errorf("status %d: %s", status, said)
	}
	if len(a.collections()) != 1 {
		t.Error("a reload that was refused has made a collection")
	}
	s.configure(config(reloads) + "collections: {more: {dim: 3}}\n")
	said, _, status = command(t, nil, "config", "reload", "--server", s.url())
	if status != 0 || said != "collections.more: (not set) → {dim: 3, metric: cosine}\n" {
		t.Errorf("status %d: %s", status, said)
	}
	var in ingested
	if status, err := a.call("POST", "/v1/events", event{EntityID: "v", Collection: "more", Vector: []float32{1, 2, 3}}, &in); err != nil || status != http.StatusOK {
		t.Errorf("%d %v", status, err)
	}
	a.await(in.Token)

	// What was declared stands after a crash, and the audit judges as the server did.
	s.kill()
	s.start()
	a.entity("v", "collection", "more")
	a.audit()
}

// A server without a file says so, and goes on.
func TestReloadWithoutAFile(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer in the log", func() bool { return strings.Contains(s.out.tail(1<<20), "freshet run --config FILE") })
	a.await(a.events(event{EntityID: "a", Payload: text("a")}))
	if _, said, status := command(t, nil, "config", "reload", "--server", s.url()); status != 1 || !strings.Contains(said, "--config") {
		t.Errorf("status %d: %s", status, said)
	}
}
