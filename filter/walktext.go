package filter

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// The walker's reading of strings.

// stringKey returns the key of a string: itself, or its beginning and longString.
func (w *walker) stringKey(text []byte) []byte {
	if len(text) <= MaxStringBytes {
		return text
	}
	from := len(w.buf)
	w.buf = append(append(w.buf, text[:MaxStringBytes]...), longString)
	return w.buf[from:]
}

// text walks the string that begins at pos and returns its contents: a piece of
// the document, or of buf where escapes or invalid UTF-8 had to be resolved.
func (w *walker) text() ([]byte, error) {
	w.pos++
	start, ascii := w.pos, true
	for {
		w.pos += plainBytes(w.data[w.pos:])
		c := w.peek()
		switch {
		case c == '"':
			s := w.data[start:w.pos]
			if !ascii && !utf8.Valid(s) {
				w.pos = start
				return w.unescape()
			}
			w.pos++
			return s, nil
		case c == '\\':
			w.pos = start
			return w.unescape()
		case c < ' ':
			return nil, w.fail("a string ends too early or holds a control character")
		default:
			ascii = false
			w.pos++
		}
	}
}

// plainBytes returns how many bytes of s precede the first that is a quote, a
// backslash, a control character or not ASCII (or the end), eight at a time.
func plainBytes(s []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(s[n:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// Each term sets the high bit of the bytes in question; borrows can only set
		// it falsely above a true one, and the lowest is what counts.
		if hit := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x | x) & high; hit != 0 {
			return n + bits.TrailingZeros64(hit)/8
		}
	}
	for ; n < len(s); n++ {
		if c := s[n]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

// unescape walks the rest of a string from its first byte, copying it to buf.
func (w *walker) unescape() ([]byte, error) {
	from := len(w.buf)
	for {
		n := plainBytes(w.data[w.pos:])
		w.buf = append(w.buf, w.data[w.pos:w.pos+n]...)
		w.pos += n
		switch c := w.peek(); {
		case c == '"':
			w.pos++
			return w.buf[from:], nil
		case c == '\\':
			if err := w.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, w.fail("a string ends too early or holds a control character")
		default:
			r, size := utf8.DecodeRune(w.data[w.pos:])
			w.buf = utf8.AppendRune(w.buf, r)
			w.pos += size
		}
	}
}

// escape resolves the escape at pos into buf.
func (w *walker) escape() error {
	w.pos++
	c := w.peek()
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return w.escapeRune()
	default:
		return w.fail("an unknown escape")
	}
	w.buf = append(w.buf, c)
	w.pos++
	return nil
}

// escapeRune resolves uXXXX at pos, with the low surrogate that may follow.
func (w *walker) escapeRune() error {
	r, ok := hex4(w.data[w.pos+1:])
	if !ok {
		return w.fail("four hexadecimal digits are wanted")
	}
	w.pos += 5
	if utf16.IsSurrogate(r) {
		pair := rune(utf8.RuneError)
		if rest := w.data[w.pos:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			if low, ok := hex4(rest[2:]); ok {
				pair = utf16.DecodeRune(r, low)
			}
		}
		if r = pair; r != utf8.RuneError {
			w.pos += 6
		}
	}
	w.buf = utf8.AppendRune(w.buf, r)
	return nil
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	r := rune(0)
	for _, c := range s[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
