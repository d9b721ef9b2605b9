package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/process/mapping"
)

func newRowMapper(t *testing.T, o cdc.Options, changes ...mapping.Change) *mapping.Mapper {
	t.Helper()
	d, err := cdc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapping.New(mapping.Config{Changes: changes}, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// show is drafts for people.
func show(drafts []process.Draft) string {
	var all []string
	for _, d := range drafts {
		all = append(all, fmt.Sprintf("%v %s %q %s at %d event %q order %d", d.Op, d.Key.Entity, d.Text, d.Metadata, d.Timestamp, d.EventID, d.Order))
	}
	return strings.Join(all, "; ")
}

// Rows are events, and what else is known of them is cdc.
func TestRows(t *testing.T) {
	const source = `"source":{"connector":"mysql","name":"m","db":"d","table":"t","ts_ms":5000,"file":"b.1","pos":2,"row":0}`
	update := `{"op":"u","before":{"id":1,"sku":"s","t":"old"},"after":{"id":2,"sku":"s","t":"new"},` + source + `}`
	remove := `{"op":"d","before":{"id":1,"sku":"s","t":"old"},` + source + `}`
	const place = `at 5000 event "m/b.1:2:0:5000:`
	for _, c := range []struct {
		name, event, want string
		change            mapping.Change
		order             bool
	}{
		{name: "everything", event: update,
			change: mapping.Change{When: `cdc.op == "u"`, Entity: `cdc.entity`, Text: `event.t`,
				Metadata: `{"was": cdc.before.t, "key": cdc.key, "path": cdc.database + "." + cdc.table, "schema": cdc.?schema, "at": cdc.timestamp, "id": cdc.event_id, "pos": cdc.source.pos}`},
			want: `upsert d.t/2 "new" {"at":5000,"id":"m/b.1:2:0:5000:u","key":"2","path":"d.t","pos":2,"schema":null,"was":"old"} ` + place + `u" order 0`},
		{name: "a key that changes", event: update, change: mapping.Change{Entity: `cdc.key`, Text: `event.t`},
			want: `delete 1 ""  ` + place + `u" order 0; upsert 2 "new"  ` + place + `u" order 0`},
		{name: "an entity that stays though the key changes", event: update, change: mapping.Change{Entity: `event.sku`, Text: `event.t`},
			want: `upsert s "new"  ` + place + `u" order 0`},
		{name: "a deletion", event: remove, change: mapping.Change{Entity: `event.sku`, Text: `event.t`}, want: `delete s ""  ` + place + `d" order 0`},
		{name: "a deletion that is kept as a mark", event: remove, change: mapping.Change{Entity: `event.sku`, Text: `event.t`, Op: `"upsert"`, EventID: `"e"`, Timestamp: `7`},
			want: `upsert s "old"  at 7 event "e" order 0`},
		{name: "the source's order", event: remove, change: mapping.Change{Entity: `cdc.key`, Text: `event.t`}, order: true,
			want: `delete 1 ""  ` + place + `d" order 1099511627778`},
		{name: "no row", event: `null`, change: mapping.Change{Entity: `cdc.key`, Text: `event.t`}},
	} {
		m := newRowMapper(t, cdc.Options{Format: cdc.Debezium, Key: []string{"id"}, Order: c.order}, c.change)
		drafts, err := m.Map(record(c.event))
		if got := show(drafts); got != c.want || err != nil {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
}

// The rows of one event are one: all of them count, or none, and they share its cost.
func TestRowsOfOneEvent(t *testing.T) {
	o := cdc.Options{Format: cdc.Canal}
	m := newRowMapper(t, o, mapping.Change{Entity: `cdc.key`, Text: `event.t`})
	const event = `{"type":"INSERT","pkNames":["id"],"data":[{"id":"1","t":"a"},{"id":"2"%s},{"id":"1","t":"c"}]}`
	drafts, err := m.Map(record(fmt.Sprintf(event, `,"t":"b"`)))
	if got := show(drafts); err != nil || got != `upsert 2 "b"  at 0 event "" order 0; upsert 1 "c"  at 0 event "" order 0` {
		t.Errorf("%s, %v", got, err)
	}
	drafts, err = m.Map(record(fmt.Sprintf(event, ``)))
	if c, e := code(t, err); c != freshet.CodeMappingFailed || e.Field != "mapping.changes[0].text" || len(drafts) != 1 || drafts[0].Key.Entity != "2" {
		t.Errorf("%s, %v", show(drafts), err)
	}
	if m.Describe() == newMapper(t, mapping.Change{Entity: `event.key`, Text: `event.t`}).Describe() || !strings.Contains(m.Describe(), "canal") {
		t.Error("the codec is no part of", m.Describe())
	}
	if _, err := mapping.New(mapping.Config{Changes: []mapping.Change{{Entity: `cdc.key`, Text: `event.t`}}}, nil); err == nil {
		t.Error("cdc is known without a codec")
	}
}
