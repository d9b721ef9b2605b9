package filter

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Expr is a filter: a tree of operators. It is made by Parse, never changes, and
// may be used by many goroutines at once. A nil *Expr matches every document.
type Expr struct {
	op   op
	kids []*Expr // of and, or, not

	field string   // of a leaf, as it was written
	path  []string // the keys that field steps through

	values []value // of eq (one) and in (distinct, in order)
	prefix string
	want   bool // of exists
	span   span // of range
}

// op is an operator of the language, by its name.
type op string

const (
	opAnd    op = "and"
	opEq     op = "eq"
	opExists op = "exists"
	opIn     op = "in"
	opNot    op = "not"
	opOr     op = "or"
	opPrefix op = "prefix"
	opRange  op = "range"
)

// kind is the type of a scalar JSON value. The order is that of canonical "in".
type kind uint8

const (
	kindExists kind = iota // not a value: the entry that says that a field is there
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindString
	kinds
)

// value is a scalar in comparable form: the key is the number's key or the string.
type value struct {
	kind kind
	key  string
}

func (v value) appendJSON(dst []byte) []byte {
	switch v.kind {
	case kindNull:
		return append(dst, "null"...)
	case kindFalse:
		return append(dst, "false"...)
	case kindTrue:
		return append(dst, "true"...)
	case kindNumber:
		return append(dst, formatNumber(v.key)...)
	default:
		return appendString(dst, v.key)
	}
}

// span is the bounds of a range, on numbers or on times.
type span struct {
	times bool
	lo    bound // op is gt or gte, or "" for none
	hi    bound // op is lt or lte, or "" for none
}

type bound struct {
	op     string
	number string  // its key
	time   instant // of text
	text   string  // a time as it was written
}

// compare returns how the bound compares to a value of the span's type.
func (s span) compare(b bound, number string, t instant) int {
	if s.times {
		return b.time.compare(t)
	}
	return strings.Compare(b.number, number)
}

// holds reports whether a number (by its key) or a time lies within the bounds.
func (s span) holds(number string, t instant) bool {
	if s.lo.op != "" {
		if c := s.compare(s.lo, number, t); c > 0 || c == 0 && s.lo.op == "gt" {
			return false
		}
	}
	if s.hi.op != "" {
		if c := s.compare(s.hi, number, t); c < 0 || c == 0 && s.hi.op == "lt" {
			return false
		}
	}
	return true
}

// String returns the filter as canonical JSON, which Parse accepts: no spaces,
// values in one spelling, the values of "in" sorted and distinct, bounds in the
// order gt, gte, lt, lte. Filters that differ only in such ways give the same text.
func (e *Expr) String() string {
	if e == nil {
		return "null"
	}
	return string(e.appendJSON(nil))
}

// MarshalJSON returns the canonical JSON, as String does.
func (e *Expr) MarshalJSON() ([]byte, error) { return []byte(e.String()), nil }

func (e *Expr) appendJSON(dst []byte) []byte {
	dst = append(append(append(dst, `{"`...), e.op...), `":`...)
	switch e.op {
	case opNot:
		return append(e.kids[0].appendJSON(dst), '}')
	case opAnd, opOr:
		dst = append(dst, '[')
		for i, k := range e.kids {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = k.appendJSON(dst)
		}
		return append(dst, `]}`...)
	}
	dst = append(appendString(append(dst, '{'), e.field), ':')
	switch e.op {
	case opEq:
		dst = e.values[0].appendJSON(dst)
	case opIn:
		dst = append(dst, '[')
		for i, v := range e.values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.appendJSON(dst)
		}
		dst = append(dst, ']')
	case opPrefix:
		dst = appendString(dst, e.prefix)
	case opExists:
		if e.want {
			dst = append(dst, "true"...)
		} else {
			dst = append(dst, "false"...)
		}
	case opRange:
		dst = e.span.appendJSON(dst)
	}
	return append(dst, `}}`...)
}

func (s span) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for _, b := range []bound{s.lo, s.hi} {
		if b.op == "" {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, b.op), ':')
		if s.times {
			dst = appendString(dst, b.text)
		} else {
			dst = append(dst, formatNumber(b.number)...)
		}
	}
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("filter: a string failed to marshal: " + err.Error()) // it can't: any string has a JSON form
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
