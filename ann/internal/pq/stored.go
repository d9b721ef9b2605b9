package pq

import (
	"encoding/binary"
	"math"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// A quantiser in bytes: component after component of the codewords of one subspace after the other, and, when it has a
// rotation, its rows; all numbers are float32, little-endian.

// Rotated reports whether vectors are rotated.
func (q *Quantiser) Rotated() bool { return q.rotation.Data != nil }

// Size returns the bytes of a quantiser.
func Size(dim int, rotated bool) int {
	q := layout(dim)
	n := q.spaces * q.sub * words
	if rotated {
		n += dim * dim
	}
	return 4 * n
}

// Append appends the bytes of q.
func (q *Quantiser) Append(dst []byte) []byte {
	for _, x := range q.books {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	for i := range q.rotation.Len() {
		for _, x := range q.rotation.Row(i)[:q.dim] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
	}
	return dst
}

// Restore returns the quantiser of Size bytes, or nil when a number is not finite.
func Restore(dim int, rotated bool, src []byte, set *kernel.Set) *Quantiser {
	q := newQuantiser(dim, set)
	sound := true
	next := func() float32 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(src))
		src = src[4:]
		sound = sound && math.Abs(float64(x)) <= math.MaxFloat32
		return x
	}
	for i := range q.books {
		q.books[i] = next()
	}
	if rotated {
		q.rotation = cluster.NewMatrix(dim, dim)
		for i := range dim {
			for j := range dim {
				q.rotation.Row(i)[j] = next()
			}
		}
	}
	if !sound {
		return nil
	}
	return q
}
