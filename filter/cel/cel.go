// Package cel reads filters in the Common Expression Language: a second syntax of the filters of package filter, which
// says what they mean.
//
//	price < 50 && maker.country in ["DE", "FR"] && !sku.startsWith("test-")
//
// An expression becomes a tree of filter's operators; nothing of it is evaluated here. What has no such form is an error that
// names the part of the expression. It means what the tree means, which differs from CEL in that a field that is missing or of another type
// is not an error but does not match, and in that arrays are transparent: tags == "a" holds when any element is "a".
//
//	a == 1, a != 1                          eq, not eq; of a string, number, boolean or null
//	a < 1, <=, >, >=                        range, of a number or a time: timestamp("…"), or a string of RFC 3339
//	a in [1, 2], "x" in tags                in, eq
//	a.startsWith("x")                       prefix
//	has(self.a)                             exists
//	a                                       eq true
//	&&, ||, !                               and, or, not
//	a.b, a["b.c"], self["a-b"]              fields; self is the whole of the metadata
package cel

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/freshet-io/freshet/filter"
)

// MaxBytes is the longest expression that is read.
const MaxBytes = 64 << 10

// root is the name of the whole of the metadata.
const root = "self"

// environment parses; it declares nothing, since nothing is evaluated.
var environment = func() *cel.Env {
	env, err := cel.NewCustomEnv(cel.Macros(cel.HasMacro))
	if err != nil {
		panic(err) // the options are constants
	}
	return env
}()

// Parse reads an expression. It is safe for concurrent use.
func Parse(text string) (*filter.Expr, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are allowed", len(text), MaxBytes)
	}
	parsed, issues := environment.Parse(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("the expression is no CEL: line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
	}
	native := parsed.NativeRep()
	t := translator{info: native.SourceInfo()}
	e := t.filter(native.Expr())
	if t.err != nil {
		return nil, t.err
	}
	return filter.Parse(e)
}

// translator makes filters in JSON. It keeps the first error and goes on.
type translator struct {
	info *ast.SourceInfo
	err  error
}

// refuse notes that an expression can't be a filter, and why.
func (t *translator) refuse(e ast.Expr, format string, args ...any) []byte {
	if t.err == nil {
		text, err := parser.Unparse(e, t.info)
		if err != nil {
			text = "a part of the expression"
		}
		t.err = fmt.Errorf("%s can't be a filter: %s", clip(text), fmt.Sprintf(format, args...))
	}
	return nil
}

// clip shortens an expression for a message.
func clip(text string) string {
	const most = 120
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return "`" + text + "`"
}

// filter returns the filter that an expression is.
func (t *translator) filter(e ast.Expr) []byte {
	switch e.Kind() {
	case ast.CallKind:
		return t.call(e)
	case ast.SelectKind:
		if s := e.AsSelect(); s.IsTestOnly() {
			return t.leaf(e, "exists", append(t.path(s.Operand()), s.FieldName()), []byte("true"))
		}
		return t.leaf(e, "eq", t.path(e), []byte("true"))
	case ast.IdentKind:
		return t.leaf(e, "eq", t.path(e), []byte("true"))
	case ast.LiteralKind:
		return t.refuse(e, "it is a value; compare a field with it")
	}
	return t.refuse(e, "it is no condition on a field")
}

func (t *translator) call(e ast.Expr) []byte {
	c := e.AsCall()
	args := c.Args()
	if c.IsMemberFunction() {
		if c.FunctionName() != "startsWith" || len(args) != 1 {
			return t.refuse(e, "of functions there is startsWith(…) alone")
		}
		prefix, ok := t.literal(args[0])
		if !ok || prefix[0] != '"' {
			return t.refuse(e, "startsWith takes a string")
		}
		return t.leaf(e, "prefix", t.path(c.Target()), prefix)
	}
	switch name := c.FunctionName(); name {
	case operators.LogicalAnd, operators.LogicalOr:
		op := map[string]string{operators.LogicalAnd: "and", operators.LogicalOr: "or"}[name]
		var kids []string
		for _, kid := range flatten(e, name, nil) {
			kids = append(kids, string(t.filter(kid)))
		}
		return []byte(`{"` + op + `":[` + strings.Join(kids, ",") + `]}`)
	case operators.LogicalNot:
		return not(t.filter(args[0]))
	case operators.Equals:
		return t.equals(e, args[0], args[1])
	case operators.NotEquals:
		return not(t.equals(e, args[0], args[1]))
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return t.compare(e, name, args[0], args[1])
	case operators.In:
		return t.in(e, args[0], args[1])
	case operators.Index:
		return t.leaf(e, "eq", t.path(e), []byte("true"))
	}
	return t.refuse(e, "a filter compares a field with ==, !=, <, <=, >, >=, in or startsWith, and joins conditions by &&, || and !")
}

// flatten appends the operands of a chain of one operator: the parser nests them.
func flatten(e ast.Expr, operator string, list []ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operator && !e.AsCall().IsMemberFunction() {
		for _, arg := range e.AsCall().Args() {
			list = flatten(arg, operator, list)
		}
		return list
	}
	return append(list, e)
}

func not(f []byte) []byte { return slices.Concat([]byte(`{"not":`), f, []byte(`}`)) }

// equals compares a field and a value, whichever comes first.
func (t *translator) equals(e, a, b ast.Expr) []byte {
	v, ok := t.literal(b)
	if !ok {
		a, b = b, a
		if v, ok = t.literal(b); !ok {
			return t.refuse(e, "a field is compared with a string, a number, a boolean or null")
		}
	}
	if _, both := t.literal(a); both {
		return t.refuse(e, "it names no field")
	}
	return t.leaf(e, "eq", t.path(a), v)
}

// mirrored are the operators for sides that change places; bounds are their names in a range.
var (
	mirrored = map[string]string{operators.Less: operators.Greater, operators.LessEquals: operators.GreaterEquals,
		operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals}
	bounds = map[string]string{operators.Less: "lt", operators.LessEquals: "lte", operators.Greater: "gt", operators.GreaterEquals: "gte"}
)

func (t *translator) compare(e ast.Expr, operator string, a, b ast.Expr) []byte {
	bound, ok := t.bound(b)
	if !ok {
		a, b, operator = b, a, mirrored[operator]
		if bound, ok = t.bound(b); !ok {
			return t.refuse(e, `a field is in order with a number, timestamp("…") or a time of RFC 3339`)
		}
	}
	if _, both := t.bound(a); both {
		return t.refuse(e, "it names no field")
	}
	return t.leaf(e, "range", t.path(a), []byte(`{"`+bounds[operator]+`":`+string(bound)+`}`))
}

// bound returns what a range can be bounded by.
func (t *translator) bound(e ast.Expr) (raw []byte, ok bool) {
	number := true
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "timestamp" && !e.AsCall().IsMemberFunction() && len(e.AsCall().Args()) == 1 {
		e, number = e.AsCall().Args()[0], false // CEL's timestamp(5) is a number of seconds
	}
	v, ok := t.literal(e)
	if !ok {
		return nil, false
	}
	switch v[0] {
	case '"':
		_, err := time.Parse(time.RFC3339, string(e.AsLiteral().(types.String)))
		return v, err == nil
	case 't', 'f', 'n':
		return nil, false
	}
	return v, number
}

func (t *translator) in(e, item, list ast.Expr) []byte {
	if v, ok := t.literal(item); ok { // an element of an array
		if list.Kind() == ast.ListKind {
			return t.refuse(e, "it names no field")
		}
		return t.leaf(e, "eq", t.path(list), v)
	}
	if list.Kind() != ast.ListKind {
		return t.refuse(e, "a field is in a list of values, or a value in a field")
	}
	var values []string
	for _, x := range list.AsList().Elements() {
		v, ok := t.literal(x)
		if !ok {
			return t.refuse(x, "the elements of a list are strings, numbers, booleans or null")
		}
		values = append(values, string(v))
	}
	return t.leaf(e, "in", t.path(item), []byte("["+strings.Join(values, ",")+"]"))
}

// escapeStep writes a key as a step of a field.
var escapeStep = strings.NewReplacer(`\`, `\\`, `.`, `\.`)

// leaf is an operator on one field.
func (t *translator) leaf(e ast.Expr, op string, path []string, operand []byte) []byte {
	if t.err != nil {
		return nil
	}
	if len(path) == 0 {
		return t.refuse(e, "%s alone is no field; write %s.name", root, root)
	}
	steps := make([]string, len(path))
	for i, step := range path {
		steps[i] = escapeStep.Replace(step)
	}
	return []byte(`{"` + op + `":{` + quote(strings.Join(steps, ".")) + `:` + string(operand) + `}}`)
}

// path returns the steps of a field.
func (t *translator) path(e ast.Expr) []string {
	switch e.Kind() {
	case ast.IdentKind:
		if name := e.AsIdent(); name != root {
			return []string{strings.TrimPrefix(name, ".")}
		}
		return nil
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			t.refuse(e, "has(…) stands alone or behind !")
			return nil
		}
		return append(t.path(e.AsSelect().Operand()), e.AsSelect().FieldName())
	case ast.CallKind:
		if c := e.AsCall(); c.FunctionName() == operators.Index {
			if key, ok := t.literal(c.Args()[1]); ok && key[0] == '"' {
				return append(t.path(c.Args()[0]), string(c.Args()[1].AsLiteral().(types.String)))
			}
			t.refuse(e, "a step to a field is a string; elements of arrays have no numbers")
			return nil
		}
	}
	t.refuse(e, "it is no field")
	return nil
}

// quote returns a string in JSON.
func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic("a string failed to marshal: " + err.Error()) // it can't: any string has a JSON form
	}
	return string(raw)
}

// literal returns a value in JSON; ok is false for what is none.
func (t *translator) literal(e ast.Expr) (raw []byte, ok bool) {
	if e.Kind() != ast.LiteralKind {
		return nil, false
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return []byte(quote(string(v))), true
	case types.Bool:
		return strconv.AppendBool(nil, bool(v)), true
	case types.Int:
		return strconv.AppendInt(nil, int64(v), 10), true
	case types.Uint:
		return strconv.AppendUint(nil, uint64(v), 10), true
	case types.Double:
		if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
			return nil, false
		}
		return strconv.AppendFloat(nil, float64(v), 'g', -1, 64), true
	case types.Null:
		return []byte("null"), true
	}
	return nil, false
}
