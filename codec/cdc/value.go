package cdc

import (
	"encoding/base64"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// unit is what an integer that stands for a time counts.
type unit struct {
	length time.Duration
	ofDay  bool // a time of day; else since 1970
}

// temporal are the types of Debezium and Kafka Connect whose values are integers that count time.
var temporal = map[string]unit{
	"io.debezium.time.Date":                   {24 * time.Hour, false},
	"org.apache.kafka.connect.data.Date":      {24 * time.Hour, false},
	"io.debezium.time.Timestamp":              {time.Millisecond, false},
	"org.apache.kafka.connect.data.Timestamp": {time.Millisecond, false},
	"io.debezium.time.MicroTimestamp":         {time.Microsecond, false},
	"io.debezium.time.NanoTimestamp":          {time.Nanosecond, false},
	"io.debezium.time.Time":                   {time.Millisecond, true},
	"org.apache.kafka.connect.data.Time":      {time.Millisecond, true},
	"io.debezium.time.MicroTime":              {time.Microsecond, true},
	"io.debezium.time.NanoTime":               {time.Nanosecond, true},
}

// append appends what n units are, as a JSON string; n itself where that is no time, as MySQL's TIME of 800 hours and
// PostgreSQL's infinity.
func (u unit) append(dst []byte, n int64) []byte {
	perSecond := int64(time.Second / u.length) // 0 for days
	if u.ofDay {
		if n < 0 || n >= 24*3600*perSecond {
			return strconv.AppendInt(dst, n, 10)
		}
		at := time.Unix(0, n*int64(u.length)).UTC()
		return codec.AppendString(dst, at.Format("15:04:05.999999999"))
	}
	var seconds, rest int64
	if perSecond > 0 {
		seconds, rest = n/perSecond, n%perSecond*int64(u.length)
	} else if n > -maxDays && n < maxDays {
		seconds = n * 24 * 3600
	} else {
		seconds = lastSecond + 1
	}
	if seconds < firstSecond || seconds > lastSecond {
		return strconv.AppendInt(dst, n, 10)
	}
	return appendTime(dst, time.Unix(seconds, rest))
}

// The seconds of the years 0 to 9999, which RFC 3339 can write.
const (
	firstSecond = -62167219200 + 1
	lastSecond  = 253402300799 - 1
	maxDays     = 4e6
)

// appendTime appends a time as filters compare it.
func appendTime(dst []byte, at time.Time) []byte {
	return codec.AppendString(dst, at.UTC().Format(time.RFC3339Nano))
}

// The limits of a decimal: no database has larger ones, and reading them costs the square.
const (
	maxDecimalBytes = 1024
	maxScale        = 4096
)

// decimal returns a number that comes as the bytes of its unscaled value, big-endian in two's complement, in base64; a JSON number
// as it is.
func decimal(v []byte, scale int64, field string) ([]byte, error) {
	text, isText := codec.StringValue(v)
	if !isText && isNumber(v) {
		return v, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if !isText || err != nil || len(raw) == 0 || len(raw) > maxDecimalBytes || scale > maxScale || scale < -maxScale {
		return nil, refuse(freshet.CodeInvalidField, field, "must be a decimal: a number, or base64 of at most %d bytes with a scale up to %d, is %s", maxDecimalBytes, maxScale, codec.Clip(v))
	}
	n := new(big.Int).SetBytes(raw)
	if raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	digits, negative := strings.CutPrefix(n.String(), "-")
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
		digits = "-" + digits
	}
	return []byte(digits), nil
}

// isNumber reports whether v is a JSON number.
func isNumber(v []byte) bool {
	return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') && codec.Check(v) == nil && v[len(v)-1] > ' '
}

// number returns the JSON number that a text of a numeric column is, its leading zeros left off; ok is false if it is none.
func number(text string) (v []byte, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	for len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		digits = digits[1:]
	}
	if negative {
		digits = "-" + digits
	}
	return []byte(digits), isNumber([]byte(digits))
}

// zoneless are the forms of a date or a time without zone.
var zoneless = []string{time.DateOnly, "2006-01-02 15:04:05.999999999"}

// parseZoneless reads a date or a time that names no zone as UTC.
func parseZoneless(text string) (at time.Time, ok bool) {
	for _, form := range zoneless {
		if at, err := time.Parse(form, text); err == nil {
			return at, true
		}
	}
	return at, false
}
