package static

import "math"

// Sums are taken lane by lane in the order of the tokens, each product rounded before it is added: the conversions to
// float32 forbid the compiler to fuse them. So plain Go and assembly agree to the bit on every processor.

// addRows adds the vectors of the pieces ids to sum, which has m.dim floats.
func (m *Model) addRows(sum []float32, ids []int32) {
	if addRowsFast(sum, m.codes, m.scales, ids) {
		return
	}
	addRowsPlain(sum, m.codes, m.scales, ids)
}

func addRowsPlain(sum []float32, codes []byte, scales []float32, ids []int32) {
	for _, id := range ids {
		scale := scales[id]
		row := codes[int(id)*len(sum):][:len(sum)]
		for i, code := range row {
			sum[i] += float32(scale * float32(int8(code)))
		}
	}
}

// minNorm2 is the square of the shortest sum that still has a direction in float32.
const minNorm2 = 1e-30

// normalize scales v to length 1. It reports false, leaving v, when v is too short to have a direction.
func normalize(v []float32) bool {
	// Four independent sums, so that an addition need not wait for the one before.
	var s0, s1, s2, s3 float32
	rest := v
	for ; len(rest) >= 4; rest = rest[4:] {
		s0 += float32(rest[0] * rest[0])
		s1 += float32(rest[1] * rest[1])
		s2 += float32(rest[2] * rest[2])
		s3 += float32(rest[3] * rest[3])
	}
	for _, x := range rest {
		s0 += float32(x * x)
	}
	norm2 := (s0 + s1) + (s2 + s3)
	if !(norm2 >= minNorm2) {
		return false
	}
	scale := float32(1 / math.Sqrt(float64(norm2)))
	for i := range v {
		v[i] *= scale
	}
	return true
}
