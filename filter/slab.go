package filter

import "math/bits"

// slab is a heap for small arrays of T (bytes, uint32), addressed by a 4-byte ref
// and free of pointers but for its chunks, so that millions of them cost the
// garbage collector nothing. Sizes are rounded up to classes, four to an octave;
// a freed array goes to the list of its class and is used again as it is.
//
// A ref counts granules of unit elements: chunk number in the high 16 bits, place
// in the chunk in the low 16. Ref 0 is never given out.
type slab[T any] struct {
	unit   int // elements in a granule
	chunks [][]T
	cur    int // chunk that new arrays are cut from
	top    int // granules of it that are used
	free   [][]uint32
	big    []uint32 // numbers of freed chunks that held one large array
}

const (
	slabChunk  = 1 << 16 // granules in a chunk
	slabBig    = 1 << 12 // arrays above this have a chunk of their own
	slabChunks = 1 << 16 // chunks that a ref can name
	slabFirst  = 64      // granules that the first chunk starts with

	slabReserve = 4096 // chunks kept for the document being added
)

// class returns the size class of g ≥ 1 granules and the size it is rounded to.
func class(g int) (class, size int) {
	s := max(0, bits.Len(uint(g-1))-3)
	q := (g - 1) >> s
	return s*4 + q + 1, (q + 1) << s
}

// full reports whether so little is left of the 2^32 granules that the next
// document might not fit. Whoever allocates asks first.
func (s *slab[T]) full() bool { return len(s.chunks) > slabChunks-slabReserve }

// alloc returns room for n ≥ 1 elements, their contents undefined.
func (s *slab[T]) alloc(n int) uint32 {
	g := (n + s.unit - 1) / s.unit
	if g > slabBig {
		return s.allocBig(g)
	}
	c, size := class(g)
	if c < len(s.free) {
		if list := s.free[c]; len(list) > 0 {
			s.free[c] = list[:len(list)-1]
			return list[len(list)-1]
		}
	}
	if len(s.chunks) == 0 {
		s.chunks, s.top = [][]T{make([]T, slabFirst*s.unit)}, 1
	}
	if s.top+size > slabChunk {
		s.cur, s.top = s.addChunk(slabChunk), 0
	}
	ref := uint32(s.cur<<16 | s.top)
	s.top += size
	// Only the first chunk is ever short: it grows by doubling, so that an index of
	// ten documents stays small.
	if have := len(s.chunks[s.cur]); s.top*s.unit > have {
		grown := make([]T, min(slabChunk*s.unit, max(2*have, s.top*s.unit)))
		copy(grown, s.chunks[s.cur])
		s.chunks[s.cur] = grown
	}
	return ref
}

func (s *slab[T]) allocBig(g int) uint32 {
	if len(s.chunks) == 0 {
		s.alloc(1) // ref 0, chunk 0 stay with the small
	}
	if k := len(s.big); k > 0 {
		n := s.big[k-1]
		s.big = s.big[:k-1]
		s.chunks[n] = make([]T, g*s.unit)
		return n << 16
	}
	return uint32(s.addChunk(g) << 16)
}

func (s *slab[T]) addChunk(granules int) int {
	s.chunks = append(s.chunks, make([]T, granules*s.unit))
	return len(s.chunks) - 1
}

// at returns the n elements of ref. The slice is good until the next alloc.
func (s *slab[T]) at(ref uint32, n int) []T {
	i := int(ref&(slabChunk-1)) * s.unit
	return s.chunks[ref>>16][i : i+n : i+n]
}

// release gives back the room of n elements at ref.
func (s *slab[T]) release(ref uint32, n int) {
	g := (n + s.unit - 1) / s.unit
	if g > slabBig {
		s.chunks[ref>>16] = nil
		s.big = append(s.big, ref>>16)
		return
	}
	c, _ := class(g)
	for c >= len(s.free) {
		s.free = append(s.free, nil)
	}
	s.free[c] = append(s.free[c], ref)
}

// resize makes room for n elements where there was room for old, keeping the
// first min(n, old), and returns the new ref.
func (s *slab[T]) resize(ref uint32, old, n int) uint32 {
	oldG, newG := (old+s.unit-1)/s.unit, (n+s.unit-1)/s.unit
	if oldG == newG {
		return ref
	}
	if oldG <= slabBig && newG <= slabBig {
		c, _ := class(oldG)
		if d, _ := class(newG); c == d {
			return ref
		}
	}
	next := s.alloc(n)
	copy(s.at(next, n), s.at(ref, old))
	s.release(ref, old)
	return next
}

// elements counts the elements that memory is held for.
func (s *slab[T]) elements() int {
	n := 0
	for _, c := range s.chunks {
		n += len(c)
	}
	return n
}
