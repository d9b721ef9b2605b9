package kernel

import (
	"sync/atomic"
	"unsafe"
)

// MaxLinks is the largest number of links that a Step follows at once.
const MaxLinks = 128

// vectorSlack is how many elements beyond the last the kernels may write in the lists of a Step or a Nearest.
const vectorSlack = 16

// roughMargin is how many standard deviations of its error a rough distance is lowered by before it is held against the
// bound: a record is ruled out when it is as far as that.
const roughMargin = 1.5

// Step follows the links of one node of a walk in three parts, before each of which the memory that it needs was asked for:
// so a walk that has several steps at different parts at hand hardly waits. Gather leaves out what was visited. Rule
// rules records out by the upper halves of their codes, with the mean of the lower ones for these; one in fifteen of
// those that are just below the bound is lost so. Measure reads the rest whole, and keeps what is below the bound. One
// goroutine uses a step.
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
	lines      int // of codes that Rule looks at, or Measure where codes are not split
	words      *uint64
	end        uint32
	bound      float32
	slots      *uint32 // what is left, n of them
	n          int

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
	s.offset, s.bias, s.base, s.weight, s.rough = q.offset, q.Bias, q.base, q.weight, q.rough
	s.lines = max(1, s.planes)
	s.codes, s.heads, s.codeStride = &records.Codes.biased[0], &records.Heads.biased[0], records.Codes.Stride
}

// Visit makes the step know what was visited: words has a bit for every slot below end.
func (s *Step) Visit(words []uint64, end uint32) {
	s.visited, s.words, s.end = words, &words[0], end
}

// Take stands for Gather where slots, MaxLinks at most, come from elsewhere. They must stay as they are until Measure.
func (s *Step) Take(slots []uint32) {
	for i, slot := range slots {
		r := s.records.At(slot)
		s.entries[2*i], s.entries[2*i+1] = uintptr(unsafe.Pointer(r.Head)), uintptr(r.Codes)
	}
	s.slots, s.n = &slots[0], len(slots)
}

// left returns the slots that are left.
func (s *Step) left() []uint32 { return unsafe.Slice(s.slots, s.n) }

// gatherGo is Set.Gather in Go. It reads the links one by one, each atomically.
func gatherGo(s *Step, links []atomic.Uint32, fresh []uint32) int {
	n := 0
	for i := range links {
		slot := links[i].Load()
		if slot >= s.end {
			continue
		}
		w, bit := &s.visited[slot>>6], uint64(1)<<(slot&63)
		if *w&bit == 0 {
			*w |= bit
			fresh[n] = slot
			n++
		}
	}
	s.slots, s.n = &fresh[0], n
	return n
}

// ruleGo is Set.Rule in Go.
func ruleGo(s, next *Step, bound float32) {
	if s == nil || s.planes == 0 {
		return
	}
	n := 0
	for _, slot := range s.left() {
		if s.q.roughly(s.records.At(slot)) < bound {
			s.kept[n] = slot
			n++
		}
	}
	s.slots, s.n = &s.kept[0], n
}

// measureGo is Set.Measure in Go.
func measureGo(s *Step, bound float32) ([]uint32, []float32) {
	for i, slot := range s.left() {
		batchGo(s.q, []Record{s.records.At(slot)}, s.dists[i:i+1])
	}
	return s.under(bound)
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

// under returns the slots that are left whose distance is below the bound, and their distances.
func (s *Step) under(bound float32) ([]uint32, []float32) {
	n := 0
	for i, slot := range s.left() {
		if d := s.dists[i]; d < bound {
			s.near[n], s.nearSlots[n] = d, slot
			n++
		}
	}
	return s.nearSlots[:n], s.near[:n]
}
