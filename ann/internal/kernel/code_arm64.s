#include "textflag.h"
#include "neon_arm64.h"

// The code kernels write the inner products of one query with records, four bits or eight of every code. With 128 taken
// off, by an exclusive or, codes are numbers from -127 to 127. Registers of all:
//
//	R0 query   R1 blocks of a plane, or 0   R2 records   R4 records left   R5 out
//	R6 codes, or their upper halves   R7 lower halves   R10 query block   R11 blocks left
//	V0 to V3 sums   V8 to V15 query   V20 to V23 upper halves   V24 to V27 lower halves   V30 16 times 240   V31 16 times 128
//
// A pair of lines of a query is compared with V16 to V19 and V20 to V23.

#define ARGUMENTS \
	MOVD q+0(FP), R0 \
	MOVD planes+8(FP), R1 \
	MOVD records+16(FP), R2 \
	MOVD n+24(FP), R4 \
	MOVD out+32(FP), R5 \
	VMOVI $240, V30.B16 \
	VMOVI $128, V31.B16

// RECORD begins the next record.
#define RECORD \
	MOVD 8(R2), R6 \
	ADD $16, R2 \
	MOVD R0, R10 \
	MOVD R1, R11 \
	VEOR V0.B16, V0.B16, V0.B16 \
	VEOR V1.B16, V1.B16, V1.B16 \
	VEOR V2.B16, V2.B16, V2.B16 \
	VEOR V3.B16, V3.B16, V3.B16

// SUM stores the sum of the record.
#define SUM \
	VADD V1.S4, V0.S4, V0.S4 \
	VADD V3.S4, V2.S4, V2.S4 \
	VADD V2.S4, V0.S4, V0.S4 \
	VADDV V0.S4, V0 \
	FMOVS.P F0, 4(R5) \
	SUBS $1, R4, R4

#define QUERY \
	VLD1.P 64(R10), [V8.B16, V9.B16, V10.B16, V11.B16] \
	VLD1.P 64(R10), [V12.B16, V13.B16, V14.B16, V15.B16]

// JOIN makes codes of the halves in V20 to V27.
#define JOIN \
	VORR V24.B16, V24.B16, V16.B16 \
	VSLI $4, V20.B16, V16.B16 \
	VSRI $4, V24.B16, V20.B16 \
	VEOR V31.B16, V16.B16, V16.B16 \
	VEOR V31.B16, V20.B16, V20.B16 \
	VORR V25.B16, V25.B16, V17.B16 \
	VSLI $4, V21.B16, V17.B16 \
	VSRI $4, V25.B16, V21.B16 \
	VEOR V31.B16, V17.B16, V17.B16 \
	VEOR V31.B16, V21.B16, V21.B16 \
	VORR V26.B16, V26.B16, V18.B16 \
	VSLI $4, V22.B16, V18.B16 \
	VSRI $4, V26.B16, V22.B16 \
	VEOR V31.B16, V18.B16, V18.B16 \
	VEOR V31.B16, V22.B16, V22.B16 \
	VORR V27.B16, V27.B16, V19.B16 \
	VSLI $4, V23.B16, V19.B16 \
	VSRI $4, V27.B16, V23.B16 \
	VEOR V31.B16, V19.B16, V19.B16 \
	VEOR V31.B16, V23.B16, V23.B16

// UPPER makes codes whose lower halves are zero of the upper halves in V20 to V23.
#define UPPER \
	VSHL $4, V20.B16, V16.B16 \
	VAND V30.B16, V20.B16, V20.B16 \
	VEOR V31.B16, V16.B16, V16.B16 \
	VEOR V31.B16, V20.B16, V20.B16 \
	VSHL $4, V21.B16, V17.B16 \
	VAND V30.B16, V21.B16, V21.B16 \
	VEOR V31.B16, V17.B16, V17.B16 \
	VEOR V31.B16, V21.B16, V21.B16 \
	VSHL $4, V22.B16, V18.B16 \
	VAND V30.B16, V22.B16, V22.B16 \
	VEOR V31.B16, V18.B16, V18.B16 \
	VEOR V31.B16, V22.B16, V22.B16 \
	VSHL $4, V23.B16, V19.B16 \
	VAND V30.B16, V23.B16, V23.B16 \
	VEOR V31.B16, V19.B16, V19.B16 \
	VEOR V31.B16, V23.B16, V23.B16

// SDOTS adds the products of a line, whose registers begin at c, with one of the query.
#define SDOTS(c, q) \
	SDOT16B(0, (c)+0, (q)+0) \
	SDOT16B(1, (c)+1, (q)+1) \
	SDOT16B(2, (c)+2, (q)+2) \
	SDOT16B(3, (c)+3, (q)+3)

// PRODUCTS does the same with products of 16 bits, two of which have room in 16 bits.
#define PRODUCTS(c, q) \
	SMULL8H(24, (c)+0, (q)+0) \
	SMULL8H(25, (c)+1, (q)+1) \
	SMULL8H(26, (c)+2, (q)+2) \
	SMULL8H(27, (c)+3, (q)+3) \
	SMLAL8H(24, (c)+0, (q)+0) \
	SMLAL8H(25, (c)+1, (q)+1) \
	SMLAL8H(26, (c)+2, (q)+2) \
	SMLAL8H(27, (c)+3, (q)+3) \
	SADALP4S(0, 24) \
	SADALP4S(1, 25) \
	SADALP4S(2, 26) \
	SADALP4S(3, 27)

// func dotsSDOT(q *int8, planes int, records *Record, n int, out *int32)
TEXT ·dotsSDOT(SB), NOSPLIT, $0-40
	ARGUMENTS
record:
	RECORD
	CBZ  R11, whole
	ADD  R1<<6, R6, R7
pair:
	VLD1.P 64(R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1.P 64(R7), [V24.B16, V25.B16, V26.B16, V27.B16]
	QUERY
	JOIN
	SDOTS(16, 8)
	SDOTS(20, 12)
	SUBS $1, R11, R11
	BNE  pair
sum:
	SUM
	BNE  record
	RET
whole:
	VLD1 (R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1 (R10), [V8.B16, V9.B16, V10.B16, V11.B16]
	VEOR V31.B16, V20.B16, V20.B16
	VEOR V31.B16, V21.B16, V21.B16
	VEOR V31.B16, V22.B16, V22.B16
	VEOR V31.B16, V23.B16, V23.B16
	SDOTS(20, 8)
	B    sum

// func upperSDOT(q *int8, planes int, records *Record, n int, out *int32)
TEXT ·upperSDOT(SB), NOSPLIT, $0-40
	ARGUMENTS
record:
	RECORD
pair:
	VLD1.P 64(R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	QUERY
	UPPER
	SDOTS(16, 8)
	SDOTS(20, 12)
	SUBS $1, R11, R11
	BNE  pair
	SUM
	BNE  record
	RET

// func dotsNEON(q *int8, planes int, records *Record, n int, out *int32)
TEXT ·dotsNEON(SB), NOSPLIT, $0-40
	ARGUMENTS
record:
	RECORD
	CBZ  R11, whole
	ADD  R1<<6, R6, R7
pair:
	VLD1.P 64(R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1.P 64(R7), [V24.B16, V25.B16, V26.B16, V27.B16]
	QUERY
	JOIN
	PRODUCTS(16, 8)
	PRODUCTS(20, 12)
	SUBS $1, R11, R11
	BNE  pair
sum:
	SUM
	BNE  record
	RET
whole:
	VLD1 (R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1 (R10), [V8.B16, V9.B16, V10.B16, V11.B16]
	VEOR V31.B16, V20.B16, V20.B16
	VEOR V31.B16, V21.B16, V21.B16
	VEOR V31.B16, V22.B16, V22.B16
	VEOR V31.B16, V23.B16, V23.B16
	PRODUCTS(20, 8)
	B    sum

// func upperNEON(q *int8, planes int, records *Record, n int, out *int32)
TEXT ·upperNEON(SB), NOSPLIT, $0-40
	ARGUMENTS
record:
	RECORD
pair:
	VLD1.P 64(R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	QUERY
	UPPER
	PRODUCTS(16, 8)
	PRODUCTS(20, 12)
	SUBS $1, R11, R11
	BNE  pair
	SUM
	BNE  record
	RET

// func signedPlanes(dst *int8, planes int, codes unsafe.Pointer)
TEXT ·signedPlanes(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R10
	MOVD planes+8(FP), R11
	MOVD codes+16(FP), R6
	ADD  R11<<6, R6, R7
	VMOVI $128, V31.B16
pair:
	VLD1.P 64(R6), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1.P 64(R7), [V24.B16, V25.B16, V26.B16, V27.B16]
	JOIN
	VST1.P [V16.B16, V17.B16, V18.B16, V19.B16], 64(R10)
	VST1.P [V20.B16, V21.B16, V22.B16, V23.B16], 64(R10)
	SUBS $1, R11, R11
	BNE  pair
	RET

// func sumsNEON(codes *int8, n int) (sum, squares int32)
TEXT ·sumsNEON(SB), NOSPLIT, $0-24
	MOVD codes+0(FP), R0
	MOVD n+8(FP), R1
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
line:
	VLD1.P 64(R0), [V20.B16, V21.B16, V22.B16, V23.B16]
	SADDLP8H(16, 20)
	SMULL8H(24, 20, 20)
	SMLAL8H(24, 20, 20)
	SADALP4S(0, 16)
	SADALP4S(1, 24)
	SADDLP8H(17, 21)
	SMULL8H(25, 21, 21)
	SMLAL8H(25, 21, 21)
	SADALP4S(0, 17)
	SADALP4S(1, 25)
	SADDLP8H(18, 22)
	SMULL8H(26, 22, 22)
	SMLAL8H(26, 22, 22)
	SADALP4S(0, 18)
	SADALP4S(1, 26)
	SADDLP8H(19, 23)
	SMULL8H(27, 23, 23)
	SMLAL8H(27, 23, 23)
	SADALP4S(0, 19)
	SADALP4S(1, 27)
	SUBS $64, R1, R1
	BGT  line
	VADDV V0.S4, V0
	VADDV V1.S4, V1
	FMOVS F0, sum+16(FP)
	FMOVS F1, squares+20(FP)
	RET

// func fetchLines(p unsafe.Pointer, n int)
TEXT ·fetchLines(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD n+8(FP), R1
line:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0
	SUBS $64, R1, R1
	BGT  line
	RET
