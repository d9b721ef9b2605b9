package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// halfValue is the number of a half by the definition of IEEE 754.
func halfValue(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h&0x8000 != 0 {
		sign = -1
	}
	if exponent == 0 {
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// finiteHalves returns all halves that are numbers.
func finiteHalves() (list []uint16) {
	for h := range 1 << 16 {
		if h>>10&31 != 31 {
			list = append(list, uint16(h))
		}
	}
	return list
}

func TestHalvesAreDecodedExactly(t *testing.T) {
	halves := finiteHalves() // a multiple of Lanes
	got := make([]float32, len(halves))
	for _, s := range Available() {
		for _, scale := range []float32{1, 0x1p-126, 0x1p-20, 0x1p60} {
			s.Halves(got, halves, scale)
			for i, h := range halves {
				if want := float32(halfValue(h) * float64(scale)); math.Float32bits(got[i]) != math.Float32bits(want) {
					t.Fatalf("%s: half %#04x times %g is %v, want %v", s.Name, h, scale, got[i], want)
				}
			}
		}
	}
}

// TestHalvesAreRounded compares encoding with a search for the nearest half: at halves, and at, before and after the
// middles between two, where ties are.
func TestHalvesAreRounded(t *testing.T) {
	check := func(x float32, want uint16) {
		t.Helper()
		var got [1]uint16
		if EncodeHalves(got[:], []float32{x}, 1); got[0] != want {
			t.Errorf("%v becomes half %#04x, want %#04x", x, got[0], want)
		}
		if EncodeHalves(got[:], []float32{-x}, 1); got[0] != want|0x8000 {
			t.Errorf("%v becomes half %#04x, want %#04x", -x, got[0], want|0x8000)
		}
	}
	for h := uint16(0); h < 0x7c00; h++ {
		x := float32(halfValue(h))
		check(x, h)
		next := 65536.0 // beyond the largest half
		if h < 0x7bff {
			next = halfValue(h + 1)
		}
		middle := float32((float64(x) + next) / 2)
		even := h + h&1
		check(middle, even)
		check(math.Nextafter32(middle, 0), h)
		check(math.Nextafter32(middle, math.MaxFloat32), h+1)
	}
	check(0, 0)
	check(0x1p-149, 0)
	check(0x1p-25, 0)
	check(1e30, 0x7c00)
	check(float32(math.Inf(1)), 0x7c00)
	var got [1]uint16
	if EncodeHalves(got[:], []float32{float32(math.NaN())}, 1); got[0]&0x7fff <= 0x7c00 {
		t.Errorf("NaN becomes half %#04x", got[0])
	}
}

// TestHalfScale has vectors of every length: the largest component must be well inside the range of halves, and what was
// rounded once must not change again.
func TestHalfScale(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for exponent := -149; exponent <= 127; exponent++ {
		v := gauss(rng, 32)
		for i := range v {
			v[i] = float32(math.Ldexp(float64(v[i])/8, exponent))
		}
		once, twice := roundHalves(v), roundHalves(roundHalves(v))
		scale := HalfScale(v)
		for i := range v {
			if math.Float32bits(once[i]) != math.Float32bits(twice[i]) {
				t.Fatalf("2^%d: %v is rounded to %v, and that to %v", exponent, v[i], once[i], twice[i])
			}
			if x := float64(v[i]); math.Abs(float64(once[i])-x) > math.Abs(x)*0x1p-11+float64(scale)*0x1p-25 {
				t.Fatalf("2^%d: %v is rounded to %v", exponent, v[i], once[i])
			}
		}
	}
	for _, x := range []float32{0, 0x1.fffffep126, 0x1p-149, 1, 0x1.ffcp0, 0x1.ffep0, 0x1.fffffep0} {
		v := []float32{x}
		scale := HalfScale(v)
		if fraction, _ := math.Frexp(float64(scale)); fraction != 0.5 {
			t.Errorf("the scale of %v is %v, no power of two", x, scale)
		}
		if largest := roundHalves(v)[0] / scale; largest >= 1<<15 || x >= 0x1p-100 && largest < 1<<14 {
			t.Errorf("%v is %v units of its scale", x, largest)
		}
	}
}

func roundHalves(v []float32) []float32 {
	halves, out := make([]uint16, len(v)), make([]float32, len(v))
	scale := HalfScale(v)
	EncodeHalves(halves, v, scale)
	halvesGo(out, halves, scale)
	return out
}

// TestDecode compares the vectors that codes stand for.
func TestDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, dim := range []int{2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 300, 4096} {
		for _, r := range append(records(rng, dim, 3), full(dim)) {
			for _, s := range Available() {
				got := gauss(rng, Pad(dim))
				s.Decode(got, r, dim)
				codes := r.AppendStored(nil, dim)[storedHead:]
				for i := range got {
					want := float32(0)
					if i < dim {
						want = (float32(codes[i]) - zeroCode) * r.Head.Scale
					}
					if math.Float32bits(got[i]) != math.Float32bits(want) {
						t.Fatalf("%s, dimension %d: component %d is %v, want %v", s.Name, dim, i, got[i], want)
					}
				}
			}
		}
	}
}

func TestStoredRecords(t *testing.T) {
	v := gauss(rand.New(rand.NewPCG(8, 8)), 50)
	from, to := NewRecord(50), NewRecord(50)
	from.Encode(v)
	stored := from.AppendStored(nil, 50)
	if len(stored) != StoredSize(50) {
		t.Fatalf("%d bytes, want %d", len(stored), StoredSize(50))
	}
	if !to.SetStored(stored) || *from.Head != *to.Head || string(from.AppendStored(nil, 50)) != string(to.AppendStored(nil, 50)) {
		t.Error("a record is not what was stored")
	}
	for name, damage := range map[string]func(b []byte){
		"scale NaN":      func(b []byte) { binary.LittleEndian.PutUint32(b, 0x7fc00000) },
		"scale negative": func(b []byte) { binary.LittleEndian.PutUint32(b, 0xbf800000) },
		"scale too big":  func(b []byte) { binary.LittleEndian.PutUint32(b, 0x7f7fffff) },
		"norm infinite":  func(b []byte) { binary.LittleEndian.PutUint32(b[4:], 0x7f800000) },
		"code 0":         func(b []byte) { b[storedHead+49] = 0 },
	} {
		b := append([]byte(nil), stored...)
		if damage(b); to.SetStored(b) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), float32(1))
	f.Fuzz(func(t *testing.T, b []byte, scale float32) {
		if scale != scale {
			return
		}
		n := Pad(len(b)/2 + 1)
		halves, codes := make([]uint16, n), make([]byte, n)
		copy(codes, b)
		for i := range len(b) / 2 {
			if h := binary.LittleEndian.Uint16(b[2*i:]); h>>10&31 != 31 {
				halves[i] = h
			}
		}
		wantHalves, wantBytes, got := make([]float32, n), make([]float32, n), make([]float32, n)
		halvesGo(wantHalves, halves, scale)
		r := NewRecord(n)
		r.SetStored(append(make([]byte, storedHead), codes...))
		r.Head.Scale = scale
		decodeGo(wantBytes, r, n)
		same := func(name string, want []float32) {
			for i := range got {
				if a, b := math.Float32bits(got[i]), math.Float32bits(want[i]); a != b && (got[i] == got[i] || want[i] == want[i]) {
					t.Fatalf("%s: component %d is %v, want %v", name, i, got[i], want[i])
				}
			}
		}
		for _, s := range Available() {
			s.Halves(got, halves, scale)
			same(s.Name+" halves", wantHalves)
			s.Decode(got, r, n)
			same(s.Name+" codes", wantBytes)
		}
	})
}
