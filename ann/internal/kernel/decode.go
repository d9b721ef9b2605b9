package kernel

import (
	"bytes"
	"encoding/binary"
	"math"
	"unsafe"
)

// A half is a number of 16 bits: IEEE 754 binary16. A float vector in halves is a row of them, padded with zeros to a
// multiple of Lanes, that is multiplied by a scale.

// HalfScale returns the scale for v in halves: a power of two that brings its largest component, once rounded to the 11
// bits of a half, to [2^14, 2^15). So nothing overflows; components down to 2^-28 of the largest keep all 11 bits; and
// halves that are decoded and encoded again are the same bits. The scale of zeros is 1. Components must be below 2^127.
func HalfScale(v []float32) float32 {
	largest := float32(0)
	for _, x := range v {
		largest = max(largest, x, -x)
	}
	if largest == 0 {
		return 1
	}
	bits := math.Float32bits(largest)
	bits += 0xfff + bits>>13&1 // to 11 significant bits, ties to even; a subnormal need not be exact
	exponent := max(1, min(254, int(bits>>23)-14))
	return math.Float32frombits(uint32(exponent) << 23)
}

// EncodeHalves writes v divided by scale, a power of two, to dst as halves, rounded to the nearest, ties to even.
func EncodeHalves(dst []uint16, v []float32, scale float32) {
	inverse := 1 / float64(scale)
	for i, x := range v {
		dst[i] = halfOf(float32(float64(x) * inverse))
	}
}

// halfOf rounds x to a half, ties to even. Beyond the largest half it is infinity.
func halfOf(x float32) uint16 {
	b := math.Float32bits(x)
	sign, b := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520 and more
		return sign | 0x7c00
	case b >= 0x38800000: // normal
		return sign | uint16((b+0xfff+b>>13&1)>>13-(127-15)<<10)
	case b < 0x33000000: // below half of the smallest
		return sign
	}
	shift := 126 - b>>23 // the half is mantissa >> shift, in units of 2^-24
	mantissa := b&0x7fffff | 0x800000
	rest, unit := mantissa&(1<<shift-1), uint32(1)<<(shift-1)
	half := uint16(mantissa >> shift)
	if rest > unit || rest == unit && half&1 == 1 {
		half++
	}
	return sign | half
}

// halvesGo sets dst[i] to the number of src[i], which is finite, times scale.
func halvesGo(dst []float32, src []uint16, scale float32) {
	src = src[:len(dst)]
	for i, h := range src {
		dst[i] = halfToFloat(h) * scale
	}
}

func halfToFloat(h uint16) float32 {
	const rebias = 1 << 112 // moves the exponent of a half, read as that of a float32, to its place
	x := math.Float32frombits(uint32(h&0x7fff)<<13) * float32(rebias)
	return math.Float32frombits(math.Float32bits(x) | uint32(h&0x8000)<<16)
}

// bytesGo sets dst[i] to (src[i] - 128) times scale.
func bytesGo(dst []float32, src *byte, scale float32) {
	for i, c := range unsafe.Slice(src, len(dst)) {
		dst[i] = float32(int32(c)-zeroCode) * scale
	}
}

// decodeGo sets dst to the vector of dim components that a record stands for. The implementations in assembly have the
// same lines: were the decoder of bytes a parameter, the memory for codes would be allocated.
func decodeGo(dst []float32, r Record, dim int) {
	var codes [pairSize]byte
	for at := 0; at < dim; at += pairSize {
		part := dst[at:min(len(dst), at+pairSize)]
		bytesGo(part, r.pair(&codes, at, dim), r.Head.Scale)
	}
	clear(dst[dim:])
}

// pair returns the first of pairSize codes from component at on, which is a multiple of it. It uses codes for them unless
// they lie in order already.
func (r Record) pair(codes *[pairSize]byte, at, dim int) *byte {
	blocks := planeBlocks(dim)
	if blocks == 0 {
		return (*byte)(r.Codes)
	}
	planes := unsafe.Slice((*byte)(r.Codes), blocks*pairSize)
	join(codes[:], planes[at/2:], planes[blocks*blockSize+at/2:])
	return &codes[0]
}

// StoredSize returns the bytes that AppendStored appends.
func StoredSize(dim int) int { return storedHead + dim }

const storedHead = 8

// AppendStored appends a record of dim components in its form for files: scale and squared norm, little-endian, and the codes in
// order of components.
func (r Record) AppendStored(dst []byte, dim int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(r.Head.Scale))
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(r.Head.Norm))
	var room [512]byte
	codes := append(room[:0], make([]byte, CodeSize(dim))...)
	r.unpack(codes, dim)
	return append(dst, codes[:dim]...)
}

// SetStored makes r what AppendStored made src of, of StoredSize bytes. It reports false when that can't be. The norm is computed anew:
// files of old have another number in its place.
func (r Record) SetStored(src []byte) bool {
	scale := math.Float32frombits(binary.LittleEndian.Uint32(src))
	norm := math.Float32frombits(binary.LittleEndian.Uint32(src[4:]))
	src = src[storedHead:]
	var room [512]byte
	codes := append(room[:0], make([]byte, CodeSize(len(src)))...)
	copy(codes, src)
	pad(codes, len(src))
	r.pack(codes, len(src))
	squares := 0
	for _, c := range src {
		squares += (int(c) - zeroCode) * (int(c) - zeroCode)
	}
	*r.Head = headOf(scale, squares)
	sound := scale >= 0 && scale <= math.MaxFloat32/maxCode && norm >= 0 && norm <= math.MaxFloat32 && !math.IsInf(float64(r.Head.Norm), 0)
	return sound && bytes.IndexByte(src, 0) < 0
}
