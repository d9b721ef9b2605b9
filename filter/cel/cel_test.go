package cel_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	celgo "cel.dev/cel-go/cel"

	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/filter/cel"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`brand == "Acme"`:                          `{"eq":{"brand":"Acme"}}`,
		`"Acme" == brand`:                          `{"eq":{"brand":"Acme"}}`,
		`n != -1`:                                  `{"not":{"eq":{"n":-1}}}`,
		`n == 0.1`:                                 `{"eq":{"n":0.1}}`,
		`n == 9007199254740993`:                    `{"eq":{"n":9007199254740993}}`,
		`n == 18446744073709551615u`:               `{"eq":{"n":18446744073709551615}}`,
		`a == null || b == false`:                  `{"or":[{"eq":{"a":null}},{"eq":{"b":false}}]}`,
		`active && !sold`:                          `{"and":[{"eq":{"active":true}},{"not":{"eq":{"sold":true}}}]}`,
		`maker.country.code in ["DE"]`:             `{"in":{"maker.country.code":["DE"]}}`,
		`"x" in tags`:                              `{"eq":{"tags":"x"}}`,
		`a["b.c"]["d\\e"] == 1`:                    `{"eq":{"a.b\\.c.d\\\\e":1}}`,
		`self["a-b"] == 1`:                         `{"eq":{"a-b":1}}`,
		`self.a`:                                   `{"eq":{"a":true}}`,
		`self["a"]`:                                `{"eq":{"a":true}}`,
		`self.self == 1`:                           `{"eq":{"self":1}}`,
		`has(self.a) && has(m.b)`:                  `{"and":[{"exists":{"a":true}},{"exists":{"m.b":true}}]}`,
		`sku.startsWith("shoe-")`:                  `{"prefix":{"sku":"shoe-"}}`,
		`10 <= n && n < 20.5`:                      `{"and":[{"range":{"n":{"gte":10}}},{"range":{"n":{"lt":20.5}}}]}`,
		`seen > timestamp("2026-01-31T00:00:00Z")`: `{"range":{"seen":{"gt":"2026-01-31T00:00:00Z"}}}`,
		`"2026-01-31T00:00:00Z" >= seen`:           `{"range":{"seen":{"lte":"2026-01-31T00:00:00Z"}}}`,
		`a || (b || c) || d`:                       `{"or":[{"eq":{"a":true}},{"eq":{"b":true}},{"eq":{"c":true}},{"eq":{"d":true}}]}`,
		"a == 'é\\u00e9<'":                         `{"eq":{"a":"éé<"}}`,
	} {
		e, err := cel.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		plain, err := filter.Parse([]byte(want))
		if err != nil {
			t.Fatal(err)
		}
		if e.String() != plain.String() {
			t.Errorf("%s is %s, want %s", text, e, plain)
		}
	}
	// A long chain is one operator, however the parser nests it.
	if _, err := cel.Parse("a == 1" + strings.Repeat(" || a == 1", 200)); err != nil {
		t.Error(err)
	}
}

// What can't be a filter is named, and the remedy where there is one.
func TestRefused(t *testing.T) {
	for text, want := range map[string][]string{
		`a == 1 && size(tags) > 2`: {"`size(tags)`", "no field"},
		`price < other.price`:      {"`price < other.price`", "a number"},
		`name < "b"`:               {"`name < \"b\"`", "RFC 3339"},
		`n < true`:                 {"`n < true`"},
		`at > timestamp("today")`:  {"`at > timestamp(\"today\")`"},
		`name.matches("a.*")`:      {"`name.matches(\"a.*\")`", "startsWith"},
		`tags.exists(t, t == "a")`: {"tags.exists(t, t == \"a\")", "startsWith"},
		`name.startsWith(other)`:   {"takes a string"},
		`a ? b : c`:                {"`a ? b : c`", "&&"},
		`a + 1 == 2`:               {"`a + 1`", "no field"},
		`a == b`:                   {"`a == b`", "compared with a string"},
		`1 == 1`:                   {"`1 == 1`", "names no field"},
		`1 < 2`:                    {"`1 < 2`", "names no field"},
		`1 in [1]`:                 {"`1 in [1]`", "names no field"},
		`true`:                     {"`true`", "it is a value"},
		`a in b`:                   {"`a in b`", "list of values"},
		`a in [1, b]`:              {"`b`", "elements"},
		`items[0] == 1`:            {"`items[0]`", "no numbers"},
		`has(self.a) == false`:     {"`has(self.a)`", "alone or behind !"},
		`has(a.b) < 3`:             {"`has(a.b)`"},
		`has(a.b).c`:               {"`has(a.b)`"},
		`1 in has(a.b)`:            {"`has(a.b)`"},
		`t < timestamp(17)`:        {"`t < timestamp(17)`", "RFC 3339"},
		`x.timestamp("2024-01-01T00:00:00Z") < a`: {"RFC 3339"},
		`self == 1`:       {"self.name"},
		`a == b"x"`:       {"compared with a string"},
		`{"a": 1}`:        {"no condition"},
		`a == `:           {"no CEL", "line 1, column"},
		"a == 1 &&\n&& b": {"line 2"},
		``:                {"no CEL"},
		strings.Repeat("!(a && ", 40) + "a" + strings.Repeat(")", 40): {"32"},
		strings.Repeat("(", 900) + "a":                                {"no CEL"},
		`a == "` + strings.Repeat("x", 2000) + `"`:                    {"1024"},
		`a == 1` + strings.Repeat(" || a == 1", cel.MaxBytes/8):       {"at most 65536"},
	} {
		_, err := cel.Parse(text)
		if err == nil {
			t.Errorf("%.80s is a filter", text)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%.80s: %q does not say %q", text, err, part)
			}
		}
	}
}

// Where every field is there and has one type, and no arrays are compared as a whole, a filter means what CEL means.
func TestMeansWhatCELMeans(t *testing.T) {
	env, err := celgo.NewEnv(celgo.Variable("n", celgo.IntType), celgo.Variable("s", celgo.StringType), celgo.Variable("b", celgo.BoolType),
		celgo.Variable("tags", celgo.ListType(celgo.StringType)), celgo.Variable("m", celgo.MapType(celgo.StringType, celgo.DynType)))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	word := func() string { return pick("a", "ab", "b", "ba") }
	var expression func(depth int) string
	expression = func(depth int) string {
		if depth > 0 {
			switch rng.IntN(4) {
			case 0:
				return "(" + expression(depth-1) + " && " + expression(depth-1) + ")"
			case 1:
				return "(" + expression(depth-1) + " || " + expression(depth-1) + ")"
			case 2:
				return "!" + "(" + expression(depth-1) + ")"
			}
		}
		switch rng.IntN(8) {
		case 0:
			return fmt.Sprintf("n %s %d", pick("==", "!=", "<", "<=", ">", ">="), rng.IntN(4))
		case 1:
			return fmt.Sprintf("%d %s n", rng.IntN(4), pick("==", "!=", "<", "<=", ">", ">="))
		case 2:
			return fmt.Sprintf("s %s %q", pick("==", "!="), word())
		case 3:
			return fmt.Sprintf("s.startsWith(%q)", word()[:1])
		case 4:
			return fmt.Sprintf("%q in tags", word())
		case 5:
			return fmt.Sprintf("n in [%d, %d]", rng.IntN(4), rng.IntN(4))
		case 6:
			return fmt.Sprintf("has(m.%s)", pick("x", "y"))
		}
		return "b"
	}
	matched := 0
	const rounds = 4000
	for range rounds {
		text := expression(3)
		doc := map[string]any{"n": rng.IntN(4), "s": word(), "b": rng.IntN(2) == 0, "tags": []string{word(), word()}, "m": map[string]any{pick("x", "z"): 1}}
		e, err := cel.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Match(raw)
		if err != nil {
			t.Fatal(err)
		}
		checked, issues := env.Compile(text)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := env.Program(checked)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := program.Eval(doc)
		if err != nil {
			t.Fatalf("%s on %s: %v", text, raw, err)
		}
		if got != want.Value().(bool) {
			t.Fatalf("%s on %s is %v, CEL says %v; as a filter it is %s", text, raw, got, want, e)
		}
		if got {
			matched++
		}
	}
	if matched < rounds/5 || matched > rounds*4/5 {
		t.Errorf("%d of %d match: the expressions say too little", matched, rounds)
	}
}

// An expression gives a filter that reads back as itself, or an error.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`price < 50 && maker.country in ["DE"] && !sku.startsWith("x")`, `has(self.a) || a["b"] == -1.5e3`, `"x" in tags`,
		`at >= timestamp("2026-01-31T00:00:00+01:00")`, `a ? b : c`, `[1][0]`, `{1: 2}`, `T{a: 1}`, `a.b(c)`, `r'\d' == a`, `b'x' == a`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := cel.Parse(text)
		if err != nil {
			return
		}
		again, err := filter.Parse([]byte(e.String()))
		if err != nil || again.String() != e.String() {
			t.Errorf("%q is %s, which reads as %v: %v", text, e, again, err)
		}
	})
}
