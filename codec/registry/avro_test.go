package registry_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// encodeAvro is the reference encoder.
func encodeAvro(t testing.TB, schema string, v any) []byte {
	t.Helper()
	s, err := avro.Parse(schema)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	b, err := s.Encode(v)
	if err != nil {
		t.Fatalf("%s of %v: %v", schema, v, err)
	}
	return b
}

// What each type becomes.
func TestAvroValues(t *testing.T) {
	s := newServer(t)
	d := s.open(t, objects)
	at := time.Date(2026, 2, 3, 4, 5, 6, 789_012_345, time.UTC)
	for _, c := range []struct {
		schema string
		value  any
		want   string
	}{
		{`"null"`, nil, `null`},
		{`"boolean"`, true, `true`},
		{`{"type":"int"}`, math.MinInt32, `-2147483648`},
		{`"long"`, int64(math.MaxInt64), `9223372036854775807`},
		{`"float"`, float32(0.1), `0.1`},
		{`"double"`, 1e-7, `1e-7`},
		{`"double"`, math.NaN(), `null`},
		{`"float"`, float32(math.Inf(-1)), `null`},
		{`"string"`, "é\"\n\u0001", `"é\"\n\u0001"`},
		{`"bytes"`, []byte{0, 0xff, 0x80}, `"AP+A"`},
		{`{"type":"fixed","name":"f","size":2}`, []byte{0xff, 0}, `"/wA="`},
		{`{"type":"enum","name":"e","symbols":["A","B"]}`, "B", `"B"`},
		{`{"type":"array","items":["null","long"]}`, []any{int64(1), nil}, `[1,null]`},
		{`{"type":"map","values":"float"}`, map[string]any{"a\"": float32(1.5)}, `{"a\"":1.5}`},
		{`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, big.NewRat(-5, 100), `-0.05`},
		{`{"type":"bytes","logicalType":"decimal","precision":40}`, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(39), nil)), `1` + strings.Repeat("0", 39)},
		{`{"type":"fixed","name":"d","size":8,"logicalType":"decimal","precision":9,"scale":3}`, big.NewRat(123456, 1000), `123.456`},
		{`{"type":"string","logicalType":"uuid"}`, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", `"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"`},
		{`{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}`, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", `"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"`},
		{`{"type":"fixed","name":"u","size":12,"logicalType":"duration"}`, avro.Duration{Months: 14, Days: 3, Milliseconds: 4500}, `"P14M3DT4.5S"`},
		{`{"type":"int","logicalType":"date"}`, at, `"2026-02-03T00:00:00Z"`},
		{`{"type":"int","logicalType":"date"}`, -1, `"1969-12-31T00:00:00Z"`},
		{`{"type":"int","logicalType":"date"}`, math.MaxInt32, `2147483647`},
		{`{"type":"int","logicalType":"time-millis"}`, at, `"04:05:06.789"`},
		{`{"type":"long","logicalType":"time-micros"}`, at, `"04:05:06.789012"`},
		{`{"type":"long","logicalType":"timestamp-millis"}`, at, `"2026-02-03T04:05:06.789Z"`},
		{`{"type":"long","logicalType":"timestamp-micros"}`, at, `"2026-02-03T04:05:06.789012Z"`},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, at, `"2026-02-03T04:05:06.789012345Z"`},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, at, `"2026-02-03T04:05:06.789Z"`},
		{`{"type":"long","logicalType":"local-timestamp-micros"}`, -1, `"1969-12-31T23:59:59.999999Z"`},
		{`{"type":"long","logicalType":"timestamp-millis"}`, int64(math.MaxInt64), `9223372036854775807`},
		// Logical types that don't fit are ignored.
		{`{"type":"long","logicalType":"date"}`, int64(5), `5`},
		{`{"type":"string","logicalType":"decimal"}`, "x", `"x"`},
		{`{"type":"long","logicalType":"unknown"}`, int64(5), `5`},
		// Names, and types that contain themselves.
		{`{"type":"record","name":"a.b.Node","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","Node"]},{"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}},{"name":"f","type":"a.b.E"}]}`,
			map[string]any{"v": 1, "e": "X", "f": "X", "next": map[string]any{"v": 2, "e": "X", "f": "X", "next": nil}}, `{"v":1,"next":{"v":2,"next":null,"e":"X","f":"X"},"e":"X","f":"X"}`},
		{`{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"fixed","name":"other.F","size":1}},{"name":"b","type":["null","other.F"]},{"name":"c","type":{"type":"record","name":"S","fields":[]}},{"name":"d","type":"n.S"}]}`,
			map[string]any{"a": []byte{1}, "b": []byte{2}, "c": map[string]any{}, "d": map[string]any{}}, `{"a":"AQ==","b":"Ag==","c":{},"d":{}}`},
		{`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":{"type":"array","items":"int"}}}]}`, map[string]any{"a": []any{1, 2}}, `{"a":[1,2]}`},
	} {
		id := s.add(sr.TypeAvro, c.schema)
		encoded := c.schema
		if strings.Contains(encoded, `{"type":{"type"`) { // the encoder does not know this form
			encoded = strings.Replace(encoded, `{"type":{"type":"array","items":"int"}}`, `{"type":"array","items":"int"}`, 1)
		}
		got, err := d.Decode(framed(id, encodeAvro(t, encoded, c.value)...))
		if err != nil || string(got) != c.want {
			t.Errorf("%s of %v: %s, %v; want %s", c.schema, c.value, got, err, c.want)
		}
	}
}

// generator makes a schema, a value for the reference encoder, and its JSON.
type generator struct {
	*rand.Rand
	names int
}

func (g *generator) any(depth int) (schema string, value any, want string) {
	kinds := 14
	if depth > 3 {
		kinds = 10
	}
	switch g.IntN(kinds) {
	case 0:
		v := g.IntN(2) == 0
		return `"boolean"`, v, fmt.Sprint(v)
	case 1:
		v := int32(g.Uint32())
		return `"int"`, v, fmt.Sprint(v)
	case 2:
		v := int64(g.Uint64()) >> g.IntN(64)
		return `{"type":"long","x":[1]}`, v, fmt.Sprint(v)
	case 3:
		v := float32(g.NormFloat64())
		return `"float"`, v, string(codec.AppendFloat(nil, float64(v), 32))
	case 4:
		v := g.NormFloat64() * math.Pow(10, float64(g.IntN(600)-300))
		return `"double"`, v, string(codec.AppendFloat(nil, v, 64))
	case 5:
		v := g.text()
		return `{"type":"string","avro.java.string":"String"}`, v, string(codec.AppendString(nil, v))
	case 6:
		v := []byte(g.text())
		return `"bytes"`, v, `"` + base64.StdEncoding.EncodeToString(v) + `"`
	case 7:
		scale := g.IntN(10)
		n := int64(g.Uint64()) >> (1 + g.IntN(62))
		r := new(big.Rat).SetFrac(big.NewInt(n), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
		return fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":20,"scale":%d}`, scale), r, r.FloatString(scale)
	case 8:
		at := time.UnixMicro(g.Int64N(4e15) - 1e15).UTC()
		return `{"type":"long","logicalType":"timestamp-micros"}`, at, `"` + at.Format(time.RFC3339Nano) + `"`
	case 9:
		n := 1 + g.IntN(4)
		var symbols []string
		for i := range n {
			symbols = append(symbols, fmt.Sprintf("%q", fmt.Sprintf("S%d", i)))
		}
		pick := g.IntN(n)
		return fmt.Sprintf(`{"type":"enum","name":%q,"symbols":[%s]}`, g.name(), strings.Join(symbols, ",")), fmt.Sprintf("S%d", pick), symbols[pick]
	case 10:
		of, v, want := g.any(depth + 1)
		list := make([]any, g.IntN(4))
		text := make([]string, len(list))
		for i := range list {
			list[i], text[i] = v, want
		}
		return `{"type":"array","items":` + of + `}`, list, "[" + strings.Join(text, ",") + "]"
	case 11:
		of, v, want := g.any(depth + 1)
		key := g.text()
		return `{"type":"map","values":` + of + `}`, map[string]any{key: v}, "{" + string(codec.AppendString(nil, key)) + ":" + want + "}"
	case 12:
		of, v, want := g.any(depth + 1)
		if strings.HasPrefix(of, "[") {
			return of, v, want
		}
		if g.IntN(2) == 0 {
			return `["null",` + of + `]`, nil, "null"
		}
		return `["null",` + of + `]`, v, want
	}
	value = map[string]any{}
	var fields, text []string
	for i := range g.IntN(6) {
		of, v, want := g.any(depth + 1)
		name := fmt.Sprintf("f%d", i)
		value.(map[string]any)[name] = v
		fields = append(fields, fmt.Sprintf(`{"name":%q,"type":%s}`, name, of))
		text = append(text, fmt.Sprintf("%q:%s", name, want))
	}
	return fmt.Sprintf(`{"type":"record","name":%q,"namespace":"a.b","fields":[%s]}`, g.name(), strings.Join(fields, ",")), value, "{" + strings.Join(text, ",") + "}"
}

func (g *generator) name() string {
	g.names++
	return fmt.Sprintf("N%d", g.names)
}

func (g *generator) text() string {
	letters := []rune("aZ09 /\\\"\x00\n%é漢😀~")
	out := make([]rune, g.IntN(12))
	for i := range out {
		out[i] = letters[g.IntN(len(letters))]
	}
	return string(out)
}

// Whatever the reference encoder writes is read as what it was given, byte for byte; and no beginning of it is.
func TestAvroOfReferenceEncoder(t *testing.T) {
	s := newServer(t)
	d := s.open(t, objects)
	g := &generator{Rand: rand.New(rand.NewPCG(7, 1))}
	for range 400 {
		schema, value, want := g.any(0)
		data := encodeAvro(t, schema, value)
		id := s.add(sr.TypeAvro, schema)
		got, err := d.Decode(framed(id, data...))
		if err != nil || string(got) != want {
			t.Fatalf("%s of %v: %s, %v; want %s", schema, value, got, err, want)
		}
		if len(data) > 0 {
			if got, err := d.Decode(framed(id, data[:len(data)-1]...)); err == nil {
				t.Fatalf("%s of %v: cut short it is %s", schema, value, got)
			}
		}
		_, err = d.Decode(framed(id, append(data, 0)...))
		mustFail(t, "a byte too many", err, freshet.CodeInvalidRecord, "")
	}
}

// What can't be a value is refused, and the message names the place.
func TestAvroRefused(t *testing.T) {
	s := newServer(t)
	d := s.open(t, objects)
	record := s.add(sr.TypeAvro, `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"map","values":["null","string","int","boolean",{"type":"enum","name":"E","symbols":["X"]}]}}}]}`)
	nulls := s.add(sr.TypeAvro, `{"type":"array","items":"null"}`)
	loop := s.add(sr.TypeAvro, `{"type":"record","name":"L","fields":[{"name":"l","type":"L"}]}`)
	long := s.add(sr.TypeAvro, `"long"`)
	decimal := s.add(sr.TypeAvro, `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`)
	for name, c := range map[string]struct {
		raw   []byte
		code  freshet.Code
		field string
	}{
		"no text":                       {framed(record, 2, 2, 2, 'k', 2, 2, 0xff), freshet.CodeInvalidUTF8, "a.0.k"},
		"no key":                        {framed(record, 2, 2, 2, 0xff, 0), freshet.CodeInvalidUTF8, "a.0"},
		"no branch":                     {framed(record, 2, 2, 2, 'k', 10), freshet.CodeInvalidRecord, "a.0.k"},
		"a negative branch":             {framed(record, 2, 2, 2, 'k', 1), freshet.CodeInvalidRecord, "a.0.k"},
		"no boolean":                    {framed(record, 2, 2, 2, 'k', 6, 2), freshet.CodeInvalidRecord, "a.0.k"},
		"no symbol":                     {framed(record, 2, 2, 2, 'k', 8, 2), freshet.CodeInvalidRecord, "a.0.k"},
		"a long as an int":              {framed(record, 2, 2, 2, 'k', 4, 0xff, 0xff, 0xff, 0xff, 0x7f), freshet.CodeInvalidRecord, "a.0.k"},
		"a negative length":             {framed(record, 2, 2, 1), freshet.CodeInvalidRecord, "a.0"},
		"a length beyond the end":       {framed(record, 2, 2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), freshet.CodeInvalidRecord, "a.0"},
		"a number of eleven bytes":      {framed(long, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), freshet.CodeInvalidRecord, ""},
		"billions of nulls":             {framed(nulls, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), freshet.CodeTooLarge, "6710887"},
		"a block of the least count":    {framed(nulls, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0), freshet.CodeInvalidRecord, ""},
		"a block of a negative size":    {framed(nulls, 1, 1), freshet.CodeInvalidRecord, ""},
		"a record that never ends":      {framed(loop), freshet.CodeInvalidRecord, strings.TrimSuffix(strings.Repeat("l.", 129), ".")},
		"a decimal of no bytes":         {framed(decimal, 0), freshet.CodeInvalidRecord, ""},
		"nothing":                       {framed(long), freshet.CodeInvalidRecord, ""},
		"no id":                         {[]byte{0, 0, 0}, freshet.CodeInvalidRecord, ""},
		"a frame that is cut":           {[]byte{1, 1, 9}, freshet.CodeInvalidRecord, ""},
		"an id that is not there":       {framed(4711), freshet.CodeUnknownSchema, ""},
		"an id that is negative":        {framed(-1), freshet.CodeUnknownSchema, ""},
		"a schema of Avro that is none": {framed(s.add(sr.TypeAvro, `{"type":"record"}`)), freshet.CodeUnknownSchema, ""},
		"a type that is not defined":    {framed(s.add(sr.TypeAvro, `["null","Other"]`)), freshet.CodeUnknownSchema, ""},
		"a type that is defined twice":  {framed(s.add(sr.TypeAvro, `[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":2}]`)), freshet.CodeUnknownSchema, ""},
		"a fixed that is too long":      {framed(s.add(sr.TypeAvro, `{"type":"fixed","name":"F","size":1e18}`)), freshet.CodeUnknownSchema, ""},
		"a schema nested too deep":      {framed(s.add(sr.TypeAvro, strings.Repeat(`{"type":"array","items":`, 300)+`"int"`+strings.Repeat("}", 300))), freshet.CodeUnknownSchema, ""},
	} {
		for range 2 { // and so it stays
			_, err := d.Decode(c.raw)
			mustFail(t, name, err, c.code, c.field)
		}
	}
	// Blocks with their sizes, as writers of large arrays send them.
	got, err := d.Decode(framed(s.add(sr.TypeAvro, `{"type":"array","items":"int"}`), 3, 4, 2, 4, 2, 6, 0))
	if err != nil || string(got) != "[1,2,3]" {
		t.Errorf("blocks: %s, %v", got, err)
	}
}

// FuzzAvro: any bytes are a value that is valid JSON, or refused with a code.
func FuzzAvro(f *testing.F) {
	s := newServer(f)
	d, typed, event := s.open(f, objects), s.open(f, rows), s.open(f, events)
	g := &generator{Rand: rand.New(rand.NewPCG(7, 2))}
	var ids []int
	for len(ids) < 30 {
		schema, value, _ := g.any(0)
		ids = append(ids, s.add(sr.TypeAvro, schema))
		f.Add(byte(len(ids)-1), encodeAvro(f, schema, value))
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		raw := framed(ids[int(which)%len(ids)], data...)
		got, err := d.Decode(raw)
		if err == nil {
			err = codec.Check(got)
		} else if strings.Contains(err.Error(), "panicked") {
			t.Fatal(err)
		} else {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if got, err = typed.Decode(raw); err != nil || codec.Check(got) != nil {
			t.Fatalf("typed: %s, %v", got, err)
		}
		if got, err = typed.Decode(codec.AppendFrame(nil, raw, raw)); err != nil || codec.Check(got) != nil {
			t.Fatalf("as key and value: %s, %v", got, err)
		}
		if got, err = event.Decode(codec.AppendFrame(nil, raw, raw)); err == nil && codec.Check(got) != nil {
			t.Fatalf("as an event: %s", got)
		}
	})
}
