package kernel

import (
	"sync/atomic"
	"unsafe"
)

func expand512(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	rough := s.start(bound, fresh[:len(links)])
	return expandAVX512(s, (*uint32)(unsafe.Pointer(&links[0])), len(links), rough)
}

func expand256(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	rough := s.start(bound, fresh[:len(links)])
	visited, kept := expandAVX2(s, (*uint32)(unsafe.Pointer(&links[0])), len(links), rough)
	if rough {
		return visited, s.under(s.kept[:kept])
	}
	return visited, s.under(fresh[:visited])
}

//go:noescape
func expandAVX512(s *Step, links *uint32, n int, rough bool) (visited, near int)

//go:noescape
func expandAVX2(s *Step, links *uint32, n int, rough bool) (visited, kept int)
