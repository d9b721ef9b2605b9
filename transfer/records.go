package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// maxRecord is the longest record that is read, in bytes; the server has a limit of its own.
const maxRecord = 32 << 20

// Record is one record of a file.
type Record struct {
	Data   []byte // a JSON object; valid until the next record is read
	Raw    []byte // as it stands in the file; likewise
	Number int64  // of the line, the element of an array, the row: from 1
	Line   int64  // on which it begins; in Parquet, which has none, its row
	End    int64  // the offset behind it, in bytes of the unpacked file; in Parquet in rows
	Err    *freshet.Error
}

// records reads records. An error of next is one of the file from which it can't go on; io.EOF is its end. What is wrong with
// one record alone is the record's Err.
type records interface {
	next() (Record, error)
}

// lineRecords are lines of JSON.
type lineRecords struct{ lines *codec.Lines }

func (l lineRecords) next() (Record, error) {
	line, err := l.lines.Next()
	r := Record{Data: line, Raw: line, Number: l.lines.Number(), Line: l.lines.Number(), End: l.lines.Offset()}
	if errors.Is(err, codec.ErrLineTooLong) {
		r.Err, err = tooLong(), nil
	}
	return r, err
}

func tooLong() *freshet.Error {
	return &freshet.Error{Code: freshet.CodeTooLarge, Message: fmt.Sprintf("the record is longer than %d MiB", maxRecord>>20)}
}

// jsonRecords are the elements of a JSON array, or values one after another. A value that is no JSON ends them, for nothing tells
// where the next one begins.
type jsonRecords struct {
	in     *boundedLines
	dec    *json.Decoder
	array  bool
	begun  bool
	number int64
	raw    json.RawMessage
}

func newJSONRecords(r io.Reader) *jsonRecords {
	in := &boundedLines{r: bufio.NewReader(r), line: 1, most: readAhead}
	return &jsonRecords{in: in, dec: json.NewDecoder(in)}
}

func (j *jsonRecords) next() (Record, error) {
	if !j.begun {
		j.begun = true
		if j.array = j.in.startsArray(); j.array {
			if _, err := j.dec.Token(); err != nil {
				return Record{}, j.fail(err)
			}
		}
	}
	if j.array && !j.dec.More() {
		return Record{}, j.end()
	}
	j.in.most = j.dec.InputOffset() + maxRecord + readAhead
	if err := j.dec.Decode(&j.raw); err != nil {
		if err == io.EOF && !j.array {
			return Record{}, io.EOF
		}
		return Record{}, j.fail(err)
	}
	j.number++
	end := j.dec.InputOffset()
	return Record{Data: j.raw, Raw: j.raw, Number: j.number, Line: j.in.lineAt(end - int64(len(j.raw))), End: end}, nil
}

// end returns io.EOF when the array ends and nothing stands behind it.
func (j *jsonRecords) end() error {
	if _, err := j.dec.Token(); err != nil {
		return j.fail(err)
	}
	switch _, err := j.dec.Token(); {
	case err == io.EOF:
		return io.EOF
	case err == nil:
		err = errors.New("something stands behind the end of the array")
		fallthrough
	default:
		return j.fail(err)
	}
}

func (j *jsonRecords) fail(err error) error {
	at := j.dec.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = max(at, syntax.Offset-1)
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		at, err = j.in.at, errors.New("the file ends inside a value; it is cut off")
	}
	return &lineError{j.in.lineAt(at), err}
}

// lineError is an error of a file with the line where it is.
type lineError struct {
	line int64
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// readAhead is more than a JSON decoder reads ahead of what it needs.
const readAhead = 1 << 20

// boundedLines passes a stream on, ends it with an error beyond what may be read, and knows on which line a byte is.
type boundedLines struct {
	r    *bufio.Reader
	at   int64   // read so far
	most int64   // may be read
	line int64   // of the byte that was asked for last
	ends []int64 // offsets of the line feeds behind it
}

// startsArray reports whether the first thing in the stream is an array.
func (b *boundedLines) startsArray() bool {
	start, _ := b.r.Peek(b.r.Size()) // an error comes again when it is read
	start = bytes.TrimLeft(start, " \t\r\n")
	return len(start) > 0 && start[0] == '['
}

// Read implements io.Reader.
func (b *boundedLines) Read(buf []byte) (int, error) {
	if b.at >= b.most {
		return 0, fmt.Errorf("a value is longer than %d MiB", maxRecord>>20)
	}
	n, err := b.r.Read(buf[:min(int64(len(buf)), b.most-b.at)])
	for i := 0; ; i++ {
		k := bytes.IndexByte(buf[i:n], '\n')
		if k < 0 {
			break
		}
		i += k
		b.ends = append(b.ends, b.at+int64(i))
	}
	b.at += int64(n)
	return n, err
}

// lineAt returns the line of a byte; the next call is for the same byte or one behind it.
func (b *boundedLines) lineAt(offset int64) int64 {
	passed := 0
	for passed < len(b.ends) && b.ends[passed] < offset {
		passed++
	}
	b.ends = slices.Delete(b.ends, 0, passed)
	b.line += int64(passed)
	return b.line
}

// csvRecords are comma-separated values, each record an object with a member a column.
type csvRecords struct{ *codec.CSV }

func (c csvRecords) next() (Record, error) {
	data, err := c.Next()
	r := Record{Data: data, Raw: c.Raw(), Number: c.Line(), Line: c.Line(), End: c.Offset()}
	if refusal := (*freshet.Error)(nil); errors.As(err, &refusal) {
		if c.Columns() == nil {
			return r, &lineError{c.Line(), err}
		}
		r.Err, err = refusal, nil
	}
	return r, err
}
