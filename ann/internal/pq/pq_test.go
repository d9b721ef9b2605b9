package pq

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// correlated returns vectors whose components all depend on a few hidden ones.
func correlated(seed uint64, n, dim, hidden int) cluster.Matrix {
	rng := rand.New(rand.NewPCG(seed, 0))
	basis := cluster.NewMatrix(hidden, dim)
	for i := range basis.Len() {
		for j := range dim {
			basis.Row(i)[j] = float32(rng.NormFloat64()) / float32(i+1)
		}
	}
	m := cluster.NewMatrix(n, dim)
	for i := range n {
		for h := range hidden {
			x := float32(rng.NormFloat64())
			for j := range dim {
				m.Row(i)[j] += x * basis.Row(h)[j]
			}
		}
		for j := range dim {
			m.Row(i)[j] += float32(rng.NormFloat64()) * 0.02
		}
	}
	return m
}

// meanError returns the mean squared error of the codes of m, relative to the mean squared norm.
func meanError(q *Quantiser, m cluster.Matrix) float64 {
	var y []float32
	code := make([]byte, q.CodeSize())
	var wrong, norm float64
	for i := range m.Len() {
		y = q.Rotate(&y, m.Row(i))
		wrong += float64(q.Encode(code, y))
		for _, x := range m.Row(i) {
			norm += float64(x) * float64(x)
		}
	}
	return wrong / norm
}

func set(t testing.TB) *kernel.Set {
	s, err := kernel.Choose()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTrainingLowersTheError compares codewords that are random vectors, trained ones, and trained ones with a rotation, on
// vectors that none of them has seen.
func TestTrainingLowersTheError(t *testing.T) {
	for _, dim := range []int{8, 50, 64, 200} {
		all := correlated(1, 3000, dim, 12)
		m, unseen := all, all
		m.Data, unseen.Data = all.Data[:2000*all.Stride], all.Data[2000*all.Stride:]
		random := newQuantiser(dim, set(t))
		tr := trainer{q: random, n: m.Len(), set: set(t), rng: rand.New(rand.NewPCG(1, 1)), rotated: transpose(m)}
		tr.choose()
		plain := Train(m, Options{Kernel: set(t), Plain: true})
		rotated := Train(m, Options{Kernel: set(t)})
		r, p, o := meanError(random, unseen), meanError(plain, unseen), meanError(rotated, unseen)
		t.Logf("dimension %d: error %.4f of random codewords, %.4f trained, %.4f rotated", dim, r, p, o)
		if !(o < 0.95*p && p < 0.95*r) {
			t.Errorf("dimension %d: error %.4f of random codewords, %.4f trained, %.4f rotated: they must fall", dim, r, p, o)
		}
	}
}

// TestRotationIsOne multiplies the rotation by its transpose, also where vectors fill a few dimensions only.
func TestRotationIsOne(t *testing.T) {
	m := cluster.NewMatrix(500, 40)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range m.Len() {
		for j := range 7 {
			m.Row(i)[5*j] = float32(rng.NormFloat64())
		}
	}
	for _, m := range []cluster.Matrix{m, correlated(1, 500, 30, 5), cluster.NewMatrix(20, 6)} {
		q := Train(m, Options{Kernel: set(t)})
		for i := range q.dim {
			for j := range q.dim {
				got, want := set(t).Dot(q.rotation.Row(i), q.rotation.Row(j)), float32(0)
				if i == j {
					want = 1
				}
				if math.Abs(float64(got-want)) > 2e-3 {
					t.Fatalf("dimension %d: rows %d and %d have product %v", q.dim, i, j, got)
				}
			}
		}
	}
}

func TestTrainStops(t *testing.T) {
	if q := Train(correlated(1, 100, 8, 2), Options{Kernel: set(t), Stop: func() bool { return true }}); q != nil {
		t.Error("training went on")
	}
}

// TestScanIsClose compares scanned distances with products of the query and the true vectors.
func TestScanIsClose(t *testing.T) {
	const dim, n = 64, 500
	m := correlated(2, n+1, dim, 6)
	query := m.Row(n)
	m.Data = m.Data[:n*m.Stride]
	q := Train(m, Options{Kernel: set(t)})
	blocks := encodeAll(q, m)
	out, below := make([]float32, (n+Block-1)/Block*Block), make([]uint32, (n+Block-1)/Block)
	var y []float32
	var table Table
	table.Set(q, q.Rotate(&y, query), -2)
	q.Scan(&table, blocks, n, nil, 5, 4, out, below)
	var wrong, spread float64
	for i := range n {
		want := 5 - 2*float64(set(t).Dot(query, m.Row(i)))
		wrong += (want - float64(out[i])) * (want - float64(out[i]))
		spread += (want - 5) * (want - 5)
		if got := below[i/Block]>>(i%Block)&1 == 1; got != (out[i] < 4) {
			t.Errorf("vector %d: distance %v, below 4: %v", i, out[i], got)
		}
	}
	if wrong > 0.02*spread {
		t.Errorf("distances are off by %.4f of their spread", wrong/spread)
	}
}

func encodeAll(q *Quantiser, m cluster.Matrix) []byte {
	size := Block * q.CodeSize()
	blocks := make([]byte, (m.Len()+Block-1)/Block*size)
	code := make([]byte, q.CodeSize())
	var y []float32
	for i := range m.Len() {
		y = q.Rotate(&y, m.Row(i))
		q.Encode(code, y)
		q.Put(blocks[i/Block*size:], i%Block, code)
	}
	return blocks
}

func TestPutGet(t *testing.T) {
	q := newQuantiser(50, set(t))
	block := make([]byte, Block*q.CodeSize())
	rng := rand.New(rand.NewPCG(1, 1))
	codes := make([][]byte, Block)
	for i := range codes {
		for range q.CodeSize() {
			codes[i] = append(codes[i], byte(rng.Uint32()))
		}
		q.Put(block, i, codes[i])
	}
	got := make([]byte, q.CodeSize())
	for i, want := range codes {
		if q.Get(got, block, i); string(got) != string(want) {
			t.Errorf("vector %d: code %v, want %v", i, got, want)
		}
	}
}

// compareScans fails when the implementations differ to the bit.
func compareScans(t *testing.T, dim, n int, seed uint64, withBiases bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	q := newQuantiser(dim, &kernel.Set{Name: "go"})
	for i := range q.books {
		q.books[i] = float32(rng.NormFloat64())
	}
	y := make([]float32, q.Width())
	for i := range y {
		y[i] = float32(rng.NormFloat64())
	}
	var table Table
	table.Set(q, y, -1)
	count := (n + Block - 1) / Block
	blocks := make([]byte, count*Block*q.CodeSize())
	for i := range blocks {
		blocks[i] = byte(rng.Uint32())
		if seed%8 == 0 {
			blocks[i] = 0xff // extremes
		}
	}
	if seed%8 == 0 {
		for i := range table.lut {
			table.lut[i] = 0xff
		}
	}
	var biases []float32
	if withBiases {
		biases = make([]float32, count*Block)
		for i := range biases {
			biases[i] = float32(rng.NormFloat64())
		}
	}
	var want []float32
	var wantBelow []uint32
	for _, name := range []string{"go", "avx2", "avx512"} {
		if !has(name) {
			continue
		}
		q.kernel = &kernel.Set{Name: name}
		var again Table
		again.Set(q, y, -1)
		if seed%8 != 0 && (!bytes.Equal(again.lut, table.lut) || again.base != table.base || again.weight != table.weight) {
			t.Fatalf("%s: dimension %d: another table", name, dim)
		}
		out, below := make([]float32, count*Block), make([]uint32, count)
		q.Scan(&table, blocks, n, biases, 0.25, 0.5, out, below)
		if name == "go" {
			want, wantBelow = out, below
			continue
		}
		for i := range n {
			if math.Float32bits(out[i]) != math.Float32bits(want[i]) || below[i/Block]>>(i%Block)&1 != wantBelow[i/Block]>>(i%Block)&1 {
				t.Fatalf("%s: dimension %d, vector %d of %d: %v, %b, want %v, %b", name, dim, i, n, out[i], below[i/Block], want[i], wantBelow[i/Block])
			}
		}
	}
}

func has(name string) bool {
	for _, s := range kernel.Available() {
		if s.Name == name {
			return true
		}
	}
	return false
}

func TestScansAgree(t *testing.T) {
	for _, dim := range []int{2, 3, 7, 8, 9, 50, 64, 128, 300, 512, 513, 768, 4096} {
		for _, n := range []int{0, 1, 31, 32, 33, 100} {
			compareScans(t, dim, n, uint64(dim+n), n%2 == 0)
		}
		compareScans(t, dim, 40, 8, true)
	}
}

func FuzzScan(f *testing.F) {
	f.Add(uint64(1), uint16(50), uint8(33), true)
	f.Fuzz(func(t *testing.T, seed uint64, dim uint16, n uint8, withBiases bool) {
		compareScans(t, 2+int(dim)%4095, int(n), seed, withBiases)
	})
}

func BenchmarkScan(b *testing.B) {
	const n = 320
	for _, s := range kernel.Available() {
		for _, dim := range []int{64, 128, 768} {
			q := newQuantiser(dim, s)
			var table Table
			table.Set(q, make([]float32, q.Width()), 1)
			blocks := make([]byte, n*q.CodeSize())
			out, below := make([]float32, n), make([]uint32, n/Block)
			b.Run(fmt.Sprintf("%s/%d", s.Name, dim), func(b *testing.B) {
				for b.Loop() {
					q.Scan(&table, blocks, n, nil, 0, 0, out, below)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/vector")
			})
		}
	}
}

func BenchmarkTable(b *testing.B) {
	q := newQuantiser(128, set(b))
	var table Table
	y := make([]float32, q.Width())
	for b.Loop() {
		table.Set(q, y, 1)
	}
}
