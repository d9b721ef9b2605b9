package ann_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ann"
)

// sharedDir returns the folder of the shared data sets, or skips the test.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("FRESHET_SHARED")
	for up := "."; dir == ""; up = filepath.Join(up, "..") {
		if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
			dir = filepath.Join(up, "..", "shared")
		} else if abs, _ := filepath.Abs(up); abs == string(filepath.Separator) {
			break
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the shared data sets are not there (FRESHET_SHARED=%q)", os.Getenv("FRESHET_SHARED"))
	}
	return dir
}

// readVecs reads a file of vectors: each a count and so many numbers of four bytes.
func readVecs[T any](t testing.TB, path string, decode func(uint32) T) [][]T {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no data: %v", err)
	}
	var rows [][]T
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint32(b))
		row := make([]T, n)
		for i := range row {
			row[i] = decode(binary.LittleEndian.Uint32(b[4+4*i:]))
		}
		rows = append(rows, row)
		b = b[4+4*n:]
	}
	return rows
}

func readFvecs(t testing.TB, path string) [][]float32 {
	return readVecs(t, path, math.Float32frombits)
}

func readIvecs(t testing.TB, path string) [][]int {
	return readVecs(t, path, func(x uint32) int { return int(x) })
}

// mixture makes n vectors around centres that are spread in a space of fewer dimensions, as embeddings are.
type mixture struct {
	rng     *rand.Rand
	basis   [][]float32
	centres [][]float32
}

func newMixture(seed uint64, dim, intrinsic, centres int) *mixture {
	m := &mixture{rng: rand.New(rand.NewPCG(seed, 1))}
	for range intrinsic {
		m.basis = append(m.basis, m.gauss(dim, 1))
	}
	for range centres {
		m.centres = append(m.centres, m.gauss(intrinsic, 1))
	}
	return m
}

func (m *mixture) gauss(dim int, scale float64) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(m.rng.NormFloat64() * scale)
	}
	return v
}

func (m *mixture) vector() []float32 {
	return m.from(m.rng.IntN(len(m.centres)))
}

func (m *mixture) from(centre int) []float32 {
	w := m.gauss(len(m.basis), 0.6)
	v := make([]float32, len(m.basis[0]))
	for i, b := range m.basis {
		x := w[i] + m.centres[centre][i]
		for j := range v {
			v[j] += x * b[j]
		}
	}
	return v
}

func (m *mixture) vectors(n int) [][]float32 {
	list := make([][]float32, n)
	for i := range list {
		list[i] = m.vector()
	}
	return list
}

// newIndex returns an index that is closed, and must be sound, at the end of the test.
func newIndex(t testing.TB, opt ann.Options) *ann.Index {
	t.Helper()
	ix, err := ann.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mustBeSound(t, ix)
		ix.Close()
	})
	return ix
}

// mustBeSound fails on every problem but a few unreachable points, which exact searches and the next sweep deal with.
func mustBeSound(t testing.TB, ix *ann.Index) {
	t.Helper()
	unreachable, other := 0, 0
	for _, p := range ix.Check() {
		if p.Code == ann.ProblemUnreachable {
			unreachable++
		} else if other++; other <= 10 {
			t.Error(p)
		}
	}
	if unreachable > 0 {
		t.Logf("%d of %d points unreachable", unreachable, ix.Len())
	}
	if unreachable > ix.Len()/50 && ix.Options().Metric != ann.InnerProduct {
		t.Errorf("%d of %d points are unreachable", unreachable, ix.Len())
	}
}

func flush(t testing.TB, ix *ann.Index) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := ix.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// fill upserts vectors with their places as keys, and waits for their links.
func fill(t testing.TB, ix *ann.Index, vectors [][]float32) {
	t.Helper()
	var ops []ann.Op
	for i, v := range vectors {
		ops = append(ops, ann.Op{Key: uint64(i), Vector: v})
		if len(ops) == 500 || i == len(vectors)-1 {
			if err := ix.Apply(ops); err != nil {
				t.Fatal(err)
			}
			ops = ops[:0]
		}
	}
	flush(t, ix)
}

// recall returns the share of the first k true neighbours that searches find.
func recall(t testing.TB, ix *ann.Index, queries [][]float32, truth [][]uint64, k int, opt ann.SearchOptions) float64 {
	t.Helper()
	found, wanted := 0, 0
	var res []ann.Result
	for i, q := range queries {
		var err error
		if res, err = ix.Search(q, k, opt, res[:0]); err != nil {
			t.Fatal(err)
		}
		nearest := truth[i][:min(k, len(truth[i]))]
		wanted += len(nearest)
		for _, r := range res {
			for _, want := range nearest {
				if r.Key == want {
					found++
				}
			}
		}
	}
	return float64(found) / float64(wanted)
}

// exactTruth returns the true k nearest keys by an exact search.
func exactTruth(t testing.TB, ix *ann.Index, queries [][]float32, k int, f ann.Filter) [][]uint64 {
	t.Helper()
	truth := make([][]uint64, len(queries))
	for i, q := range queries {
		res, err := ix.Search(q, k, ann.SearchOptions{Exact: true, Filter: f}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res {
			truth[i] = append(truth[i], r.Key)
		}
	}
	return truth
}
