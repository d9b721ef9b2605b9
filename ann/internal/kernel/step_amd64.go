package kernel

import (
	"sync/atomic"
	"unsafe"
)

func gather(s *Step, links []atomic.Uint32, fresh []uint32) int {
	s.slots = &fresh[:len(links)][0]
	s.n = gatherLinks(s, (*uint32)(unsafe.Pointer(&links[0])), len(links))
	return s.n
}

func rule512(s, next *Step, bound float32) {
	if s == nil || s.planes == 0 || s.n == 0 {
		ask(next)
		return
	}
	s.bound = bound
	s.n = ruleAVX512(s, next)
	s.slots = &s.kept[0]
}

func measure512(s *Step, bound float32) ([]uint32, []float32) {
	if s.n == 0 {
		return nil, nil
	}
	s.bound = bound
	n := measureAVX512(s)
	return s.nearSlots[:n], s.near[:n]
}

func rule256(s, next *Step, bound float32) {
	ask(next)
	if s != nil && s.planes > 0 && s.n > 0 {
		s.bound = bound
		s.n = ruleAVX2(s)
		s.slots = &s.kept[0]
	}
}

func measure256(s *Step, bound float32) ([]uint32, []float32) {
	if s.n == 0 {
		return nil, nil
	}
	measureAVX2(s)
	return s.under(bound)
}

func find(links []atomic.Uint32, slot uint32) int {
	if len(links)%8 != 0 || len(links) == 0 {
		return findGo(links, slot)
	}
	return findAVX2((*uint32)(unsafe.Pointer(&links[0])), len(links), slot)
}

// gatherLinks reads links, writes the slots that were not visited to s.slots and their entries to s.entries, and returns
// how many they are.
//
//go:noescape
func gatherLinks(s *Step, links *uint32, n int) int

// ask asks for the memory of the entries of s, which may be nil: their heads, and as much of their codes as comes first.
//
//go:noescape
func ask(s *Step)

// ruleAVX512 moves the entries and slots that are roughly below s.bound to s.entries and s.kept, and returns how many
// they are. There is at least one, and its codes are split. Between them it does what ask does for next,
// whose codes are split too.
//
//go:noescape
func ruleAVX512(s, next *Step) int

//go:noescape
func ruleAVX2(s *Step) int

// measureAVX512 writes the slots below s.bound to s.nearSlots and their distances to s.near, and returns how many they
// are. There is at least one.
//
//go:noescape
func measureAVX512(s *Step) int

// measureAVX2 writes the distances of all that is left to s.dists.
//
//go:noescape
func measureAVX2(s *Step)

// findAVX2 returns the place of slot among n links, a multiple of 8, or -1.
//
//go:noescape
func findAVX2(links *uint32, n int, slot uint32) int

//go:noescape
func fetchLines(p unsafe.Pointer, n int)
