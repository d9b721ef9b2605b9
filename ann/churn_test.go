package ann_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ann"
)

// TestChurn replaces every vector three times, in random order, and compares recall at a fixed ef with a fresh index of
// the same points: repairs must hold it. FRESHET_CHURN_POINTS and FRESHET_CHURN_DATA=glove make it larger.
func TestChurn(t *testing.T) {
	n, dim, ef := 4000, 32, 10
	if raceEnabled {
		n = 250
	} else if testing.Short() {
		n = 1000
	}
	if s := os.Getenv("FRESHET_CHURN_POINTS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	mix := newMixture(31, dim, 16, 40)
	vectors, queries := mix.vectors(2*n), mix.vectors(200)
	if os.Getenv("FRESHET_CHURN_DATA") == "glove" {
		dir := filepath.Join(sharedDir(t), "data", "glove_50d")
		vectors, queries = readFvecs(t, filepath.Join(dir, "base.fvecs"))[:2*n], readFvecs(t, filepath.Join(dir, "query.fvecs"))
		dim, ef = len(vectors[0]), 40
	}
	opt := ann.Options{Dim: dim, FlatBelow: -1, BufferSize: 128}
	ix := newIndex(t, opt)
	fill(t, ix, vectors[:n])

	rng := rand.New(rand.NewPCG(1, 31))
	live := make([]int, 2*n) // place i of the first n: the vector of key i; the rest wait for their turn
	for i := range live {
		live[i] = i
	}
	var last float64
	for turn := 0; ; turn++ {
		truth := exactTruth(t, ix, queries, 10, nil)
		got := recall(t, ix, queries, truth, 10, ann.SearchOptions{Ef: ef})
		fresh := newIndex(t, opt)
		current := make([][]float32, n)
		for key := range current {
			current[key] = vectors[live[key]]
		}
		fill(t, fresh, current)
		want := recall(t, fresh, queries, truth, 10, ann.SearchOptions{Ef: ef})
		lost := 0
		for _, p := range ix.Check() {
			if p.Code == ann.ProblemUnreachable {
				lost++
			}
		}
		st := ix.Stats()
		t.Logf("turn %d: recall@10 %.4f, fresh %.4f; %d unreachable, %d repairs, %d relinks, %d sweeps, %d slots", turn, got, want, lost,
			st.Repairs, st.Relinks, st.Sweeps, st.Points+st.Deleted+st.Free)
		if got < want-0.01 {
			t.Errorf("turn %d: recall@10 is %.4f, a fresh index has %.4f", turn, got, want)
		}
		if turn > 0 && got < last-0.01 {
			t.Errorf("turn %d: recall@10 fell from %.4f to %.4f", turn, last, got)
		}
		if st.Deleted+st.Free > n/4+2*opt.BufferSize {
			t.Errorf("turn %d: slots are not used again: %+v", turn, st)
		}
		last = got
		if turn == 3 {
			return
		}
		start := time.Now()
		for _, key := range rng.Perm(n) {
			swap := n + rng.IntN(n)
			live[key], live[swap] = live[swap], live[key]
			if err := ix.Apply([]ann.Op{{Key: uint64(key), Vector: vectors[live[key]]}}); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, ix)
		t.Logf("%.0f upserts/s", float64(n)/time.Since(start).Seconds())
	}
}
