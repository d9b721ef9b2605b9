#include "textflag.h"

// The code kernels compare one query with the records that a list of addresses names. While they work on one record
// they prefetch the one AHEAD places later. Registers of both:
//
//	SI query   BX blocks of 64 bytes   DI list of addresses   CX records left   DX out
//	R8 record  R9 query block          R10 blocks left        X11 bias  X14 base  X15 weight

#define AHEAD 4

// DISTANCE writes (bias of the record * bias + base) - (scale * weight) * dot, where dot is the integer in AX, to out.
#define DISTANCE \
	VMOVSS (R8), X2 \
	VMOVSS 4(R8), X3 \
	VMULSS X11, X3, X3 \
	VADDSS X14, X3, X3 \
	VMULSS X15, X2, X2 \
	VXORPS X4, X4, X4 \
	VCVTSI2SSL AX, X4, X4 \
	VMULSS X4, X2, X2 \
	VSUBSS X2, X3, X3 \
	VMOVSS X3, (DX)

// func batchAVX512(q *int8, blocks int, offset int32, bias, base, weight float32, codes *unsafe.Pointer, n int, out *float32)
TEXT ·batchAVX512(SB), NOSPLIT, $0-56
	MOVQ q+0(FP), SI
	MOVQ blocks+8(FP), BX
	MOVL offset+16(FP), R12
	VMOVSS bias+20(FP), X11
	VMOVSS base+24(FP), X14
	VMOVSS weight+28(FP), X15
	MOVQ codes+32(FP), DI
	MOVQ n+40(FP), CX
	MOVQ out+48(FP), DX

	MOVQ CX, R11
	MOVQ DI, R13
	CMPQ R11, $AHEAD
	JLE  warm
	MOVQ $AHEAD, R11
warm:
	MOVQ (R13), R8
	PREFETCHT0 (R8)
	MOVQ BX, R10
warmBlock:
	PREFETCHT0 64(R8)
	ADDQ $64, R8
	DECQ R10
	JNZ  warmBlock
	ADDQ $8, R13
	DECQ R11
	JNZ  warm

	CMPQ CX, $4
	JL   record
	VBROADCASTSS X11, X11
	VBROADCASTSS X14, X14
	VBROADCASTSS X15, X15
	VMOVD R12, X10
	VPBROADCASTD X10, X10

// Four records at a time share the loads of the query and the sums across lanes.
four:
	MOVQ CX, AX
	SUBQ $4, AX
	JZ   aheadDone
	CMPQ AX, $4
	JLE  aheadCount
	MOVQ $4, AX
aheadCount:
	LEAQ 32(DI), R13
aheadRecord:
	MOVQ (R13), R8
	CMPQ BX, $4
	JNE  aheadOther
	PREFETCHT0 (R8)
	PREFETCHT0 64(R8)
	PREFETCHT0 128(R8)
	PREFETCHT0 192(R8)
	PREFETCHT0 256(R8)
	JMP  aheadNext
aheadOther:
	MOVQ BX, R10
aheadLine:
	PREFETCHT0 (R8)
	ADDQ $64, R8
	DECQ R10
	JGE  aheadLine
aheadNext:
	ADDQ $8, R13
	DECQ AX
	JNZ  aheadRecord
aheadDone:
	MOVQ (DI), R8
	MOVQ 8(DI), R9
	MOVQ 16(DI), R10
	MOVQ 24(DI), R11
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
	XORQ R13, R13
	MOVQ BX, AX
fourBlocks:
	VMOVDQU64 (SI)(R13*1), Z4
	VMOVDQU64 8(R8)(R13*1), Z5
	VMOVDQU64 8(R9)(R13*1), Z6
	VMOVDQU64 8(R10)(R13*1), Z7
	VMOVDQU64 8(R11)(R13*1), Z8
	VPDPBUSD Z4, Z5, Z0
	VPDPBUSD Z4, Z6, Z1
	VPDPBUSD Z4, Z7, Z2
	VPDPBUSD Z4, Z8, Z3
	ADDQ $64, R13
	DECQ AX
	JNZ  fourBlocks
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
	VMOVUPS X8, (DX)
	ADDQ $16, DX
	ADDQ $32, DI
	SUBQ $4, CX
	CMPQ CX, $4
	JGE  four
	TESTQ CX, CX
	JZ   done

record:
	CMPQ CX, $AHEAD
	JLE  nothingAhead
	MOVQ (AHEAD*8)(DI), R8
	PREFETCHT0 (R8)
	MOVQ BX, R10
ahead:
	PREFETCHT0 64(R8)
	ADDQ $64, R8
	DECQ R10
	JNZ  ahead
nothingAhead:
	MOVQ (DI), R8
	MOVQ SI, R9
	LEAQ 8(R8), R13
	MOVQ BX, R10
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	SUBQ $2, R10
	JL   one
two:
	VMOVDQU64 (R13), Z2
	VMOVDQU64 64(R13), Z3
	VPDPBUSD (R9), Z2, Z0
	VPDPBUSD 64(R9), Z3, Z1
	ADDQ $128, R13
	ADDQ $128, R9
	SUBQ $2, R10
	JGE  two
one:
	CMPQ R10, $-1
	JNE  sum
	VMOVDQU64 (R13), Z2
	VPDPBUSD (R9), Z2, Z0
sum:
	VPADDD Z1, Z0, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPADDD Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VPADDD X1, X0, X0
	VMOVD X0, AX
	SUBL R12, AX
	DISTANCE
	ADDQ $4, DX
	ADDQ $8, DI
	DECQ CX
	JNZ  record
done:
	VZEROUPPER
	RET

// func batchAVX2(q *int8, blocks int, bias, base, weight float32, codes *unsafe.Pointer, n int, out *float32)
//
// VPMADDUBSW multiplies unsigned by signed bytes and saturates at 16 bits. |q| times code with the sign of q is the same
// product, and since both are at most 127, two of them fit.
TEXT ·batchAVX2(SB), NOSPLIT, $0-56
	MOVQ q+0(FP), SI
	MOVQ blocks+8(FP), BX
	VMOVSS bias+16(FP), X11
	VMOVSS base+20(FP), X14
	VMOVSS weight+24(FP), X15
	MOVQ codes+32(FP), DI
	MOVQ n+40(FP), CX
	MOVQ out+48(FP), DX

	VPCMPEQW Y13, Y13, Y13
	VPSRLW $15, Y13, Y13        // 16 ones
	VPCMPEQB Y12, Y12, Y12
	VPABSB Y12, Y12
	VPSLLW $7, Y12, Y12         // 32 times 0x80

	MOVQ CX, R11
	MOVQ DI, R13
	CMPQ R11, $AHEAD
	JLE  warm
	MOVQ $AHEAD, R11
warm:
	MOVQ (R13), R8
	PREFETCHT0 (R8)
	MOVQ BX, R10
warmBlock:
	PREFETCHT0 64(R8)
	ADDQ $64, R8
	DECQ R10
	JNZ  warmBlock
	ADDQ $8, R13
	DECQ R11
	JNZ  warm

record:
	CMPQ CX, $AHEAD
	JLE  nothingAhead
	MOVQ (AHEAD*8)(DI), R8
	PREFETCHT0 (R8)
	MOVQ BX, R10
ahead:
	PREFETCHT0 64(R8)
	ADDQ $64, R8
	DECQ R10
	JNZ  ahead
nothingAhead:
	MOVQ (DI), R8
	MOVQ SI, R9
	LEAQ 8(R8), R13
	MOVQ BX, R10
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
block:
	VMOVDQU (R9), Y4
	VMOVDQU 32(R9), Y5
	VPXOR (R13), Y12, Y2
	VPXOR 32(R13), Y12, Y3
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
	ADDQ $64, R13
	ADDQ $64, R9
	DECQ R10
	JNZ  block
	VPADDD Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VPADDD X1, X0, X0
	VMOVD X0, AX
	DISTANCE
	ADDQ $4, DX
	ADDQ $8, DI
	DECQ CX
	JNZ  record
	VZEROUPPER
	RET
