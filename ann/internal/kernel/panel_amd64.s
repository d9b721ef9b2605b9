#include "textflag.h"
#include "go_asm.h"

// PRODUCTS adds the products of four components of 64 records, in Z0 to Z3, and of a seeker to four sums.
#define PRODUCTS(CODES, Q, A, B, C, D) \
	VPBROADCASTD (CODES)(AX*4), Q \
	VPDPBUSD Q, Z0, A \
	VPDPBUSD Q, Z1, B \
	VPDPBUSD Q, Z2, C \
	VPDPBUSD Q, Z3, D

// KEEP makes distances of the sums of 16 records, and appends those below the bound to what the seeker R8 has.
#define KEEP(SUM, AT, NONE) \
	VPSUBD Z24, SUM, Z0 \
	VCVTDQ2PS Z0, Z0 \
	VMULPS Panel_scales+AT(BX), Z27, Z1 \
	VMULPS Z0, Z1, Z1 \
	VMULPS Panel_biases+AT(BX), Z25, Z2 \
	VADDPS Z26, Z2, Z2 \
	VSUBPS Z1, Z2, Z2 \
	VCMPPS $1, Z28, Z2, K1 \
	KMOVW K1, AX \
	TESTL AX, AX \
	JZ   NONE \
	VMOVDQU32 Panel_slots+AT(BX), Z3 \
	VCOMPRESSPS Z2, K1, Z2 \
	VPCOMPRESSD Z3, K1, Z3 \
	VMOVUPS Z2, (R12)(R14*4) \
	VMOVDQU32 Z3, (R13)(R14*4) \
	POPCNTL AX, AX \
	ADDQ AX, R14 \
NONE:

#define FINISH(I, A, B, C, D, NA, NB, NC, ND) \
	MOVQ I(SI), R8 \
	VPBROADCASTD Seeker_offset(R8), Z24 \
	VBROADCASTSS Seeker_bias(R8), Z25 \
	VBROADCASTSS Seeker_base(R8), Z26 \
	VBROADCASTSS Seeker_weight(R8), Z27 \
	VBROADCASTSS Seeker_bound(R8), Z28 \
	MOVQ Seeker_dists(R8), R12 \
	MOVQ Seeker_slots(R8), R13 \
	MOVQ Seeker_n(R8), R14 \
	KEEP(A, 0, NA) \
	KEEP(B, 64, NB) \
	KEEP(C, 128, NC) \
	KEEP(D, 192, ND) \
	MOVQ R14, Seeker_n(R8)

// func seekAVX512(seekers *[4]*Seeker, p *Panel)
TEXT ·seekAVX512(SB), NOSPLIT, $0-16
	MOVQ seekers+0(FP), SI
	MOVQ p+8(FP), BX
	MOVQ Panel_steps(BX), CX
	MOVQ Panel_codes(BX), DI
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	MOVQ Seeker_codes(R8), R8
	MOVQ Seeker_codes(R9), R9
	MOVQ Seeker_codes(R10), R10
	MOVQ Seeker_codes(R11), R11
	VPXORD Z8, Z8, Z8
	VPXORD Z9, Z9, Z9
	VPXORD Z10, Z10, Z10
	VPXORD Z11, Z11, Z11
	VPXORD Z12, Z12, Z12
	VPXORD Z13, Z13, Z13
	VPXORD Z14, Z14, Z14
	VPXORD Z15, Z15, Z15
	VPXORD Z16, Z16, Z16
	VPXORD Z17, Z17, Z17
	VPXORD Z18, Z18, Z18
	VPXORD Z19, Z19, Z19
	VPXORD Z20, Z20, Z20
	VPXORD Z21, Z21, Z21
	VPXORD Z22, Z22, Z22
	VPXORD Z23, Z23, Z23
	XORL AX, AX
step:
	VMOVDQU64 (DI), Z0
	VMOVDQU64 64(DI), Z1
	VMOVDQU64 128(DI), Z2
	VMOVDQU64 192(DI), Z3
	PRODUCTS(R8, Z4, Z8, Z9, Z10, Z11)
	PRODUCTS(R9, Z5, Z12, Z13, Z14, Z15)
	PRODUCTS(R10, Z6, Z16, Z17, Z18, Z19)
	PRODUCTS(R11, Z7, Z20, Z21, Z22, Z23)
	ADDQ $256, DI
	INCQ AX
	CMPQ AX, CX
	JNE  step

	FINISH(0, Z8, Z9, Z10, Z11, a0, a1, a2, a3)
	FINISH(8, Z12, Z13, Z14, Z15, b0, b1, b2, b3)
	FINISH(16, Z16, Z17, Z18, Z19, c0, c1, c2, c3)
	FINISH(24, Z20, Z21, Z22, Z23, d0, d1, d2, d3)
	VZEROUPPER
	RET

// LAST leaves in K2 which of 16 places there are, when CX are left.
#define LAST(FULL) \
	KXNORW K2, K2, K2 \
	CMPQ CX, $16 \
	JGE  FULL \
	MOVL $0xffff, AX \
	BZHIL CX, AX, AX \
	KMOVW AX, K2 \
FULL:

// func belowAVX512(dists *float32, n int, bound float32) int
TEXT ·belowAVX512(SB), NOSPLIT, $0-32
	MOVQ dists+0(FP), SI
	MOVQ n+8(FP), CX
	VBROADCASTSS bound+16(FP), Z1
	XORL DX, DX
sixteen:
	LAST(full)
	VMOVUPS (SI), Z0
	VCMPPS $1, Z1, Z0, K2, K1
	KMOVW K1, AX
	POPCNTL AX, AX
	ADDQ AX, DX
	ADDQ $64, SI
	SUBQ $16, CX
	JG   sixteen
	MOVQ DX, ret+24(FP)
	VZEROUPPER
	RET

// func compactAVX512(dists *float32, slots *uint32, n int, bound float32) int
//
// What is written lies never beyond what was read.
TEXT ·compactAVX512(SB), NOSPLIT, $0-40
	MOVQ dists+0(FP), SI
	MOVQ slots+8(FP), DI
	MOVQ n+16(FP), CX
	VBROADCASTSS bound+24(FP), Z1
	MOVQ SI, R8
	MOVQ DI, R9
	XORL DX, DX
sixteen:
	LAST(full)
	VMOVUPS (R8), Z0
	VMOVDQU32 (R9), Z2
	VCMPPS $1, Z1, Z0, K2, K1
	VCOMPRESSPS Z0, K1, Z0
	VPCOMPRESSD Z2, K1, Z2
	VMOVUPS Z0, (SI)(DX*4)
	VMOVDQU32 Z2, (DI)(DX*4)
	KMOVW K1, AX
	POPCNTL AX, AX
	ADDQ AX, DX
	ADDQ $64, R8
	ADDQ $64, R9
	SUBQ $16, CX
	JG   sixteen
	MOVQ DX, ret+32(FP)
	VZEROUPPER
	RET
