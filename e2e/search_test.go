package e2e_test

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestSearchRefused sends searches that are wrong in one way each; the answer names it.
func TestSearchRefused(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	a.await(a.events(event{EntityID: "e", Payload: text("something to find")}))
	deep := strings.Repeat(`{"not":`, 40) + `{"eq":{"a":1}}` + strings.Repeat("}", 40)
	cases := []struct {
		body        string
		status      int
		code, field string
	}{
		{``, 400, "invalid_json", ""},
		{`{`, 400, "invalid_json", ""},
		{`[]`, 400, "invalid_json", ""},
		{`{"text":"x"} {}`, 400, "invalid_json", ""},
		{"{\"text\":\"\xff\"}", 400, "invalid_utf8", ""},
		{`{}`, 400, "missing_field", "text"},
		{`{"k":3}`, 400, "missing_field", "text"},
		{`{"text":"x","vector":[1]}`, 400, "missing_field", "text"},
		{`{"text":"x","entity_id":"e"}`, 400, "missing_field", "text"},
		{`{"text":""}`, 400, "invalid_field", "text"},
		{`{"text":"  "}`, 400, "invalid_field", "text"},
		{`{"text":7}`, 400, "invalid_field", "text"},
		{`{"text":"` + strings.Repeat("x", 70_000) + `"}`, 413, "too_large", "text"},
		{`{"text":"x","limit":3}`, 400, "unknown_field", "limit"},
		{`{"text":"x","K":3}`, 400, "unknown_field", "K"},
		{`{"text":"x","k":3,"k":4}`, 400, "invalid_field", "k"},
		{`{"text":"x","k":0}`, 400, "invalid_field", "k"},
		{`{"text":"x","k":-1}`, 400, "invalid_field", "k"},
		{`{"text":"x","k":10001}`, 400, "invalid_field", "k"},
		{`{"text":"x","k":1.5}`, 400, "invalid_field", "k"},
		{`{"text":"x","k":"3"}`, 400, "invalid_field", "k"},
		{`{"text":"x","k":1e400}`, 400, "invalid_field", "k"},
		{`{"text":"x","ef":-1}`, 400, "invalid_field", "ef"},
		{`{"text":"x","exact":"yes"}`, 400, "invalid_field", "exact"},
		{`{"text":"x","timeout_ms":0}`, 400, "invalid_field", "timeout_ms"},
		{`{"text":"x","timeout_ms":99999999}`, 400, "invalid_field", "timeout_ms"},
		{`{"text":"x","include":["vector"]}`, 400, "invalid_field", "include"},
		{`{"text":"x","include":"text"}`, 400, "invalid_field", "include"},
		{`{"text":"x","collection":"nowhere"}`, 404, "unknown_collection", "collection"},
		{`{"text":"x","collection":""}`, 400, "invalid_field", "collection"},
		{`{"text":"x","namespace":"a\u0001"}`, 400, "invalid_field", "namespace"},
		{`{"vector":[1,2]}`, 400, "wrong_dimension", "vector"},
		{`{"vector":[]}`, 400, "wrong_dimension", "vector"},
		{`{"vector":[` + strings.Repeat("0,", 255) + `0]}`, 400, "bad_vector", "vector"},
		{`{"vector":[1e39` + strings.Repeat(",0", 255) + `]}`, 400, "invalid_field", "vector"},
		{`{"vector":[NaN]}`, 400, "invalid_json", ""},
		{`{"vector":["1"]}`, 400, "invalid_field", "vector"},
		{`{"entity_id":"nobody"}`, 404, "not_found", "entity_id"},
		{`{"entity_id":""}`, 400, "invalid_field", "entity_id"},
		{`{"text":"x","filter":[]}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":"a b"}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"like":{"a":"b"}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"eq":{"a":1,"b":2}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"eq":{"a":1},"in":{"b":[2]}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"in":{"a":1}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"range":{"a":{"above":1}}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"range":{"a":{}}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"and":[]}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":{"exists":{"a":1}}}`, 400, "invalid_field", "filter"},
		{`{"text":"x","filter":` + deep + `}`, 400, "invalid_field", "filter"},
		{`{"text":"` + strings.Repeat("x", 5<<20) + `"}`, 413, "too_large", ""},
	}
	for _, c := range cases {
		t.Run(c.body[:min(len(c.body), 60)], func(t *testing.T) {
			var p problem
			status := a.in(t).must("POST", "/v1/search", c.body, &p)
			refused(t, p, status, c.status, c.code, c.field)
			if p.Field != c.field {
				t.Errorf("field %q, want %q: %s", p.Field, c.field, p.Detail)
			}
		})
	}
}

// TestSearch is what searches answer when nothing is wrong.
func TestSearch(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "")
	var all []event
	for i := range 500 {
		all = append(all, event{EventID: fmt.Sprint("ev", i), EntityID: fmt.Sprint(i), Payload: text(fmt.Sprintf("catalogue entry %d about %s", i, words[i%len(words)]),
			"n", i, "word", words[i%len(words)], "even", i%2 == 0, "at", fmt.Sprintf("2026-01-%02dT00:00:00Z", 1+i%28), "tags", []string{"t", fmt.Sprint("t", i%5)})})
	}
	token := a.events(all...)
	a.await(token)

	t.Run("hit", func(t *testing.T) {
		a := a.in(t)
		f := a.search("text", "catalogue entry 7 about hammers", "k", 5)
		h := f.Hits[0]
		if len(f.Hits) != 5 || h.EntityID != "7" || h.Score < 0.9 || h.Score > 1.001 || h.Version != a.entity("7").Version || h.SourceEventID != "ev7" ||
			h.AgeMs == nil || *h.AgeMs < 0 || *h.AgeMs > 3_600_000 || h.Text != nil || !strings.Contains(string(h.Metadata), `"n":7`) ||
			f.TookMs == nil || f.Applied == "" || f.Warnings != nil {
			t.Errorf("answer %+v", f)
		}
		if !slices.IsSortedFunc(f.Hits, func(x, y hit) int { return cmp.Compare(y.Score, x.Score) }) {
			t.Errorf("hits are not in order of their scores: %+v", f.Hits)
		}
		f = a.search("text", "catalogue", "k", 1, "include", []string{"text"})
		if f.Hits[0].Text == nil || f.Hits[0].Metadata != nil {
			t.Errorf("include text gives %+v", f.Hits[0])
		}
		if n := len(a.search("text", "catalogue").Hits); n != 10 {
			t.Errorf("%d hits without k, want 10", n)
		}
	})
	t.Run("like an entity", func(t *testing.T) {
		f := a.in(t).search("entity_id", "7", "k", 499, "include", []string{})
		if len(f.Hits) != 499 || slices.Contains(f.ids(), "7") {
			t.Errorf("%d hits, the entity itself among them: %v", len(f.Hits), slices.Contains(f.ids(), "7"))
		}
	})
	filters := []struct {
		filter string
		want   func(i int) bool
	}{
		{`{"eq":{"n":7}}`, func(i int) bool { return i == 7 }},
		{`{"eq":{"n":7.0}}`, func(i int) bool { return i == 7 }},
		{`{"eq":{"even":true}}`, func(i int) bool { return i%2 == 0 }},
		{`{"eq":{"tags":"t3"}}`, func(i int) bool { return i%5 == 3 }},
		{`{"in":{"n":[1,2,900]}}`, func(i int) bool { return i == 1 || i == 2 }},
		{`{"in":{"n":[]}}`, func(int) bool { return false }},
		{`{"range":{"n":{"gte":100,"lt":120}}}`, func(i int) bool { return i >= 100 && i < 120 }},
		{`{"range":{"at":{"gt":"2026-01-27T00:00:00Z"}}}`, func(i int) bool { return i%28 == 27 }},
		{`{"range":{"at":{"gte":"2026-01-28T01:00:00+01:00"}}}`, func(i int) bool { return i%28 == 27 }},
		{`{"prefix":{"word":" is"}}`, func(i int) bool { return i%len(words) == 8 }},
		{`{"exists":{"nothing":false}}`, func(int) bool { return true }},
		{`{"exists":{"nothing":true}}`, func(int) bool { return false }},
		{`{"not":{"range":{"n":{"gte":5}}}}`, func(i int) bool { return i < 5 }},
		{`{"and":[{"eq":{"even":true}},{"range":{"n":{"lt":10}}}]}`, func(i int) bool { return i < 10 && i%2 == 0 }},
		{`{"or":[{"eq":{"n":3}},{"eq":{"n":4}}]}`, func(i int) bool { return i == 3 || i == 4 }},
	}
	check := func(t *testing.T, a *api) {
		for _, c := range filters {
			for _, exact := range []bool{false, true} {
				var want []string
				for i := range all {
					if c.want(i) {
						want = append(want, fmt.Sprint(i))
					}
				}
				body := fmt.Sprintf(`{"text":"catalogue","k":1000,"include":[],"exact":%v,"filter":%s}`, exact, c.filter)
				var f found
				if status := a.must("POST", "/v1/search", body, &f); status != http.StatusOK {
					t.Fatalf("%s: status %d %s", c.filter, status, f.Detail)
				}
				got := f.ids()
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s, exact %v: %d hits, want %d", c.filter, exact, len(got), len(want))
				}
			}
		}
	}
	t.Run("filters", func(t *testing.T) { check(t, a.in(t)) })
	t.Run("filters after a restart", func(t *testing.T) {
		s.stop()
		s.start()
		check(t, a.in(t))
	})
	t.Run("filters follow the metadata", func(t *testing.T) {
		a := a.in(t)
		e := all[7]
		e.EventID, e.Payload = "moved", text("catalogue entry 7 about hammers", "n", 7000)
		token := a.events(e)
		eq := func(n int) map[string]any { return map[string]any{"eq": map[string]any{"n": n}} }
		if n := len(a.search("text", "x", "filter", eq(7), "after", token).Hits); n != 0 {
			t.Errorf("%d hits by the metadata of before", n)
		}
		if ids := a.search("text", "x", "filter", eq(7000)).ids(); !slices.Equal(ids, []string{"7"}) {
			t.Errorf("found %v by the new metadata", ids)
		}
	})
	a.audit()
}

// TestMetrics searches collections of ready vectors by each metric: the order is that of an
// exact computation, and a better hit has a higher score.
func TestMetrics(t *testing.T) {
	t.Parallel()
	const n, dim = 600, 24
	scores := map[string]func(q, v []float32) float64{
		"cosine": func(q, v []float32) float64 { return dot(q, v) / math.Sqrt(dot(q, q)*dot(v, v)) },
		"ip":     dot,
		"l2":     func(q, v []float32) float64 { return -(dot(q, q) + dot(v, v) - 2*dot(q, v)) },
	}
	yaml := "collections:\n"
	for metric := range scores {
		yaml += fmt.Sprintf("  %s: {dim: %d, metric: %s}\n", metric, dim, metric)
	}
	_, a := startServer(t, yaml)
	choices := random(seed(t), "vectors")
	vectors := make([][]float32, n)
	for i := range vectors {
		for range dim {
			vectors[i] = append(vectors[i], float32(choices.NormFloat64()*(1+float64(i%7))))
		}
	}
	for metric, score := range scores {
		var all []event
		for i, v := range vectors {
			all = append(all, event{EntityID: fmt.Sprint(i), Collection: metric, Vector: v})
		}
		token := a.events(all...)
		for _, q := range vectors[:20] {
			f := a.search("vector", q, "k", n, "collection", metric, "after", token, "exact", true, "include", []string{})
			want := make([]int, n)
			for i := range want {
				want[i] = i
			}
			slices.SortFunc(want, func(x, y int) int { return cmp.Compare(score(q, vectors[y]), score(q, vectors[x])) })
			for rank, h := range f.Hits {
				if rank > 0 && h.Score > f.Hits[rank-1].Score {
					t.Fatalf("%s: hit %d scores %v, the one before it %v", metric, rank, h.Score, f.Hits[rank-1].Score)
				}
			}
			if got := f.ids(); got[0] != fmt.Sprint(want[0]) || got[1] != fmt.Sprint(want[1]) || got[n-1] != fmt.Sprint(want[n-1]) {
				t.Errorf("%s: found %s, %s, …, %s; want %d, %d, …, %d", metric, got[0], got[1], got[n-1], want[0], want[1], want[n-1])
			}
			near := a.search("vector", q, "k", 10, "collection", metric, "include", []string{}).ids()
			if near[0] != fmt.Sprint(want[0]) {
				t.Errorf("%s: the index finds %s first, want %d", metric, near[0], want[0])
			}
		}
	}
	a.audit()
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
