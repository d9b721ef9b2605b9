package mapping_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/process/mapping"
)

func newMapper(t testing.TB, changes ...mapping.Change) *mapping.Mapper {
	t.Helper()
	m, err := mapping.New(mapping.Config{Changes: changes}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func record(event string) process.Record {
	return process.Record{Source: "shop", AcceptedAt: 1700000000123, Value: []byte(event)}
}

func mapOne(t testing.TB, m process.Mapper, event string) process.Draft {
	t.Helper()
	drafts, err := m.Map(record(event))
	if err != nil {
		t.Fatal(err)
	}
	if len(drafts) != 1 {
		t.Fatalf("%d drafts, want 1: %+v", len(drafts), drafts)
	}
	return drafts[0]
}

// upsert is a draft with the defaults.
func upsert(entity, text string) process.Draft {
	return process.Draft{Key: freshet.Key{Collection: "default", Namespace: "default", Entity: entity},
		Op: freshet.OpUpsert, Text: text, Embed: text}
}

func TestFields(t *testing.T) {
	with := func(change func(*process.Draft)) process.Draft {
		d := upsert("e", "t")
		change(&d)
		return d
	}
	base := mapping.Change{Entity: `event.id`, Text: `event.text`}
	tests := []struct {
		name  string
		set   func(*mapping.Change)
		event string // members beside id and text
		want  process.Draft
	}{
		{"defaults", func(*mapping.Change) {}, ``, upsert("e", "t")},
		{"constant collection", func(c *mapping.Change) { c.Collection = `"products"` }, ``, with(func(d *process.Draft) { d.Key.Collection = "products" })},
		{"collection from the source", func(c *mapping.Change) { c.Collection = `source` }, ``, with(func(d *process.Draft) { d.Key.Collection = "shop" })},
		{"namespace", func(c *mapping.Change) { c.Namespace = `event.tenant` }, `"tenant":"eu/1"`, with(func(d *process.Draft) { d.Key.Namespace = "eu/1" })},
		{"namespace null", func(c *mapping.Change) { c.Namespace = `event.tenant` }, `"tenant":null`, upsert("e", "t")},
		{"namespace absent", func(c *mapping.Change) { c.Namespace = `event.?tenant` }, ``, upsert("e", "t")},
		{"namespace an int", func(c *mapping.Change) { c.Namespace = `event.tenant` }, `"tenant":7`, with(func(d *process.Draft) { d.Key.Namespace = "7" })},
		{"entity an exact int", func(c *mapping.Change) { c.Entity = `event.n` }, `"n":9007199254740993`, with(func(d *process.Draft) { d.Key.Entity = "9007199254740993" })},
		{"entity a negative int", func(c *mapping.Change) { c.Entity = `event.n` }, `"n":-9223372036854775808`, with(func(d *process.Draft) { d.Key.Entity = "-9223372036854775808" })},
		{"entity a uint", func(c *mapping.Change) { c.Entity = `event.n` }, `"n":18446744073709551615`, with(func(d *process.Draft) { d.Key.Entity = "18446744073709551615" })},
		{"entity a whole double", func(c *mapping.Change) { c.Entity = `event.n` }, `"n":1e3`, with(func(d *process.Draft) { d.Key.Entity = "1000" })},
		{"entity composed", func(c *mapping.Change) { c.Entity = `source + "/" + string(event.n)` }, `"n":12`, with(func(d *process.Draft) { d.Key.Entity = "shop/12" })},
		{"entity with escapes", func(c *mapping.Change) { c.Entity = `event.n` }, `"n":"\u00fc\ud83d\ude00/"`, with(func(d *process.Draft) { d.Key.Entity = "ü😀/" })},
		{"event id", func(c *mapping.Change) { c.EventID = `event.event` }, `"event":42`, with(func(d *process.Draft) { d.EventID = "42" })},
		{"op upsert", func(c *mapping.Change) { c.Op = `"upsert"` }, ``, upsert("e", "t")},
		{"op delete", func(c *mapping.Change) { c.Op = `event.gone ? "delete" : "upsert"` }, `"gone":true`, with(func(d *process.Draft) { d.Op, d.Text, d.Embed = freshet.OpDelete, "", "" })},
		{"delete", func(c *mapping.Change) { c.Delete, c.Text = `event.op == "d"`, `event.missing` }, `"op":"d"`, with(func(d *process.Draft) { d.Op, d.Text, d.Embed = freshet.OpDelete, "", "" })},
		{"not deleted", func(c *mapping.Change) { c.Delete = `event.op == "d"` }, `"op":"u"`, upsert("e", "t")},
		{"a deletion has times", func(c *mapping.Change) {
			c.Delete, c.Timestamp, c.Order, c.EventID = `true`, `event.ts`, `event.n`, `"x"`
		}, `"ts":5,"n":6`,
			with(func(d *process.Draft) {
				d.Op, d.Text, d.Embed, d.Timestamp, d.Order, d.EventID = freshet.OpDelete, "", "", 5, 6, "x"
			})},
		{"text as it is", func(c *mapping.Change) { c.Text = `event.body` }, `"body":" a\r\n\u0000b "`, with(func(d *process.Draft) { d.Text, d.Embed = " a\r\n\x00b ", " a\r\n\x00b " })},
		{"text joined", func(c *mapping.Change) { c.Text = `event.text + "\n" + event.?body.orValue("-")` }, ``, with(func(d *process.Draft) { d.Text, d.Embed = "t\n-", "t\n-" })},
		{"embed apart from the text", func(c *mapping.Change) { c.Embed = `event.title` }, `"title":"T"`, with(func(d *process.Draft) { d.Embed = "T" })},
		{"embed absent", func(c *mapping.Change) { c.Embed = `event.?title` }, ``, upsert("e", "t")},
		{"vector", func(c *mapping.Change) { c.Vector = `event.v` }, `"v":[1,-0.5,1e-3]`, with(func(d *process.Draft) { d.Vector = []float32{1, -0.5, 0.001} })},
		{"vector without text", func(c *mapping.Change) { c.Vector, c.Text = `event.v`, `` }, `"v":[1]`, with(func(d *process.Draft) { d.Vector, d.Text, d.Embed = []float32{1}, "", "" })},
		{"vector computed", func(c *mapping.Change) { c.Vector = `event.v.map(x, double(x) / 2.0)` }, `"v":[1,2]`, with(func(d *process.Draft) { d.Vector = []float32{0.5, 1} })},
		{"vector null", func(c *mapping.Change) { c.Vector = `event.v` }, `"v":null`, upsert("e", "t")},
		{"metadata", func(c *mapping.Change) { c.Metadata = `{"price": event.price, "cat": [event.cat, "x"], "a": event.n}` }, `"price":9.50,"cat":"c","n":9007199254740993`,
			with(func(d *process.Draft) { d.Metadata = []byte(`{"a":9007199254740993,"cat":["c","x"],"price":9.5}`) })},
		{"metadata of an object", func(c *mapping.Change) { c.Metadata = `event.m` }, `"m":{"z":1,"a":{"y":null,"x":true},"z":2}`, with(func(d *process.Draft) { d.Metadata = []byte(`{"a":{"x":true,"y":null},"z":2}`) })},
		{"metadata with an optional member", func(c *mapping.Change) { c.Metadata = `{?"a": event.?a, ?"b": event.?b}` }, `"b":1`, with(func(d *process.Draft) { d.Metadata = []byte(`{"b":1}`) })},
		{"metadata empty", func(c *mapping.Change) { c.Metadata = `{}` }, ``, with(func(d *process.Draft) { d.Metadata = []byte(`{}`) })},
		{"metadata null", func(c *mapping.Change) { c.Metadata = `event.m` }, `"m":null`, upsert("e", "t")},
		{"metadata of all types", func(c *mapping.Change) {
			c.Metadata = `{"t": timestamp("2024-02-29T12:00:00.5Z"), "d": duration("90s"), "b": b"hi", "u": 18446744073709551615u, "n": null, "f": 1e21, "g": 1e-7, "s": "<\"\\\n\u001f\u007f\u2028>"}`
		}, ``, with(func(d *process.Draft) {
			d.Metadata = []byte(`{"b":"aGk=","d":"90s","f":1e+21,"g":1e-07,"n":null,"s":"<\"\\\n\u001f` + "\x7f\u2028" + `>","t":"2024-02-29T12:00:00.5Z","u":18446744073709551615}`)
		})},
		{"timestamp in ms", func(c *mapping.Change) { c.Timestamp = `event.ts` }, `"ts":1700000000000`, with(func(d *process.Draft) { d.Timestamp = 1700000000000 })},
		{"timestamp in s", func(c *mapping.Change) { c.Timestamp = `event.ts * 1000` }, `"ts":1700000000`, with(func(d *process.Draft) { d.Timestamp = 1700000000000 })},
		{"timestamp in RFC 3339", func(c *mapping.Change) { c.Timestamp = `event.ts` }, `"ts":"2023-11-14T23:13:20.001+01:00"`, with(func(d *process.Draft) { d.Timestamp = 1700000000001 })},
		{"timestamp of acceptance", func(c *mapping.Change) { c.Timestamp = `accepted_at` }, ``, with(func(d *process.Draft) { d.Timestamp = 1700000000123 })},
		{"order", func(c *mapping.Change) { c.Order = `event.lsn` }, `"lsn":9223372036854775807`, with(func(d *process.Draft) { d.Order = 9223372036854775807 })},
		{"order from a text", func(c *mapping.Change) { c.Order = `int(event.lsn)` }, `"lsn":"33"`, with(func(d *process.Draft) { d.Order = 33 })},
		{"when", func(c *mapping.Change) { c.When = `event.n > 1.5 && event.text.startsWith("t")` }, `"n":2`, upsert("e", "t")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := base
			tt.set(&c)
			event := `{"id":"e","text":"t"`
			if tt.event != "" {
				event += "," + tt.event
			}
			if got := mapOne(t, newMapper(t, c), event+"}"); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("\ngot  %+v\nwant %+v\nmetadata %s", got, tt.want, got.Metadata)
			}
		})
	}
}

func TestDropped(t *testing.T) {
	m := newMapper(t,
		mapping.Change{When: `event.type == "a"`, Entity: `event.id`, Text: `event.missing`},
		mapping.Change{When: `event.?on.orValue(false)`, Entity: `event.id`, Text: `event.missing`},
		mapping.Change{ForEach: `event.items`, Entity: `item`, Text: `item`},
		mapping.Change{ForEach: `event.?more`, Entity: `item`, Text: `item`})
	drafts, err := m.Map(record(`{"type":"b","items":[]}`))
	if err != nil || len(drafts) != 0 {
		t.Errorf("got %v, %v; want neither", drafts, err)
	}
}

func TestForEachAndOrder(t *testing.T) {
	m := newMapper(t,
		mapping.Change{Entity: `"order-" + string(event.id)`, Text: `event.note`},
		mapping.Change{When: `event.id == 2`, Entity: `"never"`, Text: `"x"`},
		mapping.Change{
			When: `event.id == 1`, ForEach: `event.items.filter(i, i.qty > 0)`,
			Entity: `item.sku`, EventID: `event.id`, Text: `string(index) + ":" + item.name`, Delete: `item.qty == 9`},
		mapping.Change{ForEach: `event.tags`, Collection: `"tags"`, Entity: `item`, Text: `item`})
	drafts, err := m.Map(record(`{"id":1,"note":"n","items":[{"sku":"a","qty":1,"name":"A"},{"sku":"b","qty":0},{"sku":"c","qty":9}],"tags":["x","y"]}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range drafts {
		got = append(got, fmt.Sprintf("%s/%s %s %q %q", d.Key.Collection, d.Key.Entity, d.Op, d.Text, d.EventID))
	}
	want := []string{`default/order-1 upsert "n" ""`, `default/a upsert "0:A" "1"`, `default/c delete "" "1"`, `tags/x upsert "x" ""`, `tags/y upsert "y" ""`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %q\nwant %q", got, want)
	}
}

// TestMapsAreWalkedInOneOrder would fail with Go's own maps within a few tries.
func TestMapsAreWalkedInOneOrder(t *testing.T) {
	m := newMapper(t, mapping.Change{Entity: `"e"`, Text: `event.m.map(k, k).join() + {"z": 1, "y": 2, "x": 3, "w": 4}.map(k, k).join() + ` +
		`{3: "c", 2u: "b", 1: "a", true: "d"}.map(k, string(k)).join()`, Metadata: `{"m": {"b": 1, "a": {"d": 1, "c": 2}}}`})
	for range 100 {
		d := mapOne(t, m, `{"m":{"d":1,"b":2,"c":3,"a":4,"b":5}}`)
		if want := "abcdwxyztrue132"; d.Text != want {
			t.Fatalf("text is %q, want %q", d.Text, want)
		}
		if want := `{"m":{"a":{"c":2,"d":1},"b":1}}`; string(d.Metadata) != want {
			t.Fatalf("metadata is %s, want %s", d.Metadata, want)
		}
	}
}

func TestDraftsOutliveTheRecord(t *testing.T) {
	r := record(`{"id":"entity","text":"some text","m":{"k":"v"}}`)
	drafts, err := newMapper(t, mapping.Change{Entity: `event.id`, Text: `event.text`, Metadata: `event.m`}).Map(r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Value {
		r.Value[i] = '!'
	}
	if d := drafts[0]; d.Key.Entity != "entity" || d.Text != "some text" || string(d.Metadata) != `{"k":"v"}` {
		t.Errorf("the draft changed with the record: %+v", d)
	}
}

func TestConcurrentMap(t *testing.T) {
	m := newMapper(t, typical.Changes[0], mapping.Change{ForEach: `event.tags`, Entity: `item`, Text: `event.title.replace("0", item)`})
	want := map[int][]process.Draft{}
	event := func(i int) string {
		return fmt.Sprintf(`{"type":"product","tenant":"t","id":%d,"event_id":"e%d","deleted":false,"title":"title 0 of %d","body":"b","price":%d.5,"category":"c","ts":%d,"tags":["a","b"]}`, i, i, i, i, i)
	}
	for i := range 50 {
		drafts, err := m.Map(record(event(i)))
		if err != nil {
			t.Fatal(err)
		}
		want[i] = drafts
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				if drafts, err := m.Map(record(event(i))); err != nil || !reflect.DeepEqual(drafts, want[i]) {
					t.Errorf("event %d: %+v, %v; alone it was %+v", i, drafts, err, want[i])
				}
			}
		})
	}
	wg.Wait()
}

func TestDescribe(t *testing.T) {
	cfg := func(text string) mapping.Config {
		return mapping.Config{Changes: []mapping.Change{{When: `event.x in ["a"]`, Entity: `event.id`, Text: text, Metadata: `{?"a": event.?a}`}}}
	}
	describe := func(c mapping.Config) string {
		t.Helper()
		m, err := mapping.New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m.Describe()
	}
	// Golden: another text here means that every running installation refuses to start until
	// its operator accepts a new revision.
	want := `cel/1 strings=5 math=3 lists=4 optional=2 max_cost=5000000
change 0
  when "event.x in [\"a\"]"
  entity "event.id"
  text "event.tags.filter(t, t != \"\").map(t, t.lowerAscii()).join(\"\\n\")"
  metadata "{?\"a\": event.?a}"
`
	text := `event.tags.filter(t, t != "").map(t, t.lowerAscii()).join("\n")`
	if got := describe(cfg(text)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := describe(cfg("event.tags // the tags\n  .filter(t, t != '')\n  .map(t,t.lowerAscii()).join('\\n')")); got != want {
		t.Errorf("spaces, comments and quotes make a difference:\n%s", got)
	}
	others := []mapping.Config{cfg(`event.tags.join("\n")`), cfg(text), cfg(text), cfg(text)}
	others[1].MaxCost = 5
	others[2].Changes = append(others[2].Changes, others[2].Changes[0])
	others[3].Changes[0].Embed = `"x"`
	seen := map[string]bool{want: true}
	for i, c := range others {
		if i == 1 {
			c.MaxCost = 1 << 20
		}
		if d := describe(c); seen[d] {
			t.Errorf("two different mappings have the text\n%s", d)
		} else {
			seen[d] = true
		}
	}
}

func TestConfigFromYAML(t *testing.T) {
	source := `
changes:
  - when: event.type == "product"
    for_each: event.items
    collection: '"products"'
    namespace: event.tenant
    entity: item.sku
    event_id: event.id
    delete: item.gone
    text: item.title + "\n" + item.body
    embed: item.title
    vector: item.embedding
    metadata: '{"price": item.price}'
    timestamp: event.ts
    order: event.lsn
  - entity: event.id
    op: '"delete"'
max_cost: 4000000
`
	var cfg mapping.Config
	if err := yaml.NewDecoder(strings.NewReader(source), yaml.Strict()).Decode(&cfg); err != nil {
		t.Fatal(err)
	}
	m, err := mapping.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"when", "for_each", "collection", "namespace", "entity", "event_id", "delete", "text", "embed", "vector", "metadata", "timestamp", "order", "op"} {
		if !strings.Contains(m.Describe(), "  "+field+" ") {
			t.Errorf("%s did not get through:\n%s", field, m.Describe())
		}
	}
	if !strings.Contains(m.Describe(), "max_cost=4000000") {
		t.Errorf("max_cost did not get through:\n%s", m.Describe())
	}
}

// code returns the code of a *freshet.Error, "" for nil.
func code(t testing.TB, err error) (freshet.Code, *freshet.Error) {
	t.Helper()
	if err == nil {
		return "", &freshet.Error{}
	}
	var e *freshet.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *freshet.Error", err, err)
	}
	return e.Code, e
}

func TestLongEventsInBoundedTime(t *testing.T) {
	// Each of these is minutes or gigabytes with the functions as CEL has them.
	half := bytes.Repeat([]byte("a"), 1<<19)
	event := fmt.Sprintf(`{"a":"%s","b":"%sb","tags":[%s0]}`, half, half[:1<<18], strings.Repeat("1,", 1<<18))
	for _, text := range []string{
		`string(event.a.indexOf(event.b))`, `string(event.a.lastIndexOf(event.b))`,
		`event.a.replace("", event.b)`, `string(size(event.tags.distinct()))`,
		`string(size(event.tags.filter(x, event.tags.exists(y, y > x))))`,
	} {
		m, err := mapping.New(mapping.Config{MaxCost: 300_000, Changes: []mapping.Change{{Entity: `"e"`, Text: text}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		drafts, err := m.Map(record(event))
		if c, _ := code(t, err); c != "" && c != freshet.CodeMappingFailed {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && len(drafts[0].Text) > 100 {
			t.Errorf("%s: a text of %d bytes", text, len(drafts[0].Text))
		}
	}
}
