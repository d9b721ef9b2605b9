package kernel

import (
	"math"
	"sync/atomic"
	"unsafe"
)

// MaxLinks is the largest number of links that a Step follows at once.
const MaxLinks = 128

// vectorSlack is how many elements beyond the last the kernels may write in the lists of a Step or a Nearest.
const vectorSlack = 16

// Step follows the links of one node of a walk: it leaves out what was visited, measures the rest, and keeps what is
// nearer than a bound. One goroutine uses it.
//
// Slots count as visited whose bit is set in the visited words, and all from the end on. Bit 0 must be set: links that
// are zero stand for none.
type Step struct {
	query  *int8
	blocks int
	offset int32
	bias   float32
	base   float32
	weight float32

	biased *uintptr
	stride uintptr
	words  *uint64
	end    uint32
	bound  float32
	fresh  *uint32

	addresses [MaxLinks + 4]uintptr
	dists     [MaxLinks + vectorSlack]float32
	near      [MaxLinks + vectorSlack]float32
	nearSlots [MaxLinks + vectorSlack]uint32

	q     *Query // for the implementation in Go
	codes *Table
	set   []uint64
}

// Aim makes the step compare with q the records of a table, which must not be the table of another record size.
func (s *Step) Aim(q *Query, records *Table) {
	s.q, s.codes = q, records
	s.query, s.blocks = &q.codes[0], len(q.codes)/blockSize
	s.offset, s.bias, s.base, s.weight = q.offset, q.Bias, q.Base, q.weight
	s.biased, s.stride = &records.biased[0], records.Stride
}

// Visit makes the step know what was visited: words has a bit for every slot below end.
func (s *Step) Visit(words []uint64, end uint32) {
	s.set, s.words, s.end = words, &words[0], end
}

// Near returns the first n slots that Expand kept, and their distances.
func (s *Step) Near(n int) ([]uint32, []float32) { return s.nearSlots[:n], s.near[:n] }

// expandGo is Set.Expand in Go. It reads the links one by one, each atomically.
func expandGo(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	for i := range links {
		slot := links[i].Load()
		if slot >= s.end {
			continue
		}
		w, bit := &s.set[slot>>6], uint64(1)<<(slot&63)
		if *w&bit != 0 {
			continue
		}
		*w |= bit
		fresh[visited] = slot
		b := unsafe.Slice((*byte)(s.codes.At(slot)), recordHead+s.q.dim)
		s.dists[visited] = s.q.distance(float(b), float(b[4:]), dotCodes(s.q.codes[:s.q.dim], b[recordHead:])-s.q.offset)
		visited++
	}
	return visited, s.under(fresh[:visited], bound)
}

// under keeps the slots whose distance is below bound.
func (s *Step) under(slots []uint32, bound float32) (n int) {
	for i, slot := range slots {
		if d := s.dists[i]; d < bound {
			s.near[n], s.nearSlots[n] = d, slot
			n++
		}
	}
	return n
}

// Nearest is a list of slots sorted by distance, of which it keeps the nearest so many. One goroutine uses it. The
// zero value keeps none.
type Nearest struct {
	dists []float32 // beyond the last at least vectorSlack elements that are +Inf, or no less than any before them
	slots []uint32
	n     int
	limit int
}

// Reset empties the list and makes it keep limit slots.
func (l *Nearest) Reset(limit int) {
	if need := limit + 2*vectorSlack; len(l.dists) < need {
		l.dists, l.slots = make([]float32, need), make([]uint32, need)
	}
	l.n, l.limit = 0, limit
	inf := float32(math.Inf(1))
	for i := range l.dists[:limit+2*vectorSlack] {
		l.dists[i] = inf
	}
}

// Len returns the number of slots in the list.
func (l *Nearest) Len() int { return l.n }

// Bound returns the distance that a slot must be below to be inserted: +Inf while there is room.
func (l *Nearest) Bound() float32 {
	if l.n < l.limit {
		return float32(math.Inf(1))
	}
	return l.dists[l.n-1]
}

// Slots returns the list of slots, nearest first. The caller may change them.
func (l *Nearest) Slots() []uint32 { return l.slots[:l.n] }

// Dists returns the distances of Slots.
func (l *Nearest) Dists() []float32 { return l.dists[:l.n] }

// insertGo is Set.Insert in Go.
func insertGo(l *Nearest, d float32, slot uint32) int {
	lo, hi := 0, l.n
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); l.dists[mid] <= d {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	copy(l.dists[lo+1:l.n+1], l.dists[lo:l.n])
	copy(l.slots[lo+1:l.n+1], l.slots[lo:l.n])
	l.dists[lo], l.slots[lo] = d, slot
	l.n = min(l.n+1, l.limit)
	return lo
}
