package static

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAddRowsAgree compares the assembly with plain Go to the bit.
func TestAddRowsAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, dim := range []int{64, 128, 256, 320, 512} {
		const rows = 50
		codes := make([]byte, rows*dim)
		scales := make([]float32, rows)
		for i := range codes {
			codes[i] = byte(random.Uint32())
		}
		for i := range scales {
			scales[i] = float32(math.Exp(random.NormFloat64() * 3))
		}
		for _, n := range []int{0, 1, 2, 7, 100} {
			ids := make([]int32, n)
			for i := range ids {
				ids[i] = int32(random.IntN(rows))
			}
			start := randomFloats(random, dim)
			want := slices.Clone(start)
			addRowsPlain(want, codes, scales, ids)
			got := slices.Clone(start)
			if !addRowsFast(got, codes, scales, ids) {
				t.Skip("no assembly for this processor")
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d rows of %d dimensions: assembly and plain Go differ", n, dim)
			}
		}
	}
}

// TestNormalizeAgree does the same for what normalize calls.
func TestNormalizeAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, dim := range []int{64, 256, 320} {
		want := randomFloats(random, dim)
		got := slices.Clone(want)
		var wantLanes, gotLanes [squareLanes]float32
		squaresPlain(&wantLanes, want)
		if !squaresFast(&gotLanes, got) {
			t.Skip("no assembly for this processor")
		}
		if gotLanes != wantLanes {
			t.Errorf("%d dimensions: squares %v by assembly, %v in plain Go", dim, gotLanes, wantLanes)
		}
		scalePlain(want, 0.3)
		scaleFast(got, 0.3)
		if !slices.Equal(got, want) {
			t.Errorf("%d dimensions: scaling by assembly and in plain Go differ", dim)
		}
	}
}

func TestNormalizeWithoutDirection(t *testing.T) {
	for name, v := range map[string][]float32{
		"zeros": make([]float32, 256), "underflow": slices.Repeat([]float32{1e-30}, 64), "one zero": {0},
		"NaN": {float32(math.NaN()), 1},
	} {
		if normalize(v) {
			t.Errorf("%s: has a direction, want none", name)
		}
	}
	if v := []float32{3, 0, -4}; !normalize(v) || math.Abs(float64(v[0])-0.6) > 1e-6 || math.Abs(float64(v[2])+0.8) > 1e-6 {
		t.Errorf("(3, 0, -4) became %v, want (0.6, 0, -0.8)", v)
	}
}

func randomFloats(random *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(random.NormFloat64())
	}
	return v
}
