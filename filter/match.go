package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Match reports whether the filter matches one metadata document, a JSON object
// (or zero bytes, for {}). It is the definition of what a filter means: written
// for being plainly right, on encoding/json, it shares no code path with the Index
// but the reading of numbers and times. Its cost is that of decoding the document;
// for many documents use an Index. Anything but a JSON object is an error.
func (e *Expr) Match(metadata []byte) (bool, error) {
	doc := map[string]any{}
	if len(metadata) > 0 {
		dec := json.NewDecoder(bytes.NewReader(metadata))
		dec.UseNumber()
		if err := dec.Decode(&doc); err != nil {
			return false, fmt.Errorf("filter: metadata is not a JSON object: %w", err)
		}
		if _, err := dec.Token(); err != io.EOF || doc == nil {
			return false, errors.New("filter: metadata is not one JSON object")
		}
	}
	return e == nil || e.match(doc), nil
}

func (e *Expr) match(doc any) bool {
	switch e.op {
	case opAnd:
		for _, k := range e.kids {
			if !k.match(doc) {
				return false
			}
		}
		return true
	case opOr:
		for _, k := range e.kids {
			if k.match(doc) {
				return true
			}
		}
		return false
	case opNot:
		return !e.kids[0].match(doc)
	case opExists:
		return e.want == anyAt(doc, e.path, func(any) bool { return true })
	}
	return anyAt(doc, e.path, func(v any) bool { return anyElement(v, e.matchScalar) })
}

// anyAt reports whether f holds for any of the values at path, of which arrays
// of objects on the way can make several.
func anyAt(v any, path []string, f func(any) bool) bool {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if anyAt(item, path, f) {
				return true
			}
		}
	case map[string]any:
		if next, ok := v[path[0]]; ok {
			if len(path) == 1 {
				return f(next)
			}
			return anyAt(next, path[1:], f)
		}
	}
	return false
}

// anyElement reports whether f holds for v, or for any element if v is an array.
func anyElement(v any, f func(any) bool) bool {
	list, ok := v.([]any)
	if !ok {
		return f(v)
	}
	for _, item := range list {
		if anyElement(item, f) {
			return true
		}
	}
	return false
}

func (e *Expr) matchScalar(v any) bool {
	text, isString := v.(string)
	switch e.op {
	case opPrefix:
		return isString && strings.HasPrefix(text, e.prefix)
	case opRange:
		if e.span.times {
			t, ok := parseInstant([]byte(text))
			return isString && ok && e.span.holds("", t)
		}
		got, ok := valueOf(v)
		return ok && got.kind == kindNumber && e.span.holds(got.key, instant{})
	}
	got, ok := valueOf(v)
	if !ok {
		return false
	}
	for _, want := range e.values {
		if got == want {
			return true
		}
	}
	return false
}

// valueOf returns a decoded scalar in comparable form; objects and numbers out of
// range have none.
func valueOf(v any) (value, bool) {
	switch v := v.(type) {
	case nil:
		return value{kind: kindNull}, true
	case bool:
		if v {
			return value{kind: kindTrue}, true
		}
		return value{kind: kindFalse}, true
	case json.Number:
		key, ok := appendNumberKey(nil, []byte(v))
		return value{kindNumber, string(key)}, ok
	case string:
		return value{kindString, v}, true
	}
	return value{}, false
}
