package e2e_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// goldenVaswani is what testdata/vaswani.json keeps: the mean of nDCG@10 over the queries.
type goldenVaswani struct {
	Exact   float64 `json:"ndcg10_exact"`
	Default float64 `json:"ndcg10_default"`
}

// drop is how far a golden figure may fall before the test fails.
const drop = 0.002

// TestVaswani indexes a collection of abstracts and measures how well its queries are answered,
// by an exact scan and by the index.
func TestVaswani(t *testing.T) {
	t.Parallel()
	events, queries := loadVaswani(t)
	_, a := startServer(t, "")
	start := time.Now()
	token := replay(t, a, 1, events)
	t.Logf("%d abstracts searchable after %v", len(events), since(start))
	got := goldenVaswani{Exact: meanNDCG(a, queries, token, true), Default: meanNDCG(a, queries, token, false)}
	t.Logf("nDCG@10 over %d queries: %.4f exact, %.4f by the index", len(queries), got.Exact, got.Default)

	checkGraph(a, queries)

	golden := filepath.Join("testdata", "vaswani.json")
	if os.Getenv("FRESHET_UPDATE_GOLDEN") != "" {
		raw, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.WriteFile(golden, append(raw, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(golden)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is missing; FRESHET_UPDATE_GOLDEN=1 writes it", golden)
	}
	var want goldenVaswani
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Exact < want.Exact-drop || got.Default < want.Default-drop {
		t.Errorf("nDCG@10 is %.4f exact and %.4f by the index; golden are %.4f and %.4f", got.Exact, got.Default, want.Exact, want.Default)
	}
	if got.Exact < 0.34 {
		t.Errorf("nDCG@10 is %.4f by exact search, want 0.34", got.Exact)
	}
}

// judged is a query and the abstracts that answer it.
type judged struct {
	text     string
	relevant map[string]bool
}

func loadVaswani(t *testing.T) (events []event, queries map[string]*judged) {
	t.Helper()
	type line struct {
		ID   string `json:"_id"`
		Text string `json:"text"`
	}
	read := func(name string, use func(line)) {
		eachLine(t, shared(t, "data", "vaswani", name), func(raw string) error {
			var l line
			err := json.Unmarshal([]byte(raw), &l)
			use(l)
			return err
		})
	}
	read("corpus.jsonl", func(l line) {
		events = append(events, event{EntityID: l.ID, Payload: text(l.Text, "group", len(events)%1000)})
	})
	queries = map[string]*judged{}
	read("queries.jsonl", func(l line) { queries[l.ID] = &judged{l.Text, map[string]bool{}} })
	eachLine(t, shared(t, "data", "vaswani", "qrels.tsv"), func(raw string) error {
		cells := strings.Split(raw, "\t")
		if q := queries[cells[0]]; q != nil && cells[2] == "1" {
			q.relevant[cells[1]] = true
		}
		return nil
	})
	if len(events) != 11429 || len(queries) != 93 {
		t.Fatalf("vaswani has %d abstracts and %d queries: not the data that this test knows", len(events), len(queries))
	}
	return events, queries
}

// checkGraph checks what an index that does not look at everything still owes: nearly all of
// the nearest, all of what passes a filter, and as many as are asked for.
func checkGraph(a *api, queries map[string]*judged) {
	a.t.Helper()
	const k = 10
	same := 0
	for i, id := range keys(queries) {
		q := queries[id].text
		near := a.search("text", q, "k", k, "include", []string{}).ids()
		for _, id := range a.search("text", q, "k", k, "exact", true, "include", []string{}).ids() {
			if slices.Contains(near, id) {
				same++
			}
		}
		if i%10 == 0 {
			group := map[string]any{"eq": map[string]any{"group": i}}
			f := a.search("text", q, "k", 100, "filter", group, "include", []string{})
			if want := map[bool]int{true: 12, false: 11}[i < 429]; len(f.Hits) != want {
				a.t.Errorf("%d hits pass a filter, want all %d", len(f.Hits), want)
			}
		}
		if i%40 == 0 {
			if n := len(a.search("text", q, "k", 10_000, "include", []string{}).Hits); n != 10_000 {
				a.t.Errorf("%d hits, want 10000", n)
			}
		}
	}
	recall := float64(same) / float64(k*len(queries))
	a.t.Logf("recall@10 of the index: %.4f", recall)
	if recall < 0.95 {
		a.t.Errorf("the index finds %.4f of the 10 nearest, want 0.95", recall)
	}
}

// meanNDCG is the mean of nDCG@10 with binary gains: Järvelin and Kekäläinen, "Cumulated
// gain-based evaluation of IR techniques", 2002, with the logarithm to base 2.
func meanNDCG(a *api, queries map[string]*judged, token string, exact bool) float64 {
	a.t.Helper()
	const k = 10
	sum := 0.0
	for _, id := range keys(queries) {
		q := queries[id]
		gain, ideal := 0.0, 0.0
		for rank, hit := range a.search("text", q.text, "k", k, "exact", exact, "after", token, "include", []string{}).ids() {
			if q.relevant[hit] {
				gain += 1 / math.Log2(float64(rank)+2)
			}
		}
		for rank := range min(k, len(q.relevant)) {
			ideal += 1 / math.Log2(float64(rank)+2)
		}
		sum += gain / ideal
	}
	return sum / float64(len(queries))
}
