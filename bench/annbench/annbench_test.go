package annbench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

func smallSet(t *testing.T, n int, metric ann.Metric) *dataset.Set {
	t.Helper()
	set, err := dataset.Open(dataset.Source{Data: "easy", N: n, Dim: 16, NQ: 30, Metric: metric, K: 20, Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestRunWithoutPeers goes through all of a run: builds, sweeps, table, drawing, and the line that programs read.
func TestRunWithoutPeers(t *testing.T) {
	set := smallSet(t, 2500, ann.Cosine)
	r, err := Run(context.Background(), Options{Set: set, Ours: []ann.Options{{FlatBelow: -1}, {Kind: ann.Flat}}, CPU: -1, K: 10, M: []int{4, 8},
		Efc: []int{20}, Ef: []int{5, 10, 40}, Rounds: 2, Seconds: 0.001, Target: 0.9, Until: 1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var table, line bytes.Buffer
	if err := errors.Join(r.WriteTable(&table), r.WriteRows(io.Discard), r.WriteJSON(&line)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "freshet flat") {
		t.Errorf("the table lacks a line:\n%s", &table)
	}
	if strings.Count(line.String(), "\n") != 1 {
		t.Errorf("%d lines of JSON", strings.Count(line.String(), "\n"))
	}
	var doc struct {
		Results []struct {
			Engine                                   string
			Params                                   Params
			Recall, QPS, P99us, BuildPerS, BytesPerV *float64
		}
	}
	raw := strings.NewReplacer("p99_us", "P99us", "build_per_s", "BuildPerS", "bytes_per_vector", "BytesPerV").Replace(line.String())
	if err := json.Unmarshal([]byte(raw), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Results) != len(r.Rows) || len(r.Rows) < 3 {
		t.Fatalf("%d rows in JSON, %d measured", len(doc.Results), len(r.Rows))
	}
	for _, row := range doc.Results {
		if row.Engine != "freshet" || row.Recall == nil || row.QPS == nil || row.P99us == nil || row.BuildPerS == nil || row.BytesPerV == nil ||
			*row.Recall < 0.5 || *row.QPS < 100 || *row.P99us <= 0 || *row.BuildPerS <= 0 || row.Params.Ef < 10 {
			t.Errorf("impossible row: %s", line.String())
		}
		if row.Params.Index == "flat" && *row.Recall != 1 {
			t.Errorf("an exact index has a recall of %v", *row.Recall)
		}
	}
	if err := xml.Unmarshal(r.SVG("a <title> & more"), new(any)); err != nil {
		t.Errorf("the drawing is no XML: %v", err)
	}
}

func TestRecallCountsTiesOnce(t *testing.T) {
	set := &dataset.Set{Metric: ann.L2, Base: dataset.Matrix{Dim: 1, Data: []float32{0, 1, -1, 1, 5, 9}}, Queries: dataset.Matrix{Dim: 1, Data: []float32{0}},
		Truth: [][]int32{{0, 1, 2}}}
	s, err := newScorer(set, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		answer []int64
		want   float64
	}{
		{[]int64{0, 1}, 1},
		{[]int64{0, 3}, 1}, // as near as the second
		{[]int64{3, 2}, 1}, // rows 1 to 3 are all as near as the second
		{[]int64{0, 0}, 0.5},
		{[]int64{0, 4}, 0.5},
		{[]int64{0, -1}, 0.5},
		{[]int64{0, 6}, 0.5},
		{[]int64{0}, 0.5},
		{[]int64{4, 5, 0, 1}, 0}, // beyond k
	} {
		if got := s.recall([][]int64{c.answer}); got != c.want {
			t.Errorf("%v: %v, want %v", c.answer, got, c.want)
		}
	}
	if _, err := newScorer(set, 4); err == nil {
		t.Error("a truth of 3 passed for k = 4")
	}
}

func TestCurves(t *testing.T) {
	row := func(name string, m, ef int, recall, qps, build float64) Row {
		return Row{label: name, Engine: name, Params: Params{M: m, Ef: ef}, Recall: recall, QPS: qps, Build: build}
	}
	rows := []Row{
		row("a", 8, 10, 0.90, 1000, 50), row("a", 8, 20, 0.99, 100, 50),
		row("a", 16, 10, 0.95, 400, 10), row("a", 16, 20, 0.97, 50, 10), // the second is beaten
		row("b", 8, 10, 0.985, 70, 5),
		row("c", 8, 10, 0.8, 70, 5),
	}
	s := Summarise(rows, 0.98)
	if len(s) != 3 || s[0].Name != "a" {
		t.Fatalf("%+v", s)
	}
	// Between (0.95, 400) and (0.99, 100), at three quarters of the way: 400 × (100/400)^0.75.
	if want := 400 * math.Pow(0.25, 0.75); math.Abs(s[0].QPS-want) > 1e-9 {
		t.Errorf("%v queries/s, want %v", s[0].QPS, want)
	}
	if s[0].Build != 50 || s[0].Built.M != 8 || s[0].Peak != 0.99 || s[0].Row.Params.Ef != 20 {
		t.Errorf("%+v", s[0])
	}
	if s[1].QPS != 70 {
		t.Errorf("a curve that starts above the target gives its first point, not %v", s[1].QPS)
	}
	if s[2].QPS != 0 || s[2].Peak != 0.8 {
		t.Errorf("%+v", s[2])
	}
}

func TestChurnKeepsTrackOfWhatIsWhere(t *testing.T) {
	set := smallSet(t, 1600, ann.L2)
	r, err := Churn(context.Background(), ChurnOptions{Set: set, Index: ann.Options{Kind: ann.Flat}, CPU: -1, K: 10, Turns: 3, Target: 0.98, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if got := r[0]; got.Live != 800 || len(got.Recall) != 4 || got.Recall[0] != 1 || got.Recall[3] != 1 || got.FreshBuild != 1 || got.UpsertsPer <= 0 {
		t.Errorf("an exact index under churn: %+v", got)
	}
}

func TestFiltersAgainstBruteForce(t *testing.T) {
	set := smallSet(t, 1200, ann.Cosine)
	rows, err := Filters(context.Background(), FilterOptions{Set: set, Index: ann.Options{Kind: ann.Flat}, K: 10, Target: 0.98, CPU: -1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 12 {
		t.Errorf("%d kinds of filter", len(rows))
	}
	for _, r := range rows {
		if r.Recall != 1 || r.P50us <= 0 || r.P99us < r.P50us {
			t.Errorf("an exact index under a filter: %+v", r)
		}
	}
}

func TestMixedReachesItsRate(t *testing.T) {
	set := smallSet(t, 1200, ann.Cosine)
	r, err := Mixed(context.Background(), MixedOptions{Set: set, K: 10, Ef: 20, Upserts: 500, Seconds: 0.2, Rounds: 1, SearchCPU: -1, WorkCPU: -1, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if r.Idle.P50 <= 0 || r.Busy.P99 < r.Busy.P50 || r.UpsertsPerS <= 0 || r.ForcedGC.Cycles < forcedCycles || r.ForcedGC.PauseMax <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestMemoryNamesEveryIndex(t *testing.T) {
	set := smallSet(t, 1500, ann.Cosine)
	rows, err := Memory(context.Background(), set, []ann.Options{{}, {Kind: ann.Flat}}, 10, -1, 0.98, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Index != "hnsw" || rows[0].Stats < 4*16 || rows[1].Recall != 1 || rows[1].QPS <= 0 {
		t.Errorf("%+v", rows)
	}
}
