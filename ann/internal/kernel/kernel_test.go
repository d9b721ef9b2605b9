package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// reference returns plain Go, which the others must equal to the bit.
func reference() *Set {
	sets := Available()
	return sets[len(sets)-1]
}

func TestChoose(t *testing.T) {
	for _, s := range Available() {
		t.Setenv(Env, s.Name)
		if got, err := Choose(); err != nil || got.Name != s.Name {
			t.Errorf("Choose with %s=%s: %v, error %v", Env, s.Name, got, err)
		}
	}
	t.Setenv(Env, "sse9")
	if _, err := Choose(); err == nil {
		t.Error("an unknown name is no error")
	}
	t.Setenv(Env, "")
	if got, err := Choose(); err != nil || got.Name != Available()[0].Name {
		t.Errorf("Choose without %s: %v, error %v", Env, got, err)
	}
}

func gauss(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// compareFloats fails when two implementations differ on a and b.
func compareFloats(t *testing.T, a, b []float32) {
	t.Helper()
	ref := reference()
	dot, l2 := ref.Dot(a, b), ref.L2(a, b)
	for _, s := range Available() {
		if got := s.Dot(a, b); math.Float32bits(got) != math.Float32bits(dot) {
			t.Errorf("%s: Dot of %d components is %v, want %v", s.Name, len(a), got, dot)
		}
		if got := s.L2(a, b); math.Float32bits(got) != math.Float32bits(l2) {
			t.Errorf("%s: L2 of %d components is %v, want %v", s.Name, len(a), got, l2)
		}
	}
}

func TestFloatsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := Lanes; n <= 40*Lanes; n += Lanes {
		a, b := gauss(rng, n), gauss(rng, n)
		compareFloats(t, a, b)
		want := 0.0
		for i := range a {
			want += float64(a[i]) * float64(b[i])
		}
		if got := reference().Dot(a, b); math.Abs(float64(got)-want) > 1e-4 {
			t.Errorf("Dot of %d components is %v, want %v", n, got, want)
		}
	}
}

// records returns n records of random codes, with noise behind them.
func records(rng *rand.Rand, dim, n int) []Record {
	list := make([]Record, n)
	for i := range list {
		list[i] = NewRecord(dim)
		fill(rng, list[i], dim)
	}
	return list
}

// fill writes random codes, and noise into their padding.
func fill(rng *rand.Rand, r Record, dim int) {
	stored := make([]byte, StoredSize(dim))
	binary.LittleEndian.PutUint32(stored, math.Float32bits(rng.Float32()))
	binary.LittleEndian.PutUint32(stored[4:], math.Float32bits(rng.Float32()))
	for i := range dim {
		stored[8+i] = byte(1 + rng.IntN(255))
	}
	if !r.SetStored(stored) {
		panic("SetStored refuses what is in range")
	}
}

// compareCodes fails when two implementations differ on q and the records.
func compareCodes(t *testing.T, q *Query, list []Record) {
	t.Helper()
	want, got := make([]float32, len(list)), make([]float32, len(list))
	reference().Batch(q, list, want)
	for _, s := range Available() {
		s.Batch(q, list, got)
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s: dimension %d, record %d of %d: %v, want %v", s.Name, q.dim, i, len(list), got[i], want[i])
			}
		}
	}
}

func TestCodesAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var q Query
	for _, dim := range []int{2, 3, 31, 32, 33, 50, 63, 64, 65, 100, 127, 128, 129, 192, 256, 300, 768, 4096} {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 9, 33} {
			list := records(rng, dim, n+1)
			reference().SetVector(&q, gauss(rng, dim), Form{0.5, 2})
			compareCodes(t, &q, list[:n])
			reference().SetRecord(&q, list[n], dim, Form{1, 1})
			compareCodes(t, &q, list)
		}
	}
}

// TestExtremeCodes has the largest sums that are possible: they must not saturate or overflow.
func TestExtremeCodes(t *testing.T) {
	for _, dim := range []int{64, 4096} {
		for _, signs := range [][2]float32{{1, 1}, {1, -1}, {-1, 1}, {-1, -1}} {
			a, b := make([]float32, dim), make([]float32, dim)
			for i := range a {
				a[i], b[i] = signs[0], signs[1]
			}
			r := NewRecord(dim)
			r.Encode(b)
			var q Query
			reference().SetVector(&q, a, InnerProduct)
			list := []Record{r}
			compareCodes(t, &q, list)
			out := make([]float32, 1)
			reference().Batch(&q, list, out)
			if want := -signs[0] * signs[1] * float32(dim); math.Abs(float64(out[0]-want)) > 0.01*float64(dim) {
				t.Errorf("dimension %d, signs %v: %v, want %v", dim, signs, out[0], want)
			}
		}
	}
}

// TestCodesAreClose compares distances by codes with true ones.
func TestCodesAreClose(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const dim = 128
	var q, r Query
	list := []Record{NewRecord(dim)}
	out := make([]float32, 1)
	for range 100 {
		a, b := gauss(rng, dim), gauss(rng, dim)
		list[0].Encode(b)
		reference().SetVector(&q, a, InnerProduct)
		reference().Batch(&q, list, out)
		if want := -reference().Dot(a, b); math.Abs(float64(out[0]-want)) > 0.6 { // a component is off by at most half a step, about 0.012
			t.Errorf("inner product %v, want about %v", out[0], want)
		}
		reference().SetVector(&q, a, Euclidean(2))
		reference().Batch(&q, list, out)
		if want := reference().L2(a, b); math.Abs(float64(out[0]-want)) > 1.5 {
			t.Errorf("squared distance %v, want about %v", out[0], want)
		}
		for i, x := range b { // a near duplicate: the error is small, too
			a[i] = x + 0.1*a[i]
		}
		reference().SetVector(&q, a, Euclidean(2))
		reference().Batch(&q, list, out)
		if want := reference().L2(a, b); math.Abs(float64(out[0]-want)) > 0.1 {
			t.Errorf("squared distance of near duplicates %v, want about %v", out[0], want)
		}
		reference().SetRecord(&r, list[0], dim, Euclidean(2))
		reference().Batch(&r, list, out)
		if math.Abs(float64(out[0])) > 1e-4 {
			t.Errorf("squared distance to itself %v", out[0])
		}
	}
	list[0].Encode(make([]float32, dim))
	reference().SetVector(&q, make([]float32, dim), Euclidean(2))
	if reference().Batch(&q, list, out); out[0] != 0 {
		t.Errorf("squared distance of zero vectors is %v", out[0])
	}
}

// TestSetRecord compares a query made from a record with its codes, one by one.
func TestSetRecord(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, dim := range []int{2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 300, 768, 1024, 1025, 2050, 4096} {
		for _, r := range append(records(rng, dim, 3), full(dim)) {
			for _, s := range Available() {
				var want, got Query
				reference().SetRecord(&want, r, dim, Euclidean(2))
				s.SetRecord(&got, r, dim, Euclidean(2))
				if !slices.Equal(got.codes, want.codes) || got.offset != want.offset || got.rough != want.rough {
					t.Fatalf("%s: dimension %d: a query made from a record differs from plain Go's", s.Name, dim)
				}
			}
			var q Query
			reference().SetRecord(&q, r, dim, Euclidean(2))
			sum := int32(0)
			for i, c := range r.AppendStored(nil, dim)[storedHead:] {
				if q.codes[i] != int8(int(c)-zeroCode) {
					t.Fatalf("dimension %d: code %d is %d, want %d", dim, i, q.codes[i], int(c)-zeroCode)
				}
				sum += int32(q.codes[i])
			}
			if q.offset != zeroCode*sum {
				t.Errorf("dimension %d: offset %d, want %d", dim, q.offset, zeroCode*sum)
			}
		}
	}
}

// full returns a record whose codes are as large as possible.
func full(dim int) Record {
	r := NewRecord(dim)
	stored := make([]byte, StoredSize(dim))
	for i := range dim {
		stored[storedHead+i] = 255
	}
	r.SetStored(stored)
	return r
}

// TestStored reads back what was written.
func TestStored(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, dim := range []int{2, 31, 64, 65, 100, 128, 200, 256, 768, 4095} {
		for _, r := range records(rng, dim, 3) {
			want := r.AppendStored(nil, dim)
			again := NewRecord(dim)
			if len(want) != StoredSize(dim) || !again.SetStored(want) || !bytes.Equal(again.AppendStored(nil, dim), want) {
				t.Errorf("dimension %d: a record changes on its way", dim)
			}
			want[storedHead+dim/2] = 0
			if again.SetStored(want) {
				t.Errorf("dimension %d: a code that can't be is taken", dim)
			}
		}
	}
}

func FuzzFloats(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := Pad(len(b)/8 + 1)
		x, y := make([]float32, n), make([]float32, n)
		for i := range len(b) / 8 {
			for _, v := range []struct {
				to   []float32
				from []byte
			}{{x, b[8*i:]}, {y, b[8*i+4:]}} {
				if c := math.Float32frombits(binary.LittleEndian.Uint32(v.from)); c > -1e15 && c < 1e15 {
					v.to[i] = c
				}
			}
		}
		compareFloats(t, x, y)
	})
}

func FuzzCodes(f *testing.F) {
	f.Add(uint64(1), uint16(50), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, dim uint16, n uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		d := 2 + int(dim)%4095
		list := records(rng, d, 1+int(n)%40)
		var q Query
		reference().SetVector(&q, gauss(rng, d), Form{rng.Float32(), rng.Float32()})
		compareCodes(t, &q, list)
		reference().SetRecord(&q, list[0], d, Form{rng.Float32(), rng.Float32()})
		compareCodes(t, &q, list)
	})
}

func BenchmarkFloats(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, s := range Available() {
		for _, dim := range []int{128, 256, 768} {
			x, y := gauss(rng, dim), gauss(rng, dim)
			b.Run(fmt.Sprintf("dot/%s/%d", s.Name, dim), func(b *testing.B) {
				for b.Loop() {
					s.Dot(x, y)
				}
			})
		}
	}
}

func BenchmarkCodes(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	out := make([]float32, 32)
	for _, s := range Available() {
		for _, dim := range []int{64, 128, 256, 768} {
			list := records(rng, dim, 32)
			var q Query
			reference().SetVector(&q, gauss(rng, dim), Euclidean(2))
			b.Run(fmt.Sprintf("%s/%d", s.Name, dim), func(b *testing.B) {
				for b.Loop() {
					s.Batch(&q, list, out)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/distance")
			})
		}
	}
}
