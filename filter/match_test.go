package filter_test

import (
	"strings"
	"testing"

	"github.com/freshet-io/freshet/filter"
)

// TestSemantics fixes what each operator means, for Match and the Index alike.
func TestSemantics(t *testing.T) {
	const shoe = `{"brand":"Acme","price":19.90,"n":1.0,"tags":["red","blue",null],"maker":{"country":"DE","v1.0":"x"},
		"items":[{"sku":1,"ok":true},{"sku":2},[{"sku":3}]],"seen":"2026-01-31T10:30:00+01:00","none":null,"empty":[],"obj":{}}`
	for _, c := range []struct {
		name, metadata, filter string
		want                   bool
	}{
		{"string", shoe, `{"eq":{"brand":"Acme"}}`, true},
		{"string, other case", shoe, `{"eq":{"brand":"acme"}}`, false},
		{"string escapes", `{"a":"\u0041\n\ud83d\ude00"}`, `{"eq":{"a":"A\u000a😀"}}`, true},
		{"lone surrogate", `{"a":"\ud83d"}`, `{"eq":{"a":"\ufffd"}}`, true},
		{"no Unicode normalisation", `{"a":"é"}`, `{"eq":{"a":"e\u0301"}}`, false},

		{"1 is 1.0", shoe, `{"eq":{"n":1}}`, true},
		{"1 is 10e-1", shoe, `{"eq":{"n":10e-1}}`, true},
		{"-0 is 0", `{"a":-0.0e7}`, `{"eq":{"a":0}}`, true},
		{"beyond 2^53", `{"a":9007199254740993}`, `{"eq":{"a":9007199254740992}}`, false},
		{"beyond 2^53, equal", `{"a":9007199254740993}`, `{"eq":{"a":9007199254740993.0}}`, true},
		{"beyond 2^53, order", `{"a":9007199254740993}`, `{"range":{"a":{"gt":9007199254740992}}}`, true},
		{"0.1 is exact", `{"a":0.1000000000000000055511151231257827}`, `{"eq":{"a":0.1}}`, false},
		{"beyond float64", `{"a":1e400}`, `{"range":{"a":{"gt":1e399,"lt":1.1e400}}}`, true},
		{"too large exists", `{"a":1e1000001}`, `{"exists":{"a":true}}`, true},
		{"too large has no order", `{"a":1e1000001}`, `{"range":{"a":{"gt":0}}}`, false},
		{"zero of any exponent", `{"a":0e99999999999999999999}`, `{"eq":{"a":0}}`, true},

		{"number is not its string", `{"a":"1"}`, `{"eq":{"a":1}}`, false},
		{"string is not its number", `{"a":1}`, `{"eq":{"a":"1"}}`, false},
		{"true", `{"a":true}`, `{"eq":{"a":true}}`, true},
		{"true is not \"true\"", `{"a":true}`, `{"eq":{"a":"true"}}`, false},
		{"true is not 1", `{"a":true}`, `{"eq":{"a":1}}`, false},
		{"false", `{"a":true}`, `{"eq":{"a":false}}`, false},

		{"null", shoe, `{"eq":{"none":null}}`, true},
		{"missing is not null", shoe, `{"eq":{"missing":null}}`, false},
		{"null in a list", shoe, `{"eq":{"tags":null}}`, true},
		{"null is not false", shoe, `{"eq":{"none":false}}`, false},

		{"in", shoe, `{"in":{"brand":["x","Acme",3]}}`, true},
		{"in, none", shoe, `{"in":{"brand":["x",3,null]}}`, false},
		{"in, empty", shoe, `{"in":{"brand":[]}}`, false},

		{"range", shoe, `{"range":{"price":{"gte":19.9,"lt":20}}}`, true},
		{"gt excludes", shoe, `{"range":{"price":{"gt":19.900}}}`, false},
		{"lte includes", shoe, `{"range":{"price":{"lte":19.900}}}`, true},
		{"lt excludes", shoe, `{"range":{"price":{"lt":19.9}}}`, false},
		{"range, crossed", shoe, `{"range":{"price":{"gt":20,"lt":10}}}`, false},
		{"range on a string", shoe, `{"range":{"brand":{"gt":0}}}`, false},
		{"range on negative numbers", `{"a":-2.5}`, `{"range":{"a":{"gt":-2.51,"lt":-2.49}}}`, true},
		{"one element in both bounds", `{"a":[1,9]}`, `{"range":{"a":{"gt":3,"lt":7}}}`, false},
		{"two ranges, two elements", `{"a":[1,9]}`, `{"and":[{"range":{"a":{"gt":3}}},{"range":{"a":{"lt":7}}}]}`, true},

		{"time, same instant", shoe, `{"range":{"seen":{"gte":"2026-01-31T09:30:00Z","lte":"2026-01-31T09:30:00Z"}}}`, true},
		{"time, gt excludes", shoe, `{"range":{"seen":{"gt":"2026-01-31T09:30:00Z"}}}`, false},
		{"time, a nanosecond", `{"a":"2026-01-31T09:30:00.000000001Z"}`, `{"range":{"a":{"gt":"2026-01-31T09:30:00Z"}}}`, true},
		{"time, below a nanosecond", `{"a":"2026-01-31T09:30:00.0000000009Z"}`, `{"range":{"a":{"gt":"2026-01-31T09:30:00Z"}}}`, false},
		{"a date is no time", `{"a":"2026-01-31"}`, `{"range":{"a":{"gt":"2000-01-01T00:00:00Z"}}}`, false},
		{"a number is no time", `{"a":1e18}`, `{"range":{"a":{"gt":"2000-01-01T00:00:00Z"}}}`, false},
		{"a time is no number", shoe, `{"range":{"seen":{"gt":0}}}`, false},
		{"eq compares times as strings", shoe, `{"eq":{"seen":"2026-01-31T09:30:00Z"}}`, false},

		{"prefix", shoe, `{"prefix":{"brand":"Ac"}}`, true},
		{"prefix, whole", shoe, `{"prefix":{"brand":"Acme"}}`, true},
		{"prefix, longer", shoe, `{"prefix":{"brand":"Acme "}}`, false},
		{"empty prefix on a string", shoe, `{"prefix":{"brand":""}}`, true},
		{"empty prefix on a number", shoe, `{"prefix":{"price":""}}`, false},

		{"exists", shoe, `{"exists":{"brand":true}}`, true},
		{"exists, null", shoe, `{"exists":{"none":true}}`, true},
		{"exists, empty list", shoe, `{"exists":{"empty":true}}`, true},
		{"exists, object", shoe, `{"exists":{"obj":true}}`, true},
		{"exists, nested", shoe, `{"exists":{"maker.country":true}}`, true},
		{"exists, missing", shoe, `{"exists":{"missing":true}}`, false},
		{"exists not", shoe, `{"exists":{"maker.missing":false}}`, true},
		{"exists not, but does", shoe, `{"exists":{"none":false}}`, false},

		{"nested", shoe, `{"eq":{"maker.country":"DE"}}`, true},
		{"escaped dot", shoe, `{"eq":{"maker.v1\\.0":"x"}}`, true},
		{"unescaped dot", shoe, `{"eq":{"maker.v1.0":"x"}}`, false},
		{"escaped backslash", `{"a\\b":1}`, `{"eq":{"a\\\\b":1}}`, true},
		{"empty key", `{"":{"":1}}`, `{"eq":{".":1}}`, true},
		{"a scalar has no fields", shoe, `{"exists":{"brand.x":true}}`, false},
		{"an object equals nothing", shoe, `{"eq":{"obj":null}}`, false},

		{"list", shoe, `{"eq":{"tags":"blue"}}`, true},
		{"list, none", shoe, `{"eq":{"tags":"green"}}`, false},
		{"list of lists", `{"a":[[1],[[2]]]}`, `{"eq":{"a":2}}`, true},
		{"list of objects", shoe, `{"eq":{"items.sku":2}}`, true},
		{"list of lists of objects", shoe, `{"eq":{"items.sku":3}}`, true},
		{"list, no position", shoe, `{"exists":{"items.0":true}}`, false},

		{"last duplicate counts", `{"a":1,"b":3,"a":2}`, `{"eq":{"a":2}}`, true},
		{"first duplicate does not", `{"a":1,"b":3,"a":2}`, `{"eq":{"a":1}}`, false},
		{"duplicate objects don't merge", `{"a":{"x":1},"a":{"y":1}}`, `{"exists":{"a.x":true}}`, false},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, `{"eq":{"a":1}}`, false},
		{"same key in two objects", `{"a":[{"x":1},{"x":2}]}`, `{"and":[{"eq":{"a.x":1}},{"eq":{"a.x":2}}]}`, true},

		{"and", shoe, `{"and":[{"eq":{"brand":"Acme"}},{"eq":{"n":1}}]}`, true},
		{"and, one fails", shoe, `{"and":[{"eq":{"brand":"Acme"}},{"eq":{"n":2}}]}`, false},
		{"or", shoe, `{"or":[{"eq":{"brand":"x"}},{"eq":{"n":1}}]}`, true},
		{"or, all fail", shoe, `{"or":[{"eq":{"brand":"x"}},{"eq":{"n":2}}]}`, false},
		{"not", shoe, `{"not":{"eq":{"brand":"x"}}}`, true},
		{"not of a missing field", shoe, `{"not":{"eq":{"missing":1}}}`, true},
		{"not with lists: no element", shoe, `{"not":{"eq":{"tags":"red"}}}`, false},
		{"no metadata", ``, `{"exists":{"a":false}}`, true},
		{"empty metadata", ` { } `, `{"not":{"eq":{"a":1}}}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := mustParse(t, c.filter)
			for _, e := range []*filter.Expr{e, mustParse(t, e.String())} {
				if got, err := e.Match([]byte(c.metadata)); err != nil || got != c.want {
					t.Errorf("%s matches %s: %v, want %v; error %v", e, c.metadata, got, c.want, err)
				}
				x := filter.NewIndex()
				if err := x.Set(3, []byte(c.metadata)); err != nil {
					t.Fatal(err)
				}
				if got := x.Eval(e).Contains(3); got != c.want {
					t.Errorf("index: %s matches %s: %v, want %v", e, c.metadata, got, c.want)
				}
			}
		})
	}
}

func TestNilFilterMatchesAll(t *testing.T) {
	var e *filter.Expr
	if ok, err := e.Match([]byte(`{"a":1}`)); !ok || err != nil {
		t.Errorf("Match: %v, %v", ok, err)
	}
	x := filter.NewIndex()
	for _, doc := range []uint32{0, 7, 1<<32 - 1} {
		if err := x.Set(doc, nil); err != nil {
			t.Fatal(err)
		}
	}
	if b := x.Eval(nil); b.GetCardinality() != 3 || !b.Contains(1<<32-1) {
		t.Errorf("Eval(nil) gives %v", b)
	}
}

func TestMatchRefuses(t *testing.T) {
	e := mustParse(t, `{"eq":{"a":1}}`)
	for _, bad := range []string{`[]`, `null`, `{"a":1`, `{"a":1} {}`, `"x"`, `{"a":+1}`, strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001)} {
		if _, err := e.Match([]byte(bad)); err == nil {
			t.Errorf("Match accepts %.40s", bad)
		}
	}
}

// TestDigestIsOfTheContent shows what a digest depends on and what not.
func TestDigestIsOfTheContent(t *testing.T) {
	digest := func(metadata string) uint64 {
		d, err := filter.Digest([]byte(metadata))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	const base = `{"a":1,"b":["x","y"],"c":{"d":null}}`
	for _, same := range []string{
		`{"c":{"d":null},"b":["y","x","x"],"a":1.0}`,
		` {"a":10e-1, "b":[["\u0078"],"y"],"c":{"d":0,"d":null}}`,
	} {
		if digest(same) != digest(base) {
			t.Errorf("%s and %s differ", same, base)
		}
	}
	seen := map[uint64]string{}
	for _, m := range []string{base, ``, `{"a":null}`, `{"a":[]}`, `{"a":"1"}`, `{"a":1}`, `{"a":true}`, `{"a":false}`,
		`{"a":{"b":1}}`, `{"b":{"a":1}}`, `{"a.b":1}`, `{"a":1,"b":2}`, `{"a":2,"b":1}`, `{"a":""}`, `{"":""}`} {
		if other, ok := seen[digest(m)]; ok {
			t.Errorf("%s and %s have one digest", m, other)
		}
		seen[digest(m)] = m
	}
}
