package kernel

import "golang.org/x/sys/cpu"

// assembly returns the implementations in assembly that this processor can run, the fastest first. All have NEON; neondot
// uses the inner products of bytes that processors have since about 2018.
func assembly() (sets []*Set) {
	if cpu.ARM64.HasASIMDDP {
		sets = append(sets, &Set{Name: "neondot", Dot: dotFloats, L2: l2Floats, Batch: batchSDOT, Halves: halves, Decode: decodeNEON,
			Gather: gatherGo, Rule: ruleSDOT, Measure: measureSDOT, Fetch: fetchLines, Find: findGo, signed: signedNEON, sums: sumsOf, Insert: insertGo,
			seek: seekSDOT, below: belowGo, compact: compactGo})
	}
	return append(sets, &Set{Name: "neon", Dot: dotFloats, L2: l2Floats, Batch: batchNEON, Halves: halves, Decode: decodeNEON,
		Gather: gatherGo, Rule: ruleNEON, Measure: measureNEON, Fetch: fetchLines, Find: findGo, signed: signedNEON, sums: sumsOf, Insert: insertGo,
		seek: seekNEON, below: belowGo, compact: compactGo})
}

func seekSDOT(seekers *[4]*Seeker, p *Panel) { seekWith(batchSDOT, seekers, p) }
func seekNEON(seekers *[4]*Seeker, p *Panel) { seekWith(batchNEON, seekers, p) }

func dotFloats(a, b []float32) float32 { return dotNEON(&a[0], &b[0], len(a)) }
func l2Floats(a, b []float32) float32  { return l2NEON(&a[0], &b[0], len(a)) }

func halves(dst []float32, src []uint16, scale float32) {
	halvesNEON(&dst[0], &src[:len(dst)][0], len(dst), scale)
}

func decodeNEON(dst []float32, r Record, dim int) {
	var codes [pairSize]byte
	for at := 0; at < dim; at += pairSize {
		part := dst[at:min(len(dst), at+pairSize)]
		bytesNEON(&part[0], r.pair(&codes, at, dim), len(part), r.Head.Scale)
	}
	clear(dst[dim:])
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
