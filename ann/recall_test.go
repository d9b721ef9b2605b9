package ann_test

import (
	"path/filepath"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// TestGloveRecall is the golden figure on real data, whose exact answers are known for two metrics.
func TestGloveRecall(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("links 50,000 points: too slow here")
	}
	dir := filepath.Join(sharedDir(t), "data", "glove_50d")
	base, queries := readFvecs(t, filepath.Join(dir, "base.fvecs")), readFvecs(t, filepath.Join(dir, "query.fvecs"))
	for _, c := range []struct {
		metric ann.Metric
		truth  string
		want   float64
	}{
		{ann.Cosine, "gt_cosine_100.ivecs", 0.95},
		{ann.L2, "gt_l2_100.ivecs", 0.95},
	} {
		t.Run(c.metric.String(), func(t *testing.T) {
			truth := keysOf(readIvecs(t, filepath.Join(dir, c.truth)))
			ix := newIndex(t, ann.Options{Dim: len(base[0]), Metric: c.metric, Workers: 2})
			fill(t, ix, base)
			got := recall(t, ix, queries, truth, 10, ann.SearchOptions{Ef: 200})
			t.Logf("recall@10 at ef 200: %.4f; %+v", got, ix.Stats())
			if got < c.want {
				t.Errorf("recall@10 is %.4f, want at least %.2f", got, c.want)
			}
			if got := recall(t, ix, queries[:100], truth, 10, ann.SearchOptions{Exact: true}); got < 0.999 {
				t.Errorf("an exact search has recall %.4f: the metric is wrong", got)
			}
		})
	}
}

func keysOf(rows [][]int) [][]uint64 {
	keys := make([][]uint64, len(rows))
	for i, row := range rows {
		for _, x := range row {
			keys[i] = append(keys[i], uint64(x))
		}
	}
	return keys
}

// TestSyntheticRecall needs no data sets.
func TestSyntheticRecall(t *testing.T) {
	n := 10000
	if raceEnabled {
		n = 600
	}
	for _, metric := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
		t.Run(metric.String(), func(t *testing.T) {
			m := newMixture(7, 48, 12, 50)
			ix := newIndex(t, ann.Options{Dim: 48, Metric: metric, FlatBelow: -1, Workers: 2})
			fill(t, ix, m.vectors(n))
			queries := m.vectors(200)
			truth := exactTruth(t, ix, queries, 10, nil)
			got := recall(t, ix, queries, truth, 10, ann.SearchOptions{Ef: 40})
			t.Logf("recall@10 at ef 40: %.4f", got)
			if got < 0.97 {
				t.Errorf("recall@10 is %.4f, want at least 0.97", got)
			}
		})
	}
}
