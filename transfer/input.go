package transfer

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/freshet-io/freshet/codec"
)

// Input is a file, or standard input, that is read record by record. It is for one goroutine but for Read.
type Input struct {
	Name string // its absolute path; "-" for standard input
	Form Form
	Size int64 // in bytes, of the file as it is; 0 for standard input

	records
	file    *os.File
	unpack  io.Closer
	prefix  *prefix
	parquet *parquetRecords
	read    atomic.Int64
}

// OpenInput opens a file, "-" for standard input. form is empty where the name's ending says it.
func OpenInput(path, form string) (*Input, error) {
	in := &Input{Name: path}
	var compression string
	var err error
	if in.Form, compression, err = FormOf(path, form); err != nil {
		return nil, err
	}
	if path == "-" {
		if in.Form == Parquet {
			return nil, errors.New("a Parquet file can't be read from standard input: its table of contents is at its end; name the file")
		}
		return in, in.open(os.Stdin, compression)
	}
	if in.Name, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if in.file, err = os.Open(path); err != nil {
		return nil, err
	}
	info, err := in.file.Stat()
	if err == nil {
		in.Size = info.Size()
		err = in.open(in.file, compression)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), in.Close())
	}
	return in, nil
}

func (in *Input) open(r io.Reader, compression string) error {
	if in.Form == Parquet {
		var err error
		in.parquet, err = newParquetRecords(in.file, in.Size)
		in.records = in.parquet
		return err
	}
	r = counter{r, &in.read}
	switch compression {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		r, in.unpack = z, z
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		r, in.unpack = z, z.IOReadCloser()
	}
	in.prefix = &prefix{r: r}
	switch in.Form {
	case JSON:
		in.records = newJSONRecords(in.prefix)
	case CSV:
		in.records = csvRecords{codec.NewCSV(in.prefix, codec.CSVOptions{MaxRecord: maxRecord, Flat: true})}
	default:
		in.records = lineRecords{codec.NewLines(in.prefix, maxRecord)}
	}
	return nil
}

// Read returns how much of the file's Size has been read. It may be called at any time.
func (in *Input) Read() int64 {
	if in.parquet != nil {
		return in.parquet.share(in.Size)
	}
	return in.read.Load()
}

// digest returns the digest of what stands in front of a record's end: the records behind it may have been read already. Of a
// Parquet file, whose parts lie anywhere, it is that of the whole file.
func (in *Input) digest(end int64) (string, error) {
	if in.parquet != nil {
		return in.parquet.digest()
	}
	return in.prefix.digest(end), nil
}

// skipTo passes over the records that end at an offset or before it. io.EOF says that the file has no such offset.
func (in *Input) skipTo(end int64) error {
	if in.parquet != nil {
		return in.parquet.seek(end)
	}
	for {
		r, err := in.next()
		if err != nil {
			return err
		}
		if r.End >= end {
			if r.End > end {
				return io.EOF
			}
			return nil
		}
	}
}

// Close closes the file.
func (in *Input) Close() error {
	var errs []error
	if in.unpack != nil {
		errs = append(errs, in.unpack.Close())
	}
	if in.file != nil {
		errs = append(errs, in.file.Close())
	}
	return errors.Join(errs...)
}
