// Package kernel computes distances between vectors, in assembly where the processor has the instructions.
//
// There are two forms of vectors. Float vectors are padded with zeros to a multiple of Lanes components. Codes hold a
// component in a byte and are compared with a Query, many at a time. All implementations return the same bits: integer
// sums are exact, and float sums are added up in one fixed order, without fusing a multiplication with an addition.
//
// The package does not know metrics, slots or graphs.
package kernel

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"unsafe"
)

// Env names the environment variable that forces an implementation: go, avx2, avx512, neon or
// neondot.
const Env = "FRESHET_KERNEL"

// Set is an implementation of all kernels.
type Set struct {
	Name string
	// Dot returns the inner product of two float vectors of the same padded length.
	Dot func(a, b []float32) float32
	// L2 returns the squared Euclidean distance of two float vectors of the same padded length.
	L2 func(a, b []float32) float32
	// Batch writes the distances from q to records into out, which is as long.
	Batch func(q *Query, records []Record, out []float32)
	// Halves sets dst[i] to the number of the half src[i], which is finite, times scale. Both are padded and as long.
	Halves func(dst []float32, src []uint16, scale float32)
	// Decode sets dst, which is padded, to the vector of dim components that a record stands for.
	Decode func(dst []float32, r Record, dim int)
	// Gather, Rule and Measure are the parts of a Step. Gather takes the links of a node, at least one and MaxLinks at
	// most, writes the slots that were not visited to fresh, which has room for all links and stays as it is until
	// Measure, marks them as visited and returns how many they are. Rule also asks for the memory that the Rule of next
	// needs, a little at a time: a processor that is asked for more than it can fetch at once waits. Either step may be nil.
	// Measure returns the slots that are below bound and their distances, valid until the next Gather.
	Gather  func(s *Step, links []atomic.Uint32, fresh []uint32) int
	Rule    func(s, next *Step, bound float32)
	Measure func(s *Step, bound float32) (slots []uint32, dists []float32)
	// signed writes the codes of a record of dim components to dst, in their order and less zeroCode. sums returns Σ c and
	// Σ c² of codes, of which there is a multiple of 64.
	signed func(dst []int8, codes unsafe.Pointer, dim int)
	sums   func(codes []int8) (sum, squares int32)
	// Find returns the place of slot among links, or -1. It may look at links behind one that is zero.
	Find func(links []atomic.Uint32, slot uint32) int
	// Fetch asks for the memory of n bytes, one line at least, without waiting for it.
	Fetch func(p unsafe.Pointer, n int)
	// Insert adds a slot at a distance below l.Bound() behind those that are as near, drops the farthest when the list is
	// full, and returns the place.
	Insert func(l *Nearest, d float32, slot uint32) int
	// seek shows a panel to four seekers: see Ask.
	seek func(seekers *[4]*Seeker, p *Panel)
	// below returns how many of n distances are below bound. compact keeps these, and their slots.
	below   func(dists *float32, n int, bound float32) int
	compact func(dists *float32, slots *uint32, n int, bound float32) int
	packs   bool // seek reads the codes of a panel, not its records
}

// Choose returns the implementation that the environment variable Env names, or the fastest that the processor has.
func Choose() (*Set, error) {
	sets := Available()
	name := os.Getenv(Env)
	if name == "" {
		return sets[0], nil
	}
	names := make([]string, len(sets))
	for i, s := range sets {
		if s.Name == name {
			return s, nil
		}
		names[i] = s.Name
	}
	return nil, fmt.Errorf("%s is %q: this processor has %s", Env, name, strings.Join(names, ", "))
}

// Available returns the implementations that run on this processor, the fastest first. The last is plain Go.
func Available() []*Set {
	return append(assembly(), &Set{Name: "go", Dot: dotGo, L2: l2Go, Batch: batchGo, Halves: halvesGo, Decode: decodeGo,
		Gather: gatherGo, Rule: ruleGo, Measure: measureGo, Fetch: fetchGo, Find: findGo, signed: signedGo, sums: sumsGo, Insert: insertGo, seek: seekGo, below: belowGo, compact: compactGo})
}

func fetchGo(unsafe.Pointer, int) {}

func findGo(links []atomic.Uint32, slot uint32) int {
	for i := range links {
		if links[i].Load() == slot {
			return i
		}
	}
	return -1
}
