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
	for _, dim := range []int{64, 128, 256, 320} {
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
			want, got := make([]float32, dim), make([]float32, dim)
			for i := range want {
				want[i] = random.Float32()
			}
			copy(got, want)
			addRowsPlain(want, codes, scales, ids)
			if !addRowsFast(got, codes, scales, ids) {
				t.Skip("no assembly for this processor")
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d rows of %d dimensions: assembly and plain Go differ", n, dim)
			}
		}
	}
}
