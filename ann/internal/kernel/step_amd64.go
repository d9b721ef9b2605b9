package kernel

import (
	"sync/atomic"
	"unsafe"
)

func expand512(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	s.bound, s.fresh = bound, &fresh[:len(links)][0]
	return expandAVX512(s, (*uint32)(unsafe.Pointer(&links[0])), len(links))
}

func expand256(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	s.fresh = &fresh[:len(links)][0]
	visited = expandAVX2(s, (*uint32)(unsafe.Pointer(&links[0])), len(links))
	return visited, s.under(fresh[:visited], bound)
}

// longList is the length from which on a binary search finds the place in a list sooner.
const longList = 512

func insert512(l *Nearest, d float32, slot uint32) int {
	if l.n > longList {
		return insertGo(l, d, slot)
	}
	place := insertAVX512(&l.dists[0], &l.slots[0], l.n, d, slot)
	l.n = min(l.n+1, l.limit)
	return place
}

//go:noescape
func expandAVX512(s *Step, links *uint32, n int) (visited, near int)

//go:noescape
func expandAVX2(s *Step, links *uint32, n int) (visited int)

//go:noescape
func insertAVX512(dists *float32, slots *uint32, n int, d float32, slot uint32) int
