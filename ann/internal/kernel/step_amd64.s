#include "textflag.h"
#include "go_asm.h"
#include "code_amd64.h"

// func gatherLinks(s *Step, links *uint32, n int) int
//
// The loop over links is free of branches that depend on data: which links were visited is as good as random.
TEXT ·gatherLinks(SB), NOSPLIT, $0-32
	MOVQ s+0(FP), DI
	MOVQ links+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ Step_words(DI), R8
	MOVL Step_end(DI), R9
	MOVQ Step_slots(DI), R10
	XORL DX, DX
	XORL R14, R14
link:
	MOVL (SI), AX
	ADDQ $4, SI
	CMPL AX, R9
	CMOVLCC R14, AX
	MOVL AX, BX
	SHRL $6, BX
	MOVQ (R8)(BX*8), R11
	BTSQ AX, R11
	MOVQ R11, (R8)(BX*8)
	MOVL AX, (R10)(DX*4)
	SBBQ $-1, DX
	DECQ CX
	JNZ  link
	MOVQ DX, ret+24(FP)
	TESTQ DX, DX
	JZ   done

	// Entries. The place -lzcnt of a table of addresses, counted from its place 32, has the address for the chunk.
	LEAQ Step_entries(DI), R13
	MOVQ Step_codes(DI), R11
	MOVQ Step_heads(DI), R14
	MOVQ Step_codeStride(DI), R12
	MOVQ DX, CX
locate:
	MOVL (R10), AX
	MOVL AX, R9
	SHRL $const_FirstChunkBits, R9
	LZCNTL R9, R9
	NEGQ R9
	MOVQ 256(R14)(R9*8), R15
	LEAQ (R15)(AX*8), R15
	IMULQ R12, AX
	ADDQ 256(R11)(R9*8), AX
	MOVQ R15, (R13)
	MOVQ AX, 8(R13)
	ADDQ $4, R10
	ADDQ $16, R13
	DECQ CX
	JNZ  locate
done:
	RET

// func findAVX2(links *uint32, n int, slot uint32) int
TEXT ·findAVX2(SB), NOSPLIT, $0-32
	MOVQ links+0(FP), SI
	MOVQ n+8(FP), CX
	MOVL slot+16(FP), DX
	VMOVD DX, X1
	VPBROADCASTD X1, Y1
	XORL AX, AX
eight:
	VPCMPEQD (SI)(AX*4), Y1, Y0
	VMOVMSKPS Y0, DX
	TESTL DX, DX
	JNZ  found
	ADDQ $8, AX
	CMPQ AX, CX
	JL   eight
	MOVQ $-1, ret+24(FP)
	VZEROUPPER
	RET
found:
	TZCNTL DX, DX
	ADDQ DX, AX
	MOVQ AX, ret+24(FP)
	VZEROUPPER
	RET

// func fetchLines(p unsafe.Pointer, n int)
TEXT ·fetchLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
line:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	SUBQ $64, CX
	JG   line
	RET

// ASK asks for the memory of the entry at R15, its head and BX bytes of its codes, and goes on to the next one. LINE is a label.
#define ASK(LINE) \
	MOVQ (R15), R12 \
	PREFETCHT0 (R12) \
	MOVQ 8(R15), R12 \
	XORL AX, AX \
LINE: \
	PREFETCHT0 (R12)(AX*1) \
	ADDQ $64, AX \
	CMPQ AX, BX \
	JNE  LINE \
	ADDQ $16, R15

// ENTRIES leaves the entries of the step in R15 there and their end in R8; without a step both are zero.
#define ENTRIES \
	XORL R8, R8 \
	TESTQ R15, R15 \
	JZ   entries \
	MOVQ Step_n(R15), R8 \
	SHLQ $4, R8 \
	LEAQ Step_entries(R15), R15 \
	ADDQ R15, R8 \
entries:

// func ask(s *Step)
TEXT ·ask(SB), NOSPLIT, $0-8
	MOVQ s+0(FP), R15
	TESTQ R15, R15
	JZ   done
	MOVQ Step_lines(R15), BX
	SHLQ $6, BX
	ENTRIES
	JMP  last
entry:
	ASK(line)
last:
	CMPQ R15, R8
	JB   entry
done:
	RET

// PAD repeats the last of DX entries three times, so that they can be measured by fours, and leaves R13 at the first.
#define PAD \
	LEAQ Step_entries(DI), R13 \
	MOVQ DX, AX \
	SHLQ $4, AX \
	VMOVDQU -16(R13)(AX*1), X5 \
	VMOVDQU X5, (R13)(AX*1) \
	VMOVDQU X5, 16(R13)(AX*1) \
	VMOVDQU X5, 32(R13)(AX*1)

// LOWER asks for the lower plane of the codes of DX entries. BX is the bytes of a plane.
#define LOWER \
	LEAQ Step_entries(DI), R13 \
	MOVQ DX, CX \
lower: \
	MOVQ 8(R13), AX \
	MOVQ BX, R8 \
lowerLine: \
	PREFETCHT0 (AX)(BX*1) \
	ADDQ $64, AX \
	SUBQ $64, R8 \
	JNZ  lowerLine \
	ADDQ $16, R13 \
	DECQ CX \
	JNZ  lower

// KEEP512 keeps ENTRY and the slot at OFFSET when the lowest bit of AX is set, which it shifts out.
#define KEEP512(ENTRY, OFFSET) \
	MOVQ DX, R12 \
	SHLQ $4, R12 \
	VMOVDQU64 ENTRY, Step_entries(DI)(R12*1) \
	MOVL OFFSET(R14), R8 \
	MOVL R8, Step_kept(DI)(DX*4) \
	SHRL $1, AX \
	ADCQ $0, DX

// ROUGH512 adds the products of the upper halves of codes with Z4 and Z5 to SUM.
#define ROUGH512(CODES, SUM) \
	VMOVDQU64 (CODES)(AX*1), Z6 \
	VPSRLW $4, Z6, Z7 \
	VPANDD Z23, Z6, Z6 \
	VPANDD Z23, Z7, Z7 \
	VPDPBUSD Z4, Z6, SUM \
	VPDPBUSD Z5, Z7, SUM

// QUERY512 and QUERY256 load what the code kernels need of the step in DI.
#define QUERY \
	MOVQ Step_query(DI), SI \
	MOVQ Step_planes(DI), BX \
	SHLQ $6, BX

#define QUERY512 \
	QUERY \
	VBROADCASTSS Step_bias(DI), X18 \
	VBROADCASTSS Step_base(DI), X19 \
	VBROADCASTSS Step_weight(DI), X20 \
	VBROADCASTSS Step_bound(DI), Z22 \
	MASKS512

#define QUERY256 \
	QUERY \
	VMOVSS Step_bias(DI), X11 \
	VMOVSS Step_base(DI), X14 \
	VMOVSS Step_weight(DI), X15 \
	MASKS256

// func ruleAVX512(s, next *Step) int
TEXT ·ruleAVX512(SB), NOSPLIT, $8-24
	MOVQ next+8(FP), R15
	ENTRIES
	MOVQ R8, end-8(SP)
	MOVQ s+0(FP), DI
	MOVQ Step_n(DI), DX
	MOVQ Step_slots(DI), R14
	QUERY512
	VBROADCASTSS Step_rough(DI), X21
	PAD

	MOVQ DX, CX
	XORL DX, DX
four:
	MOVQ $4, R8
ask:
	CMPQ R15, end-8(SP)
	JAE  asked
	ASK(line)
	DECQ R8
	JNZ  ask
asked:
	CODES512
	XORL AX, AX
upper:
	VMOVDQU64 (SI)(AX*2), Z4
	VMOVDQU64 64(SI)(AX*2), Z5
	ROUGH512(R8, Z0)
	ROUGH512(R9, Z1)
	ROUGH512(R10, Z2)
	ROUGH512(R11, Z3)
	ADDQ $64, AX
	CMPQ AX, BX
	JNE  upper
	FOLD512
	VPSLLD $4, X0, X0
	VCVTDQ2PS X0, X4
	VADDPS X21, X4, X4
	DISTANCES512
	VCMPPS $17, X22, X8, K1     // less than, quiet
	KMOVW K1, AX
	MOVQ $4, R12
	CMPQ CX, R12
	CMOVQLT CX, R12
	BZHIQ R12, AX, AX
	VMOVDQU64 (R13), X24
	VMOVDQU64 16(R13), X25
	VMOVDQU64 32(R13), X26
	VMOVDQU64 48(R13), X27
	KEEP512(X24, 0)
	KEEP512(X25, 4)
	KEEP512(X26, 8)
	KEEP512(X27, 12)
	ADDQ $64, R13
	ADDQ $16, R14
	SUBQ $4, CX
	JG   four
	JMP  last
rest:
	ASK(restLine)
last:
	CMPQ R15, end-8(SP)
	JB   rest
	MOVQ DX, ret+16(FP)
	TESTQ DX, DX
	JZ   done
	LOWER
done:
	VZEROUPPER
	RET

// func measureAVX512(s *Step) int
TEXT ·measureAVX512(SB), NOSPLIT, $0-16
	MOVQ s+0(FP), DI
	MOVQ Step_n(DI), DX
	MOVQ Step_slots(DI), R15
	QUERY512
	VPBROADCASTD Step_offset(DI), X17
	PAD

	LEAQ Step_dists(DI), R14
	MOVQ DX, CX
wholeFour:
	PRODUCTS512(planes, plain, folded)
	FOLD512
	VPSUBD X17, X0, X0
	VCVTDQ2PS X0, X4
	DISTANCES512
	VMOVUPS X8, (R14)
	ADDQ $16, R14
	ADDQ $64, R13
	SUBQ $4, CX
	JG   wholeFour

	// What is below the bound moves up.
	LEAQ Step_dists(DI), R14
	LEAQ Step_near(DI), R8
	LEAQ Step_nearSlots(DI), R9
	XORL BX, BX
sixteen:
	MOVQ $-1, R11
	MOVQ $16, AX
	CMPQ DX, AX
	CMOVQLT DX, AX
	BZHIQ AX, R11, R11
	KMOVW R11, K1
	VMOVUPS (R14), Z0
	VMOVDQU32.Z (R15), K1, Z1
	VCMPPS $17, Z22, Z0, K1, K2
	VCOMPRESSPS.Z Z0, K2, Z0
	VPCOMPRESSD.Z Z1, K2, Z1
	VMOVUPS Z0, (R8)(BX*4)
	VMOVDQU32 Z1, (R9)(BX*4)
	KMOVW K2, AX
	POPCNTL AX, AX
	ADDQ AX, BX
	ADDQ $64, R14
	ADDQ $64, R15
	SUBQ $16, DX
	JG   sixteen
	MOVQ BX, ret+8(FP)
	VZEROUPPER
	RET

// func ruleAVX2(s *Step) int
TEXT ·ruleAVX2(SB), NOSPLIT, $0-16
	MOVQ s+0(FP), DI
	MOVQ Step_n(DI), DX
	QUERY256
	VMOVSS Step_bound(DI), X8
	LEAQ Step_entries(DI), R13

	MOVQ DX, CX
	XORL DX, DX
	MOVQ Step_slots(DI), R14
record:
	MOVQ 8(R13), R8
	XORL AX, AX
	VPXOR Y0, Y0, Y0
upper:
	VPXOR Y2, Y2, Y2
	NIBBLES256((R8)(AX*1), 0, Y2)
	NIBBLES256(32(R8)(AX*1), 32, Y2)
	VPMADDWD Y10, Y2, Y2
	VPADDD Y2, Y0, Y0
	ADDQ $64, AX
	CMPQ AX, BX
	JNE  upper
	FOLD256
	VCVTDQ2PS X0, X4
	VADDSS Step_rough(DI), X4, X4
	MOVQ (R13), AX
	DISTANCE256
	VCMPSS $1, X8, X3, X3       // less than
	VMOVD X3, R9
	VMOVDQU (R13), X4
	MOVQ DX, R12
	SHLQ $4, R12
	VMOVDQU X4, Step_entries(DI)(R12*1)
	MOVL (R14), R8
	MOVL R8, Step_kept(DI)(DX*4)
	ANDL $1, R9
	ADDQ R9, DX
	ADDQ $16, R13
	ADDQ $4, R14
	DECQ CX
	JNZ  record
	MOVQ DX, ret+8(FP)
	TESTQ DX, DX
	JZ   done
	LOWER
done:
	VZEROUPPER
	RET

// func measureAVX2(s *Step)
TEXT ·measureAVX2(SB), NOSPLIT, $0-8
	MOVQ s+0(FP), DI
	MOVQ Step_n(DI), DX
	QUERY256
	LEAQ Step_entries(DI), R13
	VMOVD Step_offset(DI), X9
	LEAQ Step_dists(DI), R14
wholeRecord:
	MOVQ 8(R13), R8
	PRODUCT256(planes, plain, folded)
	FOLD256
	VPSUBD X9, X0, X0
	VCVTDQ2PS X0, X4
	MOVQ (R13), AX
	DISTANCE256
	VMOVSS X3, (R14)
	ADDQ $4, R14
	ADDQ $16, R13
	DECQ DX
	JNZ  wholeRecord
	VZEROUPPER
	RET
