package codec

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
)

// CSV reads comma-separated values (RFC 4180) as events, in the memory of one record. The first record names the columns, and
// every other one is an event: in the default mapping the columns named like fields of an event are these fields and the others
// are members of the payload; with Flat each column is a member of the event.
//
// Commas, semicolons or tabs separate: what the header has first outside of quotes. A cell in quotes is a string. Of the others
// an empty one is absent, true and false are booleans, a decimal number of up to 15 digits as JSON writes it (no leading zero, no
// exponent) is a number, and everything else is a string. A column whose name ends in :string, :number, :boolean or :json holds
// that and is named by the rest; the text of an event is always a string. It is for one goroutine.
type CSV struct {
	records csvRecords
	flat    bool
	columns []column // nil before the header
	head    []byte
	failed  error // why the header can't be read; the end behind it
	raw     []byte
	line    int64
	cells   []cell
	event   []byte
}

// CSVOptions are the settings of a CSV.
type CSVOptions struct {
	MaxRecord int  // bytes of a record
	Flat      bool // events of a configured mapping: one member a column, at the top
}

// NewCSV reads records from r.
func NewCSV(r io.Reader, o CSVOptions) *CSV {
	return &CSV{records: csvRecords{r: r, most: o.MaxRecord}, flat: o.Flat}
}

// column is a column and what its cells become.
type column struct {
	name  string
	field bool // of the event itself
	kind  cellKind
}

type cellKind uint8

const (
	guessed cellKind = iota
	asString
	asNumber
	asBoolean
	asJSON
	asTime // ms since 1970, or RFC 3339
)

// cellKinds are the endings of the names of columns.
var cellKinds = map[string]cellKind{"string": asString, "number": asNumber, "boolean": asBoolean, "json": asJSON}

// csvFields are the columns that are fields of an event.
var csvFields = map[string]cellKind{"event_id": asString, "entity_id": asString, "collection": asString, "namespace": asString,
	"op": asString, "order": asNumber, "timestamp": asTime, "expires_at": asTime, "vector": asJSON}

// maxDigits is how many digits of a number a double always keeps.
const maxDigits = 15

// Next returns the next event, valid until the next call; io.EOF is the end. A *freshet.Error refuses one record, with its line; the
// next call goes on behind it, and ends when it was the header.
func (c *CSV) Next() ([]byte, error) {
	if c.failed != nil {
		return nil, c.failed
	}
	if c.columns == nil {
		if err := c.header(); err != nil {
			c.failed = io.EOF
			return nil, err
		}
	}
	if err := c.record(); err != nil {
		return nil, err
	}
	event, err := c.encode()
	if err != nil {
		return nil, c.AtLine(err)
	}
	return event, nil
}

// Columns are the names of the columns, nil before the first call of Next and when the header can't be used.
func (c *CSV) Columns() []string {
	if c.failed != nil {
		return nil
	}
	var names []string
	for _, col := range c.columns {
		names = append(names, col.name)
	}
	return names
}

// Header is the record that names the columns, as it came.
func (c *CSV) Header() []byte { return c.head }

// Line is the line on which the record of the last Next begins, from 1.
func (c *CSV) Line() int64 { return c.line }

// Raw is the record of the last Next as it came, without the end of its line. It is valid until the next call.
func (c *CSV) Raw() []byte { return c.raw }

// Offset is how many bytes of the input the records up to the last Next take.
func (c *CSV) Offset() int64 { return c.records.consumed }

// Buffered reports whether a whole record can be had without reading. Of a record with line breaks it may say so too early.
func (c *CSV) Buffered() bool { return c.records.buffered() }

// AtLine adds the line of the last record to an error about it.
func (c *CSV) AtLine(err error) error {
	if e, ok := err.(*freshet.Error); ok {
		return &freshet.Error{Code: e.Code, Field: e.Field, Message: fmt.Sprintf("%s (line %d)", e.Message, c.line)}
	}
	return err
}

// record reads a record and splits it; blank lines are passed over.
func (c *CSV) record() error {
	for {
		raw, problem, err := c.records.next()
		if err != nil {
			return err
		}
		c.raw, c.line = raw, c.records.line
		switch {
		case raw == nil:
			return c.AtLine(&freshet.Error{Code: freshet.CodeTooLarge, Message: fmt.Sprintf("the record is longer than %d bytes, the limit event_bytes", c.records.most)})
		case problem != "":
			return c.AtLine(&freshet.Error{Code: freshet.CodeInvalidField, Field: "csv", Message: problem})
		case len(bytes.TrimSpace(raw)) == 0 && bytes.IndexByte(raw, c.records.comma) < 0:
			continue
		case !utf8.Valid(raw):
			return c.AtLine(&freshet.Error{Code: freshet.CodeInvalidUTF8, Message: "the record is not valid UTF-8; save the file as UTF-8"})
		}
		c.cells = splitCells(raw, c.records.comma, c.cells[:0])
		return nil
	}
}

func (c *CSV) header() error {
	if err := c.record(); err != nil {
		return err
	}
	c.head = bytes.Clone(c.raw)
	refuse := func(format string, args ...any) error {
		return c.AtLine(&freshet.Error{Code: freshet.CodeInvalidField, Field: "header", Message: fmt.Sprintf(format, args...)})
	}
	var names []string
	for i, cell := range c.cells {
		col := column{name: strings.TrimSpace(string(cell.text))}
		if name, ending, ok := cutLast(col.name, ':'); ok {
			if kind, known := cellKinds[ending]; known {
				col.name, col.kind = name, kind
			}
		}
		if !c.flat {
			switch kind, field := csvFields[col.name]; {
			case field:
				col.field, col.kind = true, kind
			case col.name == "text":
				col.kind = asString
			case col.name == "payload":
				return refuse("column %d is named payload, but the columns are the members of the payload; give each member a column", i+1)
			}
		}
		switch {
		case col.name == "":
			return refuse("column %d has no name; the first record names the columns", i+1)
		case slices.Contains(names, col.name):
			return refuse("two columns are named %q; rename one", Clip([]byte(col.name)))
		}
		names = append(names, col.name)
		c.columns = append(c.columns, col)
	}
	if !c.flat && !slices.Contains(names, "entity_id") {
		c.columns = nil
		return c.AtLine(&freshet.Error{Code: freshet.CodeMissingField, Field: "entity_id",
			Message: "no column has this name; the first record names the columns, and every event names its entity"})
	}
	return nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// encode makes the event of the record that was read.
func (c *CSV) encode() ([]byte, error) {
	if len(c.cells) != len(c.columns) {
		return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "csv",
			Message: fmt.Sprintf("the record has %d cells, the header %d; put cells that hold a separator, a quote or a line break in quotes", len(c.cells), len(c.columns))}
	}
	c.event = append(c.event[:0], '{')
	for _, field := range []bool{true, false} {
		opened := false
		for i, col := range c.columns {
			if col.field != field || !c.cells[i].quoted && len(c.cells[i].text) == 0 {
				continue
			}
			c.separate()
			if !field && !c.flat && !opened {
				c.event, opened = append(c.event, `"payload":{`...), true
			}
			c.event = append(AppendString(c.event, col.name), ':')
			var err error
			if c.event, err = appendCell(c.event, c.cells[i], col); err != nil {
				return nil, err
			}
		}
		if opened {
			c.event = append(c.event, '}')
		}
	}
	c.event = append(c.event, '}')
	return c.event, nil
}

// separate puts a comma behind a member.
func (c *CSV) separate() {
	if last := c.event[len(c.event)-1]; last != '{' {
		c.event = append(c.event, ',')
	}
}

// appendCell appends the value of a cell that is not absent. What can't be its column's kind is refused; for fields of the event
// it stays a string, which ParseEvent refuses with what it has to be.
func appendCell(dst []byte, v cell, col column) ([]byte, error) {
	switch col.kind {
	case guessed:
		if !v.quoted && (isBoolean(v.text) || isPlainNumber(v.text)) {
			return append(dst, v.text...), nil
		}
	case asNumber, asBoolean:
		s := scanner{b: v.text}
		switch {
		case col.kind == asBoolean && isBoolean(v.text),
			col.kind == asNumber && (s.peek() == '-' || s.peek() >= '0' && s.peek() <= '9') && s.number() == nil && s.end() == nil:
			return append(dst, v.text...), nil
		case !col.field:
			return dst, notOfKind(v, col)
		}
	case asJSON:
		if Check(v.text) == nil {
			return append(dst, v.text...), nil
		}
		if !col.field {
			return dst, notOfKind(v, col)
		}
	case asTime:
		if ms, err := strconv.ParseInt(string(v.text), 10, 64); err == nil {
			return strconv.AppendInt(dst, ms, 10), nil
		}
		if t, err := time.Parse(time.RFC3339, string(v.text)); err == nil {
			return strconv.AppendInt(dst, t.UnixMilli(), 10), nil
		}
	}
	return AppendString(dst, string(v.text)), nil
}

func notOfKind(v cell, col column) error {
	kind := "a JSON value"
	switch col.kind {
	case asNumber:
		kind = "a number as JSON writes it"
	case asBoolean:
		kind = "true or false"
	}
	return &freshet.Error{Code: freshet.CodeInvalidField, Field: col.name, Message: fmt.Sprintf("must be %s, is %s", kind, Clip(v.text))}
}

func isBoolean(v []byte) bool { return string(v) == "true" || string(v) == "false" }

// isPlainNumber reports whether v is a JSON number that a double keeps as it is written.
func isPlainNumber(v []byte) bool {
	digits := 0
	for _, b := range v {
		switch {
		case b >= '0' && b <= '9':
			digits++
		case b != '-' && b != '.':
			return false
		}
	}
	if digits == 0 || digits > maxDigits {
		return false
	}
	s := scanner{b: v}
	return s.number() == nil && s.i == len(v)
}
