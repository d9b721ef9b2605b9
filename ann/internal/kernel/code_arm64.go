package kernel

import (
	"math"
	"unsafe"
)

func batchSDOT(q *Query, records []Record, out []float32) {
	if len(records) > 0 {
		out = out[:len(records)]
		dotsSDOT(&q.codes[0], planeBlocks(q.dim), &records[0], len(records), integers(out))
		q.distances(records, out)
	}
}

func batchNEON(q *Query, records []Record, out []float32) {
	if len(records) > 0 {
		out = out[:len(records)]
		dotsNEON(&q.codes[0], planeBlocks(q.dim), &records[0], len(records), integers(out))
		q.distances(records, out)
	}
}

// integers returns the memory of out for the integers that become distances.
func integers(out []float32) *int32 { return (*int32)(unsafe.Pointer(&out[0])) }

// distances replaces inner products, which out holds as integers, by distances.
func (q *Query) distances(records []Record, out []float32) {
	for i, r := range records {
		out[i] = q.distance(r.Head, float32(int32(math.Float32bits(out[i]))))
	}
}

// ask asks for the memory that the next part of s, which may be nil, needs.
func ask(s *Step) {
	if s == nil {
		return
	}
	for _, r := range s.list() {
		fetchLines(unsafe.Pointer(r.Head), blockSize)
		fetchLines(r.Codes, s.lines*blockSize)
	}
}

// list returns the records of the slots that are left.
func (s *Step) list() []Record {
	list := unsafe.Slice((*Record)(unsafe.Pointer(&s.entries[0])), len(s.entries)/2)[:s.n]
	for i, slot := range s.left() {
		list[i] = s.records.At(slot)
	}
	return list
}

func ruleSDOT(s, next *Step, bound float32) {
	ask(next)
	if s != nil && s.planes > 0 && s.n > 0 {
		list := s.list()
		upperSDOT(s.query, s.planes, &list[0], s.n, integers(s.dists[:]))
		s.keepRough(list, bound)
	}
}

func ruleNEON(s, next *Step, bound float32) {
	ask(next)
	if s != nil && s.planes > 0 && s.n > 0 {
		list := s.list()
		upperNEON(s.query, s.planes, &list[0], s.n, integers(s.dists[:]))
		s.keepRough(list, bound)
	}
}

// keepRough keeps the slots that are roughly below bound, and asks for the lower halves of their codes. The sums in
// s.dists are of codes less zeroCode, those that Query.rough completes are of whole ones.
func (s *Step) keepRough(list []Record, bound float32) {
	n := 0
	for i, slot := range s.left() {
		dot := float32(int32(math.Float32bits(s.dists[i])) + s.offset)
		if s.q.distance(list[i].Head, dot+s.rough) < bound {
			s.kept[n] = slot
			n++
			fetchLines(unsafe.Add(list[i].Codes, s.planes*blockSize), s.planes*blockSize)
		}
	}
	s.slots, s.n = &s.kept[0], n
}

func measureSDOT(s *Step, bound float32) ([]uint32, []float32) {
	batchSDOT(s.q, s.list(), s.dists[:s.n])
	return s.under(bound)
}

func measureNEON(s *Step, bound float32) ([]uint32, []float32) {
	batchNEON(s.q, s.list(), s.dists[:s.n])
	return s.under(bound)
}

func signedNEON(dst []int8, codes unsafe.Pointer, dim int) {
	if planes := planeBlocks(dim); planes > 0 {
		signedPlanes(&dst[:planes*pairSize][0], planes, codes)
		return
	}
	signedGo(dst, codes, dim)
}

func sumsOf(codes []int8) (sum, squares int32) { return sumsNEON(&codes[0], len(codes)) }

// dotsSDOT writes the sums of products of q with the codes, less zeroCode, of n records, at least one. uppers do the
// same with codes whose lower halves are taken as zero; their codes are split.
//
//go:noescape
func dotsSDOT(q *int8, planes int, records *Record, n int, out *int32)

//go:noescape
func dotsNEON(q *int8, planes int, records *Record, n int, out *int32)

//go:noescape
func upperSDOT(q *int8, planes int, records *Record, n int, out *int32)

//go:noescape
func upperNEON(q *int8, planes int, records *Record, n int, out *int32)

// signedPlanes writes codes that are split to dst, in order of components and less zeroCode.
//
//go:noescape
func signedPlanes(dst *int8, planes int, codes unsafe.Pointer)

// sumsNEON returns the sums of the n codes, from -127 to 127, and of their squares. There are 64 or a multiple of that.
//
//go:noescape
func sumsNEON(codes *int8, n int) (sum, squares int32)

// fetchLines asks for the memory of n bytes, one line at least.
//
//go:noescape
func fetchLines(p unsafe.Pointer, n int)
