package dataset

import (
	"math"
	"math/rand/v2"
)

// The copies set is the easy set, of which the last half are near copies of a few others: the same news by many agencies, frames of one
// camera, readings of sensors that rest. Copies of different vectors take turns, and queries are copies, too. All copies of one
// are much nearer to each other than to anything else, so an index that links each point with its nearest only does not find the way to them.
const (
	copiesOfEach = 250
	copiesApart  = 0.03 // standard deviation of a component, in those of the set
)

func copies(s Source) *Set {
	set := easy(s)
	set.Name, set.Clusters = "copies", nil
	half := s.N - s.N/2
	originals := max(1, (s.N-half)/copiesOfEach)
	apart := copiesApart * deviation(set.Base.Data)
	rng := rand.New(rand.NewPCG(s.Seed, streamCopies))
	imitate := func(v []float32, i int) {
		for j, x := range set.Base.Row(i % originals) {
			v[j] = x + float32(apart*rng.NormFloat64())
		}
	}
	for i := half; i < s.N; i++ {
		imitate(set.Base.Row(i), i)
	}
	for i := range s.NQ {
		imitate(set.Queries.Row(i), i)
	}
	return set
}

// deviation returns the standard deviation of numbers whose mean is 0.
func deviation(numbers []float32) float64 {
	sum := 0.0
	for _, x := range numbers {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum / float64(max(1, len(numbers))))
}
