package node_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

// alter flips a bit in the middle of a file.
func alter(t testing.TB, fs disk.FS, path string) {
	t.Helper()
	raw, err := fs.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.Clone(raw)
	raw[len(raw)/2] ^= 4
	if err := fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(raw); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func damaged(r *gateway.VerifyReport) (names string) {
	for _, p := range r.Parts {
		for _, d := range p.Damaged {
			names += d.Name + " "
		}
	}
	return names
}

// TestVerify: what is altered in a journal, a table or a snapshot is named, online and of a folder; what is not is clean.
func TestVerify(t *testing.T) {
	ctx := context.Background()
	fs := disk.New(vfs.NewMem(), nil)
	s := start(t, fs, "a")
	for i := range 60 {
		s.put(fmt.Sprint("e", i%20), i)
	}
	if _, err := s.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := s.Compact(ctx) // what was in memory is in tables now
	if err != nil || c.BytesAfter <= 0 {
		t.Fatal(c, err)
	}
	var r gateway.VerifyReport
	s.must("POST", "/v1/admin/verify", "", &r)
	if !r.Clean || len(r.Parts) != 5 {
		t.Fatalf("a sound folder: %+v", r)
	}
	for _, p := range r.Parts {
		if p.Items == 0 {
			t.Errorf("nothing of %s was looked at", p.Part)
		}
	}
	s.Kill()
	verify := func(dir string) *gateway.VerifyReport {
		t.Helper()
		cfg := config.Defaults()
		cfg.Data, cfg.CacheBytes, cfg.Partitions = dir, 1<<20, 3
		cfg.Collections["vectors"] = config.Collection{Dim: 3, Metric: "l2"}
		r, err := node.VerifyFolder(ctx, node.Options{Config: cfg, FS: fs, SegmentBytes: 2000, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify("a"); !r.Clean {
		t.Errorf("a sound folder: %+v", r)
	}
	for _, x := range []struct{ folder, suffix string }{{"journal", ".seg"}, {"state", ".sst"}, {"index", ".snap"}} {
		names, err := fs.List("a/" + x.folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, x.suffix) {
				continue
			}
			path := x.folder + "/" + name
			if info, err := fs.Stat("a/" + path); err != nil || info.Size() == 0 {
				continue
			}
			if ok, err := vfs.Clone(fs.FS, fs.FS, "a", "b"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			alter(t, fs, "b/"+path)
			if r := verify("b"); r.Clean || !strings.Contains(damaged(r), path) && !strings.Contains(damaged(r), "b ") {
				t.Errorf("%s is altered: %+v", path, r)
			}
			if err := fs.RemoveAll("b"); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
}

// TestDoctor: a sound node has nothing wrong; dead letters, a killed process and rejected snapshots are found.
func TestDoctor(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	level := func(s *server) map[string]gateway.Finding {
		t.Helper()
		var r gateway.Findings
		s.must("GET", "/v1/admin/doctor", "", &r)
		found := map[string]gateway.Finding{}
		for _, f := range r.Findings {
			found[f.Check] = f
			if (f.Level == gateway.LevelOK) != (f.Remedy == "") || f.Detail == "" {
				t.Errorf("a finding without detail or remedy: %+v", f)
			}
		}
		return found
	}
	s := start(t, fs, "a")
	s.put("e", 1)
	for check, f := range level(s) {
		if f.Level != gateway.LevelOK && check != "open files" && check != "memory" && check != "disk" { // those are the machine's
			t.Errorf("a sound node: %+v", f)
		}
	}
	for range 3 {
		if status, answer := s.call("POST", "/v1/events", `{"entity_id":"e","collection":"vectors","vector":[1,2]}`); status != 200 {
			t.Fatal(status, string(answer))
		}
	}
	s.put("e", 2)
	if f := level(s)["dead letters"]; f.Level != gateway.LevelWarning || !strings.Contains(f.Detail, "3 wrong_dimension") {
		t.Errorf("dead letters: %+v", f)
	}
	s.Processor().Pause()
	if f := level(s)["pipeline"]; f.Level != gateway.LevelError {
		t.Errorf("paused: %+v", f)
	}
	s.Processor().Resume()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := fs.List("a/index")
	for _, name := range names {
		if strings.HasSuffix(name, ".snap") {
			alter(t, fs, "a/index/"+name)
		}
	}
	s = start(t, fs, "a")
	found := level(s)
	if found["last stop"].Level != gateway.LevelOK || found["snapshots"].Level != gateway.LevelWarning {
		t.Errorf("after a clean stop with damaged snapshots: %+v", found)
	}
}
