package parquet_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/parquet"
)

func rows(t *testing.T, r *parquet.Reader) (all []string) {
	t.Helper()
	for {
		row, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := codec.Check(row); err != nil {
			t.Fatalf("%s is no JSON: %v", row, err)
		}
		all = append(all, string(row))
	}
}

func open(t *testing.T, content []byte) *parquet.Reader {
	t.Helper()
	r, err := parquet.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// The files were written by Arrow's own library (pyarrow 26): all types, nested and absent ones, and the forms of old writers.
func TestFilesOfOthers(t *testing.T) {
	for name, want := range map[string][]string{
		"types.parquet": {
			`{"i":1,"u":18446744073709551615,"u32":4294967295,"b":true,"f":0.1,"d":1e+300,"s":"é\"\n","raw":"/wA=","dec":-0.05,"big":12345678901234567890.123,` +
				`"day":"1969-12-31","ms":"2026-01-02T03:04:05.678Z","us":"1960-01-02T03:04:05.000006Z","clock":"01:02:03.5",` +
				`"strs":["a",null,""],"nested":[[1,2],[],null,[3]],"rec":{"x":1,"y":{"z":["q"]}},"recs":[{"a":1,"b":null},{"a":null,"b":[true,false]}],` +
				`"m":{"k":1,"l":null},"im":{"7":[1]},"fixed":"YWI=","dictv":"red","vec":[0.25,-1e-9]}`,
			`{"i":null,"u":null,"u32":null,"b":null,"f":null,"d":null,"s":null,"raw":null,"dec":null,"big":null,"day":null,"ms":null,"us":null,"clock":null,` +
				`"strs":null,"nested":null,"rec":null,"recs":null,"m":null,"im":null,"fixed":null,"dictv":null,"vec":null}`,
			`{"i":-9223372036854775808,"u":null,"u32":null,"b":false,"f":null,"d":null,"s":null,"raw":null,"dec":null,"big":null,"day":null,"ms":null,"us":null,"clock":null,` +
				`"strs":[],"nested":[],"rec":{"x":null,"y":null},"recs":[],"m":{},"im":{},"fixed":null,"dictv":"blue","vec":[1,2]}`,
		},
		"old.parquet": {`{"at":"2026-01-02T03:04:05.000006Z","l":[1,2]}`, `{"at":null,"l":[]}`, `{"at":"1969-12-31T23:59:59Z","l":null}`},
	} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, content)
		if got := rows(t, r); !slices.Equal(got, want) || r.Rows() != int64(len(want)) {
			t.Errorf("%s: %d rows:\n%s\nwant\n%s", name, r.Rows(), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for n := range want {
			if err := r.SeekToRow(int64(n)); err != nil {
				t.Fatal(err)
			}
			if got := rows(t, r); !slices.Equal(got, want[n:]) {
				t.Errorf("%s from row %d: %d rows", name, n, len(got))
			}
		}
		if err := r.SeekToRow(int64(len(want)) + 1); err != io.EOF {
			t.Errorf("a row that is not there: %v", err)
		}
	}
}

type point struct {
	Slot   string    `parquet:"slot"`
	Vector []float32 `parquet:"vector,list"`
}

type entity struct {
	ID     string  `parquet:"id"`
	At     *int64  `parquet:"at,optional"`
	Points []point `parquet:"points,list"`
}

// What is written is read again, over several groups, with the file's own metadata.
func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := parquet.NewWriter[entity](&b, 3)
	at := int64(7)
	var want []string
	for i := range 10 {
		e := entity{ID: string(rune('a' + i))}
		line := `{"id":"` + e.ID + `","at":null,"points":[]}`
		if i%2 == 1 {
			e.At, e.Points = &at, []point{{"0", []float32{0.1, 3}}, {"1", nil}}
			line = `{"id":"` + e.ID + `","at":7,"points":[{"slot":"0","vector":[0.1,3]},{"slot":"1","vector":[]}]}`
		}
		want = append(want, line)
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	w.SetMetadata("made.by", "this test")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, b.Bytes())
	if got := rows(t, r); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v, ok := r.Metadata("made.by"); !ok || v != "this test" {
		t.Errorf("metadata is %q", v)
	}
	if got := strings.Join(r.Columns(), " "); got != "id at points" {
		t.Errorf("columns are %s", got)
	}
}

// Files that were damaged give an error or other rows, never a panic, and rows are JSON. It is no fuzz test: bytes that say LZ4 make the
// library look for memory that no machine has.
func TestDamagedFiles(t *testing.T) {
	for _, name := range []string{"types.parquet", "old.parquet"} {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		read := func(content []byte) {
			r, err := parquet.NewReader(bytes.NewReader(content), int64(len(content)))
			if err != nil {
				return
			}
			defer func() { _ = r.Close() }()
			for range 100 {
				row, err := r.Next()
				if err != nil {
					return
				}
				if err := codec.Check(row); err != nil {
					t.Fatalf("%q is no JSON: %v", row, err)
				}
			}
		}
		for at := 0; at < len(whole); at += 7 {
			read(whole[:at])
			content := slices.Clone(whole)
			content[at] ^= 1
			read(content)
		}
	}
}
