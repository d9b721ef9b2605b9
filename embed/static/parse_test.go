package static_test

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/embed/static"
)

// small describes a model file for tests.
type small struct {
	magic      string
	format     uint32
	name       string
	rows, dim  uint32
	vocabulary string
	runs       [][4]uint32
	expansions string
	scales     []uint32 // float32 bits
	codes      string
}

// valid returns a model of three pieces in two dimensions, whose table folds A to a and drops U+0301.
func valid() small {
	return small{
		magic: "FRSHSTAT", format: 1, name: "tiny-v1", rows: 3, dim: 2, vocabulary: "##b\na\nab\n",
		runs:   [][4]uint32{{' ', ' ', 0, 2}, {'A', 'Z', 32, 0}, {0x301, 0x301, 0, 3}, {0x9CB, 0x9CB, 0, 4}},
		scales: []uint32{0x3F800000, 0x3F800000, 0x40000000}, expansions: "ab\n", codes: "\x00\x01\x01\x00\xFF\x01",
	}
}

// file returns the bytes that format.go draws, with a right checksum.
func (s small) file() []byte {
	data := []byte(s.magic)
	for _, n := range []uint32{s.format, s.rows, s.dim} {
		data = binary.LittleEndian.AppendUint32(data, n)
	}
	for _, n := range []int{len(s.name), len(s.vocabulary), len(s.runs), len(s.expansions)} {
		data = binary.LittleEndian.AppendUint32(data, uint32(n))
	}
	data = append(data, s.name+s.vocabulary...)
	for _, run := range s.runs {
		for _, n := range run {
			data = binary.LittleEndian.AppendUint32(data, n)
		}
	}
	data = append(data, s.expansions...)
	for _, bits := range s.scales {
		data = binary.LittleEndian.AppendUint32(data, bits)
	}
	return seal(append(data, s.codes...))
}

// seal appends the checksum.
func seal(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

func TestParse(t *testing.T) {
	model, err := static.Parse(valid().file())
	if err != nil {
		t.Fatal(err)
	}
	if model.Name() != "tiny-v1" || model.Dim() != 2 || model.Rows() != 3 {
		t.Errorf("got %q with %d dimensions and %d rows", model.Name(), model.Dim(), model.Rows())
	}
	for text, want := range map[string][]int32{
		"A": {1}, "ab": {2}, "abb a\u0301bB": {2, 0, 2, 0}, "c ac": {static.Unknown, static.Unknown}, "\u09cb": {2}, "": nil,
	} {
		if got := model.Tokenize(nil, text); !slices.Equal(got, want) {
			t.Errorf("Tokenize(%q) = %v, want %v", text, got, want)
		}
	}
	if got := model.Embed(nil, "a"); !slices.Equal(got, []float32{1, 0}) {
		t.Errorf("Embed(a) = %v, want (1, 0)", got)
	}
	// (1, 0) + 2·(-1, 1) + (0, 1) = (-1, 3).
	if got := model.Embed(nil, "a abb"); got[0] > -0.31 || got[0] < -0.32 || got[1] < 0.94 || got[1] > 0.95 {
		t.Errorf("Embed(a abb) = %v, want (-1, 3) / √10", got)
	}
}

// TestParseCancelled embeds a text whose pieces sum to zero: it must have a direction all the same.
func TestParseCancelled(t *testing.T) {
	s := valid()
	s.codes = "\x00\x00\x01\x00\xFF\x00"
	s.scales[2] = s.scales[1]
	model, err := static.Parse(s.file())
	if err != nil {
		t.Fatal(err)
	}
	checkUnit(t, model.Embed(nil, "a ab"))
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*small)
		want   string
	}{
		{"magic", func(s *small) { s.magic = "FRSHSTAX" }, "not a model file"},
		{"format", func(s *small) { s.format = 2 }, "format 2"},
		{"no rows", func(s *small) { s.rows, s.vocabulary, s.scales, s.codes = 0, "", nil, "" }, "0 rows"},
		{"too many rows", func(s *small) { s.rows = 1 << 21 }, "rows"},
		{"no dimension", func(s *small) { s.dim, s.codes = 0, "" }, "dimension 0"},
		{"length", func(s *small) { s.codes += "x" }, "cut or altered"},
		{"no name", func(s *small) { s.name = "" }, "name of 0 bytes"},
		{"name", func(s *small) { s.name = "a b" }, "name"},
		{"few pieces", func(s *small) { s.vocabulary = "##b\nabbb\n" }, "2 lines, want 3"},
		{"unended piece", func(s *small) { s.vocabulary = "##b\na\na\nb" }, "each ended"},
		{"empty piece", func(s *small) { s.vocabulary = "\na\nab\n" }, "vocabulary line 1"},
		{"piece not UTF-8", func(s *small) { s.vocabulary = "##b\na\na\xff\n" }, "vocabulary line 3"},
		{"unsorted pieces", func(s *small) { s.vocabulary = "##b\nab\na\n" }, "sorted"},
		{"same piece twice", func(s *small) { s.vocabulary = "##b\na\na\n" }, "sorted"},
		{"scale NaN", func(s *small) { s.scales[1] = 0x7FC00000 }, "scale of row 1"},
		{"negative scale", func(s *small) { s.scales[2] = 0xBF800000 }, "scale of row 2"},
		{"unsorted runs", func(s *small) { s.runs[1][0] = ' ' }, "folding run 1"},
		{"run backwards", func(s *small) { s.runs[1][1] = 'A' - 1 }, "folding run 1"},
		{"run beyond Unicode", func(s *small) { s.runs[3][1] = 0x110000 }, "folding run 3"},
		{"unknown kind", func(s *small) { s.runs[0][3] = 32 }, "folding run 0"},
		{"folds below 1", func(s *small) { s.runs[1][2] = 0xFFFFFF00 }, "folding run 1"},
		{"folds beyond Unicode", func(s *small) { s.runs[1][2] = 0x7FFFFFFF }, "folding run 1"},
		{"folds to a surrogate", func(s *small) { s.runs[1][2] = 0xD800 }, "folding run 1"},
		{"no such expansion", func(s *small) { s.runs[3][2] = 1 }, "folding run 3"},
		{"hangul elsewhere", func(s *small) { s.runs[1][3] = 8 }, "folding run 1"},
		{"empty expansion", func(s *small) { s.expansions = "\n" }, "expansions line 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := valid()
			test.change(&s)
			_, err := static.Parse(s.file())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestParseAltered flips and cuts the bytes of a good file.
func TestParseAltered(t *testing.T) {
	good := valid().file()
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := static.Parse(bad); err == nil {
			t.Errorf("byte %d altered: no error", i)
		}
		if _, err := static.Parse(good[:i]); err == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
	}
	if _, err := static.Parse(nil); err == nil {
		t.Error("no bytes: no error")
	}
}

// FuzzParse puts a right checksum behind any bytes, so that they get past it: Parse must not panic, and a model that it
// accepts must work.
func FuzzParse(f *testing.F) {
	good := valid().file()
	f.Add(good[:len(good)-4], "abb \u0301c")
	f.Add([]byte("FRSHSTAT"), "")
	f.Add([]byte{}, "x")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		model, err := static.Parse(seal(slices.Clone(data)))
		if err != nil {
			return
		}
		for _, id := range model.Tokenize(nil, text) {
			if id < static.Unknown || int(id) >= model.Rows() {
				t.Fatalf("id %d of %d", id, model.Rows())
			}
		}
		vector := model.Embed(nil, text)
		if len(vector) != model.Dim() {
			t.Fatalf("%d floats, want %d", len(vector), model.Dim())
		}
		checkUnit(t, vector)
	})
}

func TestModelFileSize(t *testing.T) {
	const most = 8_000_000
	info, err := os.Stat("model.bin")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("model.bin has %d bytes, want %d at most", info.Size(), most)
	}
}
