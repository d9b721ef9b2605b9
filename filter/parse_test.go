package filter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/filter"
)

func TestParseErrors(t *testing.T) {
	nested := func(n int) string {
		return strings.Repeat(`{"not":`, n) + `{"eq":{"a":1}}` + strings.Repeat("}", n)
	}
	list := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for _, c := range []struct {
		filter, path string
		mentions     []string // what the message must name: the value and the remedy
	}{
		{``, "$", []string{"ends too early"}},
		{`{"eq":{"a":1}`, "$", []string{"ends too early"}},
		{`{"eq":{"a":tru}}`, "$.eq.a", []string{"not valid JSON at byte"}},
		{`{"eq":{"a":1}} 2`, "$", []string{"something follows the filter at byte"}},
		{"{\"eq\":{\"a\":\"\xff\"}}", "$", []string{"UTF-8"}},
		{`null`, "$", []string{"null", `{"eq": {"field": "value"}}`, "leave the filter out"}},
		{`[{"eq":{"a":1}}]`, "$", []string{`{"eq": …}`, "a filter is an object"}},
		{`{}`, "$", []string{"{}", "leave the filter out"}},
		{`{"eq":{"a":1},"in":{"b":[]}}`, "$", []string{"exactly one key", `"and"`}},
		{`{"category":"shoes"}`, "$.category", []string{`"category"`, "unknown operator", "and, eq, exists, in, not, or, prefix, range", `{"eq": {"category": …}}`}},
		{`{"and":[{"eq":{"a":1}},{"equals":{"a":1}}]}`, "$.and[1].equals", []string{`"equals"`, "the operators are"}},
		{`{"eq":{"a":1},"eq":{"b":1}}`, "$", []string{`"eq"`, "given twice"}},
		{`{"eq":{"a":1,"a":2}}`, "$.eq", []string{`"a"`, "given twice"}},
		{`{"eq":{"a":1,"b":2}}`, "$.eq", []string{"one field", `"and"`}},
		{`{"eq":{}}`, "$.eq", []string{"{}", "one field"}},
		{`{"eq":"a"}`, "$.eq", []string{`"a"`, `{"field": "value"}`}},
		{`{"eq":{"a":{"b":1}}}`, "$.eq.a", []string{`{"b": …}`, "by their paths"}},
		{`{"eq":{"a":[1]}}`, "$.eq.a", []string{"[1, …]", `"in"`}},
		{`{"eq":{"a\\x":1}}`, "$.eq", []string{`"a\\x"`, "backslash"}},
		{`{"eq":{"a\\":1}}`, "$.eq", []string{"backslash"}},
		{`{"eq":{"a":1e1000001}}`, "$.eq.a", []string{"1e1000001", "out of range"}},
		{`{"eq":{"a":"` + strings.Repeat("x", 1025) + `"}}`, "$.eq.a", []string{"1025 bytes", "1024", `"prefix"`}},
		{`{"eq":{"` + strings.Repeat("x", 1025) + `":1}}`, "$.eq", []string{"1025 bytes", "1024"}},
		{`{"in":{"a":1}}`, "$.in.a", []string{"1", "a list", `"eq"`}},
		{`{"in":{"a":[1,{"b":2}]}}`, "$.in.a[1]", []string{`{"b": …}`}},
		{`{"in":{"a":[` + list("1", filter.MaxValues+1) + `]}}`, "$.in.a", []string{"10001", "10000"}},
		{`{"range":{"price":{"gte":"abc"}}}`, "$.range.price.gte", []string{`"abc"`, "RFC 3339", "2026-01-31T00:00:00Z"}},
		{`{"range":{"price":{"gte":"2026-01-31"}}}`, "$.range.price.gte", []string{`"2026-01-31"`, "RFC 3339"}},
		{`{"range":{"price":{"gte":null}}}`, "$.range.price.gte", []string{"null", "a bound is a number"}},
		{`{"range":{"price":{"gte":1,"gt":2}}}`, "$.range.price", []string{"gte and gt", "keep one"}},
		{`{"range":{"price":{"min":1}}}`, "$.range.price", []string{`"min"`, "gt, gte, lt, lte"}},
		{`{"range":{"price":{"gt":1,"lt":"2026-01-31T00:00:00Z"}}}`, "$.range.price", []string{"both as numbers"}},
		{`{"range":{"price":{}}}`, "$.range.price", []string{"{}", "gt or gte"}},
		{`{"range":{"price":5}}`, "$.range.price", []string{"5", "gt or gte"}},
		{`{"prefix":{"a":5}}`, "$.prefix.a", []string{"5", "a string"}},
		{`{"prefix":{"a":"` + strings.Repeat("é", 513) + `"}}`, "$.prefix.a", []string{"1026 bytes"}},
		{`{"exists":{"a":1}}`, "$.exists.a", []string{"1", "true"}},
		{`{"exists":"a"}`, "$.exists", []string{`{"field": true}`}},
		{`{"and":[]}`, "$.and", []string{"[]", "one or more filters"}},
		{`{"or":{"eq":{"a":1}}}`, "$.or", []string{"a list"}},
		{`{"not":[{"eq":{"a":1}}]}`, "$.not", []string{"a filter is an object"}},
		{nested(filter.MaxDepth), "$" + strings.Repeat(".not", filter.MaxDepth), []string{"32 deep"}},
		{strings.Repeat("[", 100_000), "$" + strings.Repeat("[0]", 2*filter.MaxDepth+4), []string{"too deep"}},
		{`{"or":[` + list(`{"eq":{"a":1}}`, filter.MaxNodes) + `]}`, fmt.Sprintf("$.or[%d]", filter.MaxNodes-1), []string{"1024 operators", `"in"`}},
		{`{"eq":{"a":1}}` + strings.Repeat(" ", filter.MaxBytes), "$", []string{"1048590 bytes", "1048576"}},
		{`{"eq":{"weird key":{}}}`, `$.eq["weird key"]`, nil},
	} {
		t.Run(fmt.Sprintf("%.60s", c.filter), func(t *testing.T) {
			e, err := filter.Parse([]byte(c.filter))
			var p *filter.ParseError
			if e != nil || !errors.As(err, &p) {
				t.Fatalf("got %v and error %v, want a ParseError", e, err)
			}
			if p.Path != c.path {
				t.Errorf("error at %s, want %s: %v", p.Path, c.path, err)
			}
			for _, m := range c.mentions {
				if !strings.Contains(err.Error(), m) {
					t.Errorf("error %q does not mention %q", err, m)
				}
			}
			if len(p.Value)+len(p.Problem) > 500 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestParseAcceptsTheLimits(t *testing.T) {
	list := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for name, f := range map[string]string{
		"depth":  strings.Repeat(`{"not":`, filter.MaxDepth-1) + `{"range":{"a":{"gt":1}}}` + strings.Repeat("}", filter.MaxDepth-1),
		"and":    strings.Repeat(`{"and":[`, filter.MaxDepth-1) + `{"in":{"a":[1]}}` + strings.Repeat("]}", filter.MaxDepth-1),
		"nodes":  `{"or":[` + list(`{"eq":{"a":1}}`, filter.MaxNodes-1) + `]}`,
		"values": `{"in":{"a":[` + list("1", filter.MaxValues) + `]}}`,
		"string": `{"eq":{"a":"` + strings.Repeat("x", filter.MaxStringBytes) + `"}}`,
		"digits": `{"eq":{"a":0.00` + strings.Repeat("7", filter.MaxNumberDigits) + `}}`,
		"size":   `{"eq":{"a":999999999e999991}}` + strings.Repeat(" ", 100),
	} {
		if _, err := filter.Parse([]byte(f)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range []struct{ filter, want string }{
		{` {"eq" : {"a\\.b" : 1.50e1} } `, `{"eq":{"a\\.b":15}}`},
		{`{"in":{"a":["b",2,"a",null,2.0,true,1,false,-3]}}`, `{"in":{"a":[null,false,true,-3,1,2,"a","b"]}}`},
		{`{"range":{"a":{"lt":1e30,"gte":-0.00000001}}}`, `{"range":{"a":{"gte":-0.00000001,"lt":1e30}}}`},
		{`{"range":{"a":{"lte":"2026-01-31T00:00:00+01:00"}}}`, `{"range":{"a":{"lte":"2026-01-31T00:00:00+01:00"}}}`},
		{`{"not":{"exists":{"a":false}}}`, `{"not":{"exists":{"a":false}}}`},
		{`{"or":[{"prefix":{"a":"\u003c\u00e9"}},{"and":[{"eq":{"b":null}}]}]}`, `{"or":[{"prefix":{"a":"<é"}},{"and":[{"eq":{"b":null}}]}]}`},
		{`{"eq":{"a":123456789012345678901234567890.25}}`, `{"eq":{"a":1.2345678901234567890123456789025e29}}`},
		{`{"eq":{"a":-1.5e-30}}`, `{"eq":{"a":-1.5e-30}}`},
		{`{"eq":{"a":-0e5}}`, `{"eq":{"a":0}}`},
	} {
		e := mustParse(t, c.filter)
		if got := e.String(); got != c.want {
			t.Errorf("%s has the form %s, want %s", c.filter, got, c.want)
		}
		if got, err := e.MarshalJSON(); err != nil || string(got) != c.want {
			t.Errorf("%s marshals to %s, %v, want %s", c.filter, got, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"and":[{"eq":{"a.b":1}},{"not":{"in":{"c\\.d":["x",null,2.5]}}}]}`,
		`{"or":[{"range":{"t":{"gt":"2026-01-31T00:00:00Z"}}},{"prefix":{"s":"é"}},{"exists":{"x":false}}]}`,
		`{"range":{"t":{"gte":-1e-7,"lt":12e400}}}`, `{"eq":{"a":"\ud800"}}`, `{"eq":{"a":{"b":[1]}}}`, `[[[[`,
	} {
		f.Add([]byte(s), []byte(`{"a":{"b":[1,"x"]},"t":"2026-01-31T00:00:00Z"}`))
	}
	f.Fuzz(func(t *testing.T, raw, metadata []byte) {
		e, err := filter.Parse(raw)
		if err != nil {
			var p *filter.ParseError
			if !errors.As(err, &p) || p.Path == "" || p.Problem == "" {
				t.Errorf("error %#v is no ParseError", err)
			}
			return
		}
		again, err := filter.Parse([]byte(e.String()))
		if err != nil || again.String() != e.String() {
			t.Fatalf("%s reads back as %s, %v", e, again, err)
		}
		a, err1 := e.Match(metadata)
		b, err2 := again.Match(metadata)
		if a != b || (err1 == nil) != (err2 == nil) {
			t.Errorf("%s and %s differ on %s", raw, e, metadata)
		}
	})
}

// FuzzIndex holds the index to Match on any metadata, valid or not, and so the
// walker to encoding/json.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,null,"x"],"c":{"d":-1.5e3}}`, `{"a":"\ud83d\ude00\ud800x\u00e9\\\/\b"}`, `{"a":01}`, `{"a":1,"a":{"a":2}}`,
		`{"a":"` + strings.Repeat("x", 1030) + `"}`, "{\"a\":\"\xff\xc3\"}", "{\"a\":\"tab\there\"}", `{"a":1.}`, `{"a":1e+}`, ` {} x`,
		`{"a":"2026-01-31T00:00:00.5+01:00"}`, `{"a":[[[[]]]]}`, `{"a":tru`, `{"a":-}`, `{"a" 1}`, `{"\u0061":1,"a":"\uD834\uDD1E"}`,
	} {
		f.Add([]byte(s), "a", uint64(1))
	}
	f.Fuzz(func(t *testing.T, metadata []byte, key string, seed uint64) {
		x := filter.NewIndex()
		if err := x.Set(1, []byte(`{"a":1,"b":"2026-01-31T00:00:00Z"}`)); err != nil {
			t.Fatal(err)
		}
		setErr := x.Set(2, metadata)
		digest, digestErr := filter.Digest(metadata)
		_, matchErr := (*filter.Expr)(nil).Match(metadata)
		if (setErr == nil) != (matchErr == nil) || (digestErr == nil) != (matchErr == nil) {
			t.Fatalf("%q: Set says %v, Digest %v, Match %v", metadata, setErr, digestErr, matchErr)
		}
		if setErr != nil {
			return
		}
		for doc, got := range x.Each {
			if doc == 2 && got != digest {
				t.Errorf("%q: digest %x, want %x", metadata, got, digest)
			}
		}
		for _, e := range fuzzFilters(key, seed) {
			want, err := e.Match(metadata)
			if got := x.Eval(e).Contains(2); err != nil || got != want {
				t.Errorf("%s on %q: index says %v, Match says %v, %v", e, metadata, got, want, err)
			}
		}
		x.Delete(2)
		if s := x.Stats(); s.Docs != 1 || s.Fields != 2 || s.Terms != 4 {
			t.Errorf("%q: after its deletion %+v", metadata, s)
		}
	})
}
