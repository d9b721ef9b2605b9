package filter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ParseError says what is wrong with a filter.
type ParseError struct {
	// Path is where: "$" is the filter, "$.and[1].range.price" a place within it.
	Path string
	// Value is the offending JSON value or key, cut to a readable length, or empty.
	Value string
	// Problem says what is wrong with it and what to write instead.
	Problem string
}

// Error returns the place, the value and the problem in one line.
func (e *ParseError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("filter: at %s: %s", e.Path, e.Problem)
	}
	return fmt.Sprintf("filter: at %s: %s: %s", e.Path, e.Value, e.Problem)
}

// Parse reads a filter from its JSON text. Its error is a *ParseError.
func Parse(raw []byte) (*Expr, error) {
	n, err := parseTree(raw)
	if err != nil {
		return nil, err
	}
	p := parser{}
	e, err := p.expr(n, "$", 1)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// parser counts the operators of one filter.
type parser struct{ nodes int }

const operators = "and, eq, exists, in, not, or, prefix, range"

func (p *parser) expr(n node, path string, depth int) (*Expr, error) {
	if n.kind != '{' {
		return nil, problem(path, n, `a filter is an object such as {"eq": {"field": "value"}}; to match everything leave the filter out`)
	}
	if len(n.members) != 1 {
		return nil, problem(path, n, fmt.Sprintf(`a filter has exactly one key, an operator, and this one has %d; join conditions as {"and": [{…}, {…}]}, and to match everything leave the filter out`, len(n.members)))
	}
	if depth > MaxDepth {
		return nil, problem(path, n, fmt.Sprintf(`operators nest at most %d deep; join conditions in one "and" or "or"`, MaxDepth))
	}
	if p.nodes++; p.nodes > MaxNodes {
		return nil, problem(path, n, fmt.Sprintf(`a filter has at most %d operators; replace an "or" of "eq" by one "in"`, MaxNodes))
	}
	m := n.members[0]
	path = step(path, m.key)
	e := &Expr{op: op(m.key)}
	switch e.op {
	case opAnd, opOr:
		return e, p.list(e, m.value, path, depth)
	case opNot:
		kid, err := p.expr(m.value, path, depth+1)
		e.kids = []*Expr{kid}
		return e, err
	case opEq, opExists, opIn, opPrefix, opRange:
		return e, leaf(e, m.value, path)
	}
	return nil, &ParseError{Path: path, Value: quote(m.key), Problem: fmt.Sprintf(
		`unknown operator; the operators are %s, and a field stands inside one: {"eq": {%s: …}}`, operators, quote(m.key))}
}

func (p *parser) list(e *Expr, n node, path string, depth int) error {
	if n.kind != '[' || len(n.items) == 0 {
		return problem(path, n, fmt.Sprintf(`%q takes a list of one or more filters, such as [{"eq": {"field": "value"}}]`, e.op))
	}
	for i, item := range n.items {
		kid, err := p.expr(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		if err != nil {
			return err
		}
		e.kids = append(e.kids, kid)
	}
	return nil
}

// example returns an operand of a leaf, for error messages.
func example(o op) string {
	switch o {
	case opEq:
		return `"value"`
	case opIn:
		return `["a", "b"]`
	case opPrefix:
		return `"abc"`
	case opExists:
		return `true`
	}
	return `{"gte": 10, "lt": 20}`
}

// leaf reads {FIELD: OPERAND} into e.
func leaf(e *Expr, n node, path string) error {
	if n.kind != '{' || len(n.members) != 1 {
		return problem(path, n, fmt.Sprintf(`%q takes one field and its operand, such as {"field": %s}; for several fields use "and"`, e.op, example(e.op)))
	}
	m := n.members[0]
	if len(m.key) > MaxStringBytes {
		return problem(path, n, fmt.Sprintf("the field name has %d bytes; the limit is %d", len(m.key), MaxStringBytes))
	}
	keys, err := splitPath(m.key)
	if err != nil {
		return &ParseError{Path: path, Value: quote(m.key), Problem: err.Error()}
	}
	e.field, e.path = m.key, keys
	path = step(path, m.key)
	switch e.op {
	case opEq:
		v, err := scalar(m.value, path)
		e.values = []value{v}
		return err
	case opIn:
		return e.parseIn(m.value, path)
	case opRange:
		return e.span.parse(m.value, path)
	case opPrefix:
		if m.value.kind != 's' {
			return problem(path, m.value, `"prefix" takes a string, such as {"sku": "shoe-"}`)
		}
		e.prefix = m.value.text
		return checkString(m.value, path)
	case opExists:
		if m.value.kind != 't' && m.value.kind != 'f' {
			return problem(path, m.value, `"exists" takes true (the field is there) or false (it is not)`)
		}
		e.want = m.value.kind == 't'
	}
	return nil
}

func (e *Expr) parseIn(n node, path string) error {
	if n.kind != '[' {
		return problem(path, n, `"in" takes a list of values, such as ["a", "b"]; for one value use "eq"`)
	}
	if len(n.items) > MaxValues {
		return problem(path, n, fmt.Sprintf(`"in" has %d values; the limit is %d: split it over several filters in an "or"`, len(n.items), MaxValues))
	}
	for i, item := range n.items {
		v, err := scalar(item, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return err
		}
		e.values = append(e.values, v)
	}
	slices.SortFunc(e.values, func(a, b value) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.key, b.key))
	})
	e.values = slices.Compact(e.values)
	return nil
}

func scalar(n node, path string) (value, error) {
	switch n.kind {
	case '0':
		return value{kind: kindNull}, nil
	case 'f':
		return value{kind: kindFalse}, nil
	case 't':
		return value{kind: kindTrue}, nil
	case 's':
		return value{kindString, n.text}, checkString(n, path)
	case 'n':
		key, err := number(n, path)
		return value{kindNumber, key}, err
	}
	return value{}, problem(path, n, "a value to compare with is a string, a number, true, false or null; name the fields of an object by their paths, and list alternatives with \"in\"")
}

func checkString(n node, path string) error {
	if len(n.text) > MaxStringBytes {
		return problem(path, n, fmt.Sprintf("the string has %d bytes; the limit is %d: use \"prefix\" with its beginning", len(n.text), MaxStringBytes))
	}
	return nil
}

func number(n node, path string) (string, error) {
	key, ok := appendNumberKey(nil, []byte(n.text))
	if !ok {
		return "", problem(path, n, fmt.Sprintf("the number is out of range; it may have %d significant digits and lie between 10^-%d and 10^%d", MaxNumberDigits, MaxNumberExponent, MaxNumberExponent))
	}
	return string(key), nil
}

func (s *span) parse(n node, path string) error {
	if n.kind != '{' || len(n.members) == 0 {
		return problem(path, n, `"range" takes one or two bounds, gt or gte and lt or lte, such as {"gte": 10, "lt": 20}`)
	}
	for i, m := range n.members {
		var b *bound
		switch m.key {
		case "gt", "gte":
			b = &s.lo
		case "lt", "lte":
			b = &s.hi
		default:
			return &ParseError{Path: path, Value: quote(m.key), Problem: "unknown bound; the bounds are gt, gte, lt, lte"}
		}
		if b.op != "" {
			return problem(path, n, fmt.Sprintf("%s and %s bound the same side; keep one of them", b.op, m.key))
		}
		times := m.value.kind == 's'
		if i > 0 && times != s.times {
			return problem(path, n, "one bound is a number and the other a time; give both as numbers or both as times")
		}
		s.times = times
		if err := b.parse(m, step(path, m.key)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bound) parse(m member, path string) (err error) {
	b.op, b.text = m.key, m.value.text
	switch m.value.kind {
	case 'n':
		b.number, err = number(m.value, path)
		return err
	case 's':
		t, ok := parseInstant([]byte(b.text))
		if !ok {
			return problem(path, m.value, `a string bound must be an RFC 3339 time with an offset, such as "2026-01-31T00:00:00Z"; other strings have no range: use "prefix", or a number without quotes`)
		}
		b.time = t
		return nil
	}
	return problem(path, m.value, `a bound is a number or an RFC 3339 time, such as 10 or "2026-01-31T00:00:00Z"`)
}

func problem(path string, n node, text string) error {
	return &ParseError{Path: path, Value: n.String(), Problem: text}
}
