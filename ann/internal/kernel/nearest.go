package kernel

import "math"

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
	need := limit + 2*vectorSlack
	if len(l.dists) < need {
		l.dists, l.slots = make([]float32, need), make([]uint32, need)
	}
	l.n, l.limit = 0, limit
	inf := float32(math.Inf(1))
	for i := range l.dists[:need] {
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
