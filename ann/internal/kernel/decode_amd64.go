package kernel

func halves512(dst []float32, src []uint16, scale float32) {
	halvesAVX512(&dst[0], &src[:len(dst)][0], len(dst), scale)
}

func halves256(dst []float32, src []uint16, scale float32) {
	halvesAVX2(&dst[0], &src[:len(dst)][0], len(dst), scale)
}

func bytes512(dst []float32, src *byte, scale float32) { bytesAVX512(&dst[0], src, len(dst), scale) }
func bytes256(dst []float32, src *byte, scale float32) { bytesAVX2(&dst[0], src, len(dst), scale) }

// In all of these n is a multiple of Lanes, and at least one Lanes.

//go:noescape
func halvesAVX512(dst *float32, src *uint16, n int, scale float32)

//go:noescape
func halvesAVX2(dst *float32, src *uint16, n int, scale float32)

//go:noescape
func bytesAVX512(dst *float32, src *byte, n int, scale float32)

//go:noescape
func bytesAVX2(dst *float32, src *byte, n int, scale float32)
