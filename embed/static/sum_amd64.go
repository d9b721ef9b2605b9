package static

import "golang.org/x/sys/cpu"

// addRowsLanes is the number of floats that addRowsAVX2 keeps in registers: dimensions must be a multiple of it.
const addRowsLanes = 64

// addRowsFast adds the rows by AVX2 instructions, or reports false when the processor or the dimension doesn't fit them.
// ids must be rows of codes: the assembly doesn't check.
func addRowsFast(sum []float32, codes []byte, scales []float32, ids []int32) bool {
	if !cpu.X86.HasAVX2 || len(sum)%addRowsLanes != 0 {
		return false
	}
	if len(ids) > 0 {
		addRowsAVX2(&sum[0], &codes[0], &scales[0], &ids[0], len(ids), len(sum))
	}
	return true
}

// addRowsAVX2 adds scales[id] · codes[id·dim : (id+1)·dim] to sum[:dim] for each of n ids. dim is a multiple of 64.
//
//go:noescape
func addRowsAVX2(sum *float32, codes *byte, scales *float32, ids *int32, n, dim int)
