#include "textflag.h"
#include "code_amd64.h"

// FETCH asks for the memory of a record: its entry is at E, and DX lines of codes. It uses AX and R8.
#define FETCH(E, LINE) \
	MOVQ (E), AX \
	PREFETCHT0 (AX) \
	MOVQ 8(E), AX \
	MOVQ DX, R8 \
LINE: \
	PREFETCHT0 (AX) \
	ADDQ $64, AX \
	DECQ R8 \
	JNZ  LINE

// AHEAD is how many records before its turn the memory of one is asked for.
#define AHEAD 4

// func batchAVX512(q *int8, plane, lines int, offset int32, bias, base, weight float32, records *Record, n int, out *float32)
TEXT ·batchAVX512(SB), NOSPLIT, $64-64
	MOVQ q+0(FP), SI
	MOVQ plane+8(FP), BX
	MOVQ lines+16(FP), DX
	MOVL offset+24(FP), AX
	VPBROADCASTD AX, X17
	VBROADCASTSS bias+28(FP), X18
	VBROADCASTSS base+32(FP), X19
	VBROADCASTSS weight+36(FP), X20
	MOVQ records+40(FP), R13
	MOVQ n+48(FP), CX
	MOVQ out+56(FP), DI
	MASKS512

	MOVQ R13, R15               // the entry whose memory is asked for next
	MOVQ CX, R14
	CMPQ R14, $AHEAD
	JLE  warm
	MOVQ $AHEAD, R14
warm:
	FETCH(R15, warmLine)
	ADDQ $16, R15
	DECQ R14
	JNZ  warm

four:
	MOVQ CX, R14
	SUBQ $AHEAD, R14
	JLE  fetched
	CMPQ R14, $4
	JLE  fetch
	MOVQ $4, R14
fetch:
	FETCH(R15, line)
	ADDQ $16, R15
	DECQ R14
	JNZ  fetch
fetched:
	MOVQ $15, R14               // which of the four there are
	CMPQ CX, $4
	JGE  measure

	// The last one again, for those that are missing.
	LEAQ tail-64(SP), R12
	MOVQ $4, AX
	BZHIQ CX, R14, R14
copy:
	VMOVDQU (R13), X5
	VMOVDQU X5, (R12)
	ADDQ $16, R12
	DECQ CX
	JLE  copied
	ADDQ $16, R13
copied:
	DECQ AX
	JNZ  copy
	LEAQ tail-64(SP), R13
	XORL CX, CX

measure:
	PRODUCTS512(planes, plain, folded)
	FOLD512
	VPSUBD X17, X0, X0
	VCVTDQ2PS X0, X4
	DISTANCES512
	KMOVW R14, K1
	VMOVUPS X8, K1, (DI)
	ADDQ $16, DI
	ADDQ $64, R13
	SUBQ $4, CX
	JG   four
	VZEROUPPER
	RET

// func batchAVX2(q *int8, plane, lines int, offset int32, bias, base, weight float32, records *Record, n int, out *float32)
TEXT ·batchAVX2(SB), NOSPLIT, $0-64
	MOVQ q+0(FP), SI
	MOVQ plane+8(FP), BX
	MOVQ lines+16(FP), DX
	MOVL offset+24(FP), AX
	VMOVD AX, X8
	VMOVSS bias+28(FP), X11
	VMOVSS base+32(FP), X14
	VMOVSS weight+36(FP), X15
	MOVQ records+40(FP), R13
	MOVQ n+48(FP), CX
	MOVQ out+56(FP), DI
	MASKS256

	MOVQ R13, R15
	MOVQ CX, R14
	CMPQ R14, $AHEAD
	JLE  warm
	MOVQ $AHEAD, R14
warm:
	FETCH(R15, warmLine)
	ADDQ $16, R15
	DECQ R14
	JNZ  warm

record:
	CMPQ CX, $AHEAD
	JLE  fetched
	FETCH(R15, line)
	ADDQ $16, R15
fetched:
	MOVQ 8(R13), R8
	PRODUCT256(planes, plain, folded)
	FOLD256
	VPSUBD X8, X0, X0
	VCVTDQ2PS X0, X4
	MOVQ (R13), AX
	DISTANCE256
	VMOVSS X3, (DI)
	ADDQ $4, DI
	ADDQ $16, R13
	DECQ CX
	JNZ  record
	VZEROUPPER
	RET
