package mapping

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// decoder reads one JSON text into CEL values. It goes to them directly, because the way over
// map[string]any would lose integers above 2^53 and costs four times as much. Strings are
// parts of src, so the text is copied once. members and elements are stacks of what is read
// of the objects and lists not yet closed; they are kept from one text to the next.
type decoder struct {
	src      string
	pos      int
	members  []member
	elements []ref.Val
}

// decode reads src. The error is a *freshet.Error that names the byte.
func (d *decoder) decode(src string) (ref.Val, error) {
	if !utf8.ValidString(src) {
		return nil, &freshet.Error{Code: freshet.CodeInvalidUTF8, Message: "the event is not valid UTF-8; send UTF-8"}
	}
	d.src, d.pos = src, 0
	d.members, d.elements = d.members[:0], d.elements[:0]
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.peek() != 0 || d.pos < len(src) {
		return nil, d.fail("unexpected %s behind the JSON value", d.what())
	}
	return v, nil
}

// maxKept is the most members or elements that a decoder keeps room for.
const maxKept = 512

// release forgets the last text, so that a pool doesn't keep it alive.
func (d *decoder) release() {
	d.src = ""
	d.members, d.elements = d.members[:cap(d.members)], d.elements[:cap(d.elements)]
	if len(d.members) > maxKept || len(d.elements) > maxKept {
		d.members, d.elements = nil, nil
	}
	clear(d.members)
	clear(d.elements)
}

func (d *decoder) fail(format string, args ...any) error {
	return &freshet.Error{Code: freshet.CodeInvalidJSON, Message: fmt.Sprintf(format, args...) + fmt.Sprintf(" at byte %d", d.pos)}
}

func (d *decoder) what() string {
	if d.pos >= len(d.src) {
		return "end of input"
	}
	return strconv.QuoteToASCII(d.src[d.pos : d.pos+1])
}

// peek returns the next byte that is no space, 0 at the end.
func (d *decoder) peek() byte {
	for d.pos < len(d.src) {
		switch c := d.src[d.pos]; c {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) value(depth int) (ref.Val, error) {
	switch c := d.peek(); {
	case c == '"':
		s, err := d.string()
		return types.String(s), err
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.list(depth)
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case c == 't':
		return types.True, d.word("true")
	case c == 'f':
		return types.False, d.word("false")
	case c == 'n':
		return types.NullValue, d.word("null")
	}
	return nil, d.fail("expected a JSON value, found %s", d.what())
}

func (d *decoder) word(w string) error {
	if !strings.HasPrefix(d.src[d.pos:], w) {
		return d.fail("expected %s", w)
	}
	d.pos += len(w)
	return nil
}

func (d *decoder) object(depth int) (ref.Val, error) {
	if depth >= codec.MaxDepth {
		return nil, d.fail("nested deeper than %d levels", codec.MaxDepth)
	}
	d.pos++ // '{'
	base := len(d.members)
	if d.peek() == '}' {
		d.pos++
		return &object{}, nil
	}
	for {
		if d.peek() != '"' {
			return nil, d.fail("expected a member name in quotes, found %s", d.what())
		}
		name, err := d.string()
		if err != nil {
			return nil, err
		}
		if d.peek() != ':' {
			return nil, d.fail("expected ':' after the member name, found %s", d.what())
		}
		d.pos++
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.members = append(d.members, member{name, v})
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			o := newObject(d.members[base:])
			d.members = d.members[:base]
			return o, nil
		default:
			return nil, d.fail("expected ',' or '}' in an object, found %s", d.what())
		}
	}
}

func (d *decoder) list(depth int) (ref.Val, error) {
	if depth >= codec.MaxDepth {
		return nil, d.fail("nested deeper than %d levels", codec.MaxDepth)
	}
	d.pos++ // '['
	base := len(d.elements)
	if d.peek() == ']' {
		d.pos++
		return types.NewRefValList(types.DefaultTypeAdapter, nil), nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.elements = append(d.elements, v)
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			own := slices.Clone(d.elements[base:])
			d.elements = d.elements[:base]
			return types.NewRefValList(types.DefaultTypeAdapter, own), nil
		default:
			return nil, d.fail("expected ',' or ']' in an array, found %s", d.what())
		}
	}
}

func (d *decoder) string() (string, error) {
	d.pos++ // '"'
	start, escaped := d.pos, false
	for i := start; i < len(d.src); i++ {
		switch c := d.src[i]; {
		case c == '\\':
			escaped = true
			i++
		case c < 0x20:
			d.pos = i
			return "", d.fail("control character 0x%02x in a string; escape it", c)
		case c == '"':
			d.pos = i + 1
			if !escaped {
				return d.src[start:i], nil
			}
			s, ok := codec.StringValue([]byte(d.src[start-1 : i+1]))
			if !ok {
				return "", d.fail("a string with an unknown escape, or with half of a surrogate pair, ends")
			}
			return s, nil
		}
	}
	d.pos = len(d.src)
	return "", d.fail("a string is not closed")
}

func (d *decoder) number() (ref.Val, error) {
	start := d.pos
	if d.src[d.pos] == '-' {
		d.pos++
	}
	if d.pos < len(d.src) && d.src[d.pos] == '0' {
		d.pos++
	} else if !d.digits() {
		return nil, d.fail("expected a digit, found %s", d.what())
	}
	integral := true
	if d.pos < len(d.src) && d.src[d.pos] == '.' {
		integral = false
		d.pos++
		if !d.digits() {
			return nil, d.fail("expected a digit after the point, found %s", d.what())
		}
	}
	if d.pos < len(d.src) && d.src[d.pos]|0x20 == 'e' {
		integral = false
		d.pos++
		if d.pos < len(d.src) && (d.src[d.pos] == '+' || d.src[d.pos] == '-') {
			d.pos++
		}
		if !d.digits() {
			return nil, d.fail("expected a digit in the exponent, found %s", d.what())
		}
	}
	literal := d.src[start:d.pos]
	if integral {
		if n, err := strconv.ParseInt(literal, 10, 64); err == nil {
			return types.Int(n), nil
		}
		if n, err := strconv.ParseUint(literal, 10, 64); err == nil {
			return types.Uint(n), nil
		}
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil {
		return nil, d.fail("a number beyond the range of a double ends")
	}
	return types.Double(f), nil
}

func (d *decoder) digits() bool {
	start := d.pos
	for d.pos < len(d.src) && d.src[d.pos] >= '0' && d.src[d.pos] <= '9' {
		d.pos++
	}
	return d.pos > start
}
