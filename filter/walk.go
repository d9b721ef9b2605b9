package filter

import "fmt"

// entry is one fact that an index keeps of a document: that a field is there, or
// that it has a scalar value.
type entry struct {
	field uint32
	kind  kind
	key   []byte // of a number or string; good until the next walk
	hash  uint64 // of all that, for an index's table
}

// walker takes a metadata document apart into entries, in one pass and without
// allocating. It accepts exactly what encoding/json accepts as an object (invalid
// UTF-8 and lone surrogates become U+FFFD, nesting ends at 10,000, the last of
// duplicate keys counts), so that an index and Expr.Match agree on every input.
type walker struct {
	fields  *fields
	entries []entry // the result; those of kind dropped don't count
	objects uint64  // serial number of the last object, over all walks

	data  []byte
	pos   int
	depth int
	buf   []byte // keys that are not found as such in data
}

const (
	walkDepth = 10_000 // as in encoding/json
	dropped   = kinds  // kind of an entry that a duplicate key replaced

	// longString ends the key of a string that was cut at MaxStringBytes. No UTF-8
	// holds this byte, so that no operand equals such a key, while prefixes work.
	longString = 0xFF

	// keepEntries and keepBytes bound the scratch kept for the next document.
	keepEntries = 1 << 16
	keepBytes   = 1 << 20
)

// walk sets w.entries to those of a document. On an error they mean nothing.
func (w *walker) walk(data []byte) error {
	w.data, w.pos, w.depth = data, 0, 0
	w.entries, w.buf = w.entries[:0], w.buf[:0]
	if len(data) == 0 {
		return nil
	}
	w.space()
	if w.pos == len(data) || data[w.pos] != '{' {
		return w.fail("an object is wanted")
	}
	if err := w.object(0); err != nil {
		return err
	}
	if w.space(); w.pos < len(data) {
		return w.fail("something follows the object")
	}
	return nil
}

// forget drops references to the document, and scratch that grew large.
func (w *walker) forget() {
	w.data = nil
	if cap(w.entries) > keepEntries {
		w.entries = nil
	}
	clear(w.entries)
	if cap(w.buf) > keepBytes {
		w.buf = nil
	}
}

func (w *walker) fail(what string) error {
	return fmt.Errorf("filter: metadata is not a JSON object: %s at byte %d", what, w.pos)
}

func (w *walker) space() {
	for w.pos < len(w.data) {
		switch w.data[w.pos] {
		case ' ', '\t', '\r', '\n':
			w.pos++
		default:
			return
		}
	}
}

// next skips space and returns the byte there, or 0 at the end (which no JSON
// has outside of a string).
func (w *walker) next() byte {
	if w.pos < len(w.data) && w.data[w.pos] > ' ' {
		return w.data[w.pos]
	}
	if w.space(); w.pos < len(w.data) {
		return w.data[w.pos]
	}
	return 0
}

// object walks the object that begins at pos, as the value of a field.
func (w *walker) object(parent uint32) error {
	if w.depth++; w.depth > walkDepth {
		return w.fail("nested too deep")
	}
	w.objects++
	serial := w.objects
	w.pos++
	if w.next() == '}' {
		w.pos++
		w.depth--
		return nil
	}
	for {
		if w.next() != '"' {
			return w.fail("a key is wanted")
		}
		key, err := w.text()
		if err != nil {
			return err
		}
		if w.next() != ':' {
			return w.fail("a colon is wanted")
		}
		w.pos++
		if err := w.member(serial, w.fields.intern(parent, key)); err != nil {
			return err
		}
		switch w.next() {
		case ',':
			w.pos++
			continue
		case '}':
			w.pos++
			w.depth--
			return nil
		}
		return w.fail("a comma or closing brace is wanted")
	}
}

// member walks the value of a field in the object of that serial number.
func (w *walker) member(serial uint64, field uint32) error {
	start := len(w.entries)
	if f := &w.fields.all[field]; f.object == serial {
		for i := f.start; i < f.end; i++ {
			w.entries[i].kind = dropped
		}
	}
	w.entries = append(w.entries, entry{field: field, kind: kindExists})
	if err := w.value(field); err != nil {
		return err
	}
	f := &w.fields.all[field]
	f.object, f.start, f.end = serial, start, len(w.entries)
	return nil
}

func (w *walker) value(field uint32) error {
	switch c := w.next(); c {
	case '{':
		return w.object(field)
	case '[':
		return w.array(field)
	case '"':
		text, err := w.text()
		if err != nil {
			return err
		}
		w.entries = append(w.entries, entry{field: field, kind: kindString, key: w.stringKey(text)})
		return nil
	case 't':
		return w.word("true", field, kindTrue)
	case 'f':
		return w.word("false", field, kindFalse)
	case 'n':
		return w.word("null", field, kindNull)
	default:
		if c == '-' || c-'0' <= 9 {
			return w.number(field)
		}
		return w.fail("a value is wanted")
	}
}

func (w *walker) array(field uint32) error {
	if w.depth++; w.depth > walkDepth {
		return w.fail("nested too deep")
	}
	w.pos++
	if w.next() == ']' {
		w.pos++
		w.depth--
		return nil
	}
	for {
		if err := w.value(field); err != nil {
			return err
		}
		switch w.next() {
		case ',':
			w.pos++
			continue
		case ']':
			w.pos++
			w.depth--
			return nil
		}
		return w.fail("a comma or closing bracket is wanted")
	}
}

func (w *walker) word(text string, field uint32, k kind) error {
	end := w.pos + len(text)
	if end > len(w.data) || string(w.data[w.pos:end]) != text {
		return w.fail("a value is wanted")
	}
	w.pos = end
	w.entries = append(w.entries, entry{field: field, kind: k})
	return nil
}

// number walks -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (w *walker) number(field uint32) error {
	start := w.pos
	if w.data[w.pos] == '-' {
		w.pos++
	}
	if w.peek() == '0' {
		w.pos++
	} else if !w.digits() {
		return w.fail("a digit is wanted")
	}
	if w.peek() == '.' {
		w.pos++
		if !w.digits() {
			return w.fail("a digit is wanted")
		}
	}
	if w.peek()|0x20 == 'e' {
		w.pos++
		if c := w.peek(); c == '+' || c == '-' {
			w.pos++
		}
		if !w.digits() {
			return w.fail("a digit is wanted")
		}
	}
	from := len(w.buf)
	var ok bool
	if w.buf, ok = appendNumberKey(w.buf, w.data[start:w.pos]); ok {
		w.entries = append(w.entries, entry{field: field, kind: kindNumber, key: w.buf[from:]})
	}
	return nil
}

func (w *walker) peek() byte {
	if w.pos < len(w.data) {
		return w.data[w.pos]
	}
	return 0
}

// digits skips digits and reports whether there were any.
func (w *walker) digits() bool {
	start := w.pos
	for w.pos < len(w.data) && w.data[w.pos]-'0' <= 9 {
		w.pos++
	}
	return w.pos > start
}
