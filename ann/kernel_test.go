package ann_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// TestKernelsMakeTheSameIndex builds an index with every implementation that this processor has. All points come at once and one
// worker links them, many at a time while there are many and then one by one, so the graphs, and what searches find in them, must be the same to the bit.
func TestKernelsMakeTheSameIndex(t *testing.T) {
	n := 900
	if raceEnabled || testing.Short() {
		n = 500
	}
	for _, metric := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
		var first []byte
		var found []ann.Result
		for _, set := range kernel.Available() {
			t.Setenv(kernel.Env, set.Name)
			mix := newMixture(23, 75, 12, 10) // no multiple of any block
			ix := newIndex(t, ann.Options{Dim: 75, Metric: metric, FlatBelow: -1, Workers: 1, EfConstruction: 60})
			var ops []ann.Op
			for i, v := range mix.vectors(n) {
				ops = append(ops, ann.Op{Key: uint64(i), Vector: v})
			}
			if err := ix.Apply(ops); err != nil {
				t.Fatal(err)
			}
			flush(t, ix)
			var b bytes.Buffer
			if err := ix.Snapshot(&b); err != nil {
				t.Fatal(err)
			}
			var res []ann.Result
			for _, q := range mix.vectors(50) {
				var err error
				if res, err = ix.Search(q, 10, ann.SearchOptions{Ef: 15}, res); err != nil {
					t.Fatal(err)
				}
			}
			if first == nil {
				first, found = b.Bytes(), res
				continue
			}
			if !bytes.Equal(b.Bytes(), first) {
				t.Errorf("%s: %s makes another graph", metric, set.Name)
			}
			if !slices.Equal(res, found) {
				t.Errorf("%s: %s finds other results", metric, set.Name)
			}
		}
	}
	t.Setenv(kernel.Env, "no such kernel")
	if _, err := ann.New(ann.Options{Dim: 8}); err == nil {
		t.Error("an unknown kernel is no error")
	}
}
