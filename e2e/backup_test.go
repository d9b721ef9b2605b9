package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackupAndRestore backs up a server while it takes events, kills it, restores, and goes on: as a file, as a stream
// through a pipe, and as a folder that builds on another.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(stdin []byte, args ...string) string {
		t.Helper()
		out, errs, status := command(t, bytes.NewReader(stdin), args...)
		if status != 0 {
			t.Fatalf("freshet %s: status %d: %s", strings.Join(args, " "), status, errs)
		}
		return out
	}
	var all []event
	for i := range 2000 {
		all = append(all, event{EventID: fmt.Sprint(i), EntityID: fmt.Sprint("e", i%500), Payload: text(fmt.Sprintf("text number %d", i))})
	}
	kept := a.events(all...)
	run(nil, "backup", at("one"), "--folder", "--server", s.url())
	a.await(kept)
	run(nil, "backup", at("file.tar"), "--server", s.url())
	run(nil, "backup", at("two"), "--folder", "--base", at("one"), "--server", s.url())
	stream := []byte(run(nil, "backup", "-", "--server", s.url(), "--rate", "20"))
	lost := a.events(event{EntityID: "e7", Payload: text("written after the backup, and lost")})
	a.await(lost)
	version := a.entity("e7").Version
	s.kill()
	run(nil, "backup", at("cold.tar"), "--data", s.data)

	for name, restore := range map[string]func(data string){
		"file":   func(data string) { run(nil, "restore", at("file.tar"), "--data", data) },
		"folder": func(data string) { run(nil, "restore", at("two"), "--data", data) },
		"stream": func(data string) { run(stream, "restore", "-", "--data", data) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newServer(t, "")
			restore(r.data)
			r.start()
			b := newAPI(t, r.url)
			b.await(kept)
			if e := b.entity("e7"); e.Text != "text number 1507" {
				t.Errorf("e7 is %q", e.Text)
			}
			var p struct{ Code string }
			if status, _ := b.call("POST", "/v1/search", map[string]any{"text": "x", "after": lost}, &p); status != 409 {
				t.Errorf("a token of what was lost: %d", status)
			}
			b.audit()
			b.await(b.events(all[0], event{EntityID: "e7", Payload: text("after the restore")})) // the first is a repeat
			if e := b.entity("e7"); e.Text != "after the restore" || e.Version <= version {
				t.Errorf("e7 is %q, version %s; the lost one was %s", e.Text, e.Version, version)
			}
			if e := b.entity("e0"); e.Text != "text number 1500" {
				t.Errorf("a repeat counts after the restore: %q", e.Text)
			}
			b.audit()
			r.kill()
			r.start()
			newAPI(t, r.url).audit()
		})
	}
	r := newServer(t, "")
	run(nil, "restore", at("cold.tar"), "--data", r.data)
	r.start()
	if e := newAPI(t, r.url).entity("e7"); e.Text != "written after the backup, and lost" {
		t.Errorf("the backup of the stopped folder has %q", e.Text)
	}
	// Into a folder that is in use, and from a damaged file.
	if _, errs, status := command(t, nil, "restore", at("file.tar"), "--data", r.data); status == 0 || !strings.Contains(errs, "in use") {
		t.Errorf("into a folder in use: %d %s", status, errs)
	}
	raw, err := os.ReadFile(at("file.tar"))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(raw, []byte("text number 77"))
	raw[i]++
	if _, errs, status := command(t, bytes.NewReader(raw), "restore", "-", "--data", at("no")); status == 0 || !strings.Contains(errs, "journal/0000") {
		t.Errorf("from a damaged file: %d %s", status, errs)
	}
}

// TestBackupKilled kills servers that are being backed up and restores that read, at random moments: no backup appears
// that is not whole, the server comes up, and a restore can be run again.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	var all []event
	for i := range 3000 {
		all = append(all, event{EntityID: fmt.Sprint("e", i), Payload: text(fmt.Sprintf("text number %d", i))})
	}
	a.await(a.events(all...))
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar")
	for i := range 6 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			command(t, nil, "backup", file, "--server", s.url(), "--rate", "2")
		}()
		time.Sleep(time.Duration(50+100*i) * time.Millisecond)
		s.kill()
		<-done
		if _, err := os.Stat(file); err == nil {
			if _, errs, status := command(t, nil, "restore", file, "--check"); status != 0 {
				t.Fatalf("a backup has its name and is not whole: %s", errs)
			}
		}
		s.start()
		if _, err := os.Stat(filepath.Join(s.data, "pinned")); err == nil {
			t.Error("what was pinned for the backup is still there")
		}
	}
	if _, errs, status := command(t, nil, "backup", file, "--server", s.url()); status != 0 {
		t.Fatal(errs)
	}
	newAPI(t, s.url).audit()
	for i := range 8 {
		r := newServer(t, "")
		cmd := exec.Command(program, "restore", file, "--data", r.data)
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(5*i*i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(r.data, "FORMAT")); err != nil {
			if _, errs, status := command(t, nil, "restore", file, "--data", r.data); status != 0 {
				t.Fatalf("restored again: %s", errs)
			}
		}
		r.start()
		b := newAPI(t, r.url)
		b.audit()
		b.entity("e2999")
		r.stop()
	}
}
