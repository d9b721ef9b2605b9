package kernel

import (
	"math"
	"unsafe"
)

// A Record is a vector in codes, as it lies in memory:
//
//	offset 0  float32  scale: component i is about scale × (byte i − 128)
//	offset 4  float32  bias, added to every distance
//	offset 8  dim bytes, from 1 to 255
//
// Kernels read whole blocks of blockSize bytes: up to Overread bytes beyond a record must be readable. What they hold
// does not matter, since the query is zero there.
const (
	recordHead = 8
	blockSize  = 64
	Overread   = blockSize
	zeroCode   = 128
	maxCode    = 127 // so that ±maxCode² twice fits into 16 bits
)

// RecordSize returns the bytes of a record of dim components, a multiple of 8.
func RecordSize(dim int) int { return (recordHead + dim + 7) / 8 * 8 }

// Encode writes v with a bias as a record to dst, of RecordSize(len(v)) bytes.
func Encode(dst []byte, v []float32, bias float32) {
	scale, inverse := scaleOf(v)
	setFloat(dst[0:], scale)
	setFloat(dst[4:], bias)
	for i, x := range v {
		dst[recordHead+i] = byte(quantise(x, inverse) + zeroCode)
	}
}

// scaleOf returns the step between codes of v, and its inverse.
func scaleOf(v []float32) (scale float32, inverse float64) {
	largest := float32(0)
	for _, x := range v {
		largest = max(largest, x, -x)
	}
	scale = largest / maxCode
	if scale == 0 || math.IsInf(1/float64(scale), 0) {
		return 0, 0
	}
	return scale, 1 / float64(scale)
}

func quantise(x float32, inverse float64) int {
	return max(-maxCode, min(maxCode, int(math.RoundToEven(float64(x)*inverse))))
}

// Query is a vector that records are compared with. The distance to a record with codes c is
//
//	(bias + Base) − (scale × Weight) × Σ codes[i] × c[i]
//
// in float32, each operation rounded.
type Query struct {
	Base, Weight float32
	codes        []int8 // padded with zeros to a multiple of blockSize
	offset       int32  // zeroCode × Σ codes: what the kernels add up too much
	dim          int
}

// Set makes q stand for v. The weight is multiplied by factor.
func (q *Query) Set(v []float32, base, factor float32) {
	q.resize(len(v))
	scale, inverse := scaleOf(v)
	for i, x := range v {
		q.codes[i] = int8(quantise(x, inverse))
	}
	q.finish(base, scale*factor)
}

// SetRecord makes q stand for a record of dim components.
func (q *Query) SetRecord(record unsafe.Pointer, dim int, base, factor float32) {
	q.resize(dim)
	b := unsafe.Slice((*byte)(record), recordHead+dim)
	for i, c := range b[recordHead:] {
		q.codes[i] = int8(c ^ zeroCode)
	}
	q.finish(base, float(b)*factor)
}

func (q *Query) resize(dim int) {
	if padded := (dim + blockSize - 1) / blockSize * blockSize; len(q.codes) != padded {
		q.codes = make([]int8, padded)
	}
	q.dim = dim
}

func (q *Query) finish(base, weight float32) {
	sum := int32(0)
	for _, c := range q.codes[:q.dim] {
		sum += int32(c)
	}
	q.Base, q.Weight, q.offset = base, weight, zeroCode*sum
}

// Bias returns the bias of a record.
func Bias(record unsafe.Pointer) float32 { return *(*float32)(unsafe.Add(record, 4)) }

func batchGo(q *Query, codes []unsafe.Pointer, out []float32) {
	for i, record := range codes {
		b := unsafe.Slice((*byte)(record), recordHead+q.dim)
		out[i] = q.distance(float(b), float(b[4:]), dotCodes(q.codes[:q.dim], b[recordHead:])-q.offset)
	}
}

// distance is the formula of Query. The conversions forbid fused operations.
func (q *Query) distance(scale, bias float32, dot int32) float32 {
	return float32(bias+q.Base) - float32(float32(scale*q.Weight)*float32(dot))
}

func dotCodes(q []int8, c []byte) int32 {
	var s0, s1, s2, s3 int32
	c = c[:len(q)]
	for ; len(q) >= 4; q, c = q[4:], c[4:] {
		_, _ = q[3], c[3]
		s0 += int32(q[0]) * int32(c[0])
		s1 += int32(q[1]) * int32(c[1])
		s2 += int32(q[2]) * int32(c[2])
		s3 += int32(q[3]) * int32(c[3])
	}
	for i := range q {
		s0 += int32(q[i]) * int32(c[i])
	}
	return s0 + s1 + s2 + s3
}

func float(b []byte) float32       { return *(*float32)(unsafe.Pointer(&b[0])) }
func setFloat(b []byte, x float32) { *(*float32)(unsafe.Pointer(&b[0])) = x }
