package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCommand runs the command line args and returns its standard output.
func runCommand(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	if err := root.Execute(); err != nil {
		t.Fatalf("freshet %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

// lastLine decodes the last line of an output.
func lastLine(t *testing.T, out string, into any) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		t.Fatalf("the last line is no JSON: %v\n%s", err, out)
	}
}

func TestBenchANNReadsWhatBenchDataWrote(t *testing.T) {
	dir := t.TempDir()
	runCommand(t, "bench", "data", dir, "--n", "1500", "--dim", "12", "--nq", "20", "--metric", "l2")
	svg := filepath.Join(dir, "curves.svg")
	out := runCommand(t, "bench", "ann", "--base", filepath.Join(dir, "base.fvecs"), "--queries", filepath.Join(dir, "queries.fvecs"),
		"--truth", filepath.Join(dir, "truth.ivecs"), "--metric", "l2", "--peers", "none", "--json", "--m", "8", "--efc", "20", "--ef", "20,10",
		"--rounds", "1", "--seconds", "0.001", "--cpu", "-1", "--svg", svg)
	var doc struct {
		Results []struct {
			Engine string
			Recall float64
			QPS    float64
		}
	}
	lastLine(t, out, &doc)
	if len(doc.Results) == 0 || doc.Results[0].Engine != "freshet" || doc.Results[0].Recall < 0.5 || doc.Results[0].QPS <= 0 {
		t.Errorf("%+v", doc)
	}
	if raw, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(raw, []byte("<svg")) {
		t.Errorf("no drawing: %v", err)
	}
}

func TestBenchRunbookRunsWhatItGenerates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "window.yaml")
	if err := os.WriteFile(file, []byte(runCommand(t, "bench", "runbook", "--generate", "sliding_window", "--points", "1600")), 0o600); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Results []struct {
			Engine            string
			Min, Mean, Newest float64
			Dead, Duplicate   int
			Steps             []struct{ Recall float64 }
		}
	}
	lastLine(t, runCommand(t, "bench", "runbook", file, "--engines", "flat", "--dim", "12", "--nq", "10"), &doc)
	if len(doc.Results) != 1 || len(doc.Results[0].Steps) != 61 {
		t.Fatalf("%+v", doc)
	}
	if r := doc.Results[0]; r.Engine != "flat" || r.Min != 1 || r.Mean != 1 || r.Newest != 1 || r.Dead+r.Duplicate != 0 {
		t.Errorf("%+v", r)
	}
}
