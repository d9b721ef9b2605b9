package kernel

import (
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// assembly returns the implementations in assembly that this processor can run, the fastest first. All have NEON; neondot
// uses the inner products of bytes that processors have since about 2018.
func assembly() (sets []*Set) {
	if cpu.ARM64.HasASIMDDP {
		sets = append(sets, &Set{Name: "neondot", Dot: dotFloats, L2: l2Floats, Batch: batchSDOT, Halves: halves, Bytes: decodeBytes,
			Expand: expandSDOT, Insert: insertGo})
	}
	return append(sets, &Set{Name: "neon", Dot: dotFloats, L2: l2Floats, Batch: batchNEON, Halves: halves, Bytes: decodeBytes,
		Expand: expandNEON, Insert: insertGo})
}

func dotFloats(a, b []float32) float32 { return dotNEON(&a[0], &b[0], len(a)) }
func l2Floats(a, b []float32) float32  { return l2NEON(&a[0], &b[0], len(a)) }

func halves(dst []float32, src []uint16, scale float32) {
	halvesNEON(&dst[0], &src[:len(dst)][0], len(dst), scale)
}

func decodeBytes(dst []float32, src *byte, scale float32) { bytesNEON(&dst[0], src, len(dst), scale) }

func batchSDOT(q *Query, codes []unsafe.Pointer, out []float32) {
	if len(codes) > 0 {
		out = out[:len(codes)]
		dotsSDOT(&q.codes[0], len(q.codes)/blockSize, &codes[0], recordHead, len(codes), (*int32)(unsafe.Pointer(&out[0])))
		q.distances(codes, out)
	}
}

func batchNEON(q *Query, codes []unsafe.Pointer, out []float32) {
	if len(codes) > 0 {
		out = out[:len(codes)]
		dotsNEON(&q.codes[0], len(q.codes)/blockSize, &codes[0], recordHead, len(codes), (*int32)(unsafe.Pointer(&out[0])))
		q.distances(codes, out)
	}
}

// distances replaces inner products, which out holds as integers, by distances.
func (q *Query) distances(records []unsafe.Pointer, out []float32) {
	for i, r := range records {
		head := (*[2]float32)(r)
		out[i] = q.distance(head[0], head[1], int32(math.Float32bits(out[i])))
	}
}

func expandSDOT(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	visited = s.unvisited(links, fresh)
	batchSDOT(s.q, s.records(visited), s.dists[:visited])
	return visited, s.under(fresh[:visited], bound)
}

func expandNEON(s *Step, links []atomic.Uint32, bound float32, fresh []uint32) (visited, near int) {
	visited = s.unvisited(links, fresh)
	batchNEON(s.q, s.records(visited), s.dists[:visited])
	return visited, s.under(fresh[:visited], bound)
}

// unvisited writes the links that were not visited to fresh, and the addresses of their records to s.addresses, and marks
// them as visited.
func (s *Step) unvisited(links []atomic.Uint32, fresh []uint32) (n int) {
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
		fresh[n] = slot
		s.addresses[n] = uintptr(s.codes.At(slot))
		n++
	}
	return n
}

// records returns the first n addresses. What they point to is kept alive by the table.
func (s *Step) records(n int) []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(&s.addresses[0])), n)
}

// In all of these n is a multiple of Lanes, and at least one Lanes.

//go:noescape
func dotNEON(a, b *float32, n int) float32

//go:noescape
func l2NEON(a, b *float32, n int) float32

//go:noescape
func halvesNEON(dst *float32, src *uint16, n int, scale float32)

//go:noescape
func bytesNEON(dst *float32, src *byte, n int, scale float32)

// In these n is the number of records, at least one; their codes begin head bytes after their addresses.

//go:noescape
func dotsSDOT(q *int8, blocks int, codes *unsafe.Pointer, head, n int, out *int32)

//go:noescape
func dotsNEON(q *int8, blocks int, codes *unsafe.Pointer, head, n int, out *int32)
