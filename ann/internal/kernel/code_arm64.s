#include "textflag.h"
#include "neon_arm64.h"

// The code kernels write the inner products of one query with the records that a list of addresses names. Codes are
// bytes from 1 to 255 that stand for numbers from -127 to 127: an exclusive or with 128 makes them so. Registers of both:
//
//	R0 query   R1 blocks of 64 bytes   R2 list of addresses   R3 from an address to its codes
//	R4 records left   R5 out           R10 query block        R11 blocks left   V31 16 times 128
//
// Four records at a time share the loads of the query, in R6 to R9 with sums in V0 to V7, while the next four, R12 to
// R15, are prefetched.

#define ARGUMENTS \
	MOVD q+0(FP), R0 \
	MOVD blocks+8(FP), R1 \
	MOVD codes+16(FP), R2 \
	MOVD head+24(FP), R3 \
	MOVD n+32(FP), R4 \
	MOVD out+40(FP), R5 \
	VMOVI $128, V31.B16

#define ADDRESSES \
	LDP (R2), (R6, R7) \
	LDP 16(R2), (R8, R9) \
	LDP (R2), (R12, R13) \
	LDP 16(R2), (R14, R15) \
	CMP $8, R4 \
	BLT 3(PC) \
	LDP 32(R2), (R12, R13) \
	LDP 48(R2), (R14, R15) \
	ADD R3, R6 \
	ADD R3, R7 \
	ADD R3, R8 \
	ADD R3, R9 \
	ADD R3, R12 \
	ADD R3, R13 \
	ADD R3, R14 \
	ADD R3, R15 \
	MOVD R0, R10 \
	MOVD R1, R11 \
	VEOR V0.B16, V0.B16, V0.B16 \
	VEOR V1.B16, V1.B16, V1.B16 \
	VEOR V2.B16, V2.B16, V2.B16 \
	VEOR V3.B16, V3.B16, V3.B16 \
	VEOR V4.B16, V4.B16, V4.B16 \
	VEOR V5.B16, V5.B16, V5.B16 \
	VEOR V6.B16, V6.B16, V6.B16 \
	VEOR V7.B16, V7.B16, V7.B16

// QUERY loads a block of the query to V16 to V19, and prefetches one of each of the next four records.
#define QUERY \
	VLD1.P 64(R10), [V16.B16, V17.B16, V18.B16, V19.B16] \
	PRFM (R12), PLDL1KEEP \
	PRFM (R13), PLDL1KEEP \
	PRFM (R14), PLDL1KEEP \
	PRFM (R15), PLDL1KEEP \
	ADD $64, R12 \
	ADD $64, R13 \
	ADD $64, R14 \
	ADD $64, R15

// CODES loads a block of a record to V20 to V23, as signed numbers.
#define CODES(record) \
	VLD1.P 64(record), [V20.B16, V21.B16, V22.B16, V23.B16] \
	VEOR V31.B16, V20.B16, V20.B16 \
	VEOR V31.B16, V21.B16, V21.B16 \
	VEOR V31.B16, V22.B16, V22.B16 \
	VEOR V31.B16, V23.B16, V23.B16

// SDOTS adds the products of a block to two sums.
#define SDOTS(sum, other) \
	SDOT16B(sum, 20, 16) \
	SDOT16B(other, 21, 17) \
	SDOT16B(sum, 22, 18) \
	SDOT16B(other, 23, 19)

// PRODUCTS does the same with products of 16 bits, two of which have room in 16 bits.
#define PRODUCTS(sum, other) \
	SMULL8H(24, 20, 16) \
	SMULL8H(25, 21, 17) \
	SMULL8H(26, 22, 18) \
	SMULL8H(27, 23, 19) \
	SMLAL8H(24, 20, 16) \
	SMLAL8H(25, 21, 17) \
	SMLAL8H(26, 22, 18) \
	SMLAL8H(27, 23, 19) \
	SADALP4S(sum, 24) \
	SADALP4S(other, 25) \
	SADALP4S(sum, 26) \
	SADALP4S(other, 27)

// func dotsSDOT(q *int8, blocks int, codes *unsafe.Pointer, head, n int, out *int32)
TEXT ·dotsSDOT(SB), NOSPLIT, $0-48
	ARGUMENTS
	SUBS $4, R4, R4
	BLT  few
four:
	ADD  $4, R4
	ADDRESSES
fourBlocks:
	QUERY
	CODES(R6)
	SDOTS(0, 4)
	CODES(R7)
	SDOTS(1, 5)
	CODES(R8)
	SDOTS(2, 6)
	CODES(R9)
	SDOTS(3, 7)
	SUBS $1, R11, R11
	BNE  fourBlocks
	VADD V4.S4, V0.S4, V0.S4
	VADD V5.S4, V1.S4, V1.S4
	VADD V6.S4, V2.S4, V2.S4
	VADD V7.S4, V3.S4, V3.S4
	VADDP V1.S4, V0.S4, V0.S4
	VADDP V3.S4, V2.S4, V2.S4
	VADDP V2.S4, V0.S4, V0.S4
	VST1.P [V0.S4], 16(R5)
	ADD  $32, R2
	SUB  $4, R4
	SUBS $4, R4, R4
	BGE  four
few:
	ADDS $4, R4, R4
	BEQ  done
one:
	MOVD.P 8(R2), R6
	ADD  R3, R6
	MOVD R0, R10
	MOVD R1, R11
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V4.B16, V4.B16, V4.B16
oneBlock:
	VLD1.P 64(R10), [V16.B16, V17.B16, V18.B16, V19.B16]
	CODES(R6)
	SDOTS(0, 4)
	SUBS $1, R11, R11
	BNE  oneBlock
	VADD V4.S4, V0.S4, V0.S4
	VADDV V0.S4, V0
	FMOVS.P F0, 4(R5)
	SUBS $1, R4, R4
	BNE  one
done:
	RET

// func dotsNEON(q *int8, blocks int, codes *unsafe.Pointer, head, n int, out *int32)
TEXT ·dotsNEON(SB), NOSPLIT, $0-48
	ARGUMENTS
	SUBS $4, R4, R4
	BLT  few
four:
	ADD  $4, R4
	ADDRESSES
fourBlocks:
	QUERY
	CODES(R6)
	PRODUCTS(0, 4)
	CODES(R7)
	PRODUCTS(1, 5)
	CODES(R8)
	PRODUCTS(2, 6)
	CODES(R9)
	PRODUCTS(3, 7)
	SUBS $1, R11, R11
	BNE  fourBlocks
	VADD V4.S4, V0.S4, V0.S4
	VADD V5.S4, V1.S4, V1.S4
	VADD V6.S4, V2.S4, V2.S4
	VADD V7.S4, V3.S4, V3.S4
	VADDP V1.S4, V0.S4, V0.S4
	VADDP V3.S4, V2.S4, V2.S4
	VADDP V2.S4, V0.S4, V0.S4
	VST1.P [V0.S4], 16(R5)
	ADD  $32, R2
	SUB  $4, R4
	SUBS $4, R4, R4
	BGE  four
few:
	ADDS $4, R4, R4
	BEQ  done
one:
	MOVD.P 8(R2), R6
	ADD  R3, R6
	MOVD R0, R10
	MOVD R1, R11
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V4.B16, V4.B16, V4.B16
oneBlock:
	VLD1.P 64(R10), [V16.B16, V17.B16, V18.B16, V19.B16]
	CODES(R6)
	PRODUCTS(0, 4)
	SUBS $1, R11, R11
	BNE  oneBlock
	VADD V4.S4, V0.S4, V0.S4
	VADDV V0.S4, V0
	FMOVS.P F0, 4(R5)
	SUBS $1, R4, R4
	BNE  one
done:
	RET
