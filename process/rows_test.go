package process_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/process"
)

func rowsOf(t *testing.T, o cdc.Options) process.Rows {
	t.Helper()
	d, err := cdc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return process.Rows{Decoder: d}
}

func TestRows(t *testing.T) {
	canal := rowsOf(t, cdc.Options{Format: cdc.Canal})
	for _, c := range []struct{ name, rows, old, want string }{
		{"text columns by name, all columns as metadata", `{"id":"1","b":"two","a":"one","d":"2023-01-02","x":"\u0001","n":"5","none":""}`, ``,
			`upsert 1 "one\ntwo" {"id":1,"b":"two","a":"one","d":"2023-01-02T00:00:00Z","n":5,"none":""}`},
		{"a column text", `{"id":"1","text":"red","a":"one"}`, ``, `upsert 1 "red" {"id":1,"a":"one"}`},
		{"the key changes", `{"id":"2","a":"x"}`, `{"id":"1"}`, `delete 1 "" ; upsert 2 "x" {"id":2,"a":"x"}`},
		{"keys that move up", `{"id":"3","a":"x"},{"id":"2","a":"y"}`, `{"id":"2"},{"id":"1"}`,
			`upsert 3 "x" {"id":3,"a":"x"}; delete 1 "" ; upsert 2 "y" {"id":2,"a":"y"}`},
		{"keys that are swapped over a third", `{"id":"9","a":"x"},{"id":"1","a":"y"},{"id":"2","a":"x"}`, `{"id":"1"},{"id":"2"},{"id":"9"}`,
			`upsert 1 "y" {"id":1,"a":"y"}; delete 9 "" ; upsert 2 "x" {"id":2,"a":"x"}`},
	} {
		raw := []byte(fmt.Sprintf(`{"type":"UPDATE","es":7,"pkNames":["id"],"data":[%s],"old":[%s],"mysqlType":{"id":"int","n":"int","d":"date","x":"blob"}}`, c.rows, c.old))
		drafts, err := canal.Map(process.Record{Value: raw})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		clear(raw) // drafts hold no part of it
		var got []string
		for _, d := range drafts {
			if d.Embed != d.Text || d.Timestamp != 7 || d.Key.Collection != freshet.DefaultCollection || d.Key.Namespace != freshet.DefaultNamespace {
				t.Errorf("%s: %+v", c.name, d)
			}
			got = append(got, fmt.Sprintf("%v %s %q %s", d.Op, d.Key.Entity, d.Text, d.Metadata))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, s, c.want)
		}
	}
}

// What can't become an entity is named by key and field.
func TestRowsRefused(t *testing.T) {
	m := rowsOf(t, cdc.Options{Format: cdc.Debezium, Key: []string{"id"}})
	deep := strings.Repeat("[", 128) + strings.Repeat("]", 128)
	for _, c := range []struct {
		in     string
		code   freshet.Code
		field  string
		drafts int
	}{
		{`{"op":"c","after":{"id":1}}`, freshet.CodeNoContent, "after", 1},
		{`{"op":"c","after":{"id":"a\u0007","t":"x"}}`, freshet.CodeInvalidField, "key", 1},
		{fmt.Sprintf(`{"schema":{"fields":[{"field":"after","fields":[{"field":"j","type":"string","name":"io.debezium.data.Json"}]}]},"payload":{"op":"c","after":{"id":1,"t":"x","j":%q}}}`, deep), freshet.CodeInvalidJSON, "", 1},
		{`{"op":"z"}`, freshet.CodeInvalidField, "op", 0},
	} {
		drafts, err := m.Map(process.Record{Value: []byte(c.in)})
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field || len(drafts) != c.drafts {
			t.Errorf("%.200s: %+v, %v", c.in, drafts, err)
		}
	}
	if d := m.Describe(); !strings.Contains(d, "rows/1") || !strings.Contains(d, "debezium") {
		t.Error(d)
	}
}
