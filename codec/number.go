package codec

import (
	"bytes"
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
// says no, and stays, where that would take more than a multiplication or a division: for long numbers, very small and very large
// ones, and for what is none.
func (s *scanner) float() (f float32, ok bool) {
	s.space()
	b, i := s.b, s.i
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	start := i
	var digits uint64
	for ; i < len(b) && b[i]-'0' < 10; i++ {
		digits = digits*10 + uint64(b[i]-'0')
	}
	if i == start || b[start] == '0' && i > start+1 {
		return 0, false
	}
	count, exponent := i-start, 0
	if i < len(b) && b[i] == '.' {
		point := i + 1
		for i = point; i < len(b) && b[i]-'0' < 10; i++ {
			digits = digits*10 + uint64(b[i]-'0')
		}
		if i == point {
			return 0, false
		}
		count, exponent = count+i-point, point-i
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		return 0, false
	}
	// Up to 19 digits have not overflowed. Both operands are exact then, so the quotient is the nearest float64.
	if count > 19 || digits > 1<<53 || -exponent >= len(tens) {
		return 0, false
	}
	v := float64(digits) / tens[-exponent]
	// Rounded again it is the nearest float32, unless it lies halfway between two of them: the number itself may lie on either side.
	if math.Float64bits(v)&(1<<29-1) == 1<<28 || v < 0x1p-126 && v != 0 || v > math.MaxFloat32 {
		return 0, false
	}
	if negative {
		v = -v
	}
	s.i = i
	return float32(v), true
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
