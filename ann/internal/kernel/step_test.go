package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"
)

// table returns a table of n records of random codes.
func table(rng *rand.Rand, dim, n int) Records {
	t := Records{&Table{}, &Table{}}
	t.Codes.Stride, t.Heads.Stride = uintptr(CodeSize(dim)), 8
	for chunk := 0; ChunkStart(chunk) < uint32(n); chunk++ {
		codes, heads := make([]byte, int(ChunkLen(chunk))*CodeSize(dim)), make([]Head, ChunkLen(chunk))
		t.Codes.SetChunk(chunk, unsafe.Pointer(&codes[0]))
		t.Heads.SetChunk(chunk, unsafe.Pointer(&heads[0]))
	}
	for i := range n {
		fill(rng, t.At(uint32(i)), dim)
	}
	return t
}

// followed is what a step found.
type followed struct {
	fresh, near []uint32
	dists       []float32
	words       []uint64
	second      []uint32 // what the second step found
}

// follow takes two steps as a walk does, the parts of one between those of the other: along links, and along a part of
// them from the same start.
func follow(set *Set, q *Query, t Records, n int, links []uint32, visited []uint64, bound float32) followed {
	var first, second Step
	words := slices.Clone(visited)
	begin := func(s *Step, links []uint32, words []uint64) []uint32 {
		row := make([]atomic.Uint32, len(links))
		for i, l := range links {
			row[i].Store(l)
		}
		s.Aim(q, t)
		s.Visit(words, uint32(n))
		fresh := make([]uint32, len(links))
		return fresh[:set.Gather(s, row, fresh)]
	}
	fresh := begin(&first, links, words)
	set.Rule(nil, &first, bound)
	begin(&second, links[len(links)/2:], slices.Clone(visited))
	set.Rule(&first, &second, bound)
	near, dists := set.Measure(&first, bound)
	set.Rule(&second, nil, bound)
	nearToo, distsToo := set.Measure(&second, bound)
	return followed{fresh, slices.Clone(near), slices.Clone(dists), words, append(slices.Clone(nearToo), uint32(len(distsToo)))}
}

func (e followed) equal(o followed) bool {
	return slices.Equal(e.fresh, o.fresh) && slices.Equal(e.near, o.near) && slices.Equal(e.dists, o.dists) && slices.Equal(e.words, o.words) && slices.Equal(e.second, o.second)
}

// randomStep makes a node's links, some of them visited, beyond the end, or none, and a bound.
func randomStep(rng *rand.Rand, n int) (links []uint32, visited []uint64, bound float32) {
	visited = make([]uint64, n/64+1)
	visited[0] = 1
	for range n / 3 {
		s := rng.IntN(n)
		visited[s/64] |= 1 << (s % 64)
	}
	links = make([]uint32, 1+rng.IntN(MaxLinks))
	for i := range links {
		links[i] = uint32(rng.IntN(n + n/10))
	}
	clear(links[rng.IntN(len(links)+1):])
	bound = float32(math.Inf(1))
	if rng.IntN(4) > 0 {
		bound = float32(rng.NormFloat64() * 10)
	}
	return links, visited, bound
}

func compareSteps(t *testing.T, rng *rand.Rand, dim, n int) {
	t.Helper()
	recs := table(rng, dim, n)
	var q Query
	reference().SetVector(&q, gauss(rng, dim), Form{rng.Float32(), 1e-2})
	for range 4 {
		links, visited, bound := randomStep(rng, n)
		want := follow(reference(), &q, recs, n, links, visited, bound)
		for _, s := range Available() {
			if got := follow(s, &q, recs, n, links, visited, bound); !got.equal(want) {
				t.Fatalf("%s: dimension %d, %d links, bound %v: %v, want %v", s.Name, dim, len(links), bound, got, want)
			}
		}
	}
}

func TestStepsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, dim := range []int{2, 50, 64, 65, 128, 129, 256, 300, 768, 4096} {
		compareSteps(t, rng, dim, 200)
	}
}

func FuzzSteps(f *testing.F) {
	f.Add(uint64(1), uint16(50), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, dim uint16, n uint8) {
		compareSteps(t, rand.New(rand.NewPCG(seed, 1)), 2+int(dim)%4095, 2+int(n))
	})
}

// A step keeps what is near: all that is below a bound of +Inf, and of a bound in the middle all but a few.
func TestStepsKeepWhatIsNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	const n = 2000
	for _, dim := range []int{32, 128, 256} {
		recs := table(rng, dim, n)
		var q Query
		reference().SetVector(&q, gauss(rng, dim), Form{0, 1e-3})
		all, dists := make([]Record, n), make([]float32, n)
		for i := range all {
			all[i] = recs.At(uint32(i))
		}
		reference().Batch(&q, all, dists)
		median := slices.Sorted(slices.Values(dists))[n/2]
		below, kept := 0, 0
		for at := 1; at+100 <= n; at += 100 {
			links := make([]uint32, 100)
			for i := range links {
				if links[i] = uint32(at + i); dists[at+i] < median {
					below++
				}
			}
			visited := make([]uint64, n/64+1)
			if e := follow(Available()[0], &q, recs, n, links, visited, float32(math.Inf(1))); len(e.near) != 100 {
				t.Fatalf("dimension %d: %d of 100 are kept without a bound", dim, len(e.near))
			}
			e := follow(Available()[0], &q, recs, n, links, visited, median)
			kept += len(e.near)
			for i, s := range e.near {
				if e.dists[i] != dists[s] || dists[s] >= median {
					t.Fatalf("dimension %d: record %d is kept at %v, its distance is %v, the bound %v", dim, s, e.dists[i], dists[s], median)
				}
			}
		}
		if lost := below - kept; lost > below/50 || dim <= blockSize && lost > 0 {
			t.Errorf("dimension %d: %d of %d below the bound are lost", dim, lost, below)
		}
	}
}

// TestNearest compares the list with a sorted one.
func TestNearest(t *testing.T) {
	for _, set := range Available() {
		rng := rand.New(rand.NewPCG(8, 8))
		for _, limit := range []int{1, 2, 15, 16, 17, 100, 1000} {
			var l Nearest
			for range 2 {
				l.Reset(limit)
				type entry struct {
					d    float32
					slot uint32
				}
				var want []entry
				for i := range uint32(3 * limit) {
					d := float32(rng.IntN(2 * limit))
					if d >= l.Bound() {
						continue
					}
					at, _ := slices.BinarySearchFunc(want, d, func(e entry, d float32) int {
						if e.d <= d {
							return -1
						}
						return 1
					})
					want = slices.Insert(want, at, entry{d, i})
					want = want[:min(limit, len(want))]
					if got := set.Insert(&l, d, i); got != at {
						t.Fatalf("%s: inserted at %d, want %d", set.Name, got, at)
					}
				}
				for i, e := range want {
					if l.Len() != len(want) || l.Dists()[i] != e.d || l.Slots()[i] != e.slot {
						t.Fatalf("%s: limit %d, place %d of %d: %v %v, want %v", set.Name, limit, i, l.Len(), l.Dists()[i], l.Slots()[i], e)
					}
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, set := range Available() {
		for _, n := range []int{1, 5, 8, 16, 24, 32, 128} {
			links := make([]atomic.Uint32, n)
			for i := range links {
				links[i].Store(uint32(i + 1))
			}
			for i := range n {
				if got := set.Find(links, uint32(i+1)); got != i {
					t.Errorf("%s: %d of %d links is found at %d", set.Name, i, n, got)
				}
			}
			if got := set.Find(links, uint32(n+1)); got != -1 {
				t.Errorf("%s: what is not there is found at %d", set.Name, got)
			}
		}
	}
}
