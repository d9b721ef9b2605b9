package mapping

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/freshet-io/freshet/codec"
)

// appendJSON appends v as JSON without spaces, members sorted by name, so that equal values
// give equal bytes. Integers are exact, doubles have their shortest form, bytes are base64,
// timestamps RFC 3339, durations seconds ("1.5s"), as CEL's own conversion to JSON has it.
func appendJSON(dst []byte, v ref.Val) ([]byte, error) {
	switch v := v.(type) {
	case types.String:
		return codec.AppendString(dst, string(v)), nil
	case types.Int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case types.Double:
		return appendDouble(dst, float64(v))
	case types.Bool:
		return strconv.AppendBool(dst, bool(v)), nil
	case types.Null:
		return append(dst, "null"...), nil
	case *object:
		return appendObject(dst, v)
	case traits.Lister:
		return appendList(dst, v)
	case traits.Mapper:
		return appendMap(dst, v)
	case types.Bytes:
		return codec.AppendString(dst, base64.StdEncoding.EncodeToString(v)), nil
	case types.Timestamp:
		return codec.AppendString(dst, v.UTC().Format(time.RFC3339Nano)), nil
	case types.Duration:
		return codec.AppendString(dst, strconv.FormatFloat(v.Seconds(), 'f', -1, 64)+"s"), nil
	case *types.Optional:
		if v.HasValue() {
			return appendJSON(dst, v.GetValue())
		}
		return append(dst, "null"...), nil
	}
	return nil, fmt.Errorf("a value of type %s has no JSON form", v.Type().TypeName())
}

func appendObject(dst []byte, o *object) (_ []byte, err error) {
	dst = append(dst, '{')
	for i, m := range o.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(codec.AppendString(dst, m.name), ':')
		if dst, err = appendJSON(dst, m.value); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendMap(dst []byte, m traits.Mapper) (_ []byte, err error) {
	if s, ok := m.(sortedMap); ok {
		m = s.Mapper // sorted below, once
	}
	dst = append(dst, '{')
	for i, key := range sortedKeys(m) {
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("the key %v is a %s; write string(…) around it", key.Value(), key.Type().TypeName())
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(codec.AppendString(dst, string(name)), ':')
		if dst, err = appendJSON(dst, m.Get(key)); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendList(dst []byte, l traits.Lister) (_ []byte, err error) {
	dst = append(dst, '[')
	for i, n := types.IntZero, l.Size().(types.Int); i < n; i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendJSON(dst, l.Get(i)); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

// appendDouble writes the shortest form that reads as the same double, with an exponent where
// ECMAScript has one.
func appendDouble(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is no JSON number", f)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64), nil
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64), nil
}
