package ann_test

import (
	"testing"
	"time"

	"github.com/freshet-io/freshet/ann"
)

// TestTargetRecall asks for a recall: it must be reached, with less effort for less of it, for other k too, and again when
// the index has grown.
func TestTargetRecall(t *testing.T) {
	n := 6000
	if raceEnabled {
		n = 1500
	}
	const slack = 0.06 // efforts are measured with 100 queries, recall here with 200: each is off by 0.02
	for _, kind := range []ann.Kind{ann.HNSW, ann.IVFFlat, ann.IVFPQ} {
		t.Run(kind.String(), func(t *testing.T) {
			mix := newMixture(3, 32, 24, 30)
			ix := newIndex(t, ann.Options{Dim: 32, Kind: kind, FlatBelow: -1, M: 6, EfConstruction: 40})
			queries := mix.vectors(200)
			for _, points := range []int{n / 3, n} {
				fill(t, ix, mix.vectors(points))
				truth := exactTruth(t, ix, queries, 20, nil)
				waitForTarget(t, ix, queries[0])
				for _, target := range []float64{0.7, 0.9, 0.98} {
					for _, k := range []int{5, 10, 20} {
						// The efforts that were measured before the index grew serve until there are new ones.
						got := 0.0
						for deadline := time.Now().Add(10 * time.Second); got < target-slack && time.Now().Before(deadline); {
							got = recall(t, ix, queries, truth, k, ann.SearchOptions{Recall: target})
						}
						if got < target-slack {
							t.Errorf("%d points, target %.2f: recall@%d is %.4f", points, target, k, got)
						}
					}
				}
			}
		})
	}
}

// waitForTarget searches until an answer is not an exact scan any more.
func waitForTarget(t *testing.T, ix *ann.Index, q []float32) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		before := ix.Stats().ExactScans
		if _, err := ix.Search(q, 10, ann.SearchOptions{Recall: 0.5}, nil); err != nil {
			t.Fatal(err)
		}
		if ix.Stats().ExactScans == before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no efforts were measured")
		}
	}
}

// TestTargetCosts compares the efforts of a low and a high target by what they find.
func TestTargetCosts(t *testing.T) {
	mix := newMixture(3, 32, 24, 30)
	ix := newIndex(t, ann.Options{Dim: 32, Kind: ann.IVFFlat, FlatBelow: -1})
	fill(t, ix, mix.vectors(3000))
	queries := mix.vectors(200)
	truth := exactTruth(t, ix, queries, 10, nil)
	waitForTarget(t, ix, queries[0])
	low, high := recall(t, ix, queries, truth, 10, ann.SearchOptions{Recall: 0.6}), recall(t, ix, queries, truth, 10, ann.SearchOptions{Recall: 0.97})
	if low >= high {
		t.Errorf("recall %.4f for a target of 0.6, and %.4f for 0.97", low, high)
	}
}

func TestBadTargets(t *testing.T) {
	ix := newIndex(t, ann.Options{Dim: 2})
	for _, target := range []float64{-0.1, 1, 2} {
		if _, err := ix.Search([]float32{1, 0}, 1, ann.SearchOptions{Recall: target}, nil); err == nil {
			t.Errorf("recall %v is no error", target)
		}
	}
	if _, err := ix.Search([]float32{1, 0}, 1, ann.SearchOptions{Recall: 0.9}, nil); err != nil {
		t.Errorf("an empty index: %v", err)
	}
}
