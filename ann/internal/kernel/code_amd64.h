// What the code kernels of AVX-512 share. They measure four records at a time, which then share the loads of the query
// and the sums across lanes. An entry is the addresses of a record's head and codes.
//
//	SI query   BX bytes of a plane, or 0   R8-R11 codes of the four   R13 their entries   AX, R12 scratch
//	X17 offset   X18 bias   X19 base   X20 weight   Z16 64 times 0xf0   Z23 64 times 0x0f

#define MASKS512 \
	MOVL $0x0f0f0f0f, AX \
	VPBROADCASTD AX, Z23 \
	VPSLLD $4, Z23, Z16

#define CODES512 \
	MOVQ 8(R13), R8 \
	MOVQ 24(R13), R9 \
	MOVQ 40(R13), R10 \
	MOVQ 56(R13), R11 \
	VPXORD Z0, Z0, Z0 \
	VPXORD Z1, Z1, Z1 \
	VPXORD Z2, Z2, Z2 \
	VPXORD Z3, Z3, Z3

// JOIN512 puts two planes together and adds the products with Z4 and Z5 to SUM. The constant 0xe4 takes the first where
// the mask is set, and the second elsewhere.
#define JOIN512(CODES, SUM) \
	VMOVDQU64 (CODES)(AX*1), Z6 \
	VMOVDQU64 (CODES)(R12*1), Z7 \
	VPSLLW $4, Z6, Z8 \
	VPSRLW $4, Z7, Z9 \
	VPTERNLOGD $0xe4, Z16, Z7, Z8 \
	VPTERNLOGD $0xe4, Z16, Z9, Z6 \
	VPDPBUSD Z4, Z8, SUM \
	VPDPBUSD Z5, Z6, SUM

// PRODUCTS512 leaves the four inner products with unsigned codes in Z0 to Z3. The labels must be unique.
#define PRODUCTS512(PLANES, PLAIN, END) \
	CODES512 \
	TESTQ BX, BX \
	JZ   PLAIN \
	XORL AX, AX \
	MOVQ BX, R12 \
PLANES: \
	VMOVDQU64 (SI)(AX*2), Z4 \
	VMOVDQU64 64(SI)(AX*2), Z5 \
	JOIN512(R8, Z0) \
	JOIN512(R9, Z1) \
	JOIN512(R10, Z2) \
	JOIN512(R11, Z3) \
	ADDQ $64, AX \
	ADDQ $64, R12 \
	CMPQ AX, BX \
	JNE  PLANES \
	JMP  END \
PLAIN: \
	VMOVDQU64 (SI), Z4 \
	VMOVDQU64 (R8), Z5 \
	VMOVDQU64 (R9), Z6 \
	VMOVDQU64 (R10), Z7 \
	VMOVDQU64 (R11), Z8 \
	VPDPBUSD Z4, Z5, Z0 \
	VPDPBUSD Z4, Z6, Z1 \
	VPDPBUSD Z4, Z7, Z2 \
	VPDPBUSD Z4, Z8, Z3 \
END:

// FOLD512 adds up the lanes of Z0 to Z3: X0 holds the four sums.
#define FOLD512 \
	VEXTRACTI64X4 $1, Z0, Y4 \
	VEXTRACTI64X4 $1, Z1, Y5 \
	VEXTRACTI64X4 $1, Z2, Y6 \
	VEXTRACTI64X4 $1, Z3, Y7 \
	VPADDD Y4, Y0, Y0 \
	VPADDD Y5, Y1, Y1 \
	VPADDD Y6, Y2, Y2 \
	VPADDD Y7, Y3, Y3 \
	VPHADDD Y1, Y0, Y0 \
	VPHADDD Y3, Y2, Y2 \
	VPHADDD Y2, Y0, Y0 \
	VEXTRACTI128 $1, Y0, X1 \
	VPADDD X1, X0, X0

// DISTANCES512 makes the four distances in X8 of the inner products in X4, which are floats.
#define DISTANCES512 \
	MOVQ (R13), AX \
	VMOVQ (AX), X5 \
	MOVQ 16(R13), AX \
	VMOVQ (AX), X6 \
	MOVQ 32(R13), AX \
	VMOVQ (AX), X7 \
	MOVQ 48(R13), AX \
	VMOVQ (AX), X8 \
	VUNPCKLPS X6, X5, X5 \
	VUNPCKLPS X8, X7, X7 \
	VMOVLHPS X7, X5, X6 \
	VMOVHLPS X5, X7, X8 \
	VMULPS X18, X8, X8 \
	VADDPS X19, X8, X8 \
	VMULPS X20, X6, X6 \
	VMULPS X4, X6, X6 \
	VSUBPS X6, X8, X8

// What the code kernels of AVX2 share. They measure one record at a time.
//
//	SI query   BX bytes of a plane, or 0   R8 codes   AX, R12 scratch
//	X11 bias   X14 base   X15 weight   Y12 32 times 0x0f   Y13 16 times 1   Y10 16 times 16

#define MASKS256 \
	VPCMPEQW Y13, Y13, Y13 \
	VPSRLW $15, Y13, Y13 \
	VPSLLW $4, Y13, Y10 \
	VPCMPEQB Y12, Y12, Y12 \
	VPSRLW $12, Y12, Y12 \
	VPSLLW $8, Y12, Y9 \
	VPOR Y9, Y12, Y12

// NIBBLES256 adds the products of 32 bytes of a plane with the query at OFFSET to SUM, 16 sums of 16 bits. They stay
// below 4 × 15 × 127 × 4.
#define NIBBLES256(PLANE, OFFSET, SUM) \
	VMOVDQU PLANE, Y4 \
	VPSRLW $4, Y4, Y5 \
	VPAND Y12, Y4, Y4 \
	VPAND Y12, Y5, Y5 \
	VPMADDUBSW OFFSET(SI)(AX*2), Y4, Y4 \
	VPMADDUBSW 64+OFFSET(SI)(AX*2), Y5, Y5 \
	VPADDW Y4, SUM, SUM \
	VPADDW Y5, SUM, SUM

// PRODUCT256 leaves the inner product with unsigned codes in the lanes of Y0. The labels must be unique.
#define PRODUCT256(PLANES, PLAIN, END) \
	VPXOR Y0, Y0, Y0 \
	TESTQ BX, BX \
	JZ   PLAIN \
	XORL AX, AX \
	MOVQ BX, R12 \
PLANES: \
	VPXOR Y2, Y2, Y2 \
	VPXOR Y3, Y3, Y3 \
	NIBBLES256((R8)(AX*1), 0, Y2) \
	NIBBLES256(32(R8)(AX*1), 32, Y2) \
	NIBBLES256((R8)(R12*1), 0, Y3) \
	NIBBLES256(32(R8)(R12*1), 32, Y3) \
	VPMADDWD Y10, Y2, Y2 \
	VPMADDWD Y13, Y3, Y3 \
	VPADDD Y2, Y0, Y0 \
	VPADDD Y3, Y0, Y0 \
	ADDQ $64, AX \
	ADDQ $64, R12 \
	CMPQ AX, BX \
	JNE  PLANES \
	JMP  END \
PLAIN: \
	VPMOVZXBW (R8), Y2 \
	VPMOVZXBW 16(R8), Y3 \
	VPMOVZXBW 32(R8), Y4 \
	VPMOVZXBW 48(R8), Y5 \
	VPMOVSXBW (SI), Y6 \
	VPMOVSXBW 16(SI), Y7 \
	VPMADDWD Y6, Y2, Y2 \
	VPMADDWD Y7, Y3, Y3 \
	VPMOVSXBW 32(SI), Y6 \
	VPMOVSXBW 48(SI), Y7 \
	VPMADDWD Y6, Y4, Y4 \
	VPMADDWD Y7, Y5, Y5 \
	VPADDD Y3, Y2, Y2 \
	VPADDD Y5, Y4, Y4 \
	VPADDD Y4, Y2, Y0 \
END:

#define FOLD256 \
	VEXTRACTI128 $1, Y0, X1 \
	VPADDD X1, X0, X0 \
	VPSHUFD $0x4e, X0, X1 \
	VPADDD X1, X0, X0 \
	VPSHUFD $0xb1, X0, X1 \
	VPADDD X1, X0, X0

// DISTANCE256 makes the distance in X3 of the inner product in X4, a float, with the head at AX.
#define DISTANCE256 \
	VMOVSS (AX), X2 \
	VMOVSS 4(AX), X3 \
	VMULSS X11, X3, X3 \
	VADDSS X14, X3, X3 \
	VMULSS X15, X2, X2 \
	VMULSS X4, X2, X2 \
	VSUBSS X2, X3, X3
