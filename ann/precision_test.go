package ann_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// TestPrecision has the largest error that each precision allows, over vectors of all lengths that are accepted.
func TestPrecision(t *testing.T) {
	mix := newMixture(12, 40, 20, 5)
	for _, c := range []struct {
		precision ann.Precision
		own       float64 // largest error of a component, relative to itself
		largest   float64 // and to the largest, which is allowed beside
	}{
		{ann.Float32, 0, 0},
		{ann.Float16, 0x1p-11, 0x1p-39},
		{ann.Int8, 0, 0.5001 / 127},
	} {
		for _, metric := range []ann.Metric{ann.L2, ann.InnerProduct} {
			ix := newIndex(t, ann.Options{Dim: 40, Metric: metric, Precision: c.precision})
			for _, length := range []float64{0, 1e-30, 1e-6, 1, 300, 1e6, 1e17} {
				v := mix.vector()
				for i := range v {
					v[i] = float32(float64(v[i]) * length / 20)
				}
				v[3] = 0
				v[5] = float32(float64(v[4]) * 1e-7)
				if err := ix.Apply([]ann.Op{{Key: 1, Vector: v}}); err != nil {
					t.Fatal(err)
				}
				got, found, err := ix.Vector(1, nil)
				if err != nil || !found {
					t.Fatalf("found %v, error %v", found, err)
				}
				largest := 0.0
				for _, x := range v {
					largest = max(largest, math.Abs(float64(x)))
				}
				for i := range v {
					want := float64(v[i])
					if off := math.Abs(float64(got[i]) - want); off > c.own*math.Abs(want)+c.largest*largest {
						t.Errorf("%s, length %g: component %d is %v, want %v", c.precision, length, i, got[i], v[i])
					}
				}
				if stored, err := ix.Stored(v, nil); err != nil || !slices.Equal(stored, got) {
					t.Errorf("%s, length %g: Stored is %v, error %v; Vector %v", c.precision, length, stored, err, got)
				}
				if c.precision == ann.Int8 {
					continue
				}
				if again, err := ix.Stored(got, nil); err != nil || !slices.Equal(again, got) {
					t.Errorf("%s, length %g: stored again it changes", c.precision, length)
				}
			}
		}
	}
}

// TestPrecisionRecall is what rounding costs: exact searches and walks against the exact answers of float32.
func TestPrecisionRecall(t *testing.T) {
	n := 2000
	if raceEnabled {
		n = 500
	}
	mix := newMixture(8, 48, 16, 20)
	vectors, queries := mix.vectors(n), mix.vectors(100)
	oracle := newIndex(t, ann.Options{Dim: 48, Kind: ann.Flat})
	fill(t, oracle, vectors)
	truth := exactTruth(t, oracle, queries, 10, nil)
	for _, kind := range []ann.Kind{ann.Flat, ann.HNSW} {
		for _, opt := range forms(t, ann.Options{Dim: 48, Kind: kind, FlatBelow: -1, EfConstruction: 80}) {
			ix := newIndex(t, opt)
			fill(t, ix, vectors)
			want := 0.999
			if opt.Precision == ann.Int8 {
				want = 0.98
			}
			for _, search := range []ann.SearchOptions{{Exact: true}, {Ef: 200}} {
				if got := recall(t, ix, queries, truth, 10, search); got < want-0.005 {
					t.Errorf("%s, %s, %+v: recall@10 is %.4f, want at least %.4f", opt.Kind, opt.Precision, search, got, want)
				}
			}
			t.Logf("%s, %s: %d bytes per vector", opt.Kind, opt.Precision, ix.Stats().Bytes/int64(n))
		}
	}
}

// TestLoadOtherPrecision loads snapshots into indexes of other precision and kind. From float32 the points are what Apply
// would have made of them.
func TestLoadOtherPrecision(t *testing.T) {
	const n = 300
	vectors := newMixture(5, 20, 8, 3).vectors(n)
	all := append(forms(t, ann.Options{Dim: 20, FlatBelow: -1}), forms(t, ann.Options{Dim: 20, Kind: ann.Flat})...)
	for _, from := range all {
		ix := newIndex(t, from)
		fill(t, ix, vectors)
		for _, to := range all {
			var b bytes.Buffer
			if err := ix.Snapshot(&b); err != nil {
				t.Fatal(err)
			}
			loaded, err := ann.Load(&b, to)
			if from.Precision != ann.Float32 && to.Precision != from.Precision {
				if err == nil || !strings.Contains(err.Error(), "has precision "+from.Precision.String()) {
					t.Errorf("from %s to %s: error %v", from.Precision, to.Precision, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for key, v := range vectors {
				want, _ := loaded.Stored(v, nil)
				if got, found, err := loaded.Vector(uint64(key), nil); !found || err != nil || !slices.Equal(got, want) {
					t.Fatalf("from %s %s to %s %s: key %d is %v, found %v, error %v, want %v", from.Kind, from.Precision, to.Kind, to.Precision, key, got, found, err, want)
				}
			}
			mustBeSound(t, loaded)
			if err := loaded.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestDiskOptions(t *testing.T) {
	for _, c := range []struct {
		opt  ann.Options
		want string
	}{
		{ann.Options{Dim: 8, Precision: 3}, "option Precision is 3"},
		{ann.Options{Dim: 8, Kind: ann.HNSWDisk}, "option Dir is empty"},
		{ann.Options{Dim: 8, Kind: ann.HNSWDisk, Dir: t.TempDir(), Precision: ann.Int8}, "option Precision is int8"},
		{ann.Options{Dim: 8, Kind: ann.HNSWDisk, Dir: t.TempDir() + "/absent"}, "option Dir must name a folder"},
	} {
		if _, err := ann.New(c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.opt, err, c.want)
		}
	}
	for _, p := range []ann.Precision{ann.Float32, ann.Float16, ann.Int8} {
		if got, err := ann.ParsePrecision(p.String()); err != nil || got != p {
			t.Errorf("precision %s: parsed as %v, error %v", p, got, err)
		}
	}
	if _, err := ann.ParsePrecision("bfloat16"); err == nil {
		t.Error("precision bfloat16 is no error")
	}
}
