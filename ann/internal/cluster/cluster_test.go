package cluster_test

import (
	"math/rand/v2"
	"testing"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// blobs returns n vectors around so many centres, which are far apart, in turns.
func blobs(seed uint64, n, dim, centres int) cluster.Matrix {
	rng := rand.New(rand.NewPCG(seed, 0))
	mid := cluster.NewMatrix(centres, dim)
	for i := range centres {
		for j := range dim {
			mid.Row(i)[j] = float32(rng.NormFloat64() * 10)
		}
	}
	m := cluster.NewMatrix(n, dim)
	for i := range n {
		for j := range dim {
			m.Row(i)[j] = mid.Row(i % centres)[j] + float32(rng.NormFloat64())
		}
	}
	return m
}

// distortion returns the mean squared distance of the vectors to their nearest centroids, and the size of each group.
func distortion(m cluster.Matrix, c *cluster.Centroids) (mean float64, sizes []int) {
	sizes = make([]int, c.Len())
	for i := range m.Len() {
		best, at := 1e30, 0
		for g := range c.Len() {
			d := 0.0
			for j := range m.Dim {
				x := float64(m.Row(i)[j] - c.Vectors.Row(g)[j])
				d += x * x
			}
			if d < best {
				best, at = d, g
			}
		}
		mean += best / float64(m.Len())
		sizes[at]++
	}
	return mean, sizes
}

func options(t testing.TB, groups int) cluster.Options {
	set, err := kernel.Choose()
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Options{Groups: groups, Seed: 1, Kernel: set}
}

// TestTrainFindsBlobs has as many centroids as blobs, and fewer and more: the error must fall with their number, and come
// near to the noise within a blob when there is a centroid for each.
func TestTrainFindsBlobs(t *testing.T) {
	const dim, centres = 20, 16
	m := blobs(1, 4000, dim, centres)
	last := 1e30
	for _, groups := range []int{1, 4, 16, 64, 256} {
		c := cluster.Train(m, options(t, groups))
		if c.Len() != groups {
			t.Fatalf("%d centroids, want %d", c.Len(), groups)
		}
		got, sizes := distortion(m, c)
		if got >= last {
			t.Errorf("%d groups: error %.1f, and %.1f with fewer", groups, got, last)
		}
		last = got
		if groups == 64 && got > 1.2*dim {
			t.Errorf("error %.1f with a centroid for each blob, want about %d", got, dim)
		}
		largest := 0
		for _, n := range sizes {
			largest = max(largest, n)
		}
		if groups >= centres && largest > 4*m.Len()/centres {
			t.Errorf("%d groups: one has %d of %d vectors", groups, largest, m.Len())
		}
	}
}

// TestTwoLevels compares training in two levels with random centroids.
func TestTwoLevels(t *testing.T) {
	m := blobs(2, 12000, 12, 300)
	c := cluster.Train(m, options(t, 1500))
	if c.Len() < 1400 || c.Len() > 1500 {
		t.Fatalf("%d centroids, want about 1500", c.Len())
	}
	random := cluster.NewMatrix(c.Len(), m.Dim)
	copy(random.Data, m.Data)
	set := options(t, 1).Kernel
	got, _ := distortion(m, c)
	if want, _ := distortion(m, cluster.NewCentroids(random, set)); got > 0.8*want {
		t.Errorf("error %.2f, random centroids have %.2f", got, want)
	}
}

func TestFewVectors(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		m := blobs(3, n, 5, n)
		if c := cluster.Train(m, options(t, 100)); c.Len() != n {
			t.Errorf("%d vectors: %d centroids", n, c.Len())
		}
	}
	same := cluster.NewMatrix(50, 3)
	if c := cluster.Train(same, options(t, 7)); c.Len() != 7 {
		t.Errorf("equal vectors: %d centroids", c.Len())
	}
}

func TestTrainStops(t *testing.T) {
	opt := options(t, 10)
	opt.Stop = func() bool { return true }
	if c := cluster.Train(blobs(4, 1000, 8, 3), opt); c != nil {
		t.Error("training went on")
	}
}
