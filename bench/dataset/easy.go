package dataset

import "math/rand/v2"

// The easy set is a mixture of Gaussians around centres in a space of few dimensions, which a random linear map takes
// into Dim dimensions: embeddings of text lie about like that, only less tidily.
const (
	easyCentres   = 1000
	easyIntrinsic = 32
	easyWithin    = 0.6 // standard deviation around a centre; that of the centres is 1
)

// Streams of random numbers, so that the base is the same whatever the number of queries.
const (
	streamModel = iota + 1
	streamBase
	streamQueries
	streamCopies
)

// easy makes the set; vector i of a seed is the same in every set of that dimension.
func easy(s Source) *Set {
	m := newMixture(rand.New(rand.NewPCG(s.Seed, streamModel)), s.Dim)
	set := &Set{Name: "easy", Base: NewMatrix(s.N, s.Dim), Queries: NewMatrix(s.NQ, s.Dim), Clusters: make([]int32, s.N)}
	rng := rand.New(rand.NewPCG(s.Seed, streamBase))
	for i := range s.N {
		set.Clusters[i] = int32(m.sample(rng, set.Base.Row(i)))
	}
	rng = rand.New(rand.NewPCG(s.Seed, streamQueries))
	for i := range s.NQ {
		m.sample(rng, set.Queries.Row(i))
	}
	return set
}

// mixture draws vectors around its centres.
type mixture struct {
	basis   Matrix // easyIntrinsic rows of dim components
	centres Matrix // easyCentres rows of easyIntrinsic components
}

func newMixture(rng *rand.Rand, dim int) mixture {
	m := mixture{NewMatrix(easyIntrinsic, dim), NewMatrix(easyCentres, easyIntrinsic)}
	for _, part := range []Matrix{m.basis, m.centres} {
		for i := range part.Data {
			part.Data[i] = float32(rng.NormFloat64())
		}
	}
	return m
}

// sample writes a vector to v and returns its centre.
func (m mixture) sample(rng *rand.Rand, v []float32) int {
	c := rng.IntN(easyCentres)
	centre := m.centres.Row(c)
	for i := range easyIntrinsic {
		x := centre[i] + float32(easyWithin*rng.NormFloat64())
		for j, b := range m.basis.Row(i) {
			v[j] += x * b
		}
	}
	return c
}
