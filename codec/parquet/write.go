package parquet

import (
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Writer writes rows of a Go type, a struct with tags of the library. It is for one goroutine.
type Writer[T any] struct {
	w      *parquet.GenericWriter[T]
	group  int // rows of a group
	filled int
}

// NewWriter returns a writer of files in groups of rows, which are held in memory. Its columns are packed with Zstandard.
func NewWriter[T any](w io.Writer, group int) *Writer[T] {
	return &Writer[T]{w: parquet.NewGenericWriter[T](w, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest})), group: group}
}

// Write writes a row.
func (w *Writer[T]) Write(row T) error {
	if _, err := w.w.Write([]T{row}); err != nil {
		return err
	}
	if w.filled++; w.filled < w.group {
		return nil
	}
	w.filled = 0
	return w.w.Flush()
}

// SetMetadata sets a value of the file's own metadata.
func (w *Writer[T]) SetMetadata(key, value string) { w.w.SetKeyValueMetadata(key, value) }

// Close writes what is left and the table of contents, without which it is no file.
func (w *Writer[T]) Close() error { return w.w.Close() }
