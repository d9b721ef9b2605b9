package transfer

import (
	"encoding/hex"
	"io"
	"os"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet/codec/parquet"
)

// parquetRecords are the rows of a Parquet file.
type parquetRecords struct {
	*parquet.Reader
	file *os.File
	size int64
	sum  string // digest of the file, once it was asked for
	row  atomic.Int64
}

func newParquetRecords(f *os.File, size int64) (*parquetRecords, error) {
	r, err := parquet.NewReader(f, size)
	return &parquetRecords{Reader: r, file: f, size: size}, err
}

func (p *parquetRecords) next() (Record, error) {
	data, err := p.Next()
	n := p.row.Load() + 1
	if err == nil {
		p.row.Store(n)
	}
	return Record{Data: data, Raw: data, Number: n, Line: n, End: n}, err
}

func (p *parquetRecords) seek(row int64) error {
	p.row.Store(row)
	return p.SeekToRow(row)
}

// share is the part of the file's size that the rows read so far stand for.
func (p *parquetRecords) share(size int64) int64 {
	return int64(float64(size) * float64(p.row.Load()) / float64(max(1, p.Rows())))
}

func (p *parquetRecords) digest() (string, error) {
	if p.sum == "" {
		h := xxh3.New()
		if _, err := io.Copy(h, io.NewSectionReader(p.file, 0, p.size)); err != nil {
			return "", err
		}
		sum := h.Sum128().Bytes()
		p.sum = hex.EncodeToString(sum[:])
	}
	return p.sum, nil
}
