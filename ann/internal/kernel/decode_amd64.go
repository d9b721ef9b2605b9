package kernel

func halves512(dst []float32, src []uint16, scale float32) {
	halvesAVX512(&dst[0], &src[:len(dst)][0], len(dst), scale)
}

func halves256(dst []float32, src []uint16, scale float32) {
	halvesAVX2(&dst[0], &src[:len(dst)][0], len(dst), scale)
}

func decode512(dst []float32, r Record, dim int) {
	var codes [pairSize]byte
	for at := 0; at < dim; at += pairSize {
		part := dst[at:min(len(dst), at+pairSize)]
		bytesAVX512(&part[0], r.pair(&codes, at, dim), len(part), r.Head.Scale)
	}
	clear(dst[dim:])
}

func decode256(dst []float32, r Record, dim int) {
	var codes [pairSize]byte
	for at := 0; at < dim; at += pairSize {
		part := dst[at:min(len(dst), at+pairSize)]
		bytesAVX2(&part[0], r.pair(&codes, at, dim), len(part), r.Head.Scale)
	}
	clear(dst[dim:])
}

// In all of these n is a multiple of Lanes, and at least one Lanes.

//go:noescape
func halvesAVX512(dst *float32, src *uint16, n int, scale float32)

//go:noescape
func halvesAVX2(dst *float32, src *uint16, n int, scale float32)

//go:noescape
func bytesAVX512(dst *float32, src *byte, n int, scale float32)

//go:noescape
func bytesAVX2(dst *float32, src *byte, n int, scale float32)
