#include "textflag.h"
#include "go_asm.h"

// func tableSumsAVX2(a *tableArgs)
//
//	SI query   DI codewords   DX products   CX subspaces left   BX components   AX components left
//	Y12 scale   X10 sum of the smallest   X11 widest range
TEXT ·tableSumsAVX2(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), R8
	MOVQ tableArgs_y(R8), SI
	MOVQ tableArgs_books(R8), DI
	MOVQ tableArgs_exact(R8), DX
	MOVQ tableArgs_spaces(R8), CX
	MOVQ tableArgs_sub(R8), BX
	VBROADCASTSS tableArgs_scale(R8), Y12
	VXORPS X10, X10, X10
	VXORPS X11, X11, X11
space:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	MOVQ BX, AX
component:
	VBROADCASTSS (SI), Y2
	VMULPS Y12, Y2, Y2
	VMULPS (DI), Y2, Y3
	VMULPS 32(DI), Y2, Y4
	VADDPS Y3, Y0, Y0
	VADDPS Y4, Y1, Y1
	ADDQ $4, SI
	ADDQ $64, DI
	DECQ AX
	JNZ  component
	VMINPS Y0, Y1, Y5
	VMAXPS Y0, Y1, Y6
	VEXTRACTF128 $1, Y5, X7
	VEXTRACTF128 $1, Y6, X8
	VMINPS X7, X5, X5
	VMAXPS X8, X6, X6
	VPSHUFD $0x4e, X5, X7
	VPSHUFD $0x4e, X6, X8
	VMINPS X7, X5, X5
	VMAXPS X8, X6, X6
	VPSHUFD $0xb1, X5, X7
	VPSHUFD $0xb1, X6, X8
	VMINPS X7, X5, X5
	VMAXPS X8, X6, X6
	VADDSS X5, X10, X10
	VSUBSS X5, X6, X6
	VMAXSS X6, X11, X11
	VBROADCASTSS X5, Y5
	VSUBPS Y5, Y0, Y0
	VSUBPS Y5, Y1, Y1
	VMOVUPS Y0, (DX)
	VMOVUPS Y1, 32(DX)
	ADDQ $64, DX
	DECQ CX
	JNZ  space
	VMOVSS X10, tableArgs_base(R8)
	VMOVSS X11, tableArgs_widest(R8)
	VZEROUPPER
	RET

DATA half<>+0(SB)/4, $0.5
GLOBL half<>(SB), RODATA|NOPTR, $4
DATA most<>+0(SB)/4, $255.0
GLOBL most<>(SB), RODATA|NOPTR, $4

// ENTRIES turns the 16 products at FROM(SI) into bytes at TO(DI), twice.
#define ENTRIES(FROM, TO) \
	VMULPS FROM(SI), Y12, Y0 \
	VMULPS FROM+32(SI), Y12, Y1 \
	VADDPS Y13, Y0, Y0 \
	VADDPS Y13, Y1, Y1 \
	VMINPS Y14, Y0, Y0 \
	VMINPS Y14, Y1, Y1 \
	VCVTTPS2DQ Y0, Y0 \
	VCVTTPS2DQ Y1, Y1 \
	VPACKUSDW Y1, Y0, Y0 \
	VPERMQ $0xd8, Y0, Y0 \
	VEXTRACTI128 $1, Y0, X1 \
	VPACKUSWB X1, X0, X0 \
	VMOVDQU X0, TO(DI) \
	VMOVDQU X0, TO+16(DI)

// func tableBytesAVX2(a *tableArgs)
TEXT ·tableBytesAVX2(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), R8
	MOVQ tableArgs_exact(R8), SI
	MOVQ tableArgs_lut(R8), DI
	MOVQ tableArgs_spaces(R8), CX
	VBROADCASTSS tableArgs_inverse(R8), Y12
	VBROADCASTSS half<>(SB), Y13
	VBROADCASTSS most<>(SB), Y14
quad:
	ENTRIES(0, 0)
	ENTRIES(64, 64)
	ENTRIES(128, 32)
	ENTRIES(192, 96)
	ADDQ $256, SI
	ADDQ $128, DI
	SUBQ $4, CX
	JNZ  quad
	VZEROUPPER
	RET
