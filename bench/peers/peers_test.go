package peers_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

func TestParse(t *testing.T) {
	got, err := peers.Parse(" hnswlib, usearch")
	if err != nil || !slices.Equal(got, []string{"hnswlib", "usearch"}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := peers.Parse("none"); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
	if _, err := peers.Parse("annoy"); err == nil || !strings.Contains(err.Error(), "annoy") {
		t.Errorf("annoy: %v", err)
	}
}

// standIn makes a virtual environment whose interpreter is a shell script.
func standIn(t *testing.T, script string) peers.Options {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "python"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return peers.Options{Venv: dir, CPU: -1, Metric: "l2"}
}

func TestAProcessThatFailsSaysWhy(t *testing.T) {
	ctx := context.Background()
	if _, err := peers.Start(ctx, peers.Options{Venv: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "peers install") {
		t.Errorf("no environment: %v", err)
	}
	if _, err := peers.Start(ctx, standIn(t, "echo No module named numpy >&2; exit 1\n")); err == nil || !strings.Contains(err.Error(), "numpy") {
		t.Errorf("an interpreter that ends: %v", err)
	}
	if _, err := peers.Start(ctx, standIn(t, "echo hello; cat\n")); err == nil || !strings.Contains(err.Error(), "hello") {
		t.Errorf("an answer that is no JSON: %v", err)
	}
	p, err := peers.Start(ctx, standIn(t, `echo '{"ok": true}'; read line; echo '{"error": "RuntimeError: no memory"}'; read line; exit 3`))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Build(); err == nil || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("an error of the engine: %v", err)
	}
	if _, err := p.Latency(10, 10); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("a process that ended: %v", err)
	}
	if _, err := p.Latency(10, 10); err == nil {
		t.Error("an ended process answered")
	}
}

func TestStream(t *testing.T) {
	ctx := context.Background()
	if _, err := peers.StartStream(ctx, peers.Stream{Kind: "flink"}); err == nil || !strings.Contains(err.Error(), "flink") || !strings.Contains(err.Error(), "batched") {
		t.Errorf("an unknown job: %v", err)
	}
	stand := standIn(t, `[ -f "$(dirname "$1")/peers.py" ] || { echo peers.py is not beside it >&2; exit 1; }
shift; echo '{"ok": true}'; read line
case "$* $line" in
'faust a:1,b:2 raw sync g 3 16 200 9 q.fvecs {"events":7,"op":"consume"}') echo '{"wall_s": 1.5, "live": 7}' ;;
*) echo "{\"error\": \"started with $*\"}" ;;
esac; read line
`)
	p, err := peers.StartStream(ctx, peers.Stream{Venv: stand.Venv, Kind: "faust", Brokers: []string{"a:1", "b:2"}, Raw: "raw", Sync: "sync", Group: "g",
		Dim: 3, M: 16, Efc: 200, Capacity: 9, Queries: "q.fvecs"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if c, err := p.Consume(7); err != nil || c.WallSeconds != 1.5 || c.Live != 7 || p.PID() == 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestRealPeers runs where the environment variable FRESHET_PEERS names a virtual environment with the packages.
func TestRealPeers(t *testing.T) {
	venv := os.Getenv("FRESHET_PEERS")
	if venv == "" {
		t.Skip("FRESHET_PEERS names no virtual environment: make one with `freshet bench peers install`")
	}
	dir := t.TempDir()
	base, queries := filepath.Join(dir, "base.fvecs"), filepath.Join(dir, "queries.fvecs")
	rng := rand.New(rand.NewPCG(1, 1))
	m := dataset.NewMatrix(400, 12)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	for path, part := range map[string]dataset.Matrix{base: m, queries: m.Slice(100, 110)} { // queries are rows 100 to 109
		if err := dataset.WriteFvecs(path, part); err != nil {
			t.Fatal(err)
		}
	}
	for _, engine := range peers.Engines() {
		for _, index := range peers.Indexes(engine) {
			for _, metric := range []string{"l2", "cosine"} {
				t.Run(engine+" "+index+" "+metric, func(t *testing.T) {
					p, err := peers.Start(context.Background(), peers.Options{Venv: venv, CPU: -1, Metric: metric, Base: base, Queries: queries})
					if err != nil {
						t.Fatal(err)
					}
					defer p.Close()
					if info, err := p.Open(peers.Index{Engine: engine, Index: index, M: 16, Efc: 100, Capacity: 400}); err != nil || len(info) == 0 {
						t.Fatal(info, err)
					}
					if b, err := p.Build(); err != nil || b.CPUSeconds <= 0 {
						t.Fatal(b, err)
					}
					r, err := p.Search(200, 5, 0, true)
					if err != nil || len(r.IDs) != 50 {
						t.Fatal(len(r.IDs), err)
					}
					for q := range 10 {
						if !slices.Contains(r.IDs[5*q:5*q+5], int64(100+q)) {
							t.Errorf("row %d is not among the nearest to itself: %v", 100+q, r.IDs[5*q:5*q+5])
						}
					}
				})
			}
		}
	}
}

// TestHnswlibReplaces: ids that are deleted or replaced are not found again, whichever labels hnswlib gives them.
func TestHnswlibReplaces(t *testing.T) {
	venv := os.Getenv("FRESHET_PEERS")
	if venv == "" {
		t.Skip("FRESHET_PEERS names no virtual environment: make one with `freshet bench peers install`")
	}
	dir := t.TempDir()
	base, queries := filepath.Join(dir, "base.fvecs"), filepath.Join(dir, "queries.fvecs")
	m := dataset.NewMatrix(60, 2)
	for i := range 60 {
		m.Row(i)[0], m.Row(i)[1] = float32(i), 1
	}
	for path, part := range map[string]dataset.Matrix{base: m, queries: m.Slice(7, 8)} {
		if err := dataset.WriteFvecs(path, part); err != nil {
			t.Fatal(err)
		}
	}
	p, err := peers.Start(context.Background(), peers.Options{Venv: venv, CPU: -1, Metric: "l2", Base: base, Queries: queries})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Open(peers.Index{Engine: "hnswlib", Index: "f32", M: 8, Efc: 50, Capacity: 10, Replace: true}); err != nil {
		t.Fatal(err)
	}
	apply := func(remove, ids, rows []int, want int64) {
		t.Helper()
		if _, err := p.Apply(remove, ids, rows); err != nil {
			t.Fatal(err)
		}
		r, err := p.Search(50, 1, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		if r.IDs[0] != want {
			t.Errorf("the nearest to row 7 is id %d, want %d", r.IDs[0], want)
		}
	}
	apply(nil, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 7)
	apply([]int{7, 3}, []int{33}, []int{7}, 33)
	apply(nil, []int{33, 4}, []int{50, 7}, 4)
	apply(nil, []int{4, 33}, []int{51, 7}, 33)
}
