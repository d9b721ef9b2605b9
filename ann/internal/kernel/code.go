package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// A Record is a vector in codes: component i is about Scale × (code i − 128), with codes from 1 to 255.
//
// Codes lie in blocks of 64 bytes. Those of at most blockSize components are one block, in their order. Longer ones are
// split into two planes: the upper four bits of all codes, then the lower four. So a walk can rule most vectors out by
// half of their memory, which is what it waits for. Block b of a plane has the bits of components 128b+j in the lower
// half of byte j, and those of components 128b+64+j in its upper half.
//
// Padding is coded as zeros.
type Record struct {
	Head  *Head
	Codes unsafe.Pointer
}

// Head is what a Record has besides its codes.
type Head struct {
	Scale float32
	Norm  float32 // squared, of the vector that the codes stand for
}

const (
	blockSize  = 64
	pairSize   = 2 * blockSize // components in a block of each plane
	zeroCode   = 128
	maxCode    = 127 // so that sums fit where kernels add them up
	nibbles    = 0x0f0f0f0f0f0f0f0f
	nibbleMean = 7.5
	nibbleDev  = 4.61 // standard deviation of a number from 0 to 15
)

// Overread is how many bytes beyond a float vector or a list the kernels may read.
const Overread = blockSize

// planeBlocks returns the blocks of one plane, 0 when codes of dim components are not split.
func planeBlocks(dim int) int {
	if dim <= blockSize {
		return 0
	}
	return (dim + pairSize - 1) / pairSize
}

// CodeSize returns the bytes of the codes of dim components, a multiple of 64.
func CodeSize(dim int) int { return max(blockSize, planeBlocks(dim)*2*blockSize) }

// NewRecord returns a record of dim components in memory of its own.
func NewRecord(dim int) Record {
	codes := make([]byte, CodeSize(dim))
	return Record{&Head{}, unsafe.Pointer(&codes[0])}
}

// Encode writes v to r, whose memory has room for as many components.
func (r Record) Encode(v []float32) {
	scale, inverse := scaleOf(v)
	var room [512]byte
	codes := append(room[:0], make([]byte, CodeSize(len(v)))...)
	squares := 0
	for i, x := range v {
		c := quantise(x, inverse)
		codes[i] = byte(c + zeroCode)
		squares += c * c
	}
	*r.Head = headOf(scale, squares)
	pad(codes, len(v))
	r.pack(codes, len(v))
}

// headOf returns the head of a record whose codes, less zeroCode, have this sum of squares.
func headOf(scale float32, squares int) Head {
	return Head{scale, float32(float64(scale) * float64(scale) * float64(squares))}
}

// pad codes the padding behind dim components.
func pad(codes []byte, dim int) {
	for i := dim; i < len(codes); i++ {
		codes[i] = zeroCode
	}
}

// pack writes codes in order of components, padded to CodeSize.
func (r Record) pack(codes []byte, dim int) {
	to := unsafe.Slice((*byte)(r.Codes), len(codes))
	blocks := planeBlocks(dim)
	if blocks == 0 {
		copy(to, codes)
		return
	}
	upper, lower := to[:blocks*blockSize], to[blocks*blockSize:]
	for at := 0; at < len(upper); at += 8 {
		pair := codes[at/blockSize*pairSize+at%blockSize:]
		a, b := word(pair), word(pair[blockSize:])
		putWord(upper[at:], a>>4&nibbles|b&^nibbles)
		putWord(lower[at:], a&nibbles|b&nibbles<<4)
	}
}

// unpack writes the codes in order of components to dst, of CodeSize bytes.
func (r Record) unpack(dst []byte, dim int) {
	from := unsafe.Slice((*byte)(r.Codes), len(dst))
	blocks := planeBlocks(dim)
	if blocks == 0 {
		copy(dst, from)
		return
	}
	upper, lower := from[:blocks*blockSize], from[blocks*blockSize:]
	for at := 0; at < len(upper); at += blockSize {
		join(dst[2*at:], upper[at:], lower[at:])
	}
}

// join writes the codes of a block of each plane, in order of components, to dst.
func join(dst, upper, lower []byte) {
	for i := 0; i < blockSize; i += 8 {
		h, l := word(upper[i:]), word(lower[i:])
		putWord(dst[i:], h&nibbles<<4|l&nibbles)
		putWord(dst[blockSize+i:], h&^nibbles|l>>4&nibbles)
	}
}

func word(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putWord(b []byte, x uint64) { binary.LittleEndian.PutUint64(b, x) }

// scaleOf returns the step between codes of v, and its inverse.
func scaleOf(v []float32) (scale float32, inverse float64) {
	largest := uint32(0) // finite floats without sign are in the order of their bits
	for _, x := range v {
		largest = max(largest, math.Float32bits(x)&^(1<<31))
	}
	scale = math.Float32frombits(largest) / maxCode
	if scale == 0 || math.IsInf(1/float64(scale), 0) {
		return 0, 0
	}
	return scale, 1 / float64(scale)
}

// quantise returns x times inverse, which is at most maxCode but for rounding, as the nearest integer, ties to even: to
// add a number in whose neighbourhood doubles are integers rounds.
func quantise(x float32, inverse float64) int {
	const integers = 3 << 51
	return int(int32(uint32(math.Float64bits(float64(float64(x)*inverse) + integers))))
}

// Query is a vector that records are compared with. The distance to a record with codes c is
//
//	(Norm × bias + base) − (scale × weight) × Σ codes[i] × (c[i] − 128)
//
// in float32, each operation rounded.
type Query struct {
	Form
	base   float32 // Form.Bias times the squared norm of what the codes stand for
	weight float32 // Form.Weight times the step between the codes
	codes  []int8  // padded with zeros to CodeSize
	offset int32   // zeroCode × Σ codes: what unsigned products add up too much
	rough  float32 // see Step: what is added to an inner product with the upper halves of codes
	dim    int
	// deviation is the standard deviation of an inner product with codes, from rounding these and those of q.
	deviation float32
}

// Deviation returns the standard deviation of the distance to a record: how far it is, about, from what it would be
// without rounding to codes.
func (q *Query) Deviation(h *Head) float32 { return h.Scale * q.weight * q.deviation }

// Form is the form of a distance: Bias × the sum of both squared norms − Weight × the inner product. Norms and product are those of
// the vectors that the codes stand for: so a distance between two is a distance, and among near duplicates, where it is small,
// rounding to codes is a small part of it. With the norms from before the rounding its error would be as large as that of the inner product, and
// the same for all who compare themselves with a record: some would be everybody's neighbours, others nobody's.
type Form struct{ Bias, Weight float32 }

// InnerProduct is the form of distances that are the negative inner product.
var InnerProduct = Form{Weight: 1}

// Euclidean returns the form of the squared Euclidean distance times half of weight.
func Euclidean(weight float32) Form { return Form{weight / 2, weight} }

// SetVector makes q stand for v.
func (s *Set) SetVector(q *Query, v []float32, form Form) {
	q.resize(len(v))
	scale, inverse := scaleOf(v)
	for i, x := range v {
		q.codes[i] = int8(quantise(x, inverse))
	}
	clear(q.codes[len(v):])
	sum, squares := s.sums(q.codes)
	q.finish(form, scale, sum, squares)
}

// SetRecord makes q stand for a record of dim components.
func (s *Set) SetRecord(q *Query, r Record, dim int, form Form) {
	q.resize(dim)
	s.signed(q.codes, r.Codes, dim)
	sum, squares := s.sums(q.codes)
	q.finish(form, r.Head.Scale, sum, squares)
}

// signedGo writes codes in order of components, less zeroCode.
func signedGo(dst []int8, codes unsafe.Pointer, dim int) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), len(dst))
	Record{nil, codes}.unpack(bytes, dim)
	const zeros = 0x8080808080808080
	for at := 0; at < len(bytes); at += 8 {
		putWord(bytes[at:], word(bytes[at:])^zeros)
	}
}

func (q *Query) resize(dim int) {
	if size := CodeSize(dim); len(q.codes) != size {
		q.codes = make([]int8, size)
	}
	q.dim = dim
}

func (q *Query) finish(form Form, scale float32, sum, squares int32) {
	q.Form, q.weight, q.offset = form, scale*form.Weight, zeroCode*sum
	q.base = form.Bias * headOf(scale, int(squares)).Norm
	norm := math.Sqrt(float64(squares))
	q.rough = float32((nibbleMean-zeroCode)*float64(sum) + roughMargin*nibbleDev*norm)
	q.deviation = float32(math.Sqrt(2.0/12) * norm)
}

// sumsGo returns Σ c and Σ c².
func sumsGo(codes []int8) (sum, squares int32) {
	var s0, s1, q0, q1 int32
	for ; len(codes) >= 2; codes = codes[2:] {
		a, b := int32(codes[0]), int32(codes[1])
		s0, s1 = s0+a, s1+b
		q0, q1 = q0+a*a, q1+b*b
	}
	return s0 + s1, q0 + q1
}

func batchGo(q *Query, records []Record, out []float32) {
	var room [512]byte
	codes := append(room[:0], make([]byte, len(q.codes))...)
	for i, r := range records {
		r.unpack(codes, q.dim)
		out[i] = q.distance(r.Head, float32(dotCodes(q.codes, codes)-q.offset))
	}
}

// distance is the formula of Query. The conversions forbid fused operations.
func (q *Query) distance(h *Head, dot float32) float32 {
	return float32(float32(h.Norm*q.Bias)+q.base) - float32(float32(h.Scale*q.weight)*dot)
}

// dotCodes returns Σ q[i] × c[i]. Their lengths are equal, and multiples of 4.
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
	return s0 + s1 + s2 + s3
}
