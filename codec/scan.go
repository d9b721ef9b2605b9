package codec

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
)

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 128

// scanner walks over one JSON text. Its methods check the syntax as they go.
type scanner struct {
	b      []byte
	i      int
	nameAt int // where the member name passed over last begins, its quote included
}

func (s *scanner) fail(code freshet.Code, format string, args ...any) error {
	return &freshet.Error{Code: code, Message: fmt.Sprintf(format, args...) + fmt.Sprintf(" at byte %d", s.i)}
}

// what names the byte at the scanner's place.
func (s *scanner) what() string {
	if s.i >= len(s.b) {
		return "end of input"
	}
	if c := s.b[s.i]; c < 0x20 || c >= 0x7f {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	return fmt.Sprintf("%q", s.b[s.i])
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte that is no space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// expect consumes one punctuation byte.
func (s *scanner) expect(c byte, where string) error {
	if s.peek() != c {
		return s.fail(freshet.CodeInvalidJSON, "expected %q %s, found %s", c, where, s.what())
	}
	s.i++
	return nil
}

// end checks that only space is left.
func (s *scanner) end() error {
	if s.space(); s.i < len(s.b) {
		return s.fail(freshet.CodeInvalidJSON, "unexpected %s behind the JSON value", s.what())
	}
	return nil
}

// skip passes over one value and returns its bytes.
func (s *scanner) skip(depth int) ([]byte, error) {
	c := s.peek()
	start := s.i
	var err error
	switch {
	case c == '"':
		_, _, err = s.string()
	case c == '{':
		err = s.object(depth, func([]byte, bool) error {
			_, err := s.skip(depth + 1)
			return err
		})
	case c == '[':
		err = s.array(depth, func() error {
			_, err := s.skip(depth + 1)
			return err
		})
	case c == '-' || c >= '0' && c <= '9':
		err = s.number()
	case c == 't':
		err = s.literal("true")
	case c == 'f':
		err = s.literal("false")
	case c == 'n':
		err = s.literal("null")
	default:
		err = s.fail(freshet.CodeInvalidJSON, "expected a JSON value, found %s", s.what())
	}
	return s.b[start:s.i], err
}

// object passes over an object. For each member it calls member with the bytes between the
// name's quotes and whether they hold escapes; member must consume the value.
func (s *scanner) object(depth int, member func(name []byte, escaped bool) error) error {
	if depth >= MaxDepth {
		return s.fail(freshet.CodeInvalidJSON, "nested deeper than %d levels", MaxDepth)
	}
	s.i++ // '{'
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail(freshet.CodeInvalidJSON, "expected a member name in quotes, found %s", s.what())
		}
		s.nameAt = s.i
		name, escaped, err := s.string()
		if err != nil {
			return err
		}
		if err := s.expect(':', "after the member name"); err != nil {
			return err
		}
		if err := member(name, escaped); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return s.fail(freshet.CodeInvalidJSON, "expected ',' or '}' in an object, found %s", s.what())
		}
	}
}

// array passes over an array; element must consume one element.
func (s *scanner) array(depth int, element func() error) error {
	if depth >= MaxDepth {
		return s.fail(freshet.CodeInvalidJSON, "nested deeper than %d levels", MaxDepth)
	}
	s.i++ // '['
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return s.fail(freshet.CodeInvalidJSON, "expected ',' or ']' in an array, found %s", s.what())
		}
	}
}

// flat passes over an array up to its first bracket, whatever stands there, unless that is a string or an array of its own: then it says no, and stays.
func (s *scanner) flat() bool {
	rest := s.b[s.i+1:]
	end := bytes.IndexByte(rest, ']')
	if end < 0 || bytes.IndexByte(rest[:end], '"') >= 0 || bytes.IndexByte(rest[:end], '[') >= 0 {
		return false
	}
	s.i += 1 + end + 1
	return true
}

func (s *scanner) literal(word string) error {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.fail(freshet.CodeInvalidJSON, "expected %s", word)
	}
	s.i += len(word)
	return nil
}

// digits returns where the digits that begin at i end.
func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	return i
}

// number passes over a number; one begins at the scanner's place, or a minus.
func (s *scanner) number() error {
	b, i := s.b, s.i
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		s.i = i + 1
	default:
		if s.i = digits(b, i); s.i == i {
			return s.fail(freshet.CodeInvalidJSON, "expected a digit, found %s", s.what())
		}
	}
	if s.i < len(b) && b[s.i] == '.' {
		i = s.i + 1
		if s.i = digits(b, i); s.i == i {
			return s.fail(freshet.CodeInvalidJSON, "expected a digit after the point, found %s", s.what())
		}
	}
	if s.i < len(b) && (b[s.i] == 'e' || b[s.i] == 'E') {
		i = s.i + 1
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if s.i = digits(b, i); s.i == i {
			return s.fail(freshet.CodeInvalidJSON, "expected a digit in the exponent, found %s", s.what())
		}
	}
	return nil
}

// string passes over a string and returns what is between its quotes, and whether that holds
// escapes.
func (s *scanner) string() (content []byte, escaped bool, err error) {
	s.i++ // '"'
	start := s.i
	ascii := true
	b := s.b
	i := s.i
	for {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i >= len(b) {
			s.i = i
			return nil, false, s.fail(freshet.CodeInvalidJSON, "the string is not closed")
		}
		c := b[i]
		if c == '"' {
			break
		}
		if c >= 0x80 {
			ascii = false
			i++
			continue
		}
		s.i = i
		if c < 0x20 {
			return nil, false, s.fail(freshet.CodeInvalidJSON, "control character 0x%02x in a string; escape it", c)
		}
		escaped = true
		if err := s.escape(); err != nil {
			return nil, false, err
		}
		i = s.i
	}
	s.i = i + 1
	content = b[start:i]
	if !ascii && !utf8.Valid(content) {
		s.i = start
		return nil, false, s.fail(freshet.CodeInvalidUTF8, "the string beginning here is not valid UTF-8; send UTF-8")
	}
	return content, escaped, nil
}

// plain marks the bytes of a string that need no second look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// escape passes over one escape sequence, or over a surrogate pair of two.
func (s *scanner) escape() error {
	if s.i+1 >= len(s.b) {
		return s.fail(freshet.CodeInvalidJSON, "the string ends inside an escape")
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return nil
	case 'u':
	default:
		return s.fail(freshet.CodeInvalidJSON, "unknown escape \\%c", s.b[s.i+1])
	}
	r, ok := hex4(s.b, s.i+2)
	if !ok {
		return s.fail(freshet.CodeInvalidJSON, "\\u needs four hexadecimal digits")
	}
	if r < 0xd800 || r > 0xdfff {
		s.i += 6
		return nil
	}
	low, ok := lowSurrogate(s.b, s.i+6)
	if r >= 0xdc00 || !ok || low == 0 {
		return s.fail(freshet.CodeInvalidUTF8, "\\u%04x is half of a surrogate pair and stands for no character", r)
	}
	s.i += 12
	return nil
}

func lowSurrogate(b []byte, i int) (rune, bool) {
	if i+1 >= len(b) || b[i] != '\\' || b[i+1] != 'u' {
		return 0, false
	}
	r, ok := hex4(b, i+2)
	return r, ok && r >= 0xdc00 && r <= 0xdfff
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// unescape appends the text that the content of a checked string stands for.
func unescape(dst, content []byte) []byte {
	for i := 0; i < len(content); {
		c := content[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		switch e := content[i+1]; e {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(content, i+2)
			i += 4
			if low, ok := lowSurrogate(content, i+2); ok && r >= 0xd800 && r < 0xdc00 {
				r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, e)
		}
		i += 2
	}
	return dst
}

// Check reports what is wrong with a JSON text, as a *freshet.Error; nil if nothing is.
func Check(b []byte) error {
	s := scanner{b: b}
	if _, err := s.skip(0); err != nil {
		return err
	}
	return s.end()
}
