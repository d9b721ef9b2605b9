package dataset

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// MaxClusters is the largest number of clusters that Cluster makes.
const MaxClusters = 1 << 16

// Cluster reorders the base so that it lies in so many clusters of one size, a power of two: cluster c is the rows from
// c×n/clusters to (c+1)×n/clusters, n being the rows of the base. Inside a cluster the order is random. The base is cut
// in two halves again and again, across the line between two means. The truth, which names rows, is dropped.
func (s *Set) Cluster(clusters int, seed uint64) error {
	if clusters < 1 || clusters > MaxClusters || clusters&(clusters-1) != 0 || clusters > s.Base.Rows() {
		return fmt.Errorf("dataset: %d clusters of %d vectors: the number must be a power of two, at most %d and the vectors", clusters,
			s.Base.Rows(), MaxClusters)
	}
	n := s.Base.Rows()
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	rng := rand.New(rand.NewPCG(seed, streamModel))
	s.bisect(order, 0, clusters, clusters, rng)
	for c := range clusters {
		part := order[c*n/clusters : (c+1)*n/clusters]
		rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	s.reorder(order)
	s.Clusters = make([]int32, n)
	for c := range clusters {
		for i := c * n / clusters; i < (c+1)*n/clusters; i++ {
			s.Clusters[i] = int32(c)
		}
	}
	return nil
}

// Shuffle puts the base into a random order, so that a range of rows is a sample of all. The truth is dropped.
func (s *Set) Shuffle(seed uint64) {
	order := make([]int32, s.Base.Rows())
	for i := range order {
		order[i] = int32(i)
	}
	rng := rand.New(rand.NewPCG(seed, streamModel))
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	s.reorder(order)
	s.Clusters = nil
}

// reorder makes row order[i] of the base row i.
func (s *Set) reorder(order []int32) {
	sorted := NewMatrix(len(order), s.Base.Dim)
	for i, row := range order {
		copy(sorted.Row(i), s.Base.Row(int(row)))
	}
	s.Base, s.Truth = sorted, nil
}

// bisect orders list, the rows of the clusters from to to out of total, by cluster.
func (s *Set) bisect(list []int32, from, to, total int, rng *rand.Rand) {
	if to-from < 2 {
		return
	}
	a, b := s.twoMeans(list, rng)
	axis := make([]float32, s.Base.Dim)
	for i := range axis {
		axis[i] = a[i] - b[i]
	}
	type placed struct {
		at  float64
		row int32
	}
	places := make([]placed, len(list))
	for i, row := range list {
		places[i] = placed{dot(axis, s.Base.Row(int(row))), row}
	}
	slices.SortFunc(places, func(x, y placed) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.row, y.row)) })
	for i, p := range places {
		list[i] = p.row
	}
	middle := (from + to) / 2
	n := s.Base.Rows()
	cut := middle*n/total - from*n/total
	s.bisect(list[:cut], from, middle, total, rng)
	s.bisect(list[cut:], middle, to, total, rng)
}

// twoMeans returns two means of the rows in list, after a few rounds from two random rows.
func (s *Set) twoMeans(list []int32, rng *rand.Rand) (a, b []float32) {
	const rounds, sample = 5, 2000
	a = slices.Clone(s.Base.Row(int(list[rng.IntN(len(list))])))
	b = slices.Clone(s.Base.Row(int(list[rng.IntN(len(list))])))
	for range rounds {
		sums := [2][]float32{make([]float32, len(a)), make([]float32, len(a))}
		var counts [2]int
		for range min(sample, len(list)) {
			row := s.Base.Row(int(list[rng.IntN(len(list))]))
			side := 0
			if squaredL2(row, b) < squaredL2(row, a) {
				side = 1
			}
			counts[side]++
			for i, x := range row {
				sums[side][i] += x
			}
		}
		for side, mean := range [][]float32{a, b} {
			for i := range mean {
				if counts[side] > 0 {
					mean[i] = sums[side][i] / float32(counts[side])
				}
			}
		}
	}
	return a, b
}
