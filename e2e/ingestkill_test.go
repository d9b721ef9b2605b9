package e2e_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/codec/parquet"
)

// TestIngestIsKilled kills `freshet ingest` at random moments and starts it again until the file is sent, in each form. Its events bring
// no ids, and every one of them counts once.
func TestIngestIsKilled(t *testing.T) {
	t.Parallel()
	const records, entities = 60_000, 500
	s := seed(t)
	_, a := startServer(t, "limits: {backlog_bytes: 1000000}\n") // so that it takes a while
	text := func(i int) string { return fmt.Sprintf("the state number %d of it", i) }
	for _, form := range []string{"ndjson.gz", "json", "csv", "parquet"} {
		t.Run(form, func(t *testing.T) {
			a, rng := a.in(t), random(s, form)
			namespace, _, _ := strings.Cut(form, ".")
			file := filepath.Join(t.TempDir(), "events."+form)
			writeEvents(t, file, records, func(i int) (string, string) { return fmt.Sprintf("e%d", i%entities), text(i) })
			args := []string{"ingest", "--server", a.url(), "--namespace", namespace, file}
			resume := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".freshet-resume")
			resumed, kills := 0, 0
			for {
				var errs strings.Builder
				cmd := exec.Command(program, args...)
				cmd.Stderr = &errs
				dieWithParent(cmd)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				// Mostly it has come somewhere; now and then it is killed at its start.
				ended, early, wait := make(chan struct{}), rng.IntN(4) == 0, time.Duration(rng.IntN(700))*time.Millisecond
				if kills == 0 {
					early, wait = false, 0 // before it is through
				}
				go func() {
					for !early && !exists(resume) {
						select {
						case <-ended:
							return
						case <-time.After(10 * time.Millisecond):
						}
					}
					select {
					case <-ended:
					case <-time.After(wait):
						_ = cmd.Process.Kill()
					}
				}()
				err := cmd.Wait()
				close(ended)
				if strings.Contains(errs.String(), "going on with") {
					resumed++
				}
				if strings.Contains(errs.String(), "starting over") {
					t.Fatalf("it started over: %s", errs.String())
				}
				if err == nil {
					break
				}
				if cmd.ProcessState.ExitCode() >= 0 {
					t.Fatalf("it ended by itself: %v: %s", err, errs.String())
				}
				if kills++; kills == 6 { // the last one may end
					out, errs, status := command(t, nil, args...)
					if status != 0 {
						t.Fatalf("status %d: %s%s", status, out, errs)
					}
					break
				}
			}
			t.Logf("killed %d times, gone on with %d times", kills, resumed)
			if kills == 0 || resumed == 0 && kills > 2 {
				t.Errorf("killed %d times, gone on with %d times", kills, resumed)
			}
			a.settle()
			seen, events := 0, 0
			for _, c := range a.changes("namespace", namespace) {
				seen++
				events += c.Events
				var i int
				if _, err := fmt.Sscanf(c.EntityID, "e%d", &i); err != nil || c.Text != text(records-entities+i) {
					t.Errorf("%s ends as %q: %v", c.EntityID, c.Text, err)
				}
			}
			if seen != entities || events != records {
				t.Errorf("%d entities with %d events, want %d with %d", seen, events, entities, records)
			}
		})
	}
	a.audit()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writeEvents writes n records with an entity's id and text in the form that the file's name says.
func writeEvents(t *testing.T, file string, n int, record func(i int) (id, text string)) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type row struct {
		ID   string `parquet:"entity_id" json:"entity_id"`
		Text string `parquet:"text" json:"text"`
	}
	w := io.Writer(f)
	var write func(i int, r row) error
	end := func() error { return nil }
	form := filepath.Ext(file)
	if form == ".gz" {
		z := gzip.NewWriter(f)
		w, end = z, z.Close
	}
	buffered := bufio.NewWriter(w)
	event := func(r row) []byte {
		b, _ := json.Marshal(map[string]any{"entity_id": r.ID, "payload": map[string]any{"text": r.Text}}) // never fails
		return b
	}
	switch form {
	case ".parquet":
		p := parquet.NewWriter[row](buffered, 10_000)
		write, end = func(_ int, r row) error { return p.Write(r) }, p.Close
	case ".csv":
		fmt.Fprintln(buffered, "entity_id,text")
		write = func(_ int, r row) error { _, err := fmt.Fprintf(buffered, "%s,\"%s\"\n", r.ID, r.Text); return err }
	case ".json":
		write = func(i int, r row) error {
			_, err := fmt.Fprintf(buffered, "%c\n%s", "[,"[min(i, 1)], event(r))
			return err
		}
		end = func() error { _, err := buffered.WriteString("]"); return err }
	default:
		write = func(_ int, r row) error { _, err := fmt.Fprintf(buffered, "%s\n", event(r)); return err }
	}
	for i := range n {
		id, text := record(i)
		if err := write(i, row{id, text}); err != nil {
			t.Fatal(err)
		}
	}
	if form == ".gz" {
		err = buffered.Flush()
		if err == nil {
			err = end()
		}
	} else if err = end(); err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

type changed struct {
	Op       string `json:"op"`
	EntityID string `json:"entity_id"`
	Text     string `json:"text"`
	Events   int    `json:"events"`
}

// changes returns the latest change of every entity.
func (a *api) changes(pairs ...string) []changed {
	a.t.Helper()
	path := "/v1/changes?follow=false"
	for i := 0; i+1 < len(pairs); i += 2 {
		path += "&" + pairs[i] + "=" + pairs[i+1]
	}
	status, _, raw, err := a.do(http.MethodGet, path, "", nil)
	if err != nil || status != http.StatusOK {
		a.t.Fatalf("changes: status %d, %v: %s", status, err, clip(raw))
	}
	var all []changed
	for line := range strings.Lines(string(raw)) {
		var c changed
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			a.t.Fatal(err)
		}
		if c.Op != "" {
			all = append(all, c)
		}
	}
	return all
}
