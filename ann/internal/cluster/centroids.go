package cluster

import (
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// Matrix is a list of vectors, one after the other.
type Matrix struct {
	Dim    int       // components of a vector
	Stride int       // components from one vector to the next: Dim padded for the kernels; those beyond Dim are zero
	Data   []float32 // rows
}

// NewMatrix returns n zero vectors.
func NewMatrix(n, dim int) Matrix {
	padded := kernel.Pad(dim)
	return Matrix{dim, padded, make([]float32, n*padded)}
}

// Len returns the number of vectors.
func (m Matrix) Len() int { return len(m.Data) / max(1, m.Stride) }

// Row returns vector i, padded.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Stride : (i+1)*m.Stride : (i+1)*m.Stride] }

// records holds vectors in the codes of package kernel, with their squared norms as biases.
type records struct {
	codes []byte
	heads []kernel.Head
	size  int // bytes of the codes of a vector
}

func encode(m Matrix) records {
	r := records{size: kernel.CodeSize(m.Dim), heads: make([]kernel.Head, m.Len())}
	r.codes = make([]byte, m.Len()*r.size)
	for i := range m.Len() {
		r.at(i).Encode(m.Row(i)[:m.Dim])
	}
	return r
}

func (r records) at(i int) kernel.Record {
	return kernel.Record{Head: &r.heads[i], Codes: unsafe.Pointer(&r.codes[i*r.size])}
}

// Centroids is a set of vectors that is searched by comparing with all of them. It never changes.
type Centroids struct {
	Vectors Matrix
	kernel  *kernel.Set
	records records
	list    []kernel.Record
}

// NewCentroids returns the set of these vectors, which it keeps.
func NewCentroids(vectors Matrix, set *kernel.Set) *Centroids {
	c := &Centroids{Vectors: vectors, kernel: set, records: encode(vectors)}
	c.list = make([]kernel.Record, vectors.Len())
	for i := range c.list {
		c.list[i] = c.records.at(i)
	}
	return c
}

// Len returns the number of centroids, Dim that of their components.
func (c *Centroids) Len() int { return len(c.list) }

// Dim returns the number of components of a centroid.
func (c *Centroids) Dim() int { return c.Vectors.Dim }

// Bytes returns the memory of the set.
func (c *Centroids) Bytes() int64 {
	return int64(len(c.Vectors.Data))*4 + int64(len(c.records.codes)) + int64(len(c.list))*(8+16)
}

// Distances returns the distance from q to every centroid, in the memory of *dists, which grows as needed.
func (c *Centroids) Distances(q *kernel.Query, dists *[]float32) []float32 {
	if cap(*dists) < len(c.list) {
		*dists = make([]float32, len(c.list))
	}
	d := (*dists)[:len(c.list)]
	c.kernel.Batch(q, c.list, d)
	return d
}

// Nearest returns the centroid with the smallest distance from q, and that distance.
func (c *Centroids) Nearest(q *kernel.Query, dists *[]float32) (nearest int, dist float32) {
	d := c.Distances(q, dists)
	for i, x := range d {
		if x < d[nearest] {
			nearest = i
		}
	}
	return nearest, d[nearest]
}
