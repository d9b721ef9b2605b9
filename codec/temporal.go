package codec

import (
	"math/big"
	"strconv"
	"strings"
	"time"
)

// The seconds of the years 0 to 9999, which RFC 3339 can write, and more days than those have.
const (
	firstSecond = -62167219200 + 1
	lastSecond  = 253402300799 - 1
	maxDays     = 4e6
)

// Day is the unit of dates.
const Day = 24 * time.Hour

// AppendTime appends a time as filters compare it: a JSON string of RFC 3339 in UTC.
func AppendTime(dst []byte, at time.Time) []byte {
	return AppendString(dst, at.UTC().Format(time.RFC3339Nano))
}

// AppendSince appends the time that is n units after 1970, as AppendTime; n itself where that is none of the years 0 to 9999,
// as PostgreSQL's infinity. A unit is a part of a second, a second or a day.
func AppendSince(dst []byte, n int64, unit time.Duration) []byte {
	var seconds, rest int64
	if perSecond := int64(time.Second / unit); perSecond > 0 {
		seconds, rest = n/perSecond, n%perSecond*int64(unit)
	} else if n > -maxDays && n < maxDays {
		seconds = n * int64(unit/time.Second)
	} else {
		seconds = lastSecond + 1
	}
	if seconds < firstSecond || seconds > lastSecond {
		return strconv.AppendInt(dst, n, 10)
	}
	return AppendTime(dst, time.Unix(seconds, rest))
}

// AppendTimeOfDay appends the time of day that is n units after midnight, as 10:13:23.5 in a string; n itself where that is none, as
// MySQL's TIME of 800 hours.
func AppendTimeOfDay(dst []byte, n int64, unit time.Duration) []byte {
	if n < 0 || n >= int64(Day/unit) {
		return strconv.AppendInt(dst, n, 10)
	}
	at := time.Unix(0, n*int64(unit)).UTC()
	return AppendString(dst, at.Format("15:04:05.999999999"))
}

// The limits of a decimal: no database has larger ones, and reading them costs the square.
const (
	MaxDecimalBytes = 1024
	MaxDecimalScale = 4096
)

// AppendDecimal appends the number with the unscaled value n, big-endian in two's complement, and a scale, with all of its digits.
// ok is false if n is empty, or one of both beyond its limit.
func AppendDecimal(dst, n []byte, scale int64) (out []byte, ok bool) {
	if len(n) == 0 || len(n) > MaxDecimalBytes || scale > MaxDecimalScale || scale < -MaxDecimalScale {
		return dst, false
	}
	unscaled := new(big.Int).SetBytes(n)
	if n[0] >= 0x80 {
		unscaled.Sub(unscaled, new(big.Int).Lsh(big.NewInt(1), uint(8*len(n))))
	}
	digits, negative := strings.CutPrefix(unscaled.String(), "-")
	switch {
	case scale < 0 && digits != "0":
		digits += strings.Repeat("0", int(-scale))
	case scale > 0:
		if missing := int(scale) + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		point := len(digits) - int(scale)
		digits = digits[:point] + "." + digits[point:]
	}
	if negative {
		dst = append(dst, '-')
	}
	return append(dst, digits...), true
}
