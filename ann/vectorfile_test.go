package ann

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// diskIndex returns an index with n points that has its vectors in a file, and these.
func diskIndex(t *testing.T, dir string, n int) (*Index, [][]float32) {
	t.Helper()
	ix, err := New(Options{Dim: 16, Kind: HNSWDisk, Dir: dir, FlatBelow: -1, Metric: L2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	rng := rand.New(rand.NewPCG(1, 1))
	var vectors [][]float32
	for key := range n {
		v := make([]float32, 16)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		vectors = append(vectors, v)
		if err := ix.Apply([]Op{{uint64(key), v}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ix.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ix, vectors
}

// TestUnreadableVectors cuts the file of vectors: everything that needs it must say so, and nothing may be wrong.
func TestUnreadableVectors(t *testing.T) {
	ix, vectors := diskIndex(t, t.TempDir(), 300)
	if err := ix.slots.vectors.file.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	_, searchErr := ix.Search(vectors[0], 5, SearchOptions{}, nil)
	_, exactErr := ix.Search(vectors[0], 5, SearchOptions{Exact: true}, nil)
	_, found, vectorErr := ix.Vector(7, nil)
	for what, err := range map[string]error{
		"search": searchErr, "exact search": exactErr, "Vector": vectorErr,
		"Each":     ix.Each(func(uint64, []float32) bool { return true }),
		"Snapshot": ix.Snapshot(new(bytes.Buffer)),
	} {
		if err == nil || !strings.Contains(err.Error(), "can't be read from the file of vectors") {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if found {
		t.Error("a vector that can't be read is found")
	}
	bad := 0
	for _, p := range ix.Check() {
		if p.Code == ProblemBadVector {
			bad++
		}
	}
	if bad != 300 {
		t.Errorf("Check reports %d bad vectors, want 300", bad)
	}
	if err := ix.Apply([]Op{{7, vectors[7]}}); err != nil {
		t.Errorf("a file that can be written to again: %v", err)
	}
	if _, found, err := ix.Vector(7, nil); !found || err != nil {
		t.Errorf("key 7 was written again: found %v, error %v", found, err)
	}
}

// TestUnwritableVectors lets writes fail, as on a full disk: a batch must be applied as a whole or not at all.
func TestUnwritableVectors(t *testing.T) {
	dir := t.TempDir()
	ix, vectors := diskIndex(t, dir, 100)
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	file := ix.slots.vectors.file
	whole := file.file
	file.file = readOnly
	err = ix.Apply([]Op{{3, nil}, {5, vectors[6]}, {200, vectors[0]}})
	file.file = whole
	if err == nil || !strings.Contains(err.Error(), "can't be written to the file of vectors") {
		t.Errorf("error %v", err)
	}
	if st := ix.Stats(); st.Points != 100 || st.Free != 1 {
		t.Errorf("a failed batch leaves %+v", st)
	}
	for _, key := range []int{3, 5} {
		if got, found, err := ix.Vector(uint64(key), nil); !found || err != nil || got[0] != vectors[key][0] {
			t.Errorf("key %d is %v, found %v, error %v", key, got, found, err)
		}
	}
	for _, p := range ix.Check() {
		t.Error(p)
	}
	if err := ix.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("after Close the folder holds %v, error %v", left, err)
	}
}

// TestForgottenIndexIsClosed drops an index without closing it: the collector must find it, although it refers to itself,
// and give back what it has outside the heap.
func TestForgottenIndexIsClosed(t *testing.T) {
	file := func() *os.File {
		ix, err := New(Options{Dim: 300, Kind: HNSWDisk, Dir: t.TempDir(), FlatBelow: -1})
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, 300)
		for key := range uint64(2000) {
			v[key%300]++
			if err := ix.Apply([]Op{{key, v}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ix.Search(v, 10, SearchOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		return ix.resources.file.file
	}()
	for range 1000 { // the last worker ends some time after its last job, and cleanups run some time after a collection
		runtime.GC()
		if _, err := file.Stat(); errors.Is(err, os.ErrClosed) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the file of an index that nobody has any more is open")
}
