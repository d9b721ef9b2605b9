package pq

import (
	"math"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// product returns a × the transpose of b: entry (i, j) is the inner product of row i of a and row j of b.
func product(set *kernel.Set, a, b cluster.Matrix) cluster.Matrix {
	c := cluster.NewMatrix(a.Len(), b.Len())
	for i := range a.Len() {
		row, to := a.Row(i), c.Row(i)
		for j := range b.Len() {
			to[j] = set.Dot(row, b.Row(j))
		}
	}
	return c
}

func transpose(m cluster.Matrix) cluster.Matrix {
	t := cluster.NewMatrix(m.Dim, m.Len())
	for i := range m.Len() {
		for j, x := range m.Row(i)[:m.Dim] {
			t.Row(j)[i] = x
		}
	}
	return t
}

func identity(dim int) cluster.Matrix {
	m := cluster.NewMatrix(dim, dim)
	for i := range dim {
		m.Row(i)[i] = 1
	}
	return m
}

const (
	keepShare  = 1e-3 // of the old rotation, so that directions in which vectors have no extent stay as they are
	maxSteps   = 40
	nearEnough = 1e-5 // largest change of an entry in the last step
)

// nearestRotation returns the orthogonal matrix nearest to a: the orthogonal factor of its polar decomposition, by the
// iteration of Newton and Schulz, X ← 3/2 X − 1/2 X Xᵀ X, which converges from any matrix whose singular values are under √3.
func nearestRotation(set *kernel.Set, a, old cluster.Matrix) cluster.Matrix {
	norm := 0.0
	for _, x := range a.Data {
		norm += float64(x) * float64(x)
	}
	norm = math.Sqrt(norm)
	if norm == 0 || math.IsInf(norm, 0) || math.IsNaN(norm) {
		return old
	}
	x := cluster.NewMatrix(a.Dim, a.Dim)
	for i, e := range a.Data {
		x.Data[i] = float32(float64(e)/norm) + keepShare*old.Data[i]
	}
	for range maxSteps {
		square := product(set, transpose(x), transpose(x)) // XᵀX, symmetric
		cube := product(set, x, square)
		largest := float32(0)
		for i, e := range x.Data {
			next := 1.5*e - 0.5*cube.Data[i]
			largest = max(largest, next-e, e-next)
			x.Data[i] = next
		}
		if largest < nearEnough {
			break
		}
	}
	return x
}
