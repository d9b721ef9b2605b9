package dataset

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
)

// Limits of files: a number beyond them is taken for damage rather than for a request of memory.
const (
	maxFileDim  = 1 << 16
	maxFileSize = 1 << 36
)

// ReadFvecs reads a file of float32 vectors in the TexMex format: each is its dimension (int32, little endian) and so
// many float32. All must have one dimension, and every component must be a number.
func ReadFvecs(path string) (Matrix, error) {
	dim, words, err := readVecs(path)
	if err != nil {
		return Matrix{}, err
	}
	m := Matrix{Dim: dim, Data: make([]float32, len(words))}
	for i, w := range words {
		v := math.Float32frombits(w)
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return Matrix{}, fmt.Errorf("dataset: %s: component %d of vector %d is %v: it must be a number", path, i%dim, i/dim, v)
		}
		m.Data[i] = v
	}
	return m, nil
}

// ReadIvecs reads a file of rows of int32 in the TexMex format: ground truth, one row of base ids per query.
func ReadIvecs(path string) ([][]int32, error) {
	dim, words, err := readVecs(path)
	if err != nil {
		return nil, err
	}
	all := make([]int32, len(words))
	for i, w := range words {
		all[i] = int32(w)
	}
	var rows [][]int32
	for ; len(all) > 0; all = all[dim:] {
		rows = append(rows, all[:dim:dim])
	}
	return rows, nil
}

func readVecs(path string) (dim int, words []uint32, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, fmt.Errorf("dataset: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, nil, fmt.Errorf("dataset: %w", err)
	}
	if st.Size() > maxFileSize {
		return 0, nil, fmt.Errorf("dataset: %s has %d bytes: at most %d are read", path, st.Size(), int64(maxFileSize))
	}
	dim, words, err = decodeVecs(bufio.NewReaderSize(f, 1<<20), st.Size())
	if err != nil {
		return 0, nil, fmt.Errorf("dataset: %s: %w", path, err)
	}
	return dim, words, nil
}

// decodeVecs reads size bytes of rows; it allocates what size promises, so size must be what the source holds.
func decodeVecs(r io.Reader, size int64) (dim int, words []uint32, err error) {
	var head [4]byte
	if size == 0 {
		return 0, nil, fmt.Errorf("the file is empty")
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("no dimension at the start: %w", err)
	}
	dim = int(int32(binary.LittleEndian.Uint32(head[:])))
	if dim < 1 || dim > maxFileDim {
		return 0, nil, fmt.Errorf("the dimension of vector 0 is %d: it must be from 1 to %d", dim, maxFileDim)
	}
	stride := int64(4 + 4*dim)
	if size%stride != 0 {
		return 0, nil, fmt.Errorf("%d bytes are no whole number of vectors of dimension %d (%d bytes each)", size, dim, stride)
	}
	row := make([]byte, 4*dim)
	words = make([]uint32, 0, size/stride*int64(dim))
	for i := int64(0); i < size/stride; i++ {
		if i > 0 {
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return 0, nil, fmt.Errorf("vector %d: %w", i, err)
			}
			if d := int32(binary.LittleEndian.Uint32(head[:])); int(d) != dim {
				return 0, nil, fmt.Errorf("the dimension of vector %d is %d, of those before it %d", i, d, dim)
			}
		}
		if _, err := io.ReadFull(r, row); err != nil {
			return 0, nil, fmt.Errorf("vector %d: %w", i, err)
		}
		for j := 0; j < len(row); j += 4 {
			words = append(words, binary.LittleEndian.Uint32(row[j:]))
		}
	}
	return dim, words, nil
}

// WriteFvecs writes m to a file as ReadFvecs reads it.
func WriteFvecs(path string, m Matrix) error {
	return writeVecs(path, m.Rows(), m.Dim, func(row, col int) uint32 { return math.Float32bits(m.Data[row*m.Dim+col]) })
}

// WriteIvecs writes rows, all of one length, to a file as ReadIvecs reads it.
func WriteIvecs(path string, rows [][]int32) error {
	dim := 0
	if len(rows) > 0 {
		dim = len(rows[0])
	}
	for i, r := range rows {
		if len(r) != dim {
			return fmt.Errorf("dataset: row %d has %d numbers, row 0 has %d: an ivecs file has rows of one length", i, len(r), dim)
		}
	}
	return writeVecs(path, len(rows), dim, func(row, col int) uint32 { return uint32(rows[row][col]) })
}

func writeVecs(path string, rows, dim int, at func(row, col int) uint32) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("dataset: %w", e)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	line := make([]byte, 0, 4+4*dim)
	for i := range rows {
		line = binary.LittleEndian.AppendUint32(line[:0], uint32(dim))
		for j := range dim {
			line = binary.LittleEndian.AppendUint32(line, at(i, j))
		}
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("dataset: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	return nil
}
