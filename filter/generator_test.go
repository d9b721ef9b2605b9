package filter_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/filter"
)

// generator makes random metadata and filters over few fields and values, so
// that they meet.
type generator struct{ *rand.Rand }

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) key() string {
	return g.pick("a", "b", "c", "d", "a.b", `x\\y`, "", "é", "\\u00e9", "\\ud800")
}

func (g *generator) path() string {
	p := g.pick("a", "b", "c", "d", `a\\.b`, `x\\\\y`, "", "é", "\\ufffd")
	for g.IntN(3) == 0 {
		p += "." + g.pick("a", "b", "c", "", `a\\.b`)
	}
	return p
}

func (g *generator) time() string {
	return fmt.Sprintf("2026-01-%02dT%02d:%02d:00%s%s", 1+g.IntN(3), g.IntN(24), g.IntN(60),
		g.pick("", "", ".5", ".500000001", ".123456789"), g.pick("Z", "Z", "+00:00", "+01:30", "-11:00"))
}

func (g *generator) number() string {
	return g.pick("0", "-0", "1", "1.0", "10e-1", "0.1e1", "2", "-1", "-1.5", "1.5", "15e-1", "-12", "-123", "100",
		"1e2", "1e100", "-1e100", "1e-100", "1e2000000", "9007199254740992", "9007199254740993", "0.1", "0.10",
		"18446744073709551616", "18446744073709551617", fmt.Sprint(g.IntN(100)), fmt.Sprintf("%d.%d", g.IntN(9), g.IntN(90)))
}

func (g *generator) string() string {
	return `"` + g.pick("", "a", "ab", "abc", "b", "é", "\\u00e9", "\\ud83d\\ude00", "😀", "\\ud800", "\\ufffd", "a\\u0000",
		"1", "null", "2026-01-01", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999Z", g.time(), g.time(),
		fmt.Sprint("id-", g.IntN(1000)), "long"+strings.Repeat("x", 1018+g.IntN(5))) + `"`
}

func (g *generator) scalar() string {
	switch g.IntN(5) {
	case 0, 1:
		return g.number()
	case 2:
		return g.pick("null", "true", "false")
	}
	return g.string()
}

func (g *generator) value(depth int) string {
	if depth < 3 && g.IntN(4) == 0 {
		list := make([]string, g.IntN(4))
		for i := range list {
			list[i] = g.value(depth + 1)
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	if depth < 3 && g.IntN(4) == 0 {
		return g.object(depth + 1)
	}
	return g.scalar()
}

// object makes an object, now and then with a key twice.
func (g *generator) object(depth int) string {
	list := make([]string, g.IntN(5))
	for i := range list {
		list[i] = fmt.Sprintf(`"%s"%s:%s`, g.key(), g.pick("", " ", "\n"), g.value(depth))
	}
	return "{" + strings.Join(list, ", ") + "}"
}

func (g *generator) metadata() string {
	if g.IntN(50) == 0 {
		return ""
	}
	return g.object(0)
}

func (g *generator) filter(depth int) string {
	n := 8
	if depth > 3 {
		n = 5
	}
	leaf := func(op, operand string) string { return fmt.Sprintf(`{"%s":{"%s":%s}}`, op, g.path(), operand) }
	switch g.IntN(n) {
	case 0:
		return leaf("eq", g.short())
	case 1:
		list := make([]string, g.IntN(6))
		for i := range list {
			list[i] = g.short()
		}
		return leaf("in", "["+strings.Join(list, ",")+"]")
	case 2:
		number := func() string {
			for {
				if s := g.number(); s != "1e2000000" {
					return s
				}
			}
		}
		if g.IntN(2) == 0 {
			number = func() string { return `"` + g.time() + `"` }
		}
		lo, hi := fmt.Sprintf(`"%s":%s`, g.pick("gt", "gte"), number()), fmt.Sprintf(`"%s":%s`, g.pick("lt", "lte"), number())
		return leaf("range", "{"+g.pick(lo, hi, lo+","+hi, hi+","+lo)+"}")
	case 3:
		return leaf("prefix", `"`+g.pick("", "a", "ab", "é", "2026", "id-", "id-1", "l", "long"+strings.Repeat("x", 1020), "\\ufffd")+`"`)
	case 4:
		return leaf("exists", g.pick("true", "false"))
	case 5:
		return `{"not":` + g.filter(depth+1) + `}`
	}
	list := make([]string, 1+g.IntN(4))
	for i := range list {
		list[i] = g.filter(depth + 1)
	}
	return fmt.Sprintf(`{"%s":[%s]}`, g.pick("and", "or"), strings.Join(list, ","))
}

// short makes a scalar that a filter may hold.
func (g *generator) short() string {
	for {
		if s := g.scalar(); s != "1e2000000" && len(s) <= filter.MaxStringBytes {
			return s
		}
	}
}

func (g *generator) parse(t testing.TB) *filter.Expr {
	t.Helper()
	f := g.filter(0)
	e := mustParse(t, f)
	if !json.Valid([]byte(e.String())) || mustParse(t, e.String()).String() != e.String() {
		t.Fatalf("%s has the canonical form %s, which does not read back", f, e)
	}
	return e
}

// fuzzFilters returns filters on one key, and random ones.
func fuzzFilters(key string, seed uint64) []*filter.Expr {
	quoted, _ := json.Marshal(strings.NewReplacer(`.`, `\.`, `\`, `\\`).Replace(key))
	var list []*filter.Expr
	for _, f := range []string{`{"exists":{%s:true}}`, `{"eq":{%s:null}}`, `{"prefix":{%s:""}}`, `{"prefix":{%s:"x"}}`, `{"eq":{%s:"x"}}`,
		`{"range":{%s:{"gt":0}}}`, `{"range":{%s:{"lt":1e9}}}`, `{"range":{%s:{"gt":"2000-01-01T00:00:00Z"}}}`, `{"in":{%s:[true,1,"\ufffd"]}}`} {
		if e, err := filter.Parse(fmt.Appendf(nil, f, quoted)); err == nil {
			list = append(list, e)
		}
	}
	g := &generator{rand.New(rand.NewPCG(seed, 9))}
	for range 5 {
		if e, err := filter.Parse([]byte(g.filter(0))); err == nil {
			list = append(list, e)
		}
	}
	return list
}
