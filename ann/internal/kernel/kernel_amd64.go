package kernel

import (
	"golang.org/x/sys/cpu"
	"unsafe"
)

// assembly returns the implementations in assembly that this processor can run, the fastest first.
func assembly() (sets []*Set) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VNNI &&
		cpu.X86.HasBMI1 && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT {
		sets = append(sets, &Set{Name: "avx512", Dot: dot512, L2: l2512, Batch: batch512, Halves: halves512, Decode: decode512,
			Gather: gather, Rule: rule512, Measure: measure512, Fetch: fetchLines, Find: find, signed: signed512, sums: sums512, Insert: insert512, seek: seek512, below: belowAVX512, compact: compactAVX512, packs: true})
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasF16C && cpu.X86.HasBMI1 && cpu.X86.HasBMI2 {
		sets = append(sets, &Set{Name: "avx2", Dot: dot256, L2: l2256, Batch: batch256, Halves: halves256, Decode: decode256,
			Gather: gather, Rule: rule256, Measure: measure256, Fetch: fetchLines, Find: find, signed: signed256, sums: sums256, Insert: insertGo, seek: seek256, below: belowGo, compact: compactGo})
	}
	return sets
}

func dot512(a, b []float32) float32 { return dotAVX512(&a[0], &b[0], len(a)) }
func l2512(a, b []float32) float32  { return l2AVX512(&a[0], &b[0], len(a)) }
func dot256(a, b []float32) float32 { return dotAVX2(&a[0], &b[0], len(a)) }
func l2256(a, b []float32) float32  { return l2AVX2(&a[0], &b[0], len(a)) }

func batch512(q *Query, records []Record, out []float32) {
	if len(records) > 0 {
		_ = out[len(records)-1]
		blocks := planeBlocks(q.dim)
		batchAVX512(&q.codes[0], blocks*blockSize, max(1, 2*blocks), q.offset, q.Bias, q.base, q.weight, &records[0], len(records), &out[0])
	}
}

func batch256(q *Query, records []Record, out []float32) {
	if len(records) > 0 {
		_ = out[len(records)-1]
		blocks := planeBlocks(q.dim)
		batchAVX2(&q.codes[0], blocks*blockSize, max(1, 2*blocks), q.offset, q.Bias, q.base, q.weight, &records[0], len(records), &out[0])
	}
}

func seek512(seekers *[4]*Seeker, p *Panel) { seekAVX512(seekers, p) }
func seek256(seekers *[4]*Seeker, p *Panel) { seekWith(batch256, seekers, p) }

func signed512(dst []int8, codes unsafe.Pointer, dim int) {
	if plane := planeBlocks(dim) * blockSize; plane > 0 {
		signedAVX512(&dst[0], codes, plane)
	} else {
		signedGo(dst, codes, dim)
	}
}

func signed256(dst []int8, codes unsafe.Pointer, dim int) {
	if plane := planeBlocks(dim) * blockSize; plane > 0 {
		signedAVX2(&dst[0], codes, plane)
	} else {
		signedGo(dst, codes, dim)
	}
}

func sums512(codes []int8) (sum, squares int32) { return sumsAVX512(&codes[0], len(codes)) }
func sums256(codes []int8) (sum, squares int32) { return sumsAVX2(&codes[0], len(codes)) }

// In all of these n is a multiple of Lanes, and at least one Lanes.

//go:noescape
func dotAVX512(a, b *float32, n int) float32

//go:noescape
func l2AVX512(a, b *float32, n int) float32

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func l2AVX2(a, b *float32, n int) float32

//go:noescape
func batchAVX512(q *int8, plane, lines int, offset int32, bias, base, weight float32, records *Record, n int, out *float32)

//go:noescape
func batchAVX2(q *int8, plane, lines int, offset int32, bias, base, weight float32, records *Record, n int, out *float32)

//go:noescape
func signedAVX512(dst *int8, codes unsafe.Pointer, plane int)

//go:noescape
func signedAVX2(dst *int8, codes unsafe.Pointer, plane int)

//go:noescape
func sumsAVX512(codes *int8, n int) (sum, squares int32)

//go:noescape
func sumsAVX2(codes *int8, n int) (sum, squares int32)

//go:noescape
func seekAVX512(seekers *[4]*Seeker, p *Panel)

//go:noescape
func belowAVX512(dists *float32, n int, bound float32) int

//go:noescape
func compactAVX512(dists *float32, slots *uint32, n int, bound float32) int
