package mapping_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/process/mapping"
)

var seeds = []string{
	typicalEvent, `{}`, `[]`, `null`, ``, `{"a":1,"a":2}`, `{"n":-0,"m":1E400,"o":18446744073709551616}`,
	`{"s":"\ud83d\ude00\ud800"}`, "{\"s\":\"\xff\"}", `{"items":[{"id":1,"t":"x"},{"id":null}],"v":[1,2.5e-3]}`, `{"a":{"b":{"c":[[[]]]}}} `,
}

// FuzzMap: any bytes give drafts or a *freshet.Error, never a panic, and the same each time.
func FuzzMap(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	m := newMapper(f, typical.Changes[0], mapping.Change{
		ForEach: `event.?items`, Entity: `item.id`, Text: `item.t.replace("x", item.t) + string(item)`, Vector: `event.?v`,
		Metadata: `{"all": event, "keys": event.map(k, k), "n": event.?n}`, Timestamp: `event.?ts`, Order: `event.?order`,
		Op: `event.?op`, EventID: `event.?id`, Namespace: `event.items.map(i, i.id)[0]`,
	})
	f.Fuzz(func(t *testing.T, value []byte) {
		drafts, err := m.Map(record(string(value)))
		code(t, err) // fails unless it is a *freshet.Error
		for _, d := range drafts {
			if err == nil && (codec.IDProblem(d.Key.Entity) != "" || d.Op != freshet.OpUpsert && d.Op != freshet.OpDelete ||
				!utf8.ValidString(d.Text) || d.Metadata != nil && !json.Valid(d.Metadata)) {
				t.Fatalf("%+v", d)
			}
		}
		again, err2 := m.Map(record(string(value)))
		if !reflect.DeepEqual(drafts, again) || !reflect.DeepEqual(err, err2) {
			t.Fatalf("first %+v, %v\nthen  %+v, %v", drafts, err, again, err2)
		}
	})
}

// FuzzJSON compares reading and writing with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	m := newMapper(f, mapping.Change{Entity: `"e"`, Text: `"t"`, Metadata: `event`})
	f.Fuzz(func(t *testing.T, value []byte) {
		drafts, err := m.Map(record(string(value)))
		var want map[string]any
		wantErr := decodeJSON(value, &want)
		if err != nil {
			// Stricter than encoding/json: UTF-8, surrogates, depth, the range of a double.
			if c, e := code(t, err); wantErr == nil && want != nil && c == freshet.CodeInvalidJSON && !stricter(e.Message) {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if wantErr != nil {
			t.Fatalf("accepted what encoding/json refuses with %v", wantErr)
		}
		var got map[string]any
		if err := decodeJSON(drafts[0].Metadata, &got); err != nil {
			t.Fatalf("wrote %s: %v", drafts[0].Metadata, err)
		}
		if !sameJSON(got, want) {
			t.Fatalf("wrote %s of %s", drafts[0].Metadata, value)
		}
	})
}

func stricter(message string) bool {
	for _, s := range []string{"surrogate", "nested deeper", "range of a double"} {
		if bytes.Contains([]byte(message), []byte(s)) {
			return true
		}
	}
	return false
}

func decodeJSON(b []byte, v *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if !json.Valid(b) {
		return &json.SyntaxError{}
	}
	return nil
}

// sameJSON compares values; numbers by the double that they stand for, and integers that fit
// into 64 bits by their digits.
func sameJSON(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k := range a {
			if v, ok := b[k]; !ok || !sameJSON(a[k], v) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameJSON(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		if n, err := b.Int64(); err == nil {
			m, err := a.Int64()
			return err == nil && m == n
		}
		x, _ := a.Float64()
		y, _ := b.Float64()
		return x == y
	}
	return reflect.DeepEqual(a, b)
}
