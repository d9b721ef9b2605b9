package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIngestCommand sends files with `freshet ingest`.
func TestIngestCommand(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	var good strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&good, `{"event_id":"i%d","entity_id":"i%d","payload":{"text":"ingested line %d"}}`+"\n", i, i%300, i)
	}
	file := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(file, []byte(good.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, status := command(t, nil, "ingest", "--server", a.url(), file)
	if status != 0 || !strings.Contains(out, "50000 accepted, 0 rejected") {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	if !strings.Contains(errs, "100 %") || !strings.Contains(errs, "/s") {
		t.Errorf("no progress with a rate is shown: %q", errs)
	}
	_, token, _ := strings.Cut(strings.TrimSpace(out), "token of the last request: ")
	if e := a.entity("i299", "after", token); e.Text != "ingested line 49799" && e.Text != "ingested line 49999" {
		t.Errorf("text %q after the last token", e.Text)
	}
	// Again: every event is known. And from standard input, with bad lines.
	if out, errs, status = command(t, nil, "ingest", "-q", "--server", a.url(), file); status != 0 || errs != "" {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	a.settle()
	if n := a.stats().Outcomes["repeated"]; n != 50_000 {
		t.Errorf("%d events count as repeated, want 50000", n)
	}
	in := strings.NewReader("{\"entity_id\":\"a\",\"payload\":{\"text\":\"a\"}}\n{bad\n\n{\"entity_id\":\"b\",\"payload\":{\"text\":\"b\"}}")
	out, errs, status = command(t, in, "ingest", "--server", a.url(), "-")
	if status != 1 || !strings.Contains(out, "2 accepted, 1 rejected") || !strings.Contains(errs, "invalid_json") {
		t.Errorf("with a bad line: status %d: %s%s", status, out, errs)
	}
	if _, errs, status = command(t, nil, "ingest", "--server", "http://127.0.0.1:1", file); status != 1 || !strings.Contains(errs, "--server") {
		t.Errorf("without a server: status %d: %s", status, errs)
	}
	if _, errs, status = command(t, nil, "ingest", "--server", a.url(), file+".missing"); status != 1 || !strings.Contains(errs, "missing") {
		t.Errorf("without a file: status %d: %s", status, errs)
	}
}

// TestIngestCommandWaits sends more than the backlog takes; the command waits for room.
func TestIngestCommandWaits(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "limits: {backlog_bytes: 1000000}\n")
	var lines strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&lines, `{"entity_id":"w%d","payload":{"text":"waiting line %d"}}`+"\n", i, i)
	}
	a.pause()
	done := make(chan string, 1)
	go func() {
		out, errs, status := command(t, strings.NewReader(lines.String()), "ingest", "-q", "--server", a.url(), "-")
		done <- fmt.Sprintf("%d %s%s", status, out, errs)
	}()
	eventually(t, "a full backlog", func() bool {
		in, _ := a.post("application/json", `{"entity_id":"probe","op":"delete"}`)
		return in.Code == "backlog_full"
	})
	a.resume()
	if out := <-done; !strings.HasPrefix(out, "0 30000 accepted, 0 rejected") {
		t.Errorf("the command ended with %s", out)
	}
	a.settle()
	if r := a.audit(); r.Entities != 30_000 {
		t.Errorf("%d entities, want 30000", r.Entities)
	}
}

// TestDeadLetterCommands looks at dead letters with `freshet dlq`.
func TestDeadLetterCommands(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	if out, errs, status := command(t, nil, "dlq", "list", "--server", a.url()); status != 0 || !strings.Contains(out, "no dead letters") {
		t.Errorf("list: status %d: %s%s", status, out, errs)
	}
	bad := event{EventID: "ev", EntityID: "ent", Vector: []float32{1}}
	a.await(a.events(event{EntityID: "fine", Payload: text("fine")}, bad, event{EntityID: "other", Payload: map[string]any{}}))
	out, errs, status := command(t, nil, "dlq", "list", "--server", a.url())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || len(lines) != 2 || !strings.Contains(lines[0], "wrong_dimension") || !strings.Contains(lines[0], "ent") || !strings.Contains(lines[1], "no_content") {
		t.Fatalf("list: status %d: %s%s", status, out, errs)
	}
	position, _, _ := strings.Cut(lines[0], " ")
	for _, arg := range []string{position, "1"} {
		out, errs, status = command(t, nil, "dlq", "show", arg, "--server", a.url())
		var l deadLetter
		if err := json.Unmarshal([]byte(out), &l); err != nil || status != 0 || l.Offset != 1 || l.EventID != "ev" || l.Class != "wrong_dimension" {
			t.Errorf("show %s: status %d, %v: %s%s", arg, status, err, out, errs)
		}
		var e event
		if err := json.Unmarshal(l.Event, &e); err != nil || e.EntityID != "ent" || len(e.Vector) != 1 {
			t.Errorf("show %s gives the event %s: %v", arg, l.Event, err)
		}
	}
	if _, errs, status = command(t, nil, "dlq", "show", "0", "--server", a.url()); status != 1 || !strings.Contains(errs, "no dead letter") {
		t.Errorf("show of another position: status %d: %s", status, errs)
	}
	if out, _, status = command(t, nil, "dlq", "list", "--json", "--limit", "1", "--from", "2", "--server", a.url()); status != 0 || strings.Count(out, "\n") != 1 || !json.Valid([]byte(out)) {
		t.Errorf("list as JSON: status %d: %s", status, out)
	}
}

// TestAuditCommand audits through the server and, once it has stopped, the folder.
func TestAuditCommand(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "snapshot: {interval: 1h}\n")
	a.await(a.events(event{EntityID: "a", Payload: text("a")}, event{EntityID: "b", Payload: text("b")}, event{EntityID: "b", Op: "delete"}))
	const want = "3 records, 1 entities, 1 tombstones, 1 points, 0 dead letters"
	check := func(args ...string) {
		t.Helper()
		out, errs, status := command(t, nil, append([]string{"audit"}, args...)...)
		if status != 0 || !strings.Contains(out, want) || !strings.Contains(out, "clean") {
			t.Errorf("audit %v: status %d: %s%s; want %s", args, status, out, errs, want)
		}
	}
	check("--server", a.url())
	out, _, status := command(t, nil, "audit", "--json", "--server", a.url())
	var r audited
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || !r.Clean || r.Records != 3 {
		t.Errorf("audit --json: status %d, %v: %s", status, err, out)
	}
	s.stop()
	check("--data", s.data, "--config", s.config)
	if _, errs, status := command(t, nil, "audit", "--server", "127.0.0.1:1"); status == 0 || !strings.Contains(errs, "--server") {
		t.Errorf("audit without a server: status %d: %s", status, errs)
	}
	if _, errs, status := command(t, nil, "audit", "--data", s.data+"-missing"); status == 0 || errs == "" {
		t.Errorf("audit without a folder: status %d: %s", status, errs)
	}
}

// TestUsage is what the program says of itself.
func TestUsage(t *testing.T) {
	t.Parallel()
	out, _, status := command(t, nil, "--help")
	for _, name := range []string{"run", "ingest", "audit", "dlq"} {
		if !strings.Contains(out, "\n  "+name) {
			t.Errorf("--help does not list %s:\n%s", name, out)
		}
	}
	if status != 0 {
		t.Errorf("--help: status %d", status)
	}
	out, _, _ = command(t, nil, "run", "--help")
	for _, flag := range []string{"--config", "--data", "--listen"} {
		if !strings.Contains(out, flag) {
			t.Errorf("run --help does not name %s:\n%s", flag, out)
		}
	}
	for _, args := range [][]string{{"no-such-command"}, {"run", "--no-such-flag"}, {"run", "extra"}, {"ingest"}} {
		if _, errs, status := command(t, nil, args...); status == 0 || !strings.Contains(errs, "freshet:") {
			t.Errorf("%v: status %d: %s", args, status, errs)
		}
	}
}
