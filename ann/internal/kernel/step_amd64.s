#include "textflag.h"
#include "go_asm.h"

// The first half of a step, in scalar registers. All of it is free of branches that depend on data: which links were
// visited is as good as random.
//
// FRESH leaves in DX the number of fresh slots, which are at R10. It needs s in DI, and links and n on the stack.
#define FRESH \
	MOVQ links+8(FP), SI \
	MOVQ n+16(FP), CX \
	MOVQ Step_words(DI), R8 \
	MOVL Step_end(DI), R9 \
	MOVQ Step_fresh(DI), R10 \
	XORL DX, DX \
	XORL R14, R14 \
link: \
	MOVL (SI), AX \
	ADDQ $4, SI \
	CMPL AX, R9 \
	CMOVLCC R14, AX \
	MOVL AX, BX \
	SHRL $6, BX \
	MOVQ (R8)(BX*8), R11 \
	BTSQ AX, R11 \
	MOVQ R11, (R8)(BX*8) \
	MOVL AX, (R10)(DX*4) \
	SBBQ $-1, DX \
	DECQ CX \
	JNZ  link

// LOCATE writes the addresses of the fresh slots' records to R13, and asks for the memory of each.
#define LOCATE \
	LEAQ Step_addresses(DI), R13 \
	MOVQ Step_biased(DI), R11 \
	MOVQ Step_stride(DI), R12 \
	MOVQ Step_blocks(DI), BX \
	XORL CX, CX \
locate: \
	MOVL (R10)(CX*4), AX \
	MOVL AX, R9 \
	SHRL $const_FirstChunkBits, R9 \
	LZCNTL R9, R9 \
	NEGQ R9 \
	IMULQ R12, AX \
	ADDQ 256(R11)(R9*8), AX \
	MOVQ AX, (R13)(CX*8) \
	MOVQ BX, R8 \
line: \
	PREFETCHT0 (AX) \
	ADDQ $64, AX \
	DECQ R8 \
	JGE  line \
	INCQ CX \
	CMPQ CX, DX \
	JL   locate

// func expandAVX512(s *Step, links *uint32, n int) (visited, near int)
TEXT ·expandAVX512(SB), NOSPLIT, $0-40
	MOVQ s+0(FP), DI
	FRESH
	MOVQ DX, visited+24(FP)
	MOVQ $0, near+32(FP)
	TESTQ DX, DX
	JZ   done
	LOCATE

	// Up to three more records, so that they can be measured by fours.
	MOVQ -8(R13)(DX*8), AX
	MOVQ AX, (R13)(DX*8)
	MOVQ AX, 8(R13)(DX*8)
	MOVQ AX, 16(R13)(DX*8)

	MOVQ Step_query(DI), SI
	VBROADCASTSS Step_bias(DI), X11
	VBROADCASTSS Step_base(DI), X14
	VBROADCASTSS Step_weight(DI), X15
	VPBROADCASTD Step_offset(DI), X10
	LEAQ Step_dists(DI), R14
	MOVQ DX, CX
four:
	MOVQ (R13), R8
	MOVQ 8(R13), R9
	MOVQ 16(R13), R10
	MOVQ 24(R13), R11
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
	XORL AX, AX
	MOVQ BX, R12
block:
	VMOVDQU64 (SI)(AX*1), Z4
	VMOVDQU64 8(R8)(AX*1), Z5
	VMOVDQU64 8(R9)(AX*1), Z6
	VMOVDQU64 8(R10)(AX*1), Z7
	VMOVDQU64 8(R11)(AX*1), Z8
	VPDPBUSD Z4, Z5, Z0
	VPDPBUSD Z4, Z6, Z1
	VPDPBUSD Z4, Z7, Z2
	VPDPBUSD Z4, Z8, Z3
	ADDQ $64, AX
	DECQ R12
	JNZ  block
	VEXTRACTI64X4 $1, Z0, Y4
	VEXTRACTI64X4 $1, Z1, Y5
	VEXTRACTI64X4 $1, Z2, Y6
	VEXTRACTI64X4 $1, Z3, Y7
	VPADDD Y4, Y0, Y0
	VPADDD Y5, Y1, Y1
	VPADDD Y6, Y2, Y2
	VPADDD Y7, Y3, Y3
	VPHADDD Y1, Y0, Y0
	VPHADDD Y3, Y2, Y2
	VPHADDD Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPSUBD X10, X0, X0          // the four dots
	VCVTDQ2PS X0, X4
	VMOVQ (R8), X5              // scale and bias of each
	VMOVQ (R9), X6
	VMOVQ (R10), X7
	VMOVQ (R11), X8
	VUNPCKLPS X6, X5, X5
	VUNPCKLPS X8, X7, X7
	VMOVLHPS X7, X5, X6         // scales
	VMOVHLPS X5, X7, X8         // biases
	VMULPS X11, X8, X8
	VADDPS X14, X8, X8
	VMULPS X15, X6, X6
	VMULPS X4, X6, X6
	VSUBPS X6, X8, X8
	VMOVUPS X8, (R14)
	ADDQ $16, R14
	ADDQ $32, R13
	SUBQ $4, CX
	JG   four

	// What is below the bound moves up.
	MOVQ Step_fresh(DI), R10
	LEAQ Step_dists(DI), R14
	LEAQ Step_near(DI), R8
	LEAQ Step_nearSlots(DI), R9
	VBROADCASTSS Step_bound(DI), Z2
	XORL BX, BX
sixteen:
	MOVQ $-1, R11
	MOVQ $16, AX
	CMPQ DX, AX
	CMOVQLT DX, AX
	BZHIQ AX, R11, R11
	KMOVW R11, K1
	VMOVUPS (R14), Z0
	VMOVDQU32.Z (R10), K1, Z1
	VCMPPS $17, Z2, Z0, K1, K2  // less than, quiet
	VCOMPRESSPS.Z Z0, K2, Z0
	VPCOMPRESSD.Z Z1, K2, Z1
	VMOVUPS Z0, (R8)(BX*4)
	VMOVDQU32 Z1, (R9)(BX*4)
	KMOVW K2, AX
	POPCNTL AX, AX
	ADDQ AX, BX
	ADDQ $64, R14
	ADDQ $64, R10
	SUBQ $16, DX
	JG   sixteen
	MOVQ BX, near+32(FP)
done:
	VZEROUPPER
	RET

// func expandAVX2(s *Step, links *uint32, n int) (visited int)
//
// See batchAVX2 for the products.
TEXT ·expandAVX2(SB), NOSPLIT, $0-32
	MOVQ s+0(FP), DI
	FRESH
	MOVQ DX, visited+24(FP)
	TESTQ DX, DX
	JZ   done
	LOCATE

	MOVQ Step_query(DI), SI
	VMOVSS Step_bias(DI), X11
	VMOVSS Step_base(DI), X14
	VMOVSS Step_weight(DI), X15
	LEAQ Step_dists(DI), R14
	VPCMPEQW Y13, Y13, Y13
	VPSRLW $15, Y13, Y13        // 16 ones
	VPCMPEQB Y12, Y12, Y12
	VPABSB Y12, Y12
	VPSLLW $7, Y12, Y12         // 32 times 0x80
record:
	MOVQ (R13), R8
	XORL AX, AX
	MOVQ BX, R10
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
block:
	VMOVDQU (SI)(AX*1), Y4
	VMOVDQU 32(SI)(AX*1), Y5
	VPXOR 8(R8)(AX*1), Y12, Y2
	VPXOR 40(R8)(AX*1), Y12, Y3
	VPSIGNB Y4, Y2, Y2
	VPSIGNB Y5, Y3, Y3
	VPABSB Y4, Y4
	VPABSB Y5, Y5
	VPMADDUBSW Y2, Y4, Y2
	VPMADDUBSW Y3, Y5, Y3
	VPMADDWD Y13, Y2, Y2
	VPMADDWD Y13, Y3, Y3
	VPADDD Y2, Y0, Y0
	VPADDD Y3, Y1, Y1
	ADDQ $64, AX
	DECQ R10
	JNZ  block
	VPADDD Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VPADDD X1, X0, X0
	VMOVSS (R8), X2
	VMOVSS 4(R8), X3
	VMULSS X11, X3, X3
	VADDSS X14, X3, X3
	VMULSS X15, X2, X2
	VCVTDQ2PS X0, X4
	VMULSS X4, X2, X2
	VSUBSS X2, X3, X3
	VMOVSS X3, (R14)
	ADDQ $4, R14
	ADDQ $8, R13
	DECQ DX
	JNZ  record
done:
	VZEROUPPER
	RET

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
