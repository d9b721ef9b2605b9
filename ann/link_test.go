package ann

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
)

// TestNewestOfARenewedIndex replaces an index part by part, the oldest first, and looks for the neighbours that came last:
// they must be found about as well as others, which they are not with as many links as in an index that only grows.
func TestNewestOfARenewedIndex(t *testing.T) {
	const n, part, turns, dim, ef = 2000, 200, 2, 32, 16
	vectors := uneven(rand.New(rand.NewPCG(7, 7)), dim, (1+turns)*n+2000)
	queries := vectors[(1+turns)*n:]
	newest := func(wide bool) float64 {
		ix, _ := filled(t, Options{Dim: dim, Metric: L2, M: 6, EfConstruction: 60, FlatBelow: -1, Workers: 1,
			BufferSize: bulkLeast}, vectors[:n], 0) // one point is linked after the other
		for from := n; from < (1+turns)*n; from += part {
			if !wide {
				ix.graph.gone.Store(math.MinInt32)
			}
			var ops []Op
			for i := from; i < from+part; i++ {
				ops = append(ops, Op{Key: uint64(i - n)}, Op{Key: uint64(i), Vector: vectors[i]})
			}
			if err := ix.Apply(ops); err != nil {
				t.Fatal(err)
			}
			if err := ix.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		found, all := 0, 0
		for i, truth := range answers(t, ix, queries, 10) {
			got, err := ix.Search(queries[i], 10, SearchOptions{Ef: ef}, nil)
			if err != nil {
				t.Fatal(err)
			}
			last := truth[:0]
			for _, r := range truth {
				if r.Key >= (1+turns)*n-part {
					last = append(last, r)
				}
			}
			found, all = found+common(last, got), all+len(last)
		}
		return float64(found) / float64(all)
	}
	with, without := newest(true), newest(false)
	t.Logf("of the newest neighbours %.4f are found, with as many links as others %.4f", with, without)
	if with < without+0.005 {
		t.Errorf("of the newest neighbours %.4f are found, with as many links as others %.4f", with, without)
	}
}
