package kernel

import (
	"encoding/binary"
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
//	(bias × biasWeight + base) − (scale × weight) × Σ codes[i] × c[i]
//
// in float32, each operation rounded.
type Query struct {
	Form
	weight float32 // Form.Weight times the step between the codes
	codes  []int8  // padded with zeros to a multiple of blockSize
	offset int32   // zeroCode × Σ codes: what unsigned products add up too much
	dim    int
}

// Form is the form of a distance: Bias × the bias of a record + Base − Weight × the inner product.
type Form struct{ Bias, Base, Weight float32 }

// Set makes q stand for v.
func (q *Query) Set(v []float32, form Form) {
	q.resize(len(v))
	scale, inverse := scaleOf(v)
	sum := int32(0)
	for i, x := range v {
		c := quantise(x, inverse)
		q.codes[i] = int8(c)
		sum += int32(c)
	}
	q.finish(form, scale, sum)
}

// SetRecord makes q stand for a record of dim components.
func (q *Query) SetRecord(record unsafe.Pointer, dim int, form Form) {
	q.resize(dim)
	b := unsafe.Slice((*byte)(record), recordHead+dim)
	from, to := b[recordHead:], unsafe.Slice((*byte)(unsafe.Pointer(&q.codes[0])), dim)
	const zeros, low = 0x8080808080808080, 0x00ff00ff00ff00ff
	var sum uint64 // four lanes of 16 bits
	total := int32(0)
	i := 0
	for ; i+8 <= dim; i += 8 {
		x := binary.NativeEndian.Uint64(from[i:])
		binary.NativeEndian.PutUint64(to[i:], x^zeros)
		sum += x & low
		sum += x >> 8 & low
		if i%(8*laneSteps) == 8*(laneSteps-1) {
			total += foldLanes(sum)
			sum = 0
		}
	}
	total += foldLanes(sum)
	for ; i < dim; i++ {
		to[i] = from[i] ^ zeroCode
		total += int32(from[i])
	}
	q.finish(form, float(b), total-zeroCode*int32(dim))
}

// laneSteps is the number of words of bytes whose sums fit into lanes of 16 bits.
const laneSteps = 128

func foldLanes(sum uint64) int32 {
	return int32(sum&0xffff + sum>>16&0xffff + sum>>32&0xffff + sum>>48)
}

func (q *Query) resize(dim int) {
	if padded := (dim + blockSize - 1) / blockSize * blockSize; len(q.codes) != padded {
		q.codes = make([]int8, padded)
	}
	q.dim = dim
}

func (q *Query) finish(form Form, scale float32, sum int32) {
	q.Form, q.weight, q.offset = form, scale*form.Weight, zeroCode*sum
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
	return float32(float32(bias*q.Bias)+q.Base) - float32(float32(scale*q.weight)*float32(dot))
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
