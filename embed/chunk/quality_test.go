package chunk_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/embed/chunk"
	"github.com/freshet-io/freshet/embed/static"
)

// perDocument is how many abstracts make one document.
const perDocument = 16

// TestQuality measures how well a document of many subjects is found by a question about one
// of them, with chunks of several lengths and the built-in model. The figure of the default
// is golden: a drop is a regression of Split or of the model.
func TestQuality(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds 11,429 abstracts six times")
	}
	documents, questions := vaswani(t)
	model, err := static.Load()
	if err != nil {
		t.Fatal(err)
	}
	figures := map[int]float64{}
	for _, opt := range []chunk.Options{{MaxBytes: 400}, {}, {OverlapBytes: 100}, {MaxBytes: 1000}, {MaxBytes: 2000}, {MaxBytes: 1 << 20}} {
		points, ndcg := measure(model, documents, questions, opt)
		t.Logf("%s: %.1f points a document, nDCG@10 %.3f", opt.Describe(), float64(points)/float64(len(documents)), ndcg)
		if opt.OverlapBytes == 0 {
			figures[opt.MaxBytes] = ndcg
		}
	}
	if figures[0] < 0.28 {
		t.Errorf("nDCG@10 of the default is %.3f, was 0.29", figures[0])
	}
	if figures[0] < 1.5*figures[1<<20] {
		t.Errorf("nDCG@10 of the default is %.3f, without splitting it is %.3f; splitting made it 1.8 times as high", figures[0], figures[1<<20])
	}
}

type question struct {
	text    string
	answers map[int]bool // documents
}

// measure returns the number of points and the mean nDCG@10, a document being as near as its
// nearest chunk.
func measure(model *static.Model, documents []string, questions []question, opt chunk.Options) (points int, ndcg float64) {
	var vectors [][]float32
	var owner []int
	for d, text := range documents {
		for _, s := range chunk.Split(text, opt) {
			vectors, owner = append(vectors, model.Embed(nil, text[s.Start:s.End])), append(owner, d)
		}
	}
	for _, q := range questions {
		v := model.Embed(nil, q.text)
		type scored struct {
			document int
			score    float32
		}
		best := make([]scored, len(documents))
		for d := range best {
			best[d] = scored{d, -2}
		}
		for i, p := range vectors {
			var dot float32
			for j, x := range v {
				dot += x * p[j]
			}
			best[owner[i]].score = max(best[owner[i]].score, dot)
		}
		slices.SortStableFunc(best, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
		var gain, ideal float64
		for rank := range 10 {
			weight := 1 / math.Log2(float64(rank)+2)
			if q.answers[best[rank].document] {
				gain += weight
			}
			if rank < len(q.answers) {
				ideal += weight
			}
		}
		ndcg += gain / ideal
	}
	return len(vectors), ndcg / float64(len(questions))
}

// vaswani joins shuffled abstracts to documents.
func vaswani(t *testing.T) (documents []string, questions []question) {
	abstracts := readTexts(t, "corpus.jsonl")
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(abstracts), func(i, j int) { abstracts[i], abstracts[j] = abstracts[j], abstracts[i] })
	holds := map[string]int{}
	for part := range slices.Chunk(abstracts, perDocument) {
		var texts []string
		for _, a := range part {
			holds[a.ID] = len(documents)
			texts = append(texts, a.Text+".")
		}
		documents = append(documents, strings.Join(texts, " "))
	}
	answers := map[string]map[int]bool{}
	for line := range strings.Lines(string(sharedFile(t, "qrels.tsv"))) {
		f := strings.Fields(line)
		if answers[f[0]] == nil {
			answers[f[0]] = map[int]bool{}
		}
		if d, ok := holds[f[1]]; ok {
			answers[f[0]][d] = true
		}
	}
	for _, q := range readTexts(t, "queries.jsonl") {
		questions = append(questions, question{q.Text, answers[q.ID]})
	}
	return documents, questions
}

type text struct {
	ID   string `json:"_id"`
	Text string `json:"text"`
}

func readTexts(t *testing.T, name string) (all []text) {
	for line := range bytes.Lines(sharedFile(t, name)) {
		var one text
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// sharedFile reads a file of real data; without it the test is skipped.
func sharedFile(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("FRESHET_SHARED")
	for at := "."; dir == ""; at = filepath.Join("..", at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			dir = filepath.Join(at, "..", "shared")
		} else if !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", "vaswani", name))
	if err != nil {
		t.Skipf("no real data: %v (set FRESHET_SHARED)", err)
	}
	return b
}
