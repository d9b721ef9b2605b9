package mapping

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// maxExactDouble is the largest integer up to which doubles are exact.
const maxExactDouble = 1 << 53

// present unwraps an optional value; ok is false for null, optional.none() and nil.
func present(v ref.Val) (ref.Val, bool) {
	for {
		switch o := v.(type) {
		case nil, types.Null:
			return nil, false
		case *types.Optional:
			if !o.HasValue() {
				return nil, false
			}
			v = o.GetValue()
		default:
			return v, true
		}
	}
}

// wrong is the error about a value that a field can't take.
func wrong(code freshet.Code, format string, args ...any) *freshet.Error {
	return &freshet.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// mismatch is the error about a value of another kind.
func mismatch(v ref.Val, want string) *freshet.Error {
	return wrong(freshet.CodeInvalidField, "is %s, but must be %s; convert it, or correct the event", describe(v), want)
}

// describe shows type and value for a message.
func describe(v ref.Val) string {
	if s, ok := v.(types.String); ok {
		return "the string " + strconv.Quote(clip(string(s)))
	}
	if t := v.Type(); t == types.MapType || t == types.ListType {
		text, err := appendJSON(nil, v)
		if err != nil {
			return "a " + t.TypeName()
		}
		return "the " + t.TypeName() + " " + clip(string(text))
	}
	return fmt.Sprintf("the %s %v", v.Type().TypeName(), v.Value())
}

// clip shortens a text for a message.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func toBool(v ref.Val) (bool, *freshet.Error) {
	if b, ok := v.(types.Bool); ok {
		return bool(b), nil
	}
	return false, mismatch(v, kindBool.words)
}

func toText(v ref.Val) (string, *freshet.Error) {
	if s, ok := v.(types.String); ok {
		return string(s), nil
	}
	return "", mismatch(v, kindText.words)
}

// toID accepts doubles as well as ints if they are whole and exact.
func toID(v ref.Val) (string, *freshet.Error) {
	var id string
	switch v := v.(type) {
	case types.String:
		id = string(v)
	case types.Uint:
		id = strconv.FormatUint(uint64(v), 10)
	default:
		n, ok := toInt(v)
		if !ok {
			return "", mismatch(v, kindID.words)
		}
		id = strconv.FormatInt(n, 10)
	}
	if problem := codec.IDProblem(id); problem != "" {
		return "", wrong(freshet.CodeInvalidField, "%s (it is %q)", problem, clip(id))
	}
	return id, nil
}

// toInt reads a whole number; ok is false for all others.
func toInt(v ref.Val) (n int64, ok bool) {
	switch v := v.(type) {
	case types.Int:
		return int64(v), true
	case types.Uint:
		return int64(v), v <= math.MaxInt64
	case types.Double:
		f := float64(v)
		return int64(f), f == math.Trunc(f) && math.Abs(f) <= maxExactDouble
	}
	return 0, false
}

func toTimestamp(v ref.Val) (int64, *freshet.Error) {
	ms, ok := toInt(v)
	if !ok {
		switch v := v.(type) {
		case types.Timestamp:
			ms, ok = v.UnixMilli(), true
		case types.String:
			t, err := time.Parse(time.RFC3339Nano, string(v))
			ms, ok = t.UnixMilli(), err == nil
		}
	}
	if !ok || ms < 0 {
		return 0, mismatch(v, kindTimestamp.words+", not before 1970")
	}
	return ms, nil
}

func toOrder(v ref.Val) (int64, *freshet.Error) {
	n, ok := toInt(v)
	if !ok || n < 1 {
		return 0, mismatch(v, "an int from 1 to 9223372036854775807")
	}
	return n, nil
}

func toOp(v ref.Val) (freshet.Op, *freshet.Error) {
	name, err := toText(v)
	if err != nil {
		return 0, err
	}
	switch name {
	case "upsert":
		return freshet.OpUpsert, nil
	case "delete":
		return freshet.OpDelete, nil
	case "patch":
		return freshet.OpPatch, nil
	}
	return 0, wrong(freshet.CodeInvalidField, `is %q, but must be "upsert", "patch" or "delete"`, clip(name))
}

func toVector(v ref.Val) ([]float32, *freshet.Error) {
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, mismatch(v, kindVector.words)
	}
	n := int(list.Size().(types.Int))
	if n == 0 {
		return nil, wrong(freshet.CodeBadVector, "is an empty list; give the numbers, or null to have the text embedded")
	}
	vector := make([]float32, n)
	for i := range vector {
		element := list.Get(types.Int(i))
		var f float64
		switch e := element.(type) {
		case types.Double:
			f = float64(e)
		case types.Int:
			f = float64(e)
		case types.Uint:
			f = float64(e)
		default:
			return nil, wrong(freshet.CodeBadVector, "element %d is %s, but must be a number", i, describe(element))
		}
		vector[i] = float32(f)
		if f != f || math.IsInf(float64(vector[i]), 0) {
			return nil, wrong(freshet.CodeBadVector, "element %d is %v; every element must be a finite float32", i, f)
		}
	}
	return vector, nil
}

func toMetadata(v ref.Val) ([]byte, *freshet.Error) {
	if _, ok := v.(traits.Mapper); !ok {
		return nil, mismatch(v, kindMap.words)
	}
	text, err := appendJSON(nil, v)
	if err != nil {
		return nil, wrong(freshet.CodeInvalidField, "can't be written as JSON: %v", err)
	}
	return text, nil
}
