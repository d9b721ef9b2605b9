package codec_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/freshet-io/freshet/codec"
)

func TestAppendFloatIsThatOfEncodingJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	singles := []float32{0, float32(math.Copysign(0, -1)), 1e-6, 9.9e-7, 1e21, 1e-45, math.MaxFloat32, 16777217, -0.1}
	doubles := []float64{0, math.Copysign(0, -1), 1e-6, 9.9e-7, 1e21, 5e-324, math.MaxFloat64, 1e-10, -0.1}
	for range 100_000 {
		singles = append(singles, math.Float32frombits(r.Uint32()))
		doubles = append(doubles, math.Float64frombits(r.Uint64()))
	}
	for i := range singles {
		for _, c := range []struct {
			value any
			f     float64
			bits  int
		}{{singles[i], float64(singles[i]), 32}, {doubles[i], doubles[i], 64}} {
			want, err := json.Marshal(c.value)
			if err != nil {
				continue // NaN, an infinity
			}
			if got := codec.AppendFloat(nil, c.f, c.bits); string(got) != string(want) {
				t.Fatalf("%v of %d bits is %s, want %s", c.value, c.bits, got, want)
			}
		}
	}
	if got := codec.AppendVector(nil, []float32{1, -0.5}); string(got) != "[1,-0.5]" || string(codec.AppendVector(nil, nil)) != "[]" {
		t.Errorf("vector %s", got)
	}
}
