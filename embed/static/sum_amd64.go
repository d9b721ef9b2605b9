package static

import "golang.org/x/sys/cpu"

// avx2Block is the number of floats that the assembly takes at a time: dimensions must be a multiple.
const avx2Block = 64

// addRowsFast adds the rows by vector instructions, or reports false when the processor or the dimension doesn't fit
// them. ids must be rows of codes: the assembly doesn't check.
func addRowsFast(sum []float32, codes []byte, scales []float32, ids []int32) bool {
	if !cpu.X86.HasAVX2 || len(sum)%avx2Block != 0 {
		return false
	}
	if len(ids) > 0 {
		addRowsAVX2(&sum[0], &codes[0], &scales[0], &ids[0], len(ids), len(sum))
	}
	return true
}

// squaresFast fills lanes like squaresPlain, or reports false.
func squaresFast(lanes *[squareLanes]float32, v []float32) bool {
	if !cpu.X86.HasAVX2 || len(v)%avx2Block != 0 {
		return false
	}
	squaresAVX2(lanes, &v[0], len(v))
	return true
}

// scaleFast multiplies v by a number like scalePlain, or reports false.
func scaleFast(v []float32, by float32) bool {
	if !cpu.X86.HasAVX2 || len(v)%avx2Block != 0 {
		return false
	}
	scaleAVX2(&v[0], len(v), by)
	return true
}

// addRowsAVX2 adds scales[id] · codes[id·dim : (id+1)·dim] to sum[:dim] for each of n ids, which are 1 or more. dim is a
// multiple of 64.
//
//go:noescape
func addRowsAVX2(sum *float32, codes *byte, scales *float32, ids *int32, n, dim int)

// squaresAVX2 is squaresPlain for n a multiple of 8, 8 at least.
//
//go:noescape
func squaresAVX2(lanes *[squareLanes]float32, v *float32, n int)

// scaleAVX2 is scalePlain for n a multiple of 8, 8 at least.
//
//go:noescape
func scaleAVX2(v *float32, n int, by float32)
