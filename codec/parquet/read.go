package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// rowsAhead is how many rows are taken from the library at a time.
const rowsAhead = 64

// Reader gives the rows of a file as JSON objects with a member a column, in the order of the columns; null where a row has no value.
//
// Numbers are numbers, decimals exactly; dates and times are strings as RFC 3339 has them, in UTC; bytes that are no text are
// base64; lists are arrays, groups and maps are objects; NaN and the infinities, which JSON lacks, are null. It is for one goroutine.
type Reader struct {
	file   *parquet.File
	groups []parquet.RowGroup
	root   *node
	rows   parquet.Rows // of the group at hand, nil between groups
	buf    [rowsAhead]parquet.Row
	at     int // in buf
	have   int
	next   int64 // the row that Next returns
	cols   [][]parquet.Value
	out    []byte
}

// NewReader opens a file of size bytes.
func NewReader(r io.ReaderAt, size int64) (p *Reader, err error) {
	defer recovered(&err)
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("it is no Parquet file that can be read: %w", err)
	}
	root, columns := newTree(f.Root())
	return &Reader{file: f, groups: f.RowGroups(), root: root, cols: make([][]parquet.Value, columns)}, nil
}

// recovered makes an error of a panic: the library has some for files that are damaged.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the Parquet file is damaged, or written in a way that is not known here: %v", r)
	}
}

// Columns are the names of the columns at the top.
func (p *Reader) Columns() []string {
	var names []string
	for _, n := range p.root.children {
		names = append(names, n.name)
	}
	return names
}

// Rows is the number of rows of the file.
func (p *Reader) Rows() int64 { return p.file.NumRows() }

// Metadata returns a value of the file's own metadata.
func (p *Reader) Metadata(key string) (value string, ok bool) { return p.file.Lookup(key) }

// Next returns the next row, valid until the next call; io.EOF is the end.
func (p *Reader) Next() (row []byte, err error) {
	defer recovered(&err)
	for p.at == p.have {
		if err := p.fill(); err != nil {
			return nil, err
		}
	}
	clear(p.cols)
	p.buf[p.at].Range(func(column int, values []parquet.Value) bool {
		p.cols[column] = values
		return true
	})
	p.at++
	p.next++
	p.out = p.root.append(p.out[:0], p.cols)
	return p.out, nil
}

// fill takes rows from the library.
func (p *Reader) fill() (err error) {
	if p.rows == nil {
		if len(p.groups) == 0 {
			return io.EOF
		}
		p.rows = p.groups[0].Rows()
		p.groups = p.groups[1:]
	}
	p.at = 0
	p.have, err = p.rows.ReadRows(p.buf[:])
	if err == io.EOF {
		err = p.closeGroup()
	}
	return err
}

func (p *Reader) closeGroup() error {
	if p.rows == nil {
		return nil
	}
	rows := p.rows
	p.rows = nil
	return rows.Close()
}

// SeekToRow makes Next return row n, from 0. io.EOF says that there are not so many.
func (p *Reader) SeekToRow(n int64) (err error) {
	defer recovered(&err)
	if n > p.Rows() {
		return io.EOF
	}
	if err := p.closeGroup(); err != nil {
		return err
	}
	p.at, p.have, p.next = 0, 0, n
	p.groups = p.file.RowGroups()
	for len(p.groups) > 0 && n >= p.groups[0].NumRows() {
		n -= p.groups[0].NumRows()
		p.groups = p.groups[1:]
	}
	if n == 0 {
		return nil
	}
	p.rows = p.groups[0].Rows()
	p.groups = p.groups[1:]
	return p.rows.SeekToRow(n)
}

// Close releases what the reader holds; the file stays open.
func (p *Reader) Close() (err error) {
	defer recovered(&err)
	return errors.Join(err, p.closeGroup())
}
