package dataset

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/freshet-io/freshet/ann"
)

// Matrix is a list of vectors of one dimension, row after row in one piece of memory.
type Matrix struct {
	Dim  int
	Data []float32
}

// NewMatrix returns rows zero vectors of dim components.
func NewMatrix(rows, dim int) Matrix { return Matrix{Dim: dim, Data: make([]float32, rows*dim)} }

// Rows returns the number of vectors.
func (m Matrix) Rows() int {
	if m.Dim == 0 {
		return 0
	}
	return len(m.Data) / m.Dim
}

// Row returns vector i; it shares the memory of m.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Dim : (i+1)*m.Dim : (i+1)*m.Dim] }

// Slice returns rows from to to, sharing the memory of m.
func (m Matrix) Slice(from, to int) Matrix {
	return Matrix{Dim: m.Dim, Data: m.Data[from*m.Dim : to*m.Dim : to*m.Dim]}
}

// Bytes returns the memory of m's components.
func (m Matrix) Bytes() []byte {
	if len(m.Data) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&m.Data[0])), 4*len(m.Data))
}

// Distance returns how far b is from a, smaller is nearer: 1 minus the cosine, minus the inner product, or the squared
// Euclidean distance. It is computed in float64.
func Distance(metric ann.Metric, a, b []float32) float64 {
	switch metric {
	case ann.L2:
		return squaredL2(a, b)
	case ann.InnerProduct:
		return -dot(a, b)
	default:
		return 1 - dot(a, b)/math.Sqrt(dot(a, a)*dot(b, b))
	}
}

// dot has four sums, so that a processor need not wait for one addition before the next.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return s0 + s1 + s2 + s3
}

func squaredL2(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1 float64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		x, y := float64(a[i])-float64(b[i]), float64(a[i+1])-float64(b[i+1])
		s0 += x * x
		s1 += y * y
	}
	for ; i < len(a); i++ {
		x := float64(a[i]) - float64(b[i])
		s0 += x * x
	}
	return s0 + s1
}

// Normalise scales every row of m to length 1 in place. A row without direction is an error that names it.
func Normalise(m Matrix) error {
	for i := range m.Rows() {
		row := m.Row(i)
		norm := math.Sqrt(dot(row, row))
		if !(norm > 0) || math.IsInf(norm, 0) {
			return fmt.Errorf("dataset: vector %d has length %v: it has no cosine", i, norm)
		}
		for j := range row {
			row[j] = float32(float64(row[j]) / norm)
		}
	}
	return nil
}

// TieTolerance is how much farther than the k-th true neighbour a vector may be and still count as found: neighbours at
// the same distance are equally right, and float32 engines round. It is relative to the distance above 1.
const TieTolerance = 1e-6

// WithinTie reports whether distance d is not beyond the limit, ties counted.
func WithinTie(d, limit float64) bool { return d <= limit+TieTolerance*math.Max(1, math.Abs(limit)) }
