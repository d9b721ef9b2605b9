package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"github.com/freshet-io/freshet"
)

// AppendFloat appends a finite float of 32 or 64 bits with the fewest digits that give it back, as encoding/json writes it.
func AppendFloat(dst []byte, f float64, bits int) []byte {
	form := byte('f')
	if abs := math.Abs(f); abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		form = 'e'
	}
	dst = strconv.AppendFloat(dst, f, form, -1, bits)
	if n := len(dst); form == 'e' && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' { // e-09 becomes e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// AppendVector appends a vector of finite numbers as an array.
func AppendVector(dst []byte, v []float32) []byte {
	dst = append(dst, '[')
	for i, f := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendFloat(dst, float64(f), 32)
	}
	return append(dst, ']')
}

// floats reads an array of numbers at the scanner's place. What is no finite float32 is passed over; refuse is told of it, with its
// place. The error is of malformed JSON.
func (s *scanner) floats(depth int, refuse func(element int, v []byte)) ([]float32, error) {
	out := make([]float32, 0, s.elements())
	n := 0
	err := s.array(depth, func() error {
		f, ok := s.float()
		if !ok {
			v, err := s.skip(depth + 1)
			if err != nil {
				return err
			}
			long, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(v), len(v)), 32)
			if err != nil || math.IsInf(long, 0) || math.IsNaN(long) {
				refuse(n, v)
			}
			f = float32(long)
		}
		out = append(out, f)
		n++
		return nil
	})
	return out, err
}

// elements is how many elements a plain array at the scanner's place has, at most.
func (s *scanner) elements() int {
	end := bytes.IndexByte(s.b[s.i:], ']')
	if end < 0 {
		return 0
	}
	return bytes.Count(s.b[s.i:s.i+end], []byte{','}) + 1
}

// tens are the powers of ten that are exact in 64 bits.
var tens = [23]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float reads the number at the scanner's place as the nearest float32, which is what strconv.ParseFloat gives, in one pass. It
// says no, and stays, where that would take more than a multiplication or a division: for numbers of more than 19 digits, very small and very
// large ones, and for what is none.
func (s *scanner) float() (f float32, ok bool) {
	if s.i < len(s.b) && s.b[s.i] <= ' ' {
		s.space()
	}
	b, i := s.b, s.i
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	start := i
	n, i := decimals(b, i, 0)
	if i == start || b[start] == '0' && i > start+1 {
		return 0, false
	}
	count, exponent := i-start, 0
	if i < len(b) && b[i] == '.' {
		point := i + 1
		if n, i = decimals(b, point, n); i == point {
			return 0, false
		}
		count, exponent = count+i-point, point-i
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e := i + 1
		minus := e < len(b) && b[e] == '-'
		if e < len(b) && (minus || b[e] == '+') {
			e++
		}
		x, end := decimals(b, e, 0)
		if end == e || end > e+3 {
			return 0, false
		}
		if i = end; minus {
			exponent -= int(x)
		} else {
			exponent += int(x)
		}
	}
	// Up to 19 digits have not overflowed.
	if count > 19 || exponent <= -len(tens) || exponent >= len(tens) {
		return 0, false
	}
	v := float64(n)
	if exponent < 0 {
		v /= tens[-exponent]
	} else {
		v *= tens[exponent]
	}
	// Digits up to 2^53 are exact in 64 bits, as the power of ten is, and v is the nearest float64; more of them are rounded too, and v is less than
	// two units away from the number. Rounded again it is the nearest float32, unless it lies halfway between two of them, or as near to that:
	// the number itself may lie on either side.
	const half, near = 1 << 28, 2
	beside := int64(math.Float64bits(v)&(1<<29-1)) - half
	if beside == 0 || n > 1<<53 && beside >= -near && beside <= near || v < 0x1p-126 && v != 0 || v > math.MaxFloat32 {
		return 0, false
	}
	if negative {
		v = -v
	}
	s.i = i
	return float32(v), true
}

// decimals reads the digits that begin at i behind those of n, and returns where they end.
func decimals(b []byte, i int, n uint64) (uint64, int) {
	for i+8 <= len(b) {
		// Eight at once: 0x3 is the upper half of a digit, and the lower one plus 6 does not reach the upper one.
		x := binary.LittleEndian.Uint64(b[i:])
		if x&0xf0f0f0f0f0f0f0f0|(x+0x0606060606060606)&0xf0f0f0f0f0f0f0f0>>4 != 0x3333333333333333 {
			break
		}
		x &= 0x0f0f0f0f0f0f0f0f
		x = (x*10 + x>>8) & 0x00ff00ff00ff00ff
		x = (x*100 + x>>16) & 0x0000ffff0000ffff
		x = (x*10_000 + x>>32) & 0xffffffff
		n, i = n*100_000_000+x, i+8
	}
	for ; i < len(b) && b[i]-'0' < 10; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	return n, i
}

// ParseVector reads an array of finite numbers; field is its name in errors.
func ParseVector(raw []byte, field string) ([]float32, error) {
	s := scanner{b: raw}
	var wrong error
	out, err := s.floats(0, func(element int, v []byte) {
		if wrong == nil {
			wrong = badElement(field, element, v)
		}
	})
	if err == nil {
		err = wrong
	}
	return out, err
}

func badElement(field string, element int, v []byte) error {
	return &freshet.Error{Code: freshet.CodeBadVector, Field: field, Message: fmt.Sprintf("element %d must be a finite float32, is %s", element, Clip(v))}
}
