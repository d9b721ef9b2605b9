package mapping_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process/mapping"
)

// TestConfigErrors checks that each error names the field, what is wrong and what to do.
func TestConfigErrors(t *testing.T) {
	one := func(c mapping.Change) mapping.Config { return mapping.Config{Changes: []mapping.Change{c}} }
	tests := []struct {
		name  string
		cfg   mapping.Config
		field string
		says  []string
	}{
		{"no changes", mapping.Config{}, "mapping.changes", []string{"0 entries", "1 to 64"}},
		{"too many changes", mapping.Config{Changes: make([]mapping.Change, 65)}, "mapping.changes", []string{"65 entries"}},
		{"no entity", one(mapping.Change{Text: `"x"`}), "mapping.changes[0].entity", []string{"missing", "event.id"}},
		{"op and delete", one(mapping.Change{Entity: `"x"`, Op: `"delete"`, Delete: `true`}), "mapping.changes[0].delete", []string{"one of the two"}},
		{"syntax", one(mapping.Change{Entity: `event.`}), "mapping.changes[0].entity", []string{"line 1, column 7", "cel.dev"}},
		{"second line", one(mapping.Change{Entity: "event.id +\n  evnt.id"}), "mapping.changes[0].entity", []string{"'evnt'", "line 2, column 3", "source and accepted_at"}},
		{"constant without quotes", one(mapping.Change{Entity: `event.id`, Collection: `products`}), "mapping.changes[0].collection", []string{"'products'", `'"products"'`}},
		{"item without for_each", one(mapping.Change{Entity: `item.id`}), "mapping.changes[0].entity", []string{"'item'", "for_each"}},
		{"item in when", one(mapping.Change{When: `item.ok`, ForEach: `event.items`, Entity: `item.id`}), "mapping.changes[0].when", []string{"'item'", "before it"}},
		{"unknown function", one(mapping.Change{Entity: `event.id.lowercase()`}), "mapping.changes[0].entity", []string{"'lowercase'"}},
		{"operands", one(mapping.Change{Entity: `"a" + 1`}), "mapping.changes[0].entity", []string{"no matching overload", "string(…)"}},
		{"when gives a string", one(mapping.Change{When: `"yes"`, Entity: `"x"`}), "mapping.changes[0].when", []string{"string", "a bool"}},
		{"entity gives a bool", one(mapping.Change{Entity: `true`}), "mapping.changes[0].entity", []string{"bool", "a string or an int"}},
		{"text gives an int", one(mapping.Change{Entity: `"x"`, Text: `size(event.x)`}), "mapping.changes[0].text", []string{"int", "a string", "string(…)"}},
		{"text gives an optional int", one(mapping.Change{Entity: `"x"`, Text: `optional.of(1)`}), "mapping.changes[0].text", []string{"optional_type(int)"}},
		{"for_each gives a map", one(mapping.Change{ForEach: `{"a": 1}`, Entity: `"x"`}), "mapping.changes[0].for_each", []string{"a list"}},
		{"vector of strings", one(mapping.Change{Entity: `"x"`, Vector: `["a"]`}), "mapping.changes[0].vector", []string{"list(string)", "a list of numbers"}},
		{"metadata with int keys", one(mapping.Change{Entity: `"x"`, Metadata: `{1: "a"}`}), "mapping.changes[0].metadata", []string{"map(int, string)", "string keys"}},
		{"timestamp gives a bool", one(mapping.Change{Entity: `"x"`, Timestamp: `true`}), "mapping.changes[0].timestamp", []string{"ms since 1970"}},
		{"order gives a string", one(mapping.Change{Entity: `"x"`, Order: `"1"`}), "mapping.changes[0].order", []string{"an int"}},
		{"too long", one(mapping.Change{Entity: `"` + strings.Repeat("x", mapping.MaxExpressionBytes) + `"`}), "mapping.changes[0].entity", []string{"16386 bytes", "16384"}},
		{"too dear", mapping.Config{MaxCost: 50, Changes: []mapping.Change{{Entity: `string([1,2,3,4,5,6,7,8,9].map(x, [1,2,3,4,5,6,7,8,9].map(y, x * y)).size())`}}}, "mapping.changes[0].entity", []string{"costs at least", "max_cost is 50"}},
		{"bad regular expression", one(mapping.Change{Entity: `"x"`, When: `event.a.matches("(")`}), "mapping.changes[0].when", []string{"missing closing )"}},
		{"second change", mapping.Config{Changes: []mapping.Change{{Entity: `"x"`}, {Entity: `"x"`, Text: `evnt.a`}}}, "mapping.changes[1].text", []string{"'evnt'"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mapping.New(tt.cfg, nil)
			c, e := code(t, err)
			if c != freshet.CodeInvalidField || e.Field != tt.field {
				t.Errorf("got %q of %q, want %q of %q: %v", c, e.Field, freshet.CodeInvalidField, tt.field, err)
			}
			for _, s := range tt.says {
				if !strings.Contains(e.Message, s) {
					t.Errorf("%q does not say %q", e.Message, s)
				}
			}
		})
	}
}

func TestAllConfigErrorsAtOnce(t *testing.T) {
	_, err := mapping.New(mapping.Config{Changes: []mapping.Change{{Entity: `a`, Text: `b`}, {Entity: `"x"`, Order: `c`}}}, nil)
	for _, field := range []string{"mapping.changes[0].entity", "mapping.changes[0].text", "mapping.changes[1].order"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
}

func TestEventErrors(t *testing.T) {
	change := mapping.Change{Entity: `event.id`, Collection: `event.?c`, EventID: `event.?eid`, Op: `event.?op`, Text: `event.?text`,
		Vector: `event.?v`, Metadata: `event.?m`, Timestamp: `event.?ts`, Order: `event.?order`}
	long := strings.Repeat("x", freshet.MaxIDBytes+1)
	tests := []struct {
		event string
		code  freshet.Code
		field string // behind mapping.changes[0].
		says  string
	}{
		{`{"id":"e","text":"t"}`, "", "", ""},
		{``, freshet.CodeInvalidJSON, "", "end of input at byte 0"},
		{`{"id":"e"`, freshet.CodeInvalidJSON, "", "at byte 9"},
		{`{"id":"e"} x`, freshet.CodeInvalidJSON, "", `unexpected "x"`},
		{`[1]`, freshet.CodeInvalidJSON, "", "an event is a JSON object, this is the list [1]"},
		{`"e"`, freshet.CodeInvalidJSON, "", `the string "e"`},
		{"{\"id\":\"\xff\"}", freshet.CodeInvalidUTF8, "", "UTF-8"},
		{`{"id":"\ud800"}`, freshet.CodeInvalidJSON, "", "surrogate"},
		{`{"id":1e999}`, freshet.CodeInvalidJSON, "", "range of a double"},
		{strings.Repeat("[", 1000), freshet.CodeInvalidJSON, "", "nested deeper than 128"},
		{`{"text":"t"}`, freshet.CodeMappingFailed, "entity", `no such key: id in "event.id"; where a field may be absent write`},
		{`{"id":null,"text":"t"}`, freshet.CodeMissingField, "entity", "every change names its entity"},
		{`{"id":"","text":"t"}`, freshet.CodeInvalidField, "entity", "is empty"},
		{`{"id":"a\nb","text":"t"}`, freshet.CodeInvalidField, "entity", "control character at byte 1"},
		{`{"id":"` + long + `","text":"t"}`, freshet.CodeInvalidField, "entity", "1025 bytes"},
		{`{"id":true,"text":"t"}`, freshet.CodeInvalidField, "entity", "the bool true, but must be a string or an int"},
		{`{"id":1.5,"text":"t"}`, freshet.CodeInvalidField, "entity", "the double 1.5"},
		{`{"id":99999999999999999999,"text":"t"}`, freshet.CodeInvalidField, "entity", "the double 1e+20"},
		{`{"id":{"a":[1]},"text":"t"}`, freshet.CodeInvalidField, "entity", `the map {"a":[1]}`},
		{`{"id":"e","c":"","text":"t"}`, freshet.CodeInvalidField, "collection", "is empty"},
		{`{"id":"e","eid":"\u0000","text":"t"}`, freshet.CodeInvalidField, "event_id", "control character"},
		{`{"id":"e","op":"remove","text":"t"}`, freshet.CodeInvalidField, "op", `"remove", but must be "upsert", "patch" or "delete"`},
		{`{"id":"e","text":5}`, freshet.CodeInvalidField, "text", "the int 5, but must be a string"},
		{`{"id":"e"}`, freshet.CodeNoContent, "text", "needs one to be found by"},
		{`{"id":"e","text":" \n"}`, freshet.CodeNoContent, "text", "needs one to be found by"},
		{`{"id":"e","v":[]}`, freshet.CodeBadVector, "vector", "empty list"},
		{`{"id":"e","v":[1,"2"]}`, freshet.CodeBadVector, "vector", `element 1 is the string "2"`},
		{`{"id":"e","v":[1,null]}`, freshet.CodeBadVector, "vector", "element 1 is the null"},
		{`{"id":"e","v":[1e39]}`, freshet.CodeBadVector, "vector", "element 0 is 1e+39"},
		{`{"id":"e","v":{}}`, freshet.CodeInvalidField, "vector", "must be a list of numbers"},
		{`{"id":"e","text":"t","m":[1]}`, freshet.CodeInvalidField, "metadata", "must be a map"},
		{`{"id":"e","text":"t","ts":-1}`, freshet.CodeInvalidField, "timestamp", "the int -1"},
		{`{"id":"e","text":"t","ts":"yesterday"}`, freshet.CodeInvalidField, "timestamp", `"yesterday"`},
		{`{"id":"e","text":"t","ts":1.5}`, freshet.CodeInvalidField, "timestamp", "the double 1.5"},
		{`{"id":"e","text":"t","order":0}`, freshet.CodeInvalidField, "order", "the int 0, but must be an int from 1"},
		{`{"id":"e","text":"t","order":9223372036854775808}`, freshet.CodeInvalidField, "order", "9223372036854775808"},
	}
	m := newMapper(t, change)
	for _, tt := range tests {
		drafts, err := m.Map(record(tt.event))
		c, e := code(t, err)
		field := tt.field
		if field != "" {
			field = "mapping.changes[0]." + field
		}
		if c != tt.code || e.Field != field || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%.80s\ngot  %q of %q: %s\nwant %q of %q: …%s…", tt.event, c, e.Field, e.Message, tt.code, field, tt.says)
		}
		if err != nil && len(drafts) > 1 {
			t.Errorf("%.80s: %d drafts came with the error, at most the one at fault should", tt.event, len(drafts))
		}
	}
}

// TestFailedDraft checks that a dead letter can name the entity.
func TestFailedDraft(t *testing.T) {
	m := newMapper(t, mapping.Change{Entity: `"ok"`, Text: `"t"`},
		mapping.Change{ForEach: `event.items`, Entity: `item.id`, EventID: `event.id`, Text: `item.text`})
	drafts, err := m.Map(record(`{"id":"ev","items":[{"id":"a","text":"t"},{"id":"b"}]}`))
	if c, e := code(t, err); c != freshet.CodeMappingFailed || e.Field != "mapping.changes[1].text" || !strings.Contains(e.Message, "(element 1 of for_each)") {
		t.Errorf("got %v", err)
	}
	if len(drafts) != 1 || drafts[0].Key.Entity != "b" || drafts[0].EventID != "ev" {
		t.Errorf("got %+v, want the draft of b alone", drafts)
	}
}

func TestRuntimeTypeErrors(t *testing.T) {
	tests := []struct {
		change mapping.Change
		event  string
		says   string
	}{
		{mapping.Change{Entity: `event.a + event.b`, Text: `"t"`}, `{"a":"x","b":1}`, "no such overload"},
		{mapping.Change{When: `event.a`, Entity: `"e"`, Text: `"t"`}, `{"a":"yes"}`, `the string "yes", but must be a bool`},
		{mapping.Change{ForEach: `event.a`, Entity: `"e"`, Text: `"t"`}, `{"a":{"b":1}}`, `the map {"b":1}, but must be a list`},
		{mapping.Change{Entity: `"e"`, Text: `event.a[5]`}, `{"a":[]}`, "index out of bounds"},
		{mapping.Change{Entity: `"e"`, Text: `string(1 / event.a)`}, `{"a":0}`, "division by zero"},
		{mapping.Change{Entity: `"e"`, Text: `string(int(event.a))`}, `{"a":"x"}`, "type conversion"},
		{mapping.Change{Entity: `"e"`, Text: `event.a.matches(event.b) ? "x" : "y"`}, `{"a":"x","b":"((((a{30}){30}){30}){30})"}`, "regex"},
		{mapping.Change{Entity: `"e"`, Text: `"t"`, Metadata: `{"x": {event.a: 1}}`}, `{"a":1}`, "key 1 is a int"},
		{mapping.Change{Entity: `"e"`, Text: `"t"`, Metadata: `{"x": type(event.a)}`}, `{"a":1}`, "no JSON form"},
		{mapping.Change{Entity: `"e"`, Text: `"t"`, Metadata: `{"x": 1.0 / event.a}`}, `{"a":0.0}`, "no JSON number"},
	}
	for _, tt := range tests {
		_, err := newMapper(t, tt.change).Map(record(tt.event))
		if c, e := code(t, err); c == "" || !strings.Contains(e.Message, tt.says) || !strings.HasPrefix(e.Field, "mapping.changes[0].") {
			t.Errorf("%+v on %s: got %v, want …%s…", tt.change, tt.event, err, tt.says)
		}
	}
}

func TestLimits(t *testing.T) {
	list := func(n int) string {
		return `{"n":[` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `]}`
	}
	each := newMapper(t, mapping.Change{ForEach: `event.n`, Entity: `index`, Text: `"t"`})
	if drafts, err := each.Map(record(list(mapping.MaxElements))); err != nil || len(drafts) != mapping.MaxElements {
		t.Errorf("%d elements: %d drafts, %v", mapping.MaxElements, len(drafts), err)
	}
	_, err := each.Map(record(list(mapping.MaxElements + 1)))
	if c, e := code(t, err); c != freshet.CodeTooLarge || e.Field != "mapping.changes[0].for_each" || !strings.Contains(e.Message, "10001 elements") {
		t.Errorf("got %v", err)
	}

	cubic := `string(event.n.map(a, event.n.map(b, event.n.filter(c, a + b > c).size()).size()).size())`
	m, err := mapping.New(mapping.Config{MaxCost: 200_000, Changes: []mapping.Change{{Entity: `"e"`, Text: cubic}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := mapOne(t, m, list(20)); d.Text != "20" {
		t.Errorf("a small event gave %q", d.Text)
	}
	_, err = m.Map(record(list(1000)))
	if c, e := code(t, err); c != freshet.CodeMappingFailed || !strings.Contains(e.Message, "max_cost") {
		t.Errorf("a large event gave %v, want an error that names max_cost", err)
	}
}

// TestCostIsLimitedOverAllDrafts: no single evaluation is dear here.
func TestCostIsLimitedOverAllDrafts(t *testing.T) {
	event := `{"n":[` + strings.TrimSuffix(strings.Repeat("1,", 300), ",") + `]}`
	sum := `string(event.n.map(a, a + index).size())`
	for max, want := range map[uint64]freshet.Code{100_000: freshet.CodeMappingFailed, 10_000_000: ""} {
		m, err := mapping.New(mapping.Config{MaxCost: max, Changes: []mapping.Change{{ForEach: `event.n`, Entity: `index`, Text: sum}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		drafts, err := m.Map(record(event))
		if c, _ := code(t, err); c != want {
			t.Errorf("max_cost %d: got %v, want code %q", max, err, want)
		}
		if want == "" && len(drafts) != 300 {
			t.Errorf("max_cost %d: %d drafts, want 300", max, len(drafts))
		}
	}
}

// TestCopiesAreLimited: a long event must not become as many copies of itself as it has elements.
func TestCopiesAreLimited(t *testing.T) {
	event := `{"body":"` + strings.Repeat("x", 1<<20) + `","n":[` + strings.TrimSuffix(strings.Repeat("1,", 5000), ",") + `]}`
	for _, change := range []mapping.Change{
		{ForEach: `event.n`, Entity: `index`, Text: `event.body`},
		{ForEach: `event.n`, Entity: `index`, Text: `"t"`, Metadata: `event`},
		{ForEach: `event.n`, Entity: `index`, Text: `event.body + "!"`},
	} {
		_, err := newMapper(t, change).Map(record(event))
		if c, e := code(t, err); c != freshet.CodeMappingFailed || !strings.Contains(e.Message, "max_cost") {
			t.Errorf("%+v: got %v, want an error that names max_cost", change, err)
		}
	}
}

func TestValidateIsPartOfNew(t *testing.T) {
	err := mapping.Config{}.Validate()
	var e *freshet.Error
	if !errors.As(err, &e) || e.Field != "mapping.changes" {
		t.Errorf("got %v", err)
	}
}
