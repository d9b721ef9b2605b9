package static

import "math"

// Sums are taken lane by lane in a fixed order, each product rounded before it is added: the conversions to float32
// forbid the compiler to fuse them. So plain Go and assembly agree to the bit on every processor.

// addRows adds the vectors of the pieces ids to sum, which has m.dim floats.
func (m *Model) addRows(sum []float32, ids []int32) {
	if !addRowsFast(sum, m.codes, m.scales, ids) {
		addRowsPlain(sum, m.codes, m.scales, ids)
	}
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
	var lanes [squareLanes]float32
	if !squaresFast(&lanes, v) {
		squaresPlain(&lanes, v)
	}
	norm2 := ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
	if !(norm2 >= minNorm2) {
		return false
	}
	scale := float32(1 / math.Sqrt(float64(norm2)))
	if !scaleFast(v, scale) {
		scalePlain(v, scale)
	}
	return true
}

// squareLanes is the number of sums of squares that are taken side by side.
const squareLanes = 8

// squaresPlain sets lanes[i] to the sum of v[i]², v[i+8]², … in this order.
func squaresPlain(lanes *[squareLanes]float32, v []float32) {
	// Named one by one, they stay in registers.
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	rest := v
	for ; len(rest) >= squareLanes; rest = rest[squareLanes:] {
		s0 += float32(rest[0] * rest[0])
		s1 += float32(rest[1] * rest[1])
		s2 += float32(rest[2] * rest[2])
		s3 += float32(rest[3] * rest[3])
		s4 += float32(rest[4] * rest[4])
		s5 += float32(rest[5] * rest[5])
		s6 += float32(rest[6] * rest[6])
		s7 += float32(rest[7] * rest[7])
	}
	*lanes = [squareLanes]float32{s0, s1, s2, s3, s4, s5, s6, s7}
	for i, x := range rest {
		lanes[i] += float32(x * x)
	}
}

func scalePlain(v []float32, by float32) {
	for i := range v {
		v[i] *= by
	}
}
