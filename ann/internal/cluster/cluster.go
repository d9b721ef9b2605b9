// Package cluster divides vectors into groups of near ones (k-means), in bounded time.
//
// Distances are squared Euclidean ones, computed on codes of a byte per component: an assignment may miss the nearest
// centroid by a hair, which costs a little tightness and nothing else. The means are computed in float32.
//
// The package does not know indexes, slots or metrics.
package cluster

import (
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// Options says how to train.
type Options struct {
	// Groups is the number of centroids wanted; the result has as many, or as many as there are vectors.
	Groups int
	// Seed makes the result reproducible.
	Seed uint64
	// Kernel computes the distances.
	Kernel *kernel.Set
	// Stop ends the training early when it returns true: the result is then nil. It is called every few hundred vectors,
	// by the goroutine that trains. Nil never stops.
	Stop func() bool
}

const (
	iterations = 10   // rounds of Lloyd: later ones move centroids little
	plainMost  = 1024 // groups that are trained at once; more are trained in two levels
	refining   = 2    // rounds over all groups after the two levels, if these take
	refineMost = 2e9  // no more distances each
	tooSmall   = 8    // a group of less than 1/tooSmall of the mean size is given up
	stride     = 256  // vectors between two looks at Stop
)

// Train returns centroids such that vectors lie near to one of them, and groups are not very different in size: a group that
// remains far below the mean is given up, and its centroid splits the largest group instead.
//
// The time is in proportion to vectors × Groups up to plainMost groups. More are trained in two levels, coarse groups
// first, then each for itself, so it grows with the square root of Groups beyond; two last rounds look at all groups where
// that is not too much.
func Train(vectors Matrix, opt Options) *Centroids {
	if opt.Stop == nil {
		opt.Stop = func() bool { return false }
	}
	groups := min(opt.Groups, vectors.Len())
	t := trainer{opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, uint64(groups))), records: encode(vectors)}
	var means Matrix
	var ok bool
	if groups <= plainMost {
		means, ok = t.plain(vectors, t.all(vectors.Len()), groups)
	} else {
		means, ok = t.twoLevels(vectors, groups)
	}
	if !ok {
		return nil
	}
	return NewCentroids(means, opt.Kernel)
}

type trainer struct {
	opt     Options
	rng     *rand.Rand
	records records // of all vectors
	query   kernel.Query
	dists   []float32
}

func (t *trainer) all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// plain trains groups for the members, which are places in vectors, from random ones of them.
func (t *trainer) plain(vectors Matrix, members []int, groups int) (Matrix, bool) {
	means := NewMatrix(groups, vectors.Dim)
	for i, at := range t.rng.Perm(len(members))[:groups] {
		copy(means.Row(i), vectors.Row(members[at]))
	}
	return means, t.lloyd(vectors, members, means, iterations)
}

// lloyd improves the means by rounds of assigning members and averaging.
func (t *trainer) lloyd(vectors Matrix, members []int, means Matrix, rounds int) bool {
	nearest := make([]int, len(members))
	for round := range rounds {
		if !t.assign(members, NewCentroids(means, t.opt.Kernel), nearest) {
			return false
		}
		average(vectors, members, nearest, means)
		if round < rounds-1 {
			t.balance(means, sizes(nearest, means.Len()), len(members))
		}
	}
	return true
}

// assign writes the centroid nearest to each member.
func (t *trainer) assign(members []int, c *Centroids, nearest []int) bool {
	for i, at := range members {
		if i%stride == 0 && t.opt.Stop() {
			return false
		}
		record := t.records.at(at)
		c.kernel.SetRecord(&t.query, record, c.Dim(), kernel.Euclidean(2))
		nearest[i], _ = c.Nearest(&t.query, &t.dists)
	}
	return true
}

// average makes each mean the average of its members; one without members stays.
func average(vectors Matrix, members, nearest []int, means Matrix) {
	count := sizes(nearest, means.Len())
	for i, n := range count {
		if n > 0 {
			clear(means.Row(i))
		}
	}
	for i, at := range members {
		mean, v := means.Row(nearest[i]), vectors.Row(at)
		for j := range mean {
			mean[j] += v[j]
		}
	}
	for i, n := range count {
		if n > 0 {
			mean, share := means.Row(i), 1/float32(n)
			for j := range mean {
				mean[j] *= share
			}
		}
	}
}

func sizes(nearest []int, groups int) []int {
	count := make([]int, groups)
	for _, c := range nearest {
		count[c]++
	}
	return count
}

// nudge is by how much the two halves of a split group begin apart, relative to their components.
const nudge = 1.0 / 1024

// balance moves the centroids of very small groups next to those of the largest: the next round splits these.
func (t *trainer) balance(means Matrix, count []int, members int) {
	bySize := t.all(len(count))
	slices.SortFunc(bySize, func(a, b int) int { return count[a] - count[b] })
	for lo, hi := 0, len(bySize)-1; lo < hi; lo, hi = lo+1, hi-1 {
		small, large := bySize[lo], bySize[hi]
		if count[small]*len(count)*tooSmall >= members || count[large] < 2*max(1, count[small]) {
			return
		}
		to, from := means.Row(small), means.Row(large)
		for j, x := range from {
			to[j], from[j] = x*(1+nudge), x*(1-nudge)
		}
	}
}

// twoLevels trains about √groups coarse groups, divides each in proportion to its size, and refines over all.
func (t *trainer) twoLevels(vectors Matrix, groups int) (Matrix, bool) {
	coarse := 1
	for coarse*coarse < groups {
		coarse++
	}
	members := t.all(vectors.Len())
	tops, ok := t.plain(vectors, members, coarse)
	if !ok {
		return Matrix{}, false
	}
	nearest := make([]int, len(members))
	if !t.assign(members, NewCentroids(tops, t.opt.Kernel), nearest) {
		return Matrix{}, false
	}
	parts := make([][]int, coarse)
	for i, c := range nearest {
		parts[c] = append(parts[c], i)
	}
	means := NewMatrix(groups, vectors.Dim)
	done, left := 0, len(members)
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		share := min(len(part), (groups-done)*len(part)/left) // the rest is shared among those that follow
		left -= len(part)
		if share == 0 {
			continue
		}
		sub, ok := t.plain(vectors, part, share)
		if !ok {
			return Matrix{}, false
		}
		done += copy(means.Data[done*means.Stride:], sub.Data) / means.Stride
	}
	means.Data = means.Data[:done*means.Stride]
	if float64(len(members))*float64(done) > refineMost {
		return means, true
	}
	return means, t.lloyd(vectors, members, means, refining)
}
