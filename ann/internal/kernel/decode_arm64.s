#include "textflag.h"
#include "neon_arm64.h"

// The decoders write 16 components per turn.

// SCALED multiplies V0 to V3 by V8 and stores them.
#define SCALED \
	FMUL4S(0, 0, 8) \
	FMUL4S(1, 1, 8) \
	FMUL4S(2, 2, 8) \
	FMUL4S(3, 3, 8) \
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)

// func halvesNEON(dst *float32, src *uint16, n int, scale float32)
TEXT ·halvesNEON(SB), NOSPLIT, $0-28
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2
	FMOVS scale+24(FP), F8
	VDUP V8.S[0], V8.S4
loop:
	VLD1.P 32(R1), [V4.H8, V5.H8]
	FCVTL4S(0, 4)
	FCVTLU4S(1, 4)
	FCVTL4S(2, 5)
	FCVTLU4S(3, 5)
	SCALED
	SUBS $16, R2, R2
	BGT  loop
	RET

// func bytesNEON(dst *float32, src *byte, n int, scale float32)
TEXT ·bytesNEON(SB), NOSPLIT, $0-28
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2
	FMOVS scale+24(FP), F8
	VDUP V8.S[0], V8.S4
	VMOVI $128, V31.B16
loop:
	VLD1.P 16(R1), [V4.B16]
	VEOR V31.B16, V4.B16, V4.B16
	SXTL8H(5, 4)
	SXTLU8H(6, 4)
	SXTL4S(0, 5)
	SXTLU4S(1, 5)
	SXTL4S(2, 6)
	SXTLU4S(3, 6)
	SCVTF4S(0, 0)
	SCVTF4S(1, 1)
	SCVTF4S(2, 2)
	SCVTF4S(3, 3)
	SCALED
	SUBS $16, R2, R2
	BGT  loop
	RET
