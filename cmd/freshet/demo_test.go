package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shown is what a command has printed so far, in parts.
type shown chan string

func (s shown) Write(b []byte) (int, error) {
	s <- string(b)
	return len(b), nil
}

// TestDemo runs the demo, does what it says to try, and stops it.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for some seconds")
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "notes.md"), []byte("To run the tests, type make test.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out := make(shown, 1000)
	done := make(chan error, 1)
	go func() {
		root := newRoot()
		root.SetOut(out)
		root.SetArgs([]string{"demo", "--listen", "127.0.0.1:0", "--watch", folder, "--data", filepath.Join(t.TempDir(), "data"), "--rate", "50"})
		done <- root.ExecuteContext(ctx)
	}()

	var text strings.Builder
	for !strings.Contains(text.String(), "Ctrl-C") {
		select {
		case part := <-out:
			text.WriteString(part)
		case err := <-done:
			t.Fatalf("the demo ended: %v\n%s", err, text.String())
		}
	}
	tryAll(t, text.String())

	cancel() // as Ctrl-C does
	if err := <-done; err != nil {
		t.Fatalf("the demo ended with %v", err)
	}
	for len(out) > 0 {
		text.WriteString(<-out)
	}
	for _, want := range []string{"events accepted", "clean: log, table and indexes agree"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, text.String())
		}
	}
}

var (
	searchCommand = regexp.MustCompile(`(?m)^  curl -s (http://\S+) -d '(.*)'$`)
	entityCommand = regexp.MustCompile(`(?m)^  curl -s (?:-X (DELETE) )?'(http://\S+)'$`)
)

// tryAll sends the requests of the commands in text.
func tryAll(t *testing.T, text string) {
	t.Helper()
	searches := searchCommand.FindAllStringSubmatch(text, -1)
	if len(searches) != 4 {
		t.Fatalf("%d searches to try, want 4:\n%s", len(searches), text)
	}
	for _, c := range searches {
		if strings.Contains(c[2], `"sessions"`) {
			requestUntil(t, c[1], c[2], false) // a click comes in a moment
			continue
		}
		requestUntil(t, c[1], c[2], strings.Contains(c[2], `"products"`))
	}
	entities := entityCommand.FindAllStringSubmatch(text, -1)
	if len(entities) != 2 || entities[1][1] != http.MethodDelete {
		t.Fatalf("no product to get and to delete:\n%s", text)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if status, body := request(t, method, entities[0][2], ""); status != http.StatusOK {
			t.Errorf("%s %s: %d %s", method, entities[0][2], status, body)
		}
	}
}

// requestUntil repeats a search until it has hits; at once says that the first must have some.
func requestUntil(t *testing.T, url, body string, atOnce bool) {
	t.Helper()
	for range 1000 {
		status, raw := request(t, http.MethodPost, url, body)
		var answer struct{ Hits []json.RawMessage }
		if err := json.Unmarshal(raw, &answer); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s", body, status, raw)
		}
		if len(answer.Hits) > 0 {
			return
		}
		if atOnce {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("no hit for %s", body)
}

func request(t *testing.T, method, url, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, raw
}

// TestDemoEnds runs the demo for a given time.
func TestDemoEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for some seconds")
	}
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetArgs([]string{"demo", "--listen", "127.0.0.1:0", "--watch", t.TempDir(), "--seconds", "1.5", "--rate", "100"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "clean: log, table and indexes agree") {
		t.Errorf("no clean audit in the summary:\n%s", out.String())
	}
}

func TestDemoRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"a port in use", "choose another address with --listen", []string{"--listen", taken.Addr().String()}},
		{"no folder", "name one with text files in it", []string{"--watch", filepath.Join(t.TempDir(), "none")}},
		{"no rate", "--rate 0 is out of range", []string{"--rate", "0"}},
		{"negative time", "--seconds -1 is negative", []string{"--seconds", "-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := newRoot()
			root.SetOut(io.Discard)
			root.SetArgs(append([]string{"demo"}, c.args...))
			if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
