package kernel

import (
	"math"
	"sync/atomic"
)

// MaxLinks is the largest number of links that a Step follows at once.
const MaxLinks = 128

// vectorSlack is how many elements beyond the last the kernels may write in the lists of a Step or a Nearest.
const vectorSlack = 16

// roughMargin is how many standard deviations of its error a rough distance is lowered by before it is held against the
// bound: a record is ruled out when it is as far as that.
const roughMargin = 1.5

// Step follows the links of one node of a walk: it leaves out what was visited, measures the rest, and keeps what is
// nearer than a bound. One goroutine uses it.
//
// Records whose codes are split are measured by the upper halves first, with the mean of the lower ones for these; only
// those that may be below the bound are read whole. One in fifteen of those that are just below it is lost so.
//
// Slots count as visited whose bit is set in the visited words, and all from the end on. Bit 0 must be set: links that
// are zero stand for none.
type Step struct {
	query  *int8
	planes int // blocks of a plane, or 0
	offset int32
	bias   float32
	base   float32
	weight float32
	rough  float32

	codes      *uintptr // biased addresses of chunks
	heads      *uintptr
	codeStride uintptr
	words      *uint64
	end        uint32
	bound      float32
	fresh      *uint32
	lines      int // of codes that are read of every record

	entries   [2 * (MaxLinks + 4)]uintptr // head and codes of each
	kept      [MaxLinks + vectorSlack]uint32
	dists     [MaxLinks + vectorSlack]float32
	near      [MaxLinks + vectorSlack]float32
	nearSlots [MaxLinks + vectorSlack]uint32

	q       *Query // for the implementation in Go
	records Records
	visited []uint64
}

// Records is a table of records of one number of components: of their codes, and of their heads.
type Records struct{ Codes, Heads *Table }

// At returns record i, whose chunks must have their memory.
func (t Records) At(i uint32) Record { return Record{(*Head)(t.Heads.At(i)), t.Codes.At(i)} }

// Aim makes the step compare records with q.
func (s *Step) Aim(q *Query, records Records) {
	s.q, s.records = q, records
	s.query, s.planes = &q.codes[0], planeBlocks(q.dim)
	s.offset, s.bias, s.base, s.weight, s.rough = q.offset, q.Bias, q.Base, q.weight, q.rough
	s.codes, s.heads, s.codeStride = &records.Codes.biased[0], &records.Heads.biased[0], records.Codes.Stride
}

// Visit makes the step know what was visited: words has a bit for every slot below end.
func (s *Step) Visit(words []uint64, end uint32) {
	s.visited, s.words, s.end = words, &words[0], end
}

// Near returns the first n slots that Expand kept, and their distances.
func (s *Step) Near(n int) ([]uint32, []float32) { return s.nearSlots[:n], s.near[:n] }

// start notes what an implementation in assembly needs besides the links. It reports whether records are ruled out by
// their upper halves.
func (s *Step) start(bound float32, fresh []uint32) (rough bool) {
	s.bound, s.fresh = bound, &fresh[0]
	rough = s.planes > 0 && bound <= math.MaxFloat32
	switch {
	case rough:
		s.lines = s.planes
	default:
		s.lines = max(1, 2*s.planes)
	}
	return rough
}

// expandGo is Set.Expand in Go. It reads the links one by one, each atomically.
func expandGo(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	rough := s.start(bound, fresh)
	kept := 0
	for i := range links {
		slot := links[i].Load()
		if slot >= s.end {
			continue
		}
		w, bit := &s.visited[slot>>6], uint64(1)<<(slot&63)
		if *w&bit != 0 {
			continue
		}
		*w |= bit
		fresh[visited] = slot
		visited++
		r := s.records.At(slot)
		if rough && !(s.q.roughly(r) < bound) {
			continue
		}
		s.kept[kept] = slot
		batchGo(s.q, []Record{r}, s.dists[kept:kept+1])
		kept++
	}
	return visited, s.under(s.kept[:kept])
}

// roughly returns the distance by the upper halves of codes, less the margin.
func (q *Query) roughly(r Record) float32 {
	var room [512]byte
	codes := append(room[:0], make([]byte, len(q.codes))...)
	r.unpack(codes, q.dim)
	for i := range codes {
		codes[i] &= 0xf0
	}
	return q.distance(r.Head, float32(dotCodes(q.codes, codes))+q.rough)
}

// under keeps the slots whose distance is below the bound.
func (s *Step) under(slots []uint32) (n int) {
	for i, slot := range slots {
		if d := s.dists[i]; d < s.bound {
			s.near[n], s.nearSlots[n] = d, slot
			n++
		}
	}
	return n
}
