#include "textflag.h"

// ADD8 adds 8 products of row bytes (at offset) and the scale in Y15 to an accumulator. Product and sum are rounded
// apart, as in addRowsPlain.
#define ADD8(offset, accumulator, product) \
	VPMOVSXBD offset(DX), product \
	VCVTDQ2PS product, product \
	VMULPS Y15, product, product \
	VADDPS product, accumulator, accumulator

// func addRowsAVX2(sum *float32, codes *byte, scales *float32, ids *int32, n, dim int)
//
// For each 64 of the dimensions: the sums stay in Y0 to Y7 while all rows are added. The 64 codes of a row are one cache
// line; the line of the next round is fetched meanwhile.
TEXT ·addRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ sum+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ scales+16(FP), R8
	MOVQ ids+24(FP), R9
	MOVQ n+32(FP), R10
	MOVQ dim+40(FP), R11
	MOVQ R11, R12 // dimensions left

block:
	VMOVUPS 0(DI), Y0
	VMOVUPS 32(DI), Y1
	VMOVUPS 64(DI), Y2
	VMOVUPS 96(DI), Y3
	VMOVUPS 128(DI), Y4
	VMOVUPS 160(DI), Y5
	VMOVUPS 192(DI), Y6
	VMOVUPS 224(DI), Y7
	XORQ R13, R13

row:
	MOVLQZX (R9)(R13*4), AX
	VBROADCASTSS (R8)(AX*4), Y15
	IMULQ R11, AX
	LEAQ (SI)(AX*1), DX
	PREFETCHT0 64(DX) // may lie behind the table: a prefetch doesn't fault
	ADD8(0, Y0, Y8)
	ADD8(8, Y1, Y9)
	ADD8(16, Y2, Y10)
	ADD8(24, Y3, Y11)
	ADD8(32, Y4, Y12)
	ADD8(40, Y5, Y13)
	ADD8(48, Y6, Y14)
	ADD8(56, Y7, Y8)
	INCQ R13
	CMPQ R13, R10
	JLT row

	VMOVUPS Y0, 0(DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	VMOVUPS Y4, 128(DI)
	VMOVUPS Y5, 160(DI)
	VMOVUPS Y6, 192(DI)
	VMOVUPS Y7, 224(DI)
	ADDQ $256, DI
	ADDQ $64, SI
	SUBQ $64, R12
	JNZ block
	VZEROUPPER
	RET

// func squaresAVX2(lanes *[8]float32, v *float32, n int)
//
// lanes[i] becomes the sum of v[i]², v[i+8]², … in this order.
TEXT ·squaresAVX2(SB), NOSPLIT, $0-24
	MOVQ lanes+0(FP), DI
	MOVQ v+8(FP), SI
	MOVQ n+16(FP), CX
	VXORPS Y0, Y0, Y0

square:
	VMOVUPS (SI), Y1
	VMULPS Y1, Y1, Y1
	VADDPS Y1, Y0, Y0
	ADDQ $32, SI
	SUBQ $8, CX
	JNZ square
	VMOVUPS Y0, (DI)
	VZEROUPPER
	RET

// func scaleAVX2(v *float32, n int, by float32)
TEXT ·scaleAVX2(SB), NOSPLIT, $0-20
	MOVQ v+0(FP), SI
	MOVQ n+8(FP), CX
	VBROADCASTSS by+16(FP), Y0

scale:
	VMULPS (SI), Y0, Y1
	VMOVUPS Y1, (SI)
	ADDQ $32, SI
	SUBQ $8, CX
	JNZ scale
	VZEROUPPER
	RET
