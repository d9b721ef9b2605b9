// Vector instructions that the assembler does not know, by their encodings. Operands are numbers of V registers, the
// destination first.

#define FMUL4S(d, n, m)  WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d))
#define FADD4S(d, n, m)  WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d))
#define FSUB4S(d, n, m)  WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d))

// SDOT16B adds to each of 4 numbers of 32 bits the 4 products of bytes at its place.
#define SDOT16B(d, n, m) WORD $(0x4e809400 | (m)<<16 | (n)<<5 | (d))

// SMULL8H multiplies the lower 8 bytes; SMLAL8H adds the products of the upper 8; SADALP4S adds pairs of 16 bits to 32.
#define SMULL8H(d, n, m) WORD $(0x0e20c000 | (m)<<16 | (n)<<5 | (d))
#define SMLAL8H(d, n, m) WORD $(0x4e208000 | (m)<<16 | (n)<<5 | (d))
#define SADALP4S(d, n)   WORD $(0x4e606800 | (n)<<5 | (d))

// SADDLP8H adds pairs of 8 bits to 16.
#define SADDLP8H(d, n)   WORD $(0x4e202800 | (n)<<5 | (d))

// FCVTL4S makes the lower 4 halves float32, FCVTLU4S the upper.
#define FCVTL4S(d, n)    WORD $(0x0e217800 | (n)<<5 | (d))
#define FCVTLU4S(d, n)   WORD $(0x4e217800 | (n)<<5 | (d))

// SXTL makes the lower numbers of a register twice as wide, SXTLU the upper; SCVTF4S makes 32 bits float32.
#define SXTL8H(d, n)     WORD $(0x0f08a400 | (n)<<5 | (d))
#define SXTLU8H(d, n)    WORD $(0x4f08a400 | (n)<<5 | (d))
#define SXTL4S(d, n)     WORD $(0x0f10a400 | (n)<<5 | (d))
#define SXTLU4S(d, n)    WORD $(0x4f10a400 | (n)<<5 | (d))
#define SCVTF4S(d, n)    WORD $(0x4e21d800 | (n)<<5 | (d))
