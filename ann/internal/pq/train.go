package pq

import (
	"math/rand/v2"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// Options says how to train.
type Options struct {
	// Seed makes the result reproducible.
	Seed uint64
	// Kernel computes products, in training and after.
	Kernel *kernel.Set
	// Plain trains no rotation.
	Plain bool
	// Stop ends the training early when it returns true: the result is then nil. Nil never stops.
	Stop func() bool
}

const (
	firstRounds = 4 // of Lloyd, before the rotation changes
	turns       = 8 // of the rotation, with one round of Lloyd each
	lastRounds  = 3 // of Lloyd after that
	// maxRotated is the largest dimension for which a rotation is trained and used: its cost grows with the square in use and
	// with the third power in training.
	maxRotated = 1024
)

// Train returns a quantiser for vectors such as these; some thousand are enough. The codewords and the rotation are
// improved by turns: for a given rotation each subspace is clustered, for given codes the rotation that brings the vectors
// nearest to what the codes stand for is the orthogonal factor of their product (Procrustes).
func Train(vectors cluster.Matrix, opt Options) *Quantiser {
	if opt.Stop == nil {
		opt.Stop = func() bool { return false }
	}
	q := newQuantiser(vectors.Dim, opt.Kernel)
	t := trainer{q: q, n: vectors.Len(), set: opt.Kernel, rng: rand.New(rand.NewPCG(opt.Seed, uint64(vectors.Dim)))}
	t.rotated = transpose(vectors)
	t.codes = make([]byte, q.spaces*t.n)
	t.choose()
	rotate := !opt.Plain && vectors.Dim <= maxRotated
	for range firstRounds {
		t.round()
	}
	if rotate {
		byComponent := t.rotated
		q.rotation = identity(vectors.Dim)
		for range turns {
			if opt.Stop() {
				return nil
			}
			t.encode()
			q.rotation = nearestRotation(t.set, product(t.set, t.decoded(), byComponent), q.rotation)
			t.rotated = product(t.set, q.rotation, vectors)
			t.round()
		}
	}
	for range lastRounds {
		if opt.Stop() {
			return nil
		}
		t.round()
	}
	return q
}

// trainer holds the vectors by component: row i of rotated is component i of all.
type trainer struct {
	q       *Quantiser
	n       int
	set     *kernel.Set
	rng     *rand.Rand
	rotated cluster.Matrix
	codes   []byte // of subspace s and vector i at s×n+i
}

// components returns those that subspace s has: fewer than others when it is the last, none when it is empty.
func (t *trainer) components(s int) int { return max(0, min(t.q.sub, t.q.dim-s*t.q.sub)) }

// choose takes parts of random vectors as codewords.
func (t *trainer) choose() {
	for s := range t.q.spaces {
		for w := range words {
			at := t.rng.IntN(t.n)
			for d := range t.components(s) {
				t.q.book(s, d)[w] = t.rotated.Row(s*t.q.sub + d)[at]
			}
		}
	}
}

// encode writes the nearest codeword of every part of every vector.
func (t *trainer) encode() {
	part := make([]float32, t.q.Width())
	for s := range t.q.spaces {
		codes, n := t.codes[s*t.n:(s+1)*t.n], t.components(s)
		for i := range codes {
			for d := range n {
				part[s*t.q.sub+d] = t.rotated.Row(s*t.q.sub + d)[i]
			}
			w, _ := t.q.nearest(part, s)
			codes[i] = byte(w)
		}
	}
}

// round makes every codeword the mean of the parts that it is nearest to. One that has none takes a random part.
func (t *trainer) round() {
	t.encode()
	for s := range t.q.spaces {
		codes := t.codes[s*t.n : (s+1)*t.n]
		var count [words]int
		for _, w := range codes {
			count[w]++
		}
		stray := t.rng.IntN(t.n)
		for d := range t.components(s) {
			row := t.rotated.Row(s*t.q.sub + d)
			var sums [words]float32
			for i, w := range codes {
				sums[w] += row[i]
			}
			book := t.q.book(s, d)
			for w := range book {
				if count[w] > 0 {
					book[w] = sums[w] / float32(count[w])
				} else {
					book[w] = row[stray]
				}
			}
		}
	}
}

// decoded returns what the codes stand for, by component.
func (t *trainer) decoded() cluster.Matrix {
	m := cluster.NewMatrix(t.q.dim, t.n)
	for i := range t.q.dim {
		s, row := i/t.q.sub, m.Row(i)
		book := t.q.book(s, i%t.q.sub)
		for j, w := range t.codes[s*t.n : (s+1)*t.n] {
			row[j] = book[w]
		}
	}
	return m
}
