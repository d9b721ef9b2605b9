package parquet

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/freshet-io/freshet/codec"
)

// valueOf returns what appends values of a type.
func valueOf(t parquet.Type) func([]byte, parquet.Value) []byte {
	var logical format.LogicalTypeValue
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	var bare func([]byte, parquet.Value) []byte
	switch t.Kind() {
	case parquet.Boolean:
		bare = func(dst []byte, v parquet.Value) []byte { return strconv.AppendBool(dst, v.Boolean()) }
	case parquet.Int32, parquet.Int64:
		bare = integer(t.Kind(), logical)
	case parquet.Int96:
		bare = func(dst []byte, v parquet.Value) []byte { return appendTime(dst, julianTime(v)) }
	case parquet.Float:
		bare = func(dst []byte, v parquet.Value) []byte { return appendFloat(dst, float64(v.Float()), 32) }
	case parquet.Double:
		bare = func(dst []byte, v parquet.Value) []byte { return appendFloat(dst, v.Double(), 64) }
	default:
		bare = bytesValue(t.Kind(), logical)
	}
	return func(dst []byte, v parquet.Value) []byte {
		if v.IsNull() {
			return append(dst, "null"...)
		}
		if v.Kind() != t.Kind() { // which Next makes an error of: bytes must not be read where there is a number
			panic(fmt.Sprintf("a column of %s has a value of %s: the file is damaged", t.Kind(), v.Kind()))
		}
		return bare(dst, v)
	}
}

func integer(kind parquet.Kind, logical format.LogicalTypeValue) func([]byte, parquet.Value) []byte {
	number := func(v parquet.Value) int64 {
		if kind == parquet.Int32 {
			return int64(v.Int32())
		}
		return v.Int64()
	}
	switch l := logical.(type) {
	case *format.DecimalType:
		return func(dst []byte, v parquet.Value) []byte {
			return appendDecimal(dst, big.NewInt(number(v)), int(l.Scale))
		}
	case *format.DateType:
		return func(dst []byte, v parquet.Value) []byte {
			return time.Unix(number(v)*86400, 0).UTC().AppendFormat(dst, `"2006-01-02"`)
		}
	case *format.TimestampType:
		unit := unitOf(l.Unit)
		return func(dst []byte, v parquet.Value) []byte { return appendTime(dst, unit(number(v))) }
	case *format.TimeType:
		unit := unitOf(l.Unit)
		return func(dst []byte, v parquet.Value) []byte {
			return unit(number(v)).AppendFormat(dst, `"15:04:05.999999999"`)
		}
	case *format.IntType:
		if !l.IsSigned {
			return func(dst []byte, v parquet.Value) []byte {
				if kind == parquet.Int32 {
					return strconv.AppendUint(dst, uint64(v.Uint32()), 10)
				}
				return strconv.AppendUint(dst, v.Uint64(), 10)
			}
		}
	}
	return func(dst []byte, v parquet.Value) []byte { return strconv.AppendInt(dst, number(v), 10) }
}

// unitOf returns the time that a number of units since 1970 is.
func unitOf(u format.TimeUnit) func(int64) time.Time {
	switch u.Value.(type) {
	case *format.MilliSeconds:
		return func(n int64) time.Time { return time.UnixMilli(n).UTC() }
	case *format.MicroSeconds:
		return func(n int64) time.Time { return time.UnixMicro(n).UTC() }
	}
	return func(n int64) time.Time { return time.Unix(n/1e9, n%1e9).UTC() }
}

func appendTime(dst []byte, t time.Time) []byte {
	return t.AppendFormat(dst, `"`+time.RFC3339Nano+`"`)
}

// julianTime is a time as Impala and old versions of Spark write it: 8 bytes of nanoseconds of the day, 4 of the Julian day.
func julianTime(v parquet.Value) time.Time {
	const epoch = 2440588 // the Julian day of 1970-01-01
	i := v.Int96()
	return time.Unix((int64(i[2])-epoch)*86400, int64(i[1])<<32|int64(i[0])).UTC()
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return codec.AppendFloat(dst, f, bits) // so that what was JSON before is the same again
}

// appendDecimal appends a number that is shifted right by scale digits.
func appendDecimal(dst []byte, n *big.Int, scale int) []byte {
	digits := new(big.Int).Abs(n).String()
	if n.Sign() < 0 {
		dst = append(dst, '-')
	}
	if scale <= 0 {
		return append(append(dst, digits...), strings.Repeat("0", -scale)...)
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	at := len(digits) - scale
	return append(append(append(dst, digits[:at]...), '.'), digits[at:]...)
}

func bytesValue(kind parquet.Kind, logical format.LogicalTypeValue) func([]byte, parquet.Value) []byte {
	switch l := logical.(type) {
	case *format.DecimalType:
		return func(dst []byte, v parquet.Value) []byte {
			return appendDecimal(dst, bigEndian(v.ByteArray()), int(l.Scale))
		}
	case *format.UUIDType:
		return func(dst []byte, v parquet.Value) []byte {
			b := v.ByteArray()
			if len(b) != 16 {
				return appendBytes(dst, b)
			}
			return fmt.Appendf(dst, `"%x-%x-%x-%x-%x"`, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		}
	case *format.JsonType:
		return func(dst []byte, v parquet.Value) []byte {
			if b := v.ByteArray(); codec.Check(b) == nil {
				return append(dst, b...)
			}
			return appendBytes(dst, v.ByteArray())
		}
	}
	if kind == parquet.FixedLenByteArray {
		return func(dst []byte, v parquet.Value) []byte { return appendBase64(dst, v.ByteArray()) }
	}
	return func(dst []byte, v parquet.Value) []byte { return appendBytes(dst, v.ByteArray()) }
}

// appendBytes appends text as a string, and what is no text as base64.
func appendBytes(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return codec.AppendString(dst, string(b))
	}
	return appendBase64(dst, b)
}

func appendBase64(dst, b []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b)
	return append(dst, '"')
}

// bigEndian is a number in two's complement.
func bigEndian(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}
