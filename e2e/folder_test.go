package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFolderRefused starts servers on folders that they must not take.
func TestFolderRefused(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "collections: {vectors: {dim: 4}}\n")
	a.await(a.events(event{EntityID: "e", Payload: text("kept through all refusals")}))
	// on starts another server on the folder, with another configuration, and has it refused.
	on := func(t *testing.T, data, yaml string, says ...string) {
		t.Helper()
		other := newServer(t, yaml)
		other.data = data
		out := other.refused()
		for _, part := range says {
			if !strings.Contains(out, part) {
				t.Errorf("the refusal does not say %q:\n%s", part, out)
			}
		}
	}
	const same = "collections: {vectors: {dim: 4}}\n"

	t.Run("a second process", func(t *testing.T) {
		on(t, s.data, same, s.data, "in use by another process", "--server")
		if _, errs, status := command(t, nil, "audit", "--data", s.data, "--config", s.config); status == 0 || !strings.Contains(errs, "--server") {
			t.Errorf("audit of a folder in use: status %d, %s", status, errs)
		}
		if out, errs, status := command(t, nil, "audit", "--server", s.url()); status != 0 || !strings.Contains(out, "clean") {
			t.Errorf("audit through the server: status %d, %s%s", status, out, errs)
		}
		a.entity("e")
	})
	s.stop()
	t.Run("another mapping", func(t *testing.T) {
		on(t, s.data, same+"mapping: {changes: [{entity: event.id, text: event.body}]}\n", "mapping", "has changed", "Nothing was changed", "--data")
	})
	t.Run("another splitter", func(t *testing.T) {
		on(t, s.data, same+"splitter: {max_bytes: 500}\n", "splitter", "Nothing was changed", "--data")
	})
	t.Run("another dimension", func(t *testing.T) {
		on(t, s.data, "collections: {vectors: {dim: 5}}\n", "collections.vectors", "dim 4", "dim 5", "fixed at creation")
	})
	t.Run("another metric", func(t *testing.T) {
		on(t, s.data, "collections: {vectors: {dim: 4, metric: l2}}\n", "cosine", "l2", "fixed at creation")
	})
	t.Run("a vector collection with a model", func(t *testing.T) {
		on(t, s.data, "collections: {vectors: {model: builtin}}\n", "collections.vectors", "fixed at creation")
	})
	t.Run("another number of partitions", func(t *testing.T) {
		on(t, s.data, same+"partitions: 8\n", "partitions", "16", "8")
	})
	format := filepath.Join(s.data, "FORMAT")
	raw, err := os.ReadFile(format)
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, content string) {
		t.Helper()
		if err := os.WriteFile(format, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a newer format", func(t *testing.T) {
		newer := regexp.MustCompile(`"format":\s*1`).ReplaceAllString(string(raw), `"format":2`)
		if newer == string(raw) {
			t.Fatalf("FORMAT holds %s, which this test doesn't know", raw)
		}
		write(t, newer)
		on(t, s.data, same, "format 2", "format 1")
	})
	t.Run("a damaged format", func(t *testing.T) {
		write(t, string(raw[:len(raw)/2]))
		on(t, s.data, same, "FORMAT", "damaged", "backup")
	})
	t.Run("no format", func(t *testing.T) {
		if err := os.Remove(format); err != nil {
			t.Fatal(err)
		}
		on(t, s.data, same, "no data folder")
	})
	t.Run("another program's folder", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "thesis.doc"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		on(t, dir, "", "thesis.doc", "no data folder")
		if names, err := os.ReadDir(dir); err != nil || len(names) > 2 { // LOCK may stand beside it
			t.Errorf("the folder now holds %v, %v", names, err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		on(t, s.config+"/data", "", "data folder", "not a directory")
	})
	// After all of that the folder is as it was.
	write(t, string(raw))
	s.start()
	if e := a.entity("e"); e.Text != "kept through all refusals" {
		t.Errorf("text %q", e.Text)
	}
	a.audit()
}

// TestConfigRefused gives configurations that name nothing or the wrong thing.
func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ yaml, says string }{
		{"colections: {}\n", "colections"},
		{"limits: {event_byte: 7}\n", "event_byte"},
		{"limits: {event_bytes: -1}\n", "limits.event_bytes"},
		{"limits: {event_bytes: lots}\n", "lots"},
		{"collections: {a: {dim: 1}}\n", "collections.a.dim"},
		{"collections: {a: {dim: 4097}}\n", "4096"},
		{"collections: {a: {model: gpt}}\n", "collections.a.model"},
		{"collections: {a: {dim: 3, metric: hamming}}\n", "hamming"},
		{"index: {kind: tree}\n", "index.kind"},
		{"snapshot: {interval: 5}\n", "500ms"},
		{"mapping: {changes: []}\n", "mapping.changes"},
		{"mapping: {changes: [{text: event.t}]}\n", "mapping.changes[0].entity"},
		{"mapping: {changes: [{entity: event.}]}\n", "mapping.changes[0].entity"},
		{"mapping: {changes: [{entity: '1.5'}]}\n", "mapping.changes[0].entity"},
		{"mapping: {changes: [{entity: event.a, when: '\"yes\"'}]}\n", "mapping.changes[0].when"},
		{"listen: ${NO_SUCH_VARIABLE}\n", "NO_SUCH_VARIABLE"},
		{"\tlisten: x\n", "1"},
		{"splitter: {max_bytes: 5}\n", "max_bytes"},
		{"partitions: -1\n", "partitions"},
		{"partitions: 1000000\n", "partitions"},
		{"cache_bytes: -1\n", "cache_bytes"},
		{"index: {m: -5}\n", "option M is -5"},
		{"index: {ef: -5}\n", "option Ef is -5"},
		{"index: {ef_construction: 100000000}\n", "option EfConstruction is 100000000"},
		{"dedupe: {window: -1h}\n", "-1h"},
	} {
		s := newServer(t, c.yaml)
		if out := s.refused(); !strings.Contains(out, c.says) {
			t.Errorf("%q: the refusal does not say %q:\n%s", c.yaml, c.says, out)
		}
		if _, err := os.Stat(filepath.Join(s.data, "FORMAT")); err == nil {
			t.Errorf("%q: the refused configuration made a data folder", c.yaml)
		}
	}
	s := newServer(t, "")
	s.config = filepath.Join(t.TempDir(), "missing.yaml")
	if out := s.refused(); !strings.Contains(out, "missing.yaml") {
		t.Errorf("a missing file: %s", out)
	}
}

// TestCleanStop stops a server while requests are on their way: those are answered, or
// refused, and what was acknowledged is there after the next start, from the saved index.
func TestCleanStop(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	for round := range 3 {
		acked := make(chan string, 1000)
		go func() {
			defer close(acked)
			for i := range cap(acked) {
				var in ingested
				e := event{EntityID: strings.Repeat("s", round+1) + string(rune('a'+i%26)), Payload: text("stopping", "i", i)}
				if _, err := a.call("POST", "/v1/events", e, &in); err != nil || in.Accepted != 1 {
					return
				}
				acked <- in.Token
			}
		}()
		for range 20 {
			<-acked
		}
		s.stop()
		last := ""
		for token := range acked {
			last = token
		}
		s.start()
		if last != "" {
			a.await(last)
		}
		a.audit()
	}
}
