package filter

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// A number's key is a byte string that orders as the number does and is the
// same for all spellings of one value, so that one comparison of bytes serves
// equality, order and hashing, with no rounding anywhere.
//
// The value is ±0.d1d2d3… × 10^e with d1 ≠ 0 and no trailing zeros:
//
//	zero       0x80
//	positive   E D D D …         E: one byte 0xC0+e for |e| ≤ 48,
//	                                else 0xF1 (0x8F) and e+2^31 in 4 bytes
//	                             D: two digits as a byte 1 to 100, the last padded by 0
//	negative   the positive key, each byte complemented, then 0xFF
const (
	numberZero     = 0x80
	numberBase     = 0xC0
	numberShortMax = 48
	numberLarge    = 0xF1
	numberSmall    = 0x8F
	numberEnd      = 0xFF
)

// appendNumberKey appends to dst the key of lit, a valid JSON number. It returns
// false, and dst as it was, for a number outside the limits.
func appendNumberKey(dst, lit []byte) ([]byte, bool) {
	neg := lit[0] == '-'
	if neg {
		lit = lit[1:]
	}
	mantissa, exp := splitExponent(lit)
	point, first, last := len(mantissa), -1, -1
	for i, c := range mantissa {
		switch {
		case c == '.':
			point = i
		case c != '0':
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return append(dst, numberZero), true
	}
	digits := last - first + 1
	if first < point && point < last {
		digits--
	}
	e := exp
	if first < point {
		e += point - first
	} else {
		e -= first - point - 1
	}
	if digits > MaxNumberDigits || e > MaxNumberExponent || e <= -MaxNumberExponent {
		return dst, false
	}
	start := len(dst)
	dst = appendExponent(dst, e)
	dst = appendDigits(dst, mantissa[first:last+1])
	if neg {
		for i := start; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
		dst = append(dst, numberEnd)
	}
	return dst, true
}

// exponentCap is where reading an exponent stops: past it a number is out of
// range however many zeros its mantissa (below 100 MB) sets against it.
const exponentCap = 200_000_000

// splitExponent returns the part of an unsigned number before its exponent, and
// the exponent, held to ±exponentCap.
func splitExponent(lit []byte) ([]byte, int) {
	for i, c := range lit {
		if c != 'e' && c != 'E' {
			continue
		}
		exp, neg := 0, false
		for _, c := range lit[i+1:] {
			switch c {
			case '-':
				neg = true
			case '+':
			default:
				exp = min(exp*10+int(c-'0'), exponentCap)
			}
		}
		if neg {
			exp = -exp
		}
		return lit[:i], exp
	}
	return lit, 0
}

func appendExponent(dst []byte, e int) []byte {
	switch {
	case e > numberShortMax:
		dst = append(dst, numberLarge)
	case e < -numberShortMax:
		dst = append(dst, numberSmall)
	default:
		return append(dst, byte(numberBase+e))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(e)^1<<31)
}

// appendDigits packs the digits of s, which may hold a point, two to a byte.
func appendDigits(dst, s []byte) []byte {
	high, odd := byte(0), false
	for _, c := range s {
		if c == '.' {
			continue
		}
		if odd {
			dst = append(dst, high+c-'0'+1)
		} else {
			high = (c - '0') * 10
		}
		odd = !odd
	}
	if odd {
		dst = append(dst, high+1)
	}
	return dst
}

// formatNumber returns the number of a key in its canonical JSON spelling:
// plain for up to 21 places on either side of the point, else with an exponent.
func formatNumber(key string) string {
	if key[0] == numberZero {
		return "0"
	}
	b, sign := []byte(key), ""
	if b[0] < numberZero {
		sign, b = "-", b[:len(b)-1]
		for i := range b {
			b[i] = ^b[i]
		}
	}
	e, b := int(b[0])-numberBase, b[1:]
	if e > numberShortMax || e < -numberShortMax {
		e, b = int(int32(binary.BigEndian.Uint32(b)^1<<31)), b[4:]
	}
	var d strings.Builder
	for _, p := range b {
		d.WriteByte('0' + (p-1)/10)
		d.WriteByte('0' + (p-1)%10)
	}
	digits := strings.TrimSuffix(d.String(), "0")
	switch {
	case e > 21 || e < -20:
		s := sign + digits[:1]
		if len(digits) > 1 {
			s += "." + digits[1:]
		}
		return s + "e" + strconv.Itoa(e-1)
	case e <= 0:
		return sign + "0." + strings.Repeat("0", -e) + digits
	case e >= len(digits):
		return sign + digits + strings.Repeat("0", e-len(digits))
	default:
		return sign + digits[:e] + "." + digits[e:]
	}
}
