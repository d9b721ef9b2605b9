package codec

import (
	"bytes"
	"errors"
	"io"
)

// Lines reads newline-delimited JSON in constant memory. It is for one goroutine.
type Lines struct {
	r        io.Reader
	most     int
	buf      []byte
	at, have int
	err      error
	number   int64 // of the line returned last
	offset   int64 // behind it
}

// lineBuffer is how much is read at a time.
const lineBuffer = 256 << 10

// NewLines reads lines of at most maxLine bytes from r.
func NewLines(r io.Reader, maxLine int) *Lines {
	return &Lines{r: r, most: maxLine, buf: make([]byte, min(lineBuffer, maxLine+2))}
}

// ErrLineTooLong stands for a line that is longer than the limit. It has been passed over;
// the next call returns the line behind it.
var ErrLineTooLong = errors.New("line too long")

// Next returns the next line that is not blank, without its end. It is valid until the next
// call. io.EOF is the end; the last line needs no newline.
func (l *Lines) Next() ([]byte, error) {
	for {
		line, err := l.line()
		if err != nil || len(bytes.TrimSpace(line)) > 0 {
			return line, err
		}
	}
}

// Number is the number of the line that Next has returned or passed over last, from 1; blank ones count.
func (l *Lines) Number() int64 { return l.number }

// Offset is how many bytes the lines up to that one take, with their ends.
func (l *Lines) Offset() int64 { return l.offset }

// take counts a line, of which n bytes are still in the buffer, as read.
func (l *Lines) take(n int) {
	l.at += n
	l.offset += int64(n)
	l.number++
}

// Buffered reports whether a whole line can be had without reading.
func (l *Lines) Buffered() bool {
	return bytes.IndexByte(l.buf[l.at:l.have], '\n') >= 0
}

func (l *Lines) line() ([]byte, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(l.buf[l.at+searched:l.have], '\n'); i >= 0 {
			line := l.buf[l.at : l.at+searched+i]
			l.take(searched + i + 1)
			if len(line) > l.most {
				return nil, ErrLineTooLong
			}
			return line, nil
		}
		searched = l.have - l.at
		if searched > l.most {
			return nil, l.skipLine()
		}
		if l.err != nil {
			if searched > 0 && l.err == io.EOF {
				line := l.buf[l.at:l.have]
				l.take(searched)
				return line, nil
			}
			return nil, l.err
		}
		l.fill()
	}
}

// fill reads once, making room first.
func (l *Lines) fill() {
	if l.at > 0 {
		l.have = copy(l.buf, l.buf[l.at:l.have])
		l.at = 0
	}
	if l.have == len(l.buf) {
		grown := make([]byte, min(2*len(l.buf), l.most+2))
		l.have = copy(grown, l.buf[:l.have])
		l.buf = grown
	}
	var n int
	n, l.err = l.r.Read(l.buf[l.have:])
	l.have += n
}

// skipLine drops bytes up to the next newline.
func (l *Lines) skipLine() error {
	for {
		if i := bytes.IndexByte(l.buf[l.at:l.have], '\n'); i >= 0 {
			l.take(i + 1)
			return ErrLineTooLong
		}
		l.offset += int64(l.have - l.at)
		l.at, l.have = 0, 0
		if l.err != nil {
			if l.err == io.EOF {
				l.number++
				return ErrLineTooLong
			}
			return l.err
		}
		l.fill()
	}
}
