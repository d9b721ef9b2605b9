package codec_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
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

// Numbers of vectors are those that strconv.ParseFloat gives, to the bit, however they are written.
func TestParseVectorIsThatOfStrconv(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	texts := []string{"0", "-0", "0.0", "-0.000", "1", "-1", "0.1", "-12.5", "1e3", "1.5E-7", "16777217", "16777217.0", "16777219", "9007199254740993", "9007199254740992",
		"33554434.000000001", "33554433.999999999", "123456789012345678901234567890", "0.00000000000000000000001", "0.0000000000000000000000123", "1e-45", "0." + strings.Repeat("0", 30) + "1",
		"1.17549435e-38", "340282346638528859811704183484516925440", "3.4028234663852886e38", "0.000030517578125001", "1.0000000596046448", "1.00000005960464477539", "1.00000005960464477540"}
	for range 200_000 {
		f := math.Float32frombits(r.Uint32())
		if f != f || math.IsInf(float64(f), 0) {
			continue
		}
		small := r.Float32()*2 - 1
		texts = append(texts, strconv.FormatFloat(float64(f), 'g', -1, 32), strconv.FormatFloat(float64(small), 'f', -1, 32), strconv.FormatFloat(float64(small), 'f', -1, 64),
			strconv.FormatFloat(r.NormFloat64(), 'f', r.IntN(20), 64),
			// Halfway between two float32, and beside it.
			strconv.FormatFloat((float64(small)+float64(math.Nextafter32(small, 2)))/2, 'f', 20+r.IntN(10), 64), strconv.FormatFloat((float64(small)+float64(math.Nextafter32(small, 2)))/2, 'f', 8+r.IntN(10), 64))
		between := (float64(small) + float64(math.Nextafter32(small, 2))) / 2
		for range r.IntN(4) {
			between = math.Nextafter(between, float64(r.IntN(5)-2))
		}
		texts = append(texts, strconv.FormatFloat(between, 'f', 15+r.IntN(5), 64), strconv.FormatFloat(between, 'g', -1, 64), strconv.FormatFloat(between*1e-7, 'e', -1, 64),
			strconv.FormatFloat(between*1e9, 'E', 14+r.IntN(5), 64), strconv.FormatFloat(r.ExpFloat64()*1e-5, 'e', r.IntN(17), 64))
	}
	got, err := codec.ParseVector([]byte("["+strings.Join(texts, " ,\n")+"]"), "vector")
	if err != nil || len(got) != len(texts) {
		t.Fatalf("%d numbers of %d, %v", len(got), len(texts), err)
	}
	ev, err := codec.ParseEvent([]byte(`{"entity_id":"a","vector":[`+strings.Join(texts, ",")+"]}"), codec.Full)
	if err != nil || len(ev.Vector) != len(texts) {
		t.Fatalf("%d numbers of %d, %v", len(ev.Vector), len(texts), err)
	}
	for i, text := range texts {
		want, err := strconv.ParseFloat(text, 32)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []float32{got[i], ev.Vector[i]} {
			if math.Float32bits(f) != math.Float32bits(float32(want)) {
				t.Fatalf("%s is %v, want %v", text, f, float32(want))
			}
		}
	}
	for _, bad := range []string{"01", "-01", "00.5", "1.", "-", ".5", "+1", "1e", "1e+", "-.5", "1.e5", "0x1", "1_0", "1 2", "Infinity", "NaN"} {
		if v, err := codec.ParseVector([]byte("[1,"+bad+"]"), "vector"); err == nil {
			t.Errorf("%s is read as %v", bad, v)
		}
		for _, depth := range []codec.Depth{codec.Shallow, codec.Full} {
			if ev, err := codec.ParseEvent(fmt.Appendf(nil, `{"entity_id":"a","vector":[1,%s]}`, bad), depth); err == nil {
				t.Errorf("%s is read as %v", bad, ev.Vector)
			}
		}
	}
}

func BenchmarkParseVector(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	v, long := make([]float32, 256), []byte("[0")
	for i := range v {
		v[i] = float32(r.NormFloat64() / 16)
		long = codec.AppendFloat(append(long, ", "...), float64(v[i]), 64) // as Python writes it
	}
	for name, raw := range map[string][]byte{"32 bits": codec.AppendVector(nil, v), "64 bits": append(long, ']')} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.ParseVector(raw, "vector"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
