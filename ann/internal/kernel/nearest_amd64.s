#include "textflag.h"

// func insertAVX512(dists *float32, slots *uint32, n int, d float32, slot uint32) int
//
// Finds the first distance above d among n, moves it and all behind it one place on, and writes d there.
TEXT ·insertAVX512(SB), NOSPLIT, $0-40
	MOVQ dists+0(FP), SI
	MOVQ slots+8(FP), DI
	MOVQ n+16(FP), CX
	VBROADCASTSS d+24(FP), Z1
	MOVL slot+28(FP), R8

	XORL AX, AX                 // the place
find:
	VMOVUPS (SI)(AX*4), Z0
	VCMPPS $18, Z1, Z0, K1      // less or equal, quiet
	KMOVW K1, DX
	POPCNTL DX, DX
	ADDQ DX, AX
	CMPQ DX, $16
	JNE  found
	CMPQ AX, CX
	JL   find
found:
	CMPQ AX, CX
	CMOVQGT CX, AX

	// Move by sixteens, the last first; the rest, fewer than sixteen, ends at the place.
	MOVQ CX, BX
	SUBQ $16, BX
	CMPQ BX, AX
	JL   rest
move:
	VMOVUPS (SI)(BX*4), Z2
	VMOVDQU32 (DI)(BX*4), Z3
	VMOVUPS Z2, 4(SI)(BX*4)
	VMOVDQU32 Z3, 4(DI)(BX*4)
	SUBQ $16, BX
	CMPQ BX, AX
	JGE  move
rest:
	ADDQ $16, BX
	SUBQ AX, BX                 // elements left, from the place on
	MOVQ $-1, DX
	BZHIQ BX, DX, DX
	KMOVW DX, K1
	VMOVUPS.Z (SI)(AX*4), K1, Z2
	VMOVDQU32.Z (DI)(AX*4), K1, Z3
	VMOVUPS Z2, K1, 4(SI)(AX*4)
	VMOVDQU32 Z3, K1, 4(DI)(AX*4)
	VMOVSS X1, (SI)(AX*4)
	MOVL R8, (DI)(AX*4)
	MOVQ AX, ret+32(FP)
	VZEROUPPER
	RET
