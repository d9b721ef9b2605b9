package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

func TestParseEvent(t *testing.T) {
	raw := `{"event_id":"e-1","entity_id":"a\/b\u00e9","timestamp":1700000000123,"order":7,"op":"upsert",` +
		`"collection":"c","namespace":"n","vector":[1,-2.5e-1],"payload":{"text":"hi","n":1}}`
	ev, err := codec.ParseEvent([]byte(raw), codec.Full)
	if err != nil {
		t.Fatal(err)
	}
	want := freshet.Event{ID: "e-1", Key: freshet.Key{Collection: "c", Namespace: "n", Entity: "a/bé"},
		Timestamp: 1700000000123, Order: 7, Op: freshet.OpUpsert}
	if ev.ID != want.ID || ev.Key != want.Key || ev.Timestamp != want.Timestamp || ev.Order != want.Order || ev.Op != want.Op {
		t.Errorf("got %+v", ev)
	}
	if len(ev.Vector) != 2 || ev.Vector[1] != -0.25 || string(ev.Payload) != `{"text":"hi","n":1}` {
		t.Errorf("vector %v payload %s", ev.Vector, ev.Payload)
	}
}

func TestParseEventRefuses(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, c := range []struct{ raw, code, field string }{
		{`{"entity_id":"a"`, "invalid_json", ""},
		{`{"entity_id":"a"} x`, "invalid_json", ""},
		{`[1]`, "invalid_json", ""},
		{`{"payload":{}}`, "missing_field", "entity_id"},
		{`{"entity_id":7}`, "invalid_field", "entity_id"},
		{`{"entity_id":""}`, "invalid_field", "entity_id"},
		{`{"entity_id":"` + long + `"}`, "invalid_field", "entity_id"},
		{`{"entity_id":"a\u0007"}`, "invalid_field", "entity_id"},
		{`{"entity_id":"a\u0085"}`, "invalid_field", "entity_id"},
		{`{"entity_id":"a","event_id":"\u0000"}`, "invalid_field", "event_id"},
		{`{"entity_id":"a","colour":1}`, "unknown_field", "colour"},
		{`{"entity_id":"a","entity_id":"b"}`, "invalid_field", "entity_id"},
		{`{"entity_id":"a","timestamp":1.5}`, "invalid_field", "timestamp"},
		{`{"entity_id":"a","order":0}`, "invalid_field", "order"},
		{`{"entity_id":"a","order":1,"op":"patch"}`, "order_mismatch", "order"},
		{`{"entity_id":"a","op":"erase"}`, "invalid_field", "op"},
		{`{"entity_id":"a","vector":"x"}`, "invalid_field", "vector"},
		{`{"entity_id":"a","vector":[1,"x"]}`, "bad_vector", "vector"},
		{`{"entity_id":"a","vector":[1e99]}`, "bad_vector", "vector"},
		{"{\"entity_id\":\"a\xff\"}", "invalid_utf8", ""},
		{`{"entity_id":"a","payload":{"text":"\ud800"}}`, "invalid_utf8", ""},
		{`{"entity_id":7,"payload":{"a":}}`, "invalid_json", ""}, // the syntax matters more
	} {
		_, err := codec.ParseEvent([]byte(c.raw), codec.Full)
		var e *freshet.Error
		if !errors.As(err, &e) || string(e.Code) != c.code || e.Field != c.field {
			t.Errorf("%.60s: got %#v, want %s on %q", c.raw, err, c.code, c.field)
		}
	}
}

func TestNullCountsAsAbsent(t *testing.T) {
	ev, err := codec.ParseEvent([]byte(`{"event_id":null,"entity_id":"a","timestamp":null,"order":null,"vector":null,"op":null,"namespace":null}`), codec.Full)
	if err != nil || ev.ID != "" || ev.Vector != nil || ev.Key.Namespace != freshet.DefaultNamespace {
		t.Errorf("%+v %v", ev, err)
	}
}

// FuzzCheck holds the scanner against encoding/json, which accepts invalid UTF-8 and lone
// surrogates and nests deeper, and is the same otherwise.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{}`, `[1,2.5e+3,-0,"a\n\u00e9\ud83d\ude00"]`, `{"a":{"b":[true,false,null]}}`, "\"\xff\"", `"\ud800"`,
		`01`, `1.`, `-`, `[1,]`, `{"a"}`, `{"a":1,}`, `nul`, "\"\x01\"", `"\x"`, ``, ` `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := codec.Check(b)
		if err == nil && !(json.Valid(b) && utf8.Valid(b)) {
			t.Fatalf("accepted %q", b)
		}
		var e *freshet.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%q: error without a code: %v", b, err)
		}
		if err != nil && json.Valid(b) && e.Code == freshet.CodeInvalidJSON && !strings.Contains(e.Message, "nested") {
			t.Fatalf("refused %q: %v", b, err)
		}
		var s string
		if err == nil && json.Unmarshal(b, &s) == nil && bytes.TrimSpace(b)[0] == '"' {
			if got, ok := codec.StringValue(bytes.TrimSpace(b)); !ok || got != s {
				t.Fatalf("%q is %q, got %q", b, s, got)
			}
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"event_id":"e","entity_id":"a","payload":{"text":"x"},"vector":[1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ev, err := codec.ParseEvent(b, codec.Full); err == nil && codec.IDProblem(ev.Key.Entity) != "" {
			t.Fatalf("accepted %q", b)
		}
	})
}

func TestMembers(t *testing.T) {
	ms, err := codec.Members([]byte(` { "a" : 1 , "\u0062":{"x":"}"}, "":[] } `), nil)
	if err != nil || len(ms) != 3 {
		t.Fatal(ms, err)
	}
	if ms[1].Name != "b" || string(ms[1].Raw) != `"\u0062":{"x":"}"}` || string(ms[1].Value) != `{"x":"}"}` ||
		string(ms[0].Raw) != `"a" : 1` || string(ms[2].Raw) != `"":[]` {
		t.Errorf("%q", ms)
	}
	if _, err := codec.Members([]byte(`"x"`), nil); err == nil {
		t.Error("a string is no object")
	}
}

func TestLines(t *testing.T) {
	in := "a\n\n  \nbb\r\n" + strings.Repeat("x", 11) + "\n" + strings.Repeat("y", 400000) + "\ncc"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
		l := codec.NewLines(r, 10)
		var got []string
		for {
			line, err := l.Next()
			if err == io.EOF {
				break
			}
			got = append(got, fmt.Sprintf("%s|%v", bytes.TrimSpace(line), err != nil))
		}
		if want := "[a|false bb|false |true |true cc|false]"; fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", name, got, want)
		}
	}
}

func TestLinesReportReadErrors(t *testing.T) {
	broken := errors.New("broken")
	l := codec.NewLines(io.MultiReader(strings.NewReader("a\nhalf"), iotest.ErrReader(broken)), 100)
	if line, err := l.Next(); err != nil || string(line) != "a" {
		t.Fatal(line, err)
	}
	if line, err := l.Next(); !errors.Is(err, broken) {
		t.Errorf("a line cut off by an error must not count: %q %v", line, err)
	}
}

// Whose an event is can be read without its vector, and is the same.
func TestAddressed(t *testing.T) {
	for raw, whose := range map[string]string{
		`{"entity_id":"a","vector":[1,2],"namespace":"n"}`:                 "a",
		`{"vector":[ 1, 2 ] , "entity_id":"a","collection":"c"}`:           "a",
		`{"vector":[],"entity_id":"]"}`:                                    "]",
		`{"vector":null,"entity_id":"a","payload":{"text":"[1"}}`:          "a",
		`{"vector":[1,"]"],"entity_id":"a"}`:                               "a", // a wrong element, which is said later
		`{"vector":[1,[2]],"entity_id":"a"}`:                               "a",
		`{"vector":[1,,2],"entity_id":"a"}`:                                "a",
		`{"vector":[1,2,"entity_id":"a"}`:                                  "",
		`{"vector":[1,2`:                                                   "",
		`{"vector":[1,2],"entity_id":"a"`:                                  "",
		`{"vector":[1],"vector":[2],"entity_id":"a"}`:                      "",
		`{"state":{"points":[{"vector":[1]}]},"entity_id":"a","vector":3}`: "",
	} {
		ev, err := codec.ParseEvent([]byte(raw), codec.Addressed)
		if got := ev.Key.Entity; err == nil && got != whose || (err == nil) != (whose != "") {
			t.Errorf("%s is of %q, %v; want %q", raw, got, err, whose)
		}
		if full, err := codec.ParseEvent([]byte(raw), codec.Full); err == nil && full.Key != ev.Key {
			t.Errorf("%s is of %+v, and of %+v without its vector", raw, full.Key, ev.Key)
		}
	}
}

func BenchmarkParseEvent(b *testing.B) {
	raw := []byte(`{"event_id":"01HZX3-000001","entity_id":"sku-0012345","timestamp":1700000000123,"payload":{"text":"a red cotton shirt with long sleeves and a small collar","price":19.9,"category":"shirts"}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.ParseEvent(raw, codec.Shallow); err != nil {
			b.Fatal(err)
		}
	}
}
