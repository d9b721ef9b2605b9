package static

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"sync"
	"unicode/utf8"
)

// The bytes of a model file; all numbers are little-endian.
//
//	offset   size       what
//	0        8          magic "FRSHSTAT"
//	8        4          format, 1
//	12       4          rows R
//	16       4          dim D
//	20       4          bytes of the name N
//	24       4          bytes of the vocabulary V
//	28       4          runs of the folding table F
//	32       4          bytes of the folding table's expansions X
//	36       N          name and version, UTF-8
//	         V          vocabulary, UTF-8: R pieces, sorted by their bytes, each once, each ended by \n;
//	                    "##" begins a piece that stands inside a word
//	         16·F       folding runs: first u32, last u32, shift i32, kind u32 (see folding.go)
//	         X          expansions, UTF-8, each ended by \n
//	         4·R        scales, float32
//	         R·D        codes, int8, row after row
//	         4          CRC-32C of all bytes before
const (
	magic      = "FRSHSTAT"
	format     = 1
	headBytes  = 36
	crcBytes   = 4
	runBytes   = 16
	scaleBytes = 4
)

// Limits on what a file may hold: far above any model of this kind, far below what would exhaust memory.
const (
	maxRows       = 1 << 20
	maxDim        = 4096
	maxNameBytes  = 128
	maxPieceBytes = 4 * maxWordRunes
	maxRuns       = 1 << 16
	maxScale      = 1e3
)

// header is the fixed part of a file.
type header struct {
	rows, dim, name, vocabulary, runs, expansions uint32
}

// Parse reads a model from data, which it keeps and which must not be changed afterwards. Data that is cut, altered or
// of another format gives an error.
func Parse(data []byte) (*Model, error) {
	h, err := parseHeader(data)
	if err != nil {
		return nil, fmt.Errorf("static model: %w", err)
	}
	rest := data[headBytes:]
	take := func(n int) []byte {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	m := &Model{dim: int(h.dim)}
	if m.name, err = parseName(take(int(h.name))); err != nil {
		return nil, fmt.Errorf("static model: %w", err)
	}
	pieces, err := parseLines("vocabulary", take(int(h.vocabulary)), int(h.rows))
	if err != nil {
		return nil, fmt.Errorf("static model %s: %w", m.name, err)
	}
	if err = checkSorted(pieces); err != nil {
		return nil, fmt.Errorf("static model %s: vocabulary: %w", m.name, err)
	}
	if m.fold, err = parseFolding(take(int(h.runs)*runBytes), take(int(h.expansions))); err != nil {
		return nil, fmt.Errorf("static model %s: %w", m.name, err)
	}
	if m.scales, err = parseScales(take(int(h.rows) * scaleBytes)); err != nil {
		return nil, fmt.Errorf("static model %s: %w", m.name, err)
	}
	m.codes = take(int(h.rows) * int(h.dim))
	if m.pieces, err = newTrie(pieces); err != nil {
		return nil, fmt.Errorf("static model %s: vocabulary: %w", m.name, err)
	}
	m.pool = &sync.Pool{New: func() any { return new(scratch) }}
	return m, nil
}

// parseHeader checks the magic, the format, the limits, the length and the checksum of a file.
func parseHeader(data []byte) (header, error) {
	if len(data) < headBytes+crcBytes || string(data[:8]) != magic {
		return header{}, fmt.Errorf("%d bytes that don't begin with %q: not a model file", len(data), magic)
	}
	field := func(i int) uint32 { return binary.LittleEndian.Uint32(data[8+4*i:]) }
	if field(0) != format {
		return header{}, fmt.Errorf("format %d, this program reads %d: use a program of the file's time", field(0), format)
	}
	h := header{rows: field(1), dim: field(2), name: field(3), vocabulary: field(4), runs: field(5), expansions: field(6)}
	switch {
	case h.rows < 1 || h.rows > maxRows:
		return header{}, fmt.Errorf("%d rows, want 1 to %d", h.rows, maxRows)
	case h.dim < 1 || h.dim > maxDim:
		return header{}, fmt.Errorf("dimension %d, want 1 to %d", h.dim, maxDim)
	case h.name < 1 || h.name > maxNameBytes:
		return header{}, fmt.Errorf("name of %d bytes, want 1 to %d", h.name, maxNameBytes)
	case h.runs > maxRuns:
		return header{}, fmt.Errorf("%d folding runs, want at most %d", h.runs, maxRuns)
	}
	want := headBytes + crcBytes + uint64(h.name) + uint64(h.vocabulary) + runBytes*uint64(h.runs) +
		uint64(h.expansions) + scaleBytes*uint64(h.rows) + uint64(h.rows)*uint64(h.dim)
	if want != uint64(len(data)) {
		return header{}, fmt.Errorf("%d bytes, its header says %d: the file is cut or altered", len(data), want)
	}
	body, tail := data[:len(data)-crcBytes], data[len(data)-crcBytes:]
	got, stored := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), binary.LittleEndian.Uint32(tail)
	if got != stored {
		return header{}, fmt.Errorf("checksum %08x, stored %08x: the file is altered", got, stored)
	}
	return h, nil
}

func parseName(data []byte) (string, error) {
	for _, c := range data {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("name %q: want printable ASCII without spaces", data)
		}
	}
	return string(data), nil
}

// parseLines splits data into its lines, of which there must be want, none empty or overlong, all UTF-8.
func parseLines(what string, data []byte, want int) ([]string, error) {
	if got := bytes.Count(data, []byte{'\n'}); got != want || (len(data) > 0 && data[len(data)-1] != '\n') {
		return nil, fmt.Errorf("%s has %d lines, want %d, each ended", what, got, want)
	}
	lines := make([]string, 0, want)
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		line := data[:end]
		if end == 0 || end > maxPieceBytes || !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
			return nil, fmt.Errorf("%s line %d is %q: want 1 to %d bytes of UTF-8 without NUL",
				what, len(lines)+1, line, maxPieceBytes)
		}
		lines = append(lines, string(line))
		data = data[end+1:]
	}
	return lines, nil
}

func checkSorted(pieces []string) error {
	for i := 1; i < len(pieces); i++ {
		if pieces[i-1] >= pieces[i] {
			return fmt.Errorf("%q stands behind %q, want sorted pieces, each once", pieces[i], pieces[i-1])
		}
	}
	return nil
}

func parseScales(data []byte) ([]float32, error) {
	scales := make([]float32, len(data)/scaleBytes)
	for i := range scales {
		scales[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[i*scaleBytes:]))
		if !(scales[i] >= 0 && scales[i] <= maxScale) {
			return nil, fmt.Errorf("scale of row %d is %g, want 0 to %g", i, scales[i], float64(maxScale))
		}
	}
	return scales, nil
}
