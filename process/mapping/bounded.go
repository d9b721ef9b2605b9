package mapping

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// CEL meters a call after it is made. That is too late for the functions whose work or result
// is a product of two lengths that an event decides: a megabyte of tags is minutes of
// distinct(), replace("", text) is a terabyte. Here they are defined anew, linear or limited,
// with the same results.

// The limits of the functions.
const (
	maxReplaced = 16 << 20 // bytes of the result of replace
	maxDistinct = 4096     // elements of the list that distinct is called on
)

func boundedFunctions() cel.EnvOption {
	str, num := cel.StringType, cel.IntType
	list := cel.ListType(cel.TypeParamType("T"))
	options := []cel.EnvOption{
		cel.Function("replace",
			cel.MemberOverload("string_replace_string_string", []*cel.Type{str, str, str}, str, cel.FunctionBinding(replace)),
			cel.MemberOverload("string_replace_string_string_int", []*cel.Type{str, str, str, num}, str, cel.FunctionBinding(replace))),
		cel.Function("indexOf",
			cel.MemberOverload("string_index_of_string", []*cel.Type{str, str}, num, cel.BinaryBinding(func(s, sub ref.Val) ref.Val { return indexOf(s, sub, types.IntZero) })),
			cel.MemberOverload("string_index_of_string_int", []*cel.Type{str, str, num}, num, cel.FunctionBinding(func(a ...ref.Val) ref.Val { return indexOf(a[0], a[1], a[2]) }))),
		cel.Function("lastIndexOf",
			cel.MemberOverload("string_last_index_of_string", []*cel.Type{str, str}, num, cel.BinaryBinding(lastIndexOf)),
			cel.MemberOverload("string_last_index_of_string_int", []*cel.Type{str, str, num}, num, cel.FunctionBinding(func(a ...ref.Val) ref.Val { return lastIndexFrom(a[0], a[1], a[2]) }))),
		cel.Function("distinct",
			cel.MemberOverload("list_distinct", []*cel.Type{list}, list, cel.UnaryBinding(distinct))),
	}
	return func(e *cel.Env) (*cel.Env, error) {
		var err error
		for _, o := range options {
			if e, err = o(e); err != nil {
				return nil, err
			}
		}
		return e, nil
	}
}

func replace(args ...ref.Val) ref.Val {
	s, from, to, n := string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String)), -1
	if len(args) == 4 {
		n = int(args[3].(types.Int))
	}
	found := strings.Count(s, from)
	if n >= 0 {
		found = min(found, n)
	}
	// found and the lengths are below 2^31 for any event, so this doesn't overflow.
	if size := len(s) + found*(len(to)-len(from)); size > maxReplaced {
		return types.NewErr("replace() would give %d bytes, at most are %d", size, maxReplaced)
	}
	return types.String(strings.Replace(s, from, to, n))
}

// byteOffset is where the rune at offset begins in s; ok is false if s has no more than
// offset runes.
func byteOffset(s string, offset int64) (at int, ok bool) {
	for i := range s {
		if offset == 0 {
			return i, true
		}
		offset--
	}
	return len(s), false
}

func indexOf(str, substr, offset ref.Val) ref.Val {
	s, sub, off := string(str.(types.String)), string(substr.(types.String)), offset.(types.Int)
	if off < 0 {
		return outOfRange(off)
	}
	at, inside := byteOffset(s, int64(off))
	switch {
	case sub == "" && inside:
		return off
	case sub == "":
		return types.Int(utf8.RuneCountInString(s))
	case !inside:
		return types.Int(-1)
	}
	i := strings.Index(s[at:], sub)
	if i < 0 {
		return types.Int(-1)
	}
	return off + types.Int(utf8.RuneCountInString(s[at:at+i]))
}

func lastIndexOf(str, substr ref.Val) ref.Val {
	s, sub := string(str.(types.String)), string(substr.(types.String))
	i := strings.LastIndex(s, sub) // len(s) for an empty sub
	if i < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:i]))
}

func lastIndexFrom(str, substr, offset ref.Val) ref.Val {
	s, sub, off := string(str.(types.String)), string(substr.(types.String)), offset.(types.Int)
	if off < 0 {
		return outOfRange(off)
	}
	at, inside := byteOffset(s, int64(off))
	if !inside {
		if sub == "" {
			return types.Int(utf8.RuneCountInString(s))
		}
		return types.Int(-1)
	}
	i := strings.LastIndex(s[:min(len(s), at+len(sub))], sub)
	if i < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:i]))
}

func outOfRange(offset types.Int) ref.Val {
	return types.WrapErr(fmt.Errorf("index out of range: %d", offset))
}

func distinct(list ref.Val) ref.Val {
	l := list.(traits.Lister)
	n := l.Size().(types.Int)
	if n > maxDistinct {
		return types.NewErr("distinct() takes at most %d elements, got %d", maxDistinct, n)
	}
	var kept []ref.Val
next:
	for i := types.IntZero; i < n; i++ {
		v := l.Get(i)
		for _, k := range kept {
			if v.Equal(k) == types.True {
				continue next
			}
		}
		kept = append(kept, v)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, kept)
}
