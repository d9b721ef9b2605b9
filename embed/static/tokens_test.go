package static_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/freshet-io/freshet/embed/static"
)

// tokenGolden is testdata/tokens.json: what Hugging Face's tokenizers gives (train/golden.py).
type tokenGolden struct {
	Shared      map[string]digest
	EveryRune   digest `json:"every_rune"`
	RandomRunes digest `json:"random_runes"`
	Hard        []struct {
		Text string
		IDs  []int32
	}
}

// digest sums up the tokens of many texts: for each, the number of ids and the ids, little-endian.
type digest struct {
	Fields []any
	Texts  int
	SHA256 string
}

func readTokenGolden(t *testing.T) tokenGolden {
	t.Helper()
	var golden tokenGolden
	data, err := os.ReadFile("testdata/tokens.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return golden
}

// checkDigest compares the tokens of the texts that each yields with want.
func checkDigest(t *testing.T, want digest, each func(yield func(string))) {
	t.Helper()
	model := load(t)
	sum := sha256.New()
	texts := 0
	var ids []int32
	var encoded []byte
	each(func(text string) {
		texts++
		ids = model.Tokenize(ids[:0], text)
		encoded = binary.LittleEndian.AppendUint32(encoded[:0], uint32(len(ids)))
		for _, id := range ids {
			encoded = binary.LittleEndian.AppendUint32(encoded, uint32(id))
		}
		sum.Write(encoded)
	})
	if texts != want.Texts {
		t.Fatalf("read %d texts, the golden file has %d", texts, want.Texts)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.SHA256 {
		t.Errorf("tokens of %d texts have SHA-256 %s, Hugging Face's have %s", texts, got, want.SHA256)
	}
}

func TestTokenizeHardTexts(t *testing.T) {
	model := load(t)
	golden := readTokenGolden(t)
	if len(golden.Hard) == 0 {
		t.Fatal("the golden file has no hard texts")
	}
	for _, test := range golden.Hard {
		if got := model.Tokenize(nil, test.Text); !slices.Equal(got, test.IDs) {
			t.Errorf("Tokenize(%+q) = %v, want %v", test.Text, got, test.IDs)
		}
	}
}

func TestTokenizeEveryRune(t *testing.T) {
	skipUnderRace(t)
	checkDigest(t, readTokenGolden(t).EveryRune, func(yield func(string)) {
		for r := rune(0); r <= utf8.MaxRune; r++ {
			if utf8.ValidRune(r) {
				yield(fmt.Sprintf("a%cb %c%c %c", r, r, r, r))
			}
		}
	})
}

// TestTokenizeRandomRunes mirrors random_runes in train/golden.py.
func TestTokenizeRandomRunes(t *testing.T) {
	skipUnderRace(t)
	ranges := [][2]uint64{{0, 0x80}, {0x80, 0x580}, {0x300, 0x70}, {0x590, 0x1A70}, {0x2000, 0x1000}, {0, utf8.MaxRune + 1}}
	golden := readTokenGolden(t).RandomRunes
	checkDigest(t, golden, func(yield func(string)) {
		state := uint64(1)
		draw := func(below uint64) uint64 {
			state = state*6364136223846793005 + 1442695040888963407
			return (state >> 33) % below
		}
		for range golden.Texts {
			var text []byte
			for range 1 + draw(16) {
				chosen := ranges[draw(6)]
				if r := rune(chosen[0] + draw(chosen[1])); utf8.ValidRune(r) {
					text = utf8.AppendRune(text, r)
				}
			}
			yield(string(text))
		}
	})
}

func TestTokenizeSharedData(t *testing.T) {
	skipUnderRace(t)
	data := sharedData(t)
	for name, want := range readTokenGolden(t).Shared {
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join(data, name))
			if err != nil {
				t.Fatal(err)
			}
			checkDigest(t, want, func(yield func(string)) {
				switch filepath.Ext(name) {
				case ".jsonl":
					eachJSON(t, file, want.Fields, yield)
				case ".csv":
					eachCSV(t, file, want.Fields, yield)
				default:
					for line := range strings.SplitSeq(string(file), "\n") {
						yield(line)
					}
				}
			})
		})
	}
}

func eachJSON(t *testing.T, file []byte, fields []any, yield func(string)) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row map[string]any
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		for _, field := range fields {
			text, _ := row[field.(string)].(string)
			yield(text)
		}
	}
}

// eachCSV takes fields by their number, or by their name when the file begins with names.
func eachCSV(t testing.TB, file []byte, fields []any, yield func(string)) {
	t.Helper()
	reader := csv.NewReader(bytes.NewReader(file))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	columns := make([]int, len(fields))
	for i, field := range fields {
		switch field := field.(type) {
		case float64:
			columns[i] = int(field)
		case string:
			columns[i] = slices.Index(rows[0], field)
		}
	}
	if _, named := fields[0].(string); named {
		rows = rows[1:]
	}
	for _, row := range rows {
		for _, column := range columns {
			yield(row[column])
		}
	}
}

func FuzzTokenize(f *testing.F) {
	model, err := static.Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "a b", "\xff\xfe", "e\xcc\x81\xed\xa0\x80", "각\xf4\x90\x80\x80", "don't\x00stop", "😀"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := model.Tokenize(nil, text)
		for _, id := range ids {
			if id < static.Unknown || int(id) >= model.Rows() {
				t.Fatalf("Tokenize(%+q) gave id %d, want -1 to %d", text, id, model.Rows()-1)
			}
		}
		// Skipped bytes neither separate words nor say anything.
		if got := model.Tokenize(nil, strings.ToValidUTF8(text, "")); !slices.Equal(got, ids) {
			t.Fatalf("Tokenize(%+q) = %v, without its invalid bytes %v", text, ids, got)
		}
		// Two texts with a space between are two texts.
		if got := model.Tokenize(nil, text+" \n"+text); !slices.Equal(got, append(slices.Clone(ids), ids...)) {
			t.Fatalf("Tokenize(%+q twice) = %v, want %v twice", text, got, ids)
		}
		checkUnit(t, model.Embed(nil, text))
	})
}
