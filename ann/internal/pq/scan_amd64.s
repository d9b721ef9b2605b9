#include "textflag.h"
#include "go_asm.h"

// Registers of both scans:
//
//	SI codes   CX blocks left   BX quads   DI table   DX out   R8 biases   R9 bytes to the next biases   R10 below
//	R11 place in the table      AX quads left
//	Y12 weight   Y13 base   Y14 bound   Y15 / Z15 bytes of 15
//
// A byte holds the codes of one vector in two subspaces. Entries of the table are picked by shuffles, and added up as
// words: once as they are, and once shifted right by a byte, which is the sum of the odd vectors; 256 times that, taken
// from the first, leaves the sum of the even ones.

#define ARGS \
	MOVQ a+0(FP), AX \
	MOVQ scanArgs_codes(AX), SI \
	MOVQ scanArgs_blocks(AX), CX \
	MOVQ scanArgs_quads(AX), BX \
	MOVQ scanArgs_lut(AX), DI \
	MOVQ scanArgs_bias(AX), R8 \
	MOVQ scanArgs_step(AX), R9 \
	MOVQ scanArgs_out(AX), DX \
	MOVQ scanArgs_below(AX), R10 \
	VBROADCASTSS scanArgs_weight(AX), Y12 \
	VBROADCASTSS scanArgs_base(AX), Y13 \
	VBROADCASTSS scanArgs_bound(AX), Y14

// EIGHT turns the sums in the words of WORDS into distances at place AT of out, and their comparison into MASK.
#define EIGHT(WORDS, AT, MASK) \
	VPMOVZXWD WORDS, Y6 \
	VCVTDQ2PS Y6, Y6 \
	VMULPS Y12, Y6, Y6 \
	VADDPS AT(R8), Y13, Y7 \
	VADDPS Y7, Y6, Y6 \
	VMOVUPS Y6, AT(DX) \
	VCMPPS $1, Y14, Y6, Y7 \
	VMOVMSKPS Y7, MASK

// FINISH writes the distances of a block from the sums in Y0 and, of odd vectors, Y1.
#define FINISH \
	VPSLLW $8, Y1, Y4 \
	VPSUBW Y4, Y0, Y0 \
	VPUNPCKLWD Y1, Y0, Y4 \
	VPUNPCKHWD Y1, Y0, Y5 \
	EIGHT(X4, 0, R12) \
	EIGHT(X5, 32, R13) \
	SHLL $8, R13 \
	ORL R13, R12 \
	VEXTRACTI128 $1, Y4, X4 \
	VEXTRACTI128 $1, Y5, X5 \
	EIGHT(X4, 64, R13) \
	SHLL $16, R13 \
	ORL R13, R12 \
	EIGHT(X5, 96, R13) \
	SHLL $24, R13 \
	ORL R13, R12 \
	MOVL R12, (R10) \
	ADDQ $4, R10 \
	ADDQ R9, R8 \
	ADDQ $128, DX

// func scanAVX2(a *scanArgs)
TEXT ·scanAVX2(SB), NOSPLIT, $0-8
	ARGS
	VPCMPEQW Y15, Y15, Y15
	VPSRLW $12, Y15, Y15
	VPACKUSWB Y15, Y15, Y15
block:
	MOVQ DI, R11
	MOVQ BX, AX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
four:
	VMOVDQU (SI), Y4
	VMOVDQU 32(SI), Y8
	VPSRLW $4, Y4, Y5
	VPSRLW $4, Y8, Y9
	VPAND Y15, Y4, Y4
	VPAND Y15, Y5, Y5
	VPAND Y15, Y8, Y8
	VPAND Y15, Y9, Y9
	VMOVDQU (R11), Y6
	VMOVDQU 32(R11), Y10
	VMOVDQU 64(R11), Y7
	VMOVDQU 96(R11), Y11
	VPSHUFB Y4, Y6, Y6
	VPSHUFB Y5, Y7, Y7
	VPSHUFB Y8, Y10, Y10
	VPSHUFB Y9, Y11, Y11
	VPADDW Y6, Y0, Y0
	VPADDW Y7, Y2, Y2
	VPSRLW $8, Y6, Y6
	VPSRLW $8, Y7, Y7
	VPADDW Y6, Y1, Y1
	VPADDW Y7, Y3, Y3
	VPADDW Y10, Y0, Y0
	VPADDW Y11, Y2, Y2
	VPSRLW $8, Y10, Y10
	VPSRLW $8, Y11, Y11
	VPADDW Y10, Y1, Y1
	VPADDW Y11, Y3, Y3
	ADDQ $64, SI
	ADDQ $128, R11
	DECQ AX
	JNZ  four
	VPADDW Y2, Y0, Y0
	VPADDW Y3, Y1, Y1
	FINISH
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET

// func scanAVX512(a *scanArgs)
TEXT ·scanAVX512(SB), NOSPLIT, $0-8
	ARGS
	VPTERNLOGD $0xff, Z15, Z15, Z15
	VPSRLW $12, Z15, Z15
	VPACKUSWB Z15, Z15, Z15
block:
	MOVQ DI, R11
	MOVQ BX, AX
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
four:
	VMOVDQU64 (SI), Z4
	VPSRLW $4, Z4, Z5
	VPANDD Z15, Z4, Z4
	VPANDD Z15, Z5, Z5
	VMOVDQU64 (R11), Z6
	VMOVDQU64 64(R11), Z7
	VPSHUFB Z4, Z6, Z6
	VPSHUFB Z5, Z7, Z7
	VPADDW Z6, Z0, Z0
	VPADDW Z7, Z2, Z2
	VPSRLW $8, Z6, Z6
	VPSRLW $8, Z7, Z7
	VPADDW Z6, Z1, Z1
	VPADDW Z7, Z3, Z3
	ADDQ $64, SI
	ADDQ $128, R11
	DECQ AX
	JNZ  four
	VPADDW Z2, Z0, Z0
	VPADDW Z3, Z1, Z1
	VEXTRACTI64X4 $1, Z0, Y4
	VEXTRACTI64X4 $1, Z1, Y5
	VPADDW Y4, Y0, Y0
	VPADDW Y5, Y1, Y1
	FINISH
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET
