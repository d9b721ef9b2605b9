package dataset_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

func shared(t *testing.T) {
	t.Helper()
	if _, err := dataset.SharedDir(); err != nil {
		t.Skip(err)
	}
}

func open(t *testing.T, s dataset.Source) *dataset.Set {
	t.Helper()
	set, err := dataset.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestTruthIsWhatBruteForceFinds(t *testing.T) {
	for _, metric := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
		t.Run(metric.String(), func(t *testing.T) {
			set := open(t, dataset.Source{Data: "easy", N: 1500, Dim: 19, NQ: 20, Metric: metric, K: 15})
			for i, got := range set.Truth {
				want := dataset.BruteForce(set.Base, set.Queries.Row(i), metric, 15)
				if !slices.Equal(got, want) {
					t.Fatalf("query %d: truth %v, brute force %v", i, got, want)
				}
			}
		})
	}
}

func TestDistance(t *testing.T) {
	a, b := []float32{3, 0, 4, 0, 0}, []float32{0, 0, 2, 1, 2}
	for metric, want := range map[ann.Metric]float64{ann.Cosine: 1 - 8.0/15, ann.InnerProduct: -8, ann.L2: 9 + 4 + 1 + 4} {
		if got := dataset.Distance(metric, a, b); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", metric, got, want)
		}
	}
}

func TestSetsAreSeeded(t *testing.T) {
	for _, data := range []string{"easy", "copies", "hard"} {
		if data == "hard" {
			shared(t)
		}
		source := dataset.Source{Data: data, N: 300, Dim: 40, NQ: 5, Seed: 7}
		a, b := open(t, source), open(t, source)
		if !slices.Equal(a.Base.Data, b.Base.Data) || !slices.Equal(a.Queries.Data, b.Queries.Data) {
			t.Errorf("%s: the same seed gave two sets", data)
		}
		source.Seed++
		if c := open(t, source); slices.Equal(a.Base.Data, c.Base.Data) {
			t.Errorf("%s: two seeds gave the same set", data)
		}
	}
}

func TestHardHasAnyDimension(t *testing.T) {
	shared(t)
	for _, dim := range []int{128, 256, 300, 768} {
		set := open(t, dataset.Source{Data: "hard", N: 200, Dim: dim, NQ: 10})
		if set.Base.Dim != dim || set.Base.Rows() != 200 || set.Queries.Rows() != 10 {
			t.Errorf("%d: %d × %d, %d queries", dim, set.Base.Rows(), set.Base.Dim, set.Queries.Rows())
		}
	}
	if _, err := dataset.Open(dataset.Source{Data: "texts", Dim: 128, N: 10, NQ: 1}); err == nil {
		t.Error("texts of 128 dimensions were made")
	}
}

func TestGloveTruthShowsAWrongMetric(t *testing.T) {
	shared(t)
	dir, _ := dataset.SharedDir()
	dir = filepath.Join(dir, "data", "glove_50d")
	files := dataset.Source{Base: filepath.Join(dir, "base.fvecs"), Queries: filepath.Join(dir, "query.fvecs"),
		Truth: filepath.Join(dir, "gt_cosine_100.ivecs")}
	files.Metric = ann.L2
	if _, err := dataset.Open(files); err == nil || !strings.Contains(err.Error(), "metric") {
		t.Errorf("the truth of cosine passed for L2: %v", err)
	}
	files.Metric = ann.Cosine
	set := open(t, files)
	own, err := dataset.Truth(set.Base, set.Queries.Slice(0, 50), ann.Cosine, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range own {
		q := set.Queries.Row(i)
		for j := range got {
			a, b := dataset.Distance(ann.Cosine, q, set.Base.Row(int(got[j]))), dataset.Distance(ann.Cosine, q, set.Base.Row(int(set.Truth[i][j])))
			if math.Abs(a-b) > dataset.TieTolerance {
				t.Fatalf("query %d place %d: own truth at %v, the file's at %v", i, j, a, b)
			}
		}
	}
}

func TestFilesComeBackAsTheyWereWritten(t *testing.T) {
	dir := t.TempDir()
	base := dataset.Matrix{Dim: 3, Data: []float32{1, -2, 0.5, 4, 5, 6}}
	rows := [][]int32{{0, 1}, {1, 0}, {1, 1}}
	fvecs, ivecs := filepath.Join(dir, "b.fvecs"), filepath.Join(dir, "t.ivecs")
	if err := errors.Join(dataset.WriteFvecs(fvecs, base), dataset.WriteIvecs(ivecs, rows)); err != nil {
		t.Fatal(err)
	}
	m, err := dataset.ReadFvecs(fvecs)
	if err != nil || m.Dim != 3 || !slices.Equal(m.Data, base.Data) {
		t.Errorf("%v %v", m, err)
	}
	got, err := dataset.ReadIvecs(ivecs)
	if err != nil || !slices.EqualFunc(got, rows, slices.Equal[[]int32]) {
		t.Errorf("%v %v", got, err)
	}
}

func TestSourceErrorsNameTheField(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short.fvecs")
	nan := filepath.Join(dir, "nan.fvecs")
	ok := filepath.Join(dir, "ok.fvecs")
	for path, content := range map[string]string{short: "\x02\x00\x00\x00\x01", nan: "\x01\x00\x00\x00\x00\x00\xc0\x7f", ok: "\x01\x00\x00\x00\x00\x00\x80\x3f"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wrongRow := filepath.Join(dir, "t.ivecs")
	if err := dataset.WriteIvecs(wrongRow, [][]int32{{5}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		source dataset.Source
		want   string
	}{
		{dataset.Source{Data: "soft"}, `"soft"`},
		{dataset.Source{Base: ok}, "queries"},
		{dataset.Source{Truth: ok, Data: "easy"}, "truth"},
		{dataset.Source{Data: "easy", N: -1}, "N is -1"},
		{dataset.Source{Base: short, Queries: ok}, "5 bytes"},
		{dataset.Source{Base: nan, Queries: ok}, "NaN"},
		{dataset.Source{Base: ok, Queries: filepath.Join(dir, "none")}, "none"},
		{dataset.Source{Base: ok, Queries: ok, Truth: wrongRow}, "row 5"},
	} {
		if _, err := dataset.Open(c.source); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %s", c.source, err, c.want)
		}
	}
}

func TestClusterMakesEqualClusters(t *testing.T) {
	set := open(t, dataset.Source{Data: "easy", N: 1003, Dim: 16, NQ: 3, NoTruth: true})
	before := make(map[float32]int)
	for i := range set.Base.Rows() {
		before[set.Base.Row(i)[0]]++
	}
	if err := set.Cluster(8, 5); err != nil {
		t.Fatal(err)
	}
	for i := range set.Base.Rows() {
		before[set.Base.Row(i)[0]]--
	}
	for value, n := range before {
		if n != 0 {
			t.Fatalf("a vector that starts with %v is there %+d times too often", value, -n)
		}
	}
	within, across := 0.0, 0.0
	for i := range 1000 {
		row, other := set.Base.Row(i), set.Base.Row((i+500)%1003)
		next := i + 1
		if set.Clusters[next] == set.Clusters[i] {
			within += dataset.Distance(ann.L2, row, set.Base.Row(next))
		}
		across += dataset.Distance(ann.L2, row, other)
	}
	if within > 0.8*across {
		t.Errorf("neighbours in a cluster are %v apart, others %v", within, across)
	}
	for c := range int32(8) {
		if from, to := int(c)*1003/8, (int(c)+1)*1003/8; set.Clusters[from] != c || set.Clusters[to-1] != c {
			t.Errorf("cluster %d is not rows %d to %d", c, from, to)
		}
	}
	if err := set.Cluster(3, 5); err == nil {
		t.Error("three clusters were made")
	}
}
