package static_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestQuality compares the model's figures with those in testdata/quality.json, which are rounded down: a drop is a
// worse model or a broken tokeniser.
func TestQuality(t *testing.T) {
	skipUnderRace(t)
	data := sharedData(t)
	var golden struct{ STSBDev, STSBTrain, Vaswani float64 }
	file, err := os.ReadFile("testdata/quality.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &golden); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		got, want float64
	}{
		{"STS-B dev, Spearman × 100", stsb(t, data, "dev"), golden.STSBDev},
		{"STS-B train, Spearman × 100", stsb(t, data, "train"), golden.STSBTrain},
		{"vaswani, nDCG@10", vaswani(t, data), golden.Vaswani},
	} {
		t.Logf("%s: %.4f", test.name, test.got)
		if test.want == 0 || test.got < test.want {
			t.Errorf("%s is %.4f, want %.4f at least", test.name, test.got, test.want)
		}
	}
}

// stsb returns the rank correlation of the cosines with people's judgements, × 100.
func stsb(t *testing.T, data, split string) float64 {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(data, "stsb", "stsb-en-"+split+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	model := load(t)
	cosines, judged := make([]float64, len(rows)), make([]float64, len(rows))
	for i, row := range rows {
		cosines[i] = cosine(model.Embed(nil, row[0]), model.Embed(nil, row[1]))
		if judged[i], err = strconv.ParseFloat(row[2], 64); err != nil {
			t.Fatal(err)
		}
	}
	return 100 * pearson(ranks(cosines), ranks(judged))
}

// ranks returns the place of each value in order; equal values share the mean of theirs.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if values[a] < values[b] {
			return -1
		} else if values[a] > values[b] {
			return 1
		}
		return 0
	})
	ranks := make([]float64, len(values))
	for low := 0; low < len(order); {
		high := low + 1
		for high < len(order) && values[order[high]] == values[order[low]] {
			high++
		}
		for _, i := range order[low:high] {
			ranks[i] = float64(low+high-1) / 2
		}
		low = high
	}
	return ranks
}

func pearson(x, y []float64) float64 {
	meanX, meanY := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - meanX) * (y[i] - meanY)
		xx += (x[i] - meanX) * (x[i] - meanX)
		yy += (y[i] - meanY) * (y[i] - meanY)
	}
	return xy / math.Sqrt(xx*yy)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, value := range values {
		sum += value
	}
	return sum / float64(len(values))
}

// vaswani returns nDCG@10 of an exact search in a collection of abstracts.
func vaswani(t *testing.T, data string) float64 {
	t.Helper()
	const depth = 10
	folder := filepath.Join(data, "vaswani")
	documents, vectors := embedLines(t, filepath.Join(folder, "corpus.jsonl"))
	queries, asked := embedLines(t, filepath.Join(folder, "queries.jsonl"))
	relevant := readJudgements(t, filepath.Join(folder, "qrels.tsv"))

	scores := make([]float64, len(documents))
	order := make([]int, len(documents))
	total := 0.0
	for q, query := range queries {
		for d := range documents {
			order[d] = d
			scores[d] = cosine(asked[q], vectors[d])
		}
		slices.SortStableFunc(order, func(a, b int) int {
			if scores[a] > scores[b] {
				return -1
			} else if scores[a] < scores[b] {
				return 1
			}
			return 0
		})
		gain, best := 0.0, 0.0
		for i, d := range order[:depth] {
			gain += relevant[query][documents[d]] / math.Log2(float64(i+2))
		}
		// All judgements are 1, so the best order has them in front.
		for i := range min(depth, len(relevant[query])) {
			best += 1 / math.Log2(float64(i+2))
		}
		if best > 0 {
			total += gain / best
		}
	}
	return total / float64(len(queries))
}

// embedLines returns the _id and the vector of each line of a JSON lines file.
func embedLines(t *testing.T, path string) (ids []string, vectors [][]float32) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	model := load(t)
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		var row struct {
			ID   string `json:"_id"`
			Text string
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, row.ID)
		vectors = append(vectors, model.Embed(nil, row.Text))
	}
	return ids, vectors
}

// readJudgements returns query → document → grade.
func readJudgements(t *testing.T, path string) map[string]map[string]float64 {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	judged := map[string]map[string]float64{}
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	for _, line := range lines[1:] {
		var query, document string
		var grade float64
		if _, err := fmt.Sscan(line, &query, &document, &grade); err != nil || grade != 1 {
			t.Fatalf("judgement %q: want query, document and 1 (%v)", line, err)
		}
		if judged[query] == nil {
			judged[query] = map[string]float64{}
		}
		judged[query][document] = grade
	}
	return judged
}
