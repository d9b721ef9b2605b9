package ann_test

import (
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// TestReusedSlotsKeepTheirLinks upserts every key again and again with almost the same vector. A new version gets a slot
// of an earlier version of a near point: were links to that slot left over, it would find itself while it is linked, take
// itself for its nearest neighbour, and be lost (recall fell by four points in a prototype). So no point may be
// unreachable, no link may lead to a slot's own node, and walks must find every point.
func TestReusedSlotsKeepTheirLinks(t *testing.T) {
	const n, dim = 600, 16
	turns := 6
	if raceEnabled {
		turns = 2
	}
	mix := newMixture(17, dim, 8, 5)
	vectors := mix.vectors(n)
	ix := newIndex(t, ann.Options{Dim: dim, FlatBelow: -1, M: 6, EfConstruction: 40, BufferSize: 16})
	fill(t, ix, vectors)
	for range turns {
		for key, v := range vectors {
			v[key%dim] += float32(mix.rng.NormFloat64()) * 1e-3
			if err := ix.Apply([]ann.Op{{Key: uint64(key), Vector: v}}); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, ix)
	}
	st := ix.Stats()
	if slots := st.Points + st.Deleted + st.Free; slots > n+n/3 {
		t.Errorf("%d points take %d slots: they are not used again", n, slots)
	}
	for _, p := range ix.Check() {
		if p.Code != ann.ProblemUnreachable {
			t.Error(p)
		}
	}
	lost := 0
	for key, v := range vectors {
		res, err := ix.Search(v, 1, ann.SearchOptions{Ef: 20}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res[0].Key != uint64(key) {
			lost++
		}
	}
	if scans := ix.Stats().ExactScans; scans > 0 {
		t.Fatalf("%d searches were exact scans, which prove nothing", scans)
	}
	if lost > 0 {
		t.Errorf("walks don't find %d of %d points", lost, n)
	}
}
