package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const exportConfig = `
splitter: {max_bytes: 100}
collections:
  ready: {dim: 4, metric: l2}
  ordered: {model: builtin}
  wide: {dim: 256, metric: cosine}
`

// exported is the state of an entity in an export: what an import has to bring back.
type exported struct {
	Token      string          `json:"token,omitempty"`
	Op         string          `json:"op,omitempty"`
	Collection string          `json:"collection"`
	Namespace  string          `json:"namespace"`
	EntityID   string          `json:"entity_id"`
	Order      int64           `json:"order"`
	Text       string          `json:"text"`
	OwnText    bool            `json:"own_text"`
	Metadata   json.RawMessage `json:"metadata"`
	Timestamp  int64           `json:"timestamp"`
	ExpiresAt  int64           `json:"expires_at"`
	Points     []struct {
		Slot   string          `json:"slot"`
		Start  int             `json:"start"`
		End    int             `json:"end"`
		Model  string          `json:"model"`
		Vector json.RawMessage `json:"vector"`
	} `json:"points"`
}

// export exports a collection and returns its lines, the last left out, as strings that can be compared.
func (a *api) export(file string, args ...string) (lines []string) {
	a.t.Helper()
	out, errs, status := command(a.t, nil, append([]string{"export", "-q", "--server", a.url(), file}, args...)...)
	if status != 0 {
		a.t.Fatalf("export %v: status %d: %s%s", args, status, out, errs)
	}
	if filepath.Ext(file) != ".ndjson" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var e exported
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Fatal(err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			a.t.Fatal(err)
		}
		lines = append(lines, string(b))
		if last := e.Token != ""; last != (e.EntityID == "") || e.Op == "delete" {
			a.t.Errorf("a line of the export is %s", line)
		}
	}
	if n := len(lines); n == 0 || !strings.Contains(lines[n-1], `"token"`) {
		a.t.Fatalf("the export has no end")
	}
	return lines[:len(lines)-1]
}

// imports runs `freshet import` until its status is as wanted, and returns what it said.
func (a *api) imports(want int, args ...string) string {
	a.t.Helper()
	out, errs, status := command(a.t, nil, append([]string{"import", "-q", "--server", a.url()}, args...)...)
	if status != want {
		a.t.Fatalf("import %v: status %d, want %d: %s%s", args, status, want, out, errs)
	}
	a.settle()
	return out + errs
}

// TestExportAndImport moves collections to another server and back into a file: text, metadata, vectors bit for bit, points of long
// texts, times, orders and namespaces are as they were, and nothing is embedded that need not be.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, exportConfig)
	_, b := startServer(t, exportConfig)
	long := strings.Repeat("A sentence that is long enough, with ünïcode. ", 30)
	a.await(a.events(
		event{EntityID: "plain", Timestamp: 1700000000123, Payload: map[string]any{"text": "a <b>red</b> shirt & more", "price": 19.9, "tags": []string{"a", "b<c"}, "deep": map[string]any{"x": []any{nil, true, -0.5}}}},
		event{EntityID: "joined", Payload: map[string]any{"title": "no text field", "body": "two strings", "text": 5}},
		event{EntityID: "own text", ExpiresAt: 4102444800000, Payload: text("same", "title", "same")},
		event{EntityID: "long", Payload: text(long)},
		event{EntityID: "gone", Payload: text("deleted later")},
		event{EntityID: "gone", Op: "delete"},
		event{EntityID: "ns", Namespace: "ten/ant ü", Payload: text("in a namespace")},
		event{EntityID: strings.Repeat("n", 300), Namespace: strings.Repeat("m", 255), Payload: text("long names")},
		event{EntityID: "own", Vector: append(make([]float32, 255), 1), Payload: map[string]any{"text": "a vector of its own", "k": 1}},
		event{EntityID: "o1", Collection: "ordered", Order: 7, Payload: text("seventh")},
		event{EntityID: "r1", Collection: "ready", Vector: []float32{0.1, -1e-45, 3e18, 16777217}, Payload: map[string]any{"title": "kept as metadata"}},
		event{EntityID: "r2", Collection: "ready", Namespace: "other", Vector: []float32{0, 0, 0, 0}},
	))
	if in, status := a.post("application/json", `{"entity_id":"raw","payload":{"text":"x","n":1.50,"big":123456789012345678901234567890,"exp":1E400, "u":"\u2028 \u00e9 <&>"}}`); status != 200 {
		t.Fatal(in)
	}
	if in, status := a.post("application/json", `{"entity_id":"r3","collection":"ready","state":{"text":"one two","metadata":{"a":1},"points":[{"vector":[1,2,3,4],"start":0,"end":3},{"slot":"day","vector":[-0,1e-7,1e18,5],"start":4,"end":7}]}}`); status != 200 {
		t.Fatal(in)
	}
	a.settle()
	dir := t.TempDir()
	counts := map[string]int{"default": 8, "ordered": 1, "ready": 3, "wide": 0}
	for collection, n := range counts {
		first := a.export(filepath.Join(dir, collection+".ndjson"), "--collection", collection)
		if len(first) != n {
			t.Errorf("%s: %d entities, want %d", collection, len(first), n)
		}
		if said := b.imports(0, filepath.Join(dir, collection+".ndjson")); !strings.Contains(said, fmt.Sprintf("%d accepted", n)) || strings.Contains(said, "again") || strings.Contains(said, "cut off") {
			t.Errorf("%s: import says %s", collection, said)
		}
		second := b.export(filepath.Join(dir, collection+"2.ndjson"), "--collection", collection)
		if !slices.Equal(first, second) {
			t.Errorf("%s: exported\n%s\nand behind the import\n%s", collection, strings.Join(first, "\n"), strings.Join(second, "\n"))
		}
		if collection == "default" && !strings.Contains(strings.Join(first, "\n"), `"slot":"9"`) {
			t.Error("the long text has no more than nine points")
		}
	}
	if got := b.stats().Outcomes; got["applied"] != 12 || got["dead_lettered"] != 0 {
		t.Errorf("outcomes of the imports are %v", got)
	}
	// The same by Parquet, and packed: the same events.
	for _, form := range []string{".parquet", ".ndjson.zst", ".ndjson.gz"} {
		for collection, n := range counts {
			before := b.stats().Outcomes["repeated"]
			a.export(filepath.Join(dir, collection+form), "--collection", collection)
			said := b.imports(0, filepath.Join(dir, collection+form))
			if got := b.stats().Outcomes["repeated"] - before; got != int64(n) {
				t.Errorf("%s%s: %d events are repeats, want %d: %s", collection, form, got, n, said)
			}
		}
	}
	a.audit()
	b.audit()

	t.Run("parts", func(t *testing.T) {
		a := a.in(t)
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"--namespace", "ten/ant ü"}, "ns"},
			{[]string{"--namespace", "nobody"}, ""},
			{[]string{"--filter", `{"range":{"price":{"lt":50}}}`}, "plain"},
			{[]string{"--filter", `price < 50.0 || k == 1`}, "own plain"},
		} {
			var ids []string
			for _, line := range a.export(filepath.Join(dir, "part.ndjson"), c.args...) {
				var e exported
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, e.EntityID)
			}
			slices.Sort(ids)
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("%v gives %q, want %q", c.args, got, c.want)
			}
		}
		for _, args := range [][]string{{"--collection", "none"}, {"--filter", "{"}, {"--format", "csv"}} {
			_, errs, status := command(t, nil, append([]string{"export", "--server", a.url(), filepath.Join(dir, "never")}, args...)...)
			if _, err := os.Stat(filepath.Join(dir, "never")); status != 1 || errs == "" || err == nil {
				t.Errorf("export %v: status %d, %v: %s", args, status, err, errs)
			}
		}
	})
	t.Run("into another collection", func(t *testing.T) {
		b := b.in(t)
		// Vectors of the built-in model into a collection of ready ones: they are kept.
		b.imports(0, "--collection", "wide", filepath.Join(dir, "default.ndjson"))
		want := a.in(t).export(filepath.Join(dir, "default.ndjson"))
		got := b.export(filepath.Join(dir, "wide.ndjson"), "--collection", "wide")
		model := b.collections()[0].Model
		for i := range want {
			want[i] = strings.NewReplacer(`"collection":"default"`, `"collection":"wide"`, fmt.Sprintf(`"model":%q`, model), `"model":""`).Replace(want[i])
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("into ready vectors:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		// Another model: the text is embedded again, and it says so.
		raw, err := os.ReadFile(filepath.Join(dir, "default.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(dir, "other.ndjson")
		if err := os.WriteFile(other, []byte(strings.ReplaceAll(string(raw), fmt.Sprintf(`"model":%q`, model), `"model":"other"`)), 0o644); err != nil {
			t.Fatal(err)
		}
		if said := b.imports(0, "--namespace", "again", other); !strings.Contains(said, "7 entities came without vectors") {
			t.Errorf("import of another model says %s", said)
		}
		for _, line := range b.export(filepath.Join(dir, "again.ndjson"), "--namespace", "again") {
			if strings.Contains(line, `"model":"other"`) {
				t.Errorf("a vector of another model got in: %s", line)
			}
		}
		// What does not fit is refused by its line.
		said := b.imports(1, "--collection", "default", filepath.Join(dir, "ready.ndjson"))
		if !strings.Contains(said, "0 accepted, 3 rejected") || !strings.Contains(said, "ready.ndjson:1: rejected (wrong_dimension)") {
			t.Errorf("vectors of another dimension: %s", said)
		}
		if said := b.imports(1, "--collection", "default", filepath.Join(dir, "ordered.ndjson")); !strings.Contains(said, "order_mismatch") {
			t.Errorf("an order where there is none: %s", said)
		}
		cut := filepath.Join(dir, "cut.ndjson")
		if err := os.WriteFile(cut, raw[:strings.LastIndex(strings.TrimSpace(string(raw)), "\n")+1], 0o644); err != nil {
			t.Fatal(err)
		}
		if said := b.imports(0, cut); !strings.Contains(said, "may have been cut off") {
			t.Errorf("an export without its end: %s", said)
		}
		if got := b.deadLetters(); len(got) != 0 {
			t.Errorf("dead letters: %+v", got)
		}
		b.audit()
	})
	t.Run("changes", func(t *testing.T) {
		// What `freshet changes` prints can be imported, deletions too.
		out, _, _ := command(t, nil, "changes", "--server", a.url(), "--vectors")
		file := filepath.Join(dir, "changes.ndjson")
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
		b := b.in(t)
		b.await(b.events(event{EntityID: "gone", Payload: text("back again")}))
		if said := b.imports(0, file); strings.Contains(said, "cut off") {
			t.Errorf("import says %s", said)
		}
		b.gone("gone")
		b.audit()
	})
}

// TestImportIsKilled kills an import at random moments, the server too, and repeats it: every entity is there once, as it was.
func TestImportIsKilled(t *testing.T) {
	t.Parallel()
	const entities = 15_000
	rng := random(seed(t), "import")
	_, a := startServer(t, "")
	file := filepath.Join(t.TempDir(), "events.ndjson")
	writeEvents(t, file, entities, func(i int) (string, string) { return fmt.Sprintf("e%d", i), fmt.Sprintf("entity number %d", i) })
	if out, errs, status := command(t, nil, "ingest", "-q", "--server", a.url(), file); status != 0 {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	a.settle()
	dir := t.TempDir()
	want := a.export(filepath.Join(dir, "a.ndjson"))
	a.export(filepath.Join(dir, "a.parquet"))

	s, b := startServer(t, "limits: {backlog_bytes: 4000000}\n")
	for round := 0; ; round++ {
		var errs strings.Builder
		cmd := exec.Command(program, "import", "--server", b.url(), filepath.Join(dir, "a.parquet"))
		cmd.Stderr = &errs
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round < 5 {
			time.AfterFunc(time.Duration(100+rng.IntN(700))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		err := cmd.Wait()
		if round == 2 {
			s.kill()
			s.start()
		}
		if err == nil {
			break
		}
		if round >= 5 {
			t.Fatalf("round %d: %v: %s", round, err, errs.String())
		}
	}
	b.settle()
	if got := b.export(filepath.Join(dir, "b.ndjson")); !slices.Equal(got, want) {
		t.Errorf("%d entities, want %d, each as it was", len(got), len(want))
	}
	events := 0
	for _, c := range b.changes() {
		events += c.Events
	}
	if events != entities {
		t.Errorf("%d events had an effect, want %d", events, entities)
	}
	b.audit()
}
