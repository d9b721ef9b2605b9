#include "textflag.h"
#include "code_amd64.h"

// func signedAVX512(dst *int8, codes unsafe.Pointer, plane int)
TEXT ·signedAVX512(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ plane+16(FP), BX
	MASKS512
	MOVL $0x80808080, AX
	VPBROADCASTD AX, Z17
	LEAQ (SI)(BX*1), R8
	XORL AX, AX
block:
	VMOVDQU64 (SI)(AX*1), Z6
	VMOVDQU64 (R8)(AX*1), Z7
	VPSLLW $4, Z6, Z8
	VPSRLW $4, Z7, Z9
	VPTERNLOGD $0xe4, Z16, Z7, Z8 // see JOIN512
	VPTERNLOGD $0xe4, Z16, Z9, Z6
	VPXORD Z17, Z8, Z8
	VPXORD Z17, Z6, Z6
	VMOVDQU64 Z8, (DI)(AX*2)
	VMOVDQU64 Z6, 64(DI)(AX*2)
	ADDQ $64, AX
	CMPQ AX, BX
	JNE  block
	VZEROUPPER
	RET

// func signedAVX2(dst *int8, codes unsafe.Pointer, plane int)
TEXT ·signedAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ plane+16(FP), BX
	MASKS256
	VPSLLW $4, Y12, Y11         // 32 times 0xf0
	VPCMPEQB Y9, Y9, Y9
	VPABSB Y9, Y9
	VPSLLW $7, Y9, Y9           // 32 times 0x80
	LEAQ (SI)(BX*1), R8
	XORL AX, AX
	XORL CX, CX                 // half of a block
block:
	VMOVDQU (SI)(AX*1), Y4
	VMOVDQU (R8)(AX*1), Y5
	VPSLLW $4, Y4, Y6
	VPAND Y11, Y6, Y6
	VPAND Y12, Y5, Y7
	VPOR Y7, Y6, Y6
	VPXOR Y9, Y6, Y6
	VPAND Y11, Y4, Y4
	VPSRLW $4, Y5, Y5
	VPAND Y12, Y5, Y5
	VPOR Y5, Y4, Y4
	VPXOR Y9, Y4, Y4
	VMOVDQU Y6, (DI)
	VMOVDQU Y4, 64(DI)
	ADDQ $32, DI
	XORQ $1, CX
	JNZ  half
	ADDQ $64, DI
half:
	ADDQ $32, AX
	CMPQ AX, BX
	JNE  block
	VZEROUPPER
	RET

// SUMS adds up the lanes of Y0 to AX, and those of Y1 to BX.
#define SUMS \
	VPHADDD Y1, Y0, Y0 \
	VPHADDD Y0, Y0, Y0 \
	VEXTRACTI128 $1, Y0, X1 \
	VPADDD X1, X0, X0 \
	VMOVD X0, AX \
	VPEXTRD $1, X0, BX

// func sumsAVX512(codes *int8, n int) (sum, squares int32)
TEXT ·sumsAVX512(SB), NOSPLIT, $0-24
	MOVQ codes+0(FP), SI
	MOVQ n+8(FP), CX
	MOVL $0x01010101, AX
	VPBROADCASTD AX, Z4
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
block:
	VMOVDQU64 (SI), Z2
	VPDPBUSD Z2, Z4, Z0
	VPABSB Z2, Z2
	VPDPBUSD Z2, Z2, Z1
	ADDQ $64, SI
	SUBQ $64, CX
	JNZ  block
	VEXTRACTI64X4 $1, Z0, Y2
	VEXTRACTI64X4 $1, Z1, Y3
	VPADDD Y2, Y0, Y0
	VPADDD Y3, Y1, Y1
	SUMS
	MOVL AX, sum+16(FP)
	MOVL BX, squares+20(FP)
	VZEROUPPER
	RET

// func sumsAVX2(codes *int8, n int) (sum, squares int32)
TEXT ·sumsAVX2(SB), NOSPLIT, $0-24
	MOVQ codes+0(FP), SI
	MOVQ n+8(FP), CX
	VPCMPEQW Y4, Y4, Y4
	VPSRLW $15, Y4, Y4          // 16 ones
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
block:
	VPMOVSXBW (SI), Y2
	VPMADDWD Y4, Y2, Y3
	VPADDD Y3, Y0, Y0
	VPMADDWD Y2, Y2, Y2
	VPADDD Y2, Y1, Y1
	ADDQ $16, SI
	SUBQ $16, CX
	JNZ  block
	SUMS
	MOVL AX, sum+16(FP)
	MOVL BX, squares+20(FP)
	VZEROUPPER
	RET
