package cdc

import (
	"encoding/base64"
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
	"io.debezium.time.Date":                   {codec.Day, false},
	"org.apache.kafka.connect.data.Date":      {codec.Day, false},
	"io.debezium.time.Timestamp":              {time.Millisecond, false},
	"org.apache.kafka.connect.data.Timestamp": {time.Millisecond, false},
	"io.debezium.time.MicroTimestamp":         {time.Microsecond, false},
	"io.debezium.time.NanoTimestamp":          {time.Nanosecond, false},
	"io.debezium.time.Time":                   {time.Millisecond, true},
	"org.apache.kafka.connect.data.Time":      {time.Millisecond, true},
	"io.debezium.time.MicroTime":              {time.Microsecond, true},
	"io.debezium.time.NanoTime":               {time.Nanosecond, true},
}

// append appends what n units are, as a JSON string; n itself where that is no time.
func (u unit) append(dst []byte, n int64) []byte {
	if u.ofDay {
		return codec.AppendTimeOfDay(dst, n, u.length)
	}
	return codec.AppendSince(dst, n, u.length)
}

// decimal returns a number that comes as the bytes of its unscaled value, big-endian in two's complement, in base64; a JSON number
// as it is.
func decimal(v []byte, scale int64, field string) ([]byte, error) {
	text, isText := codec.StringValue(v)
	if !isText && isNumber(v) {
		return v, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if isText && err == nil {
		if out, ok := codec.AppendDecimal(nil, raw, scale); ok {
			return out, nil
		}
	}
	return nil, refuse(freshet.CodeInvalidField, field, "must be a decimal: a number, or base64 of at most %d bytes with a scale up to %d, is %s",
		codec.MaxDecimalBytes, codec.MaxDecimalScale, codec.Clip(v))
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
