package codec

import (
	"bytes"
	"fmt"
	"io"
)

// csvRecords cuts a stream of comma-separated values into records. A record may span lines, so it follows quotes byte by byte.
type csvRecords struct {
	r        io.Reader
	most     int
	comma    byte  // what separates cells, 0 before it is known
	line     int64 // on which the record begins that was returned last
	consumed int64

	buf      []byte
	at, have int
	err      error
	lines    int64 // ended before at
}

// The places within a record.
const (
	cellStart = iota
	inCell
	inQuotes
	quoteInQuotes
	returnBehindQuotes
)

// csvBuffer is how much is read at a time.
const csvBuffer = 256 << 10

// bom may stand before the header.
var bom = []byte("\xef\xbb\xbf")

// next returns the next record without its line end, valid until the next call; nil stands for one that is longer than most.
// problem says what is wrong with its quotes; reading can go on.
func (c *csvRecords) next() (raw []byte, problem string, err error) {
	if c.buf == nil {
		c.buf = make([]byte, min(csvBuffer, c.most+2))
	}
	c.line = c.lines + 1
	place, i, tooLong, opened := cellStart, 0, false, c.line
	for {
		for ; c.at+i < c.have; i++ {
			b := c.buf[c.at+i]
			if b == '\n' {
				c.lines++
				if place != inQuotes {
					raw = bytes.TrimSuffix(c.buf[c.at:c.at+i], []byte("\r"))
					c.advance(i + 1)
					return c.finish(raw, problem, tooLong)
				}
				continue
			}
			switch place {
			case cellStart, inCell:
				switch {
				case c.consumed == 0 && i < len(bom) && b == bom[i]:
				case c.separates(b):
					place = cellStart
				case b == '"' && place == cellStart:
					place, opened = inQuotes, c.lines+1
				case b == '"' && problem == "":
					problem = fmt.Sprintf("a quote stands inside a cell without quotes, byte %d of the record; put the cell in quotes and double those in it", i+1)
				default:
					place = inCell
				}
			case inQuotes:
				if b == '"' {
					place = quoteInQuotes
				}
			case quoteInQuotes:
				switch {
				case b == '"':
					place = inQuotes
				case c.separates(b):
					place = cellStart
				case b == '\r':
					place = returnBehindQuotes
				default:
					place, problem = inCell, goesOn(problem, i)
				}
			case returnBehindQuotes:
				place, problem = inCell, goesOn(problem, i)
			}
		}
		if i > c.most+1 { // more than a record and a carriage return: it is passed over, its quotes followed
			tooLong = true
			c.advance(i)
			i = 0
		}
		if c.err != nil {
			if c.err != io.EOF || i == 0 && !tooLong {
				return nil, "", c.err
			}
			raw = c.buf[c.at:c.have]
			c.advance(i)
			if place == inQuotes {
				problem = fmt.Sprintf("the quote opened on line %d is not closed", opened)
			}
			return c.finish(raw, problem, tooLong)
		}
		c.fill()
	}
}

// goesOn is the problem of a cell that does not end with its quotes.
func goesOn(before string, i int) string {
	if before != "" {
		return before
	}
	return fmt.Sprintf("a cell goes on behind its closing quote, byte %d of the record; double the quotes within a cell", i+1)
}

func (c *csvRecords) finish(raw []byte, problem string, tooLong bool) ([]byte, string, error) {
	if tooLong || len(raw) > c.most {
		return nil, "", nil
	}
	if c.line == 1 {
		raw = bytes.TrimPrefix(raw, bom)
	}
	return raw, problem, nil
}

// separates reports whether b ends a cell. Before it is known, the first of the separators that stands in the header says it.
func (c *csvRecords) separates(b byte) bool {
	if c.comma == 0 && (b == ',' || b == ';' || b == '\t') {
		c.comma = b
	}
	return b == c.comma && b != 0
}

func (c *csvRecords) advance(n int) {
	c.at += n
	c.consumed += int64(n)
}

func (c *csvRecords) buffered() bool { return bytes.IndexByte(c.buf[c.at:c.have], '\n') >= 0 }

// fill reads once, making room first.
func (c *csvRecords) fill() {
	if c.at > 0 {
		c.have = copy(c.buf, c.buf[c.at:c.have])
		c.at = 0
	}
	if c.have == len(c.buf) {
		grown := make([]byte, min(2*len(c.buf), c.most+2))
		c.have = copy(grown, c.buf[:c.have])
		c.buf = grown
	}
	var n int
	n, c.err = c.r.Read(c.buf[c.have:])
	c.have += n
}

// cell is one cell of a record; text is what its quotes stand for.
type cell struct {
	text   []byte
	quoted bool
}

// splitCells splits a record whose quotes are right.
func splitCells(raw []byte, comma byte, dst []cell) []cell {
	for {
		if len(raw) == 0 || raw[0] != '"' {
			i := bytes.IndexByte(raw, comma)
			if i < 0 || comma == 0 {
				return append(dst, cell{text: raw})
			}
			dst, raw = append(dst, cell{text: raw[:i]}), raw[i+1:]
			continue
		}
		end, doubled := closingQuote(raw)
		text := raw[1:end]
		if doubled {
			text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
		}
		dst, raw = append(dst, cell{text, true}), raw[end+1:]
		if len(raw) == 0 || raw[0] != comma {
			return dst
		}
		raw = raw[1:]
	}
}

// closingQuote is where the quotes end that raw begins with.
func closingQuote(raw []byte) (end int, doubled bool) {
	for i := 1; i < len(raw); i++ {
		if raw[i] != '"' {
			continue
		}
		if i+1 == len(raw) || raw[i+1] != '"' {
			return i, doubled
		}
		doubled = true
		i++
	}
	return len(raw), doubled
}
