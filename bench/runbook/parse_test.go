package runbook

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// foreign is a runbook as the competition's repository has them.
const foreign = `
random-xs:
  max_pts: 10000
  1:
    operation: "insert"
    start: 0
    end: 1000
  2:
    operation: "search"
  3:
    operation: "delete"
    start: 100
    end: 200
  4:
    operation: "replace"
    tags_start: 0
    tags_end: 50
    ids_start: 5000
    ids_end: 5050
  5:
    operation: "search"
  gt_url: "none"
`

func TestParseReadsForeignRunbooks(t *testing.T) {
	r, err := Parse([]byte(foreign), "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{{Op: Insert, End: 1000}, {Op: Search}, {Op: Delete, Start: 100, End: 200}, {Op: Replace, End: 50, From: 5000}, {Op: Search}}
	if fmt.Sprint(r.Steps) != fmt.Sprint(want) || r.MaxPoints != 10000 || r.Rows != 5050 || r.Dataset != "random-xs" {
		t.Errorf("%+v", r)
	}
}

func TestParseErrorsNameTheStep(t *testing.T) {
	steps := func(s string) string { return "d: {max_pts: 100, " + s + "}" }
	for _, c := range []struct{ file, want string }{
		{"", "0 data sets"},
		{"[", "runbook:"},
		{"a: {max_pts: 1}\nb: {max_pts: 1}", "2 data sets"},
		{"d: {1: {operation: search}}", "max_pts is missing"},
		{steps(""), "no steps"},
		{steps("1: {operation: upsert}"), `step 1: operation "upsert"`},
		{steps("1: 7"), "step 1: a step is a mapping"},
		{steps("1: {operation: insert, start: 0}"), "step 1: end is missing"},
		{steps("1: {operation: insert, start: x, end: 4}"), "start is x"},
		{steps("1: {operation: insert, start: 5, end: 4}"), "end 4 is below start 5"},
		{steps("1: {operation: insert, start: -5, end: 4}"), "start is -5"},
		{steps("1: {operation: insert, start: 0, end: 101}"), "101 ids are live"},
		{steps("1: {operation: insert, start: 0, end: 9}, 2: {operation: insert, start: 8, end: 12}"), "step 2: insert of id 8, which is live already"},
		{steps("1: {operation: insert, start: 0, end: 9}, 2: {operation: delete, start: 8, end: 12}"), "step 2: delete of id 9, which is not live"},
		{steps("1: {operation: insert, start: 0, end: 9}, 2: {operation: replace, tags_start: 0, tags_end: 3, ids_start: 0, ids_end: 2}"), "there must be as many"},
		{steps("order: sorted, 1: {operation: search}"), `order "sorted"`},
	} {
		if _, err := Parse([]byte(c.file), ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.file, err, c.want)
		}
	}
	if _, err := Parse([]byte(foreign), "other"); err == nil {
		t.Error("a data set that is not there was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(foreign))
	f.Add([]byte("d: {max_pts: 9, order: clustered, clusters: 4, 1: {operation: insert, start: 0, end: 9}}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := Parse(file, "")
		if err != nil {
			return
		}
		r.Dataset = "d" // a name may need quotes that Write does not make
		var out bytes.Buffer
		if err := r.Write(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out.Bytes(), "d")
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%s", err, out.Bytes())
		}
		if fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", r) {
			t.Fatalf("written %+v, read %+v", r, again)
		}
	})
}

func TestRangesAreASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const top = 60
	for range 300 {
		var r ranges
		model := map[int]bool{}
		for range 40 {
			from := rng.IntN(top)
			to := from + rng.IntN(top-from)
			add := rng.IntN(2) == 0
			want := -1
			for n := from; n < to && want < 0; n++ {
				if model[n] == add {
					want = n
				}
			}
			got := 0
			if add {
				got = r.add(from, to)
			} else {
				got = r.remove(from, to)
			}
			if got != want {
				t.Fatalf("add=%v %d to %d of %v: %d, want %d", add, from, to, r, got, want)
			}
			for n := from; n < to && want < 0; n++ {
				if add {
					model[n] = true
				} else {
					delete(model, n)
				}
			}
			if r.count != len(model) {
				t.Fatalf("count %d, want %d", r.count, len(model))
			}
		}
	}
}
