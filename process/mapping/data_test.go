package mapping_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process/mapping"
)

// shared reads a file of real data; without it the test is skipped.
func shared(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("FRESHET_SHARED")
	for at := "."; dir == ""; at = filepath.Join("..", at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			dir = filepath.Join(at, "..", "shared")
		} else if !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", name))
	if err != nil {
		t.Skipf("no real data: %v (set FRESHET_SHARED)", err)
	}
	return b
}

// debezium reads the envelopes of Debezium, with and without their schema.
var debezium = mapping.Change{
	When:       `has(event.op) || has(event.payload)`,
	Collection: `(has(event.payload) ? event.payload : event).source.table`,
	Entity:     `has(event.after) && event.after != null ? event.after.id : event.before.id`,
	EventID:    `event.source.file + ":" + string(event.source.pos)`,
	Delete:     `event.op == "d"`,
	Text:       `event.after.first_name + " " + event.after.last_name`,
	Metadata:   `event.after`,
	Timestamp:  `event.ts_ms`,
	Order:      `event.source.pos`,
}

func TestDebezium(t *testing.T) {
	m := newMapper(t, debezium)
	update := shared(t, "cdc_formats/debezium/serde-update.json")
	d := mapOne(t, m, string(update))
	if d.Key.Collection != "customers" || d.Key.Entity != "1004" || d.Text != "Anne Kretchmar" || d.Op != freshet.OpUpsert ||
		d.EventID != "mysql-bin.000003:154" || d.Order != 154 || d.Timestamp != 1465491411815 ||
		string(d.Metadata) != `{"email":"annek@noanswer.org","first_name":"Anne","id":1004,"last_name":"Kretchmar"}` {
		t.Errorf("got %+v with metadata %s", d, d.Metadata)
	}

	// The same row deleted: after is null.
	var envelope map[string]any
	if err := json.Unmarshal(update, &envelope); err != nil {
		t.Fatal(err)
	}
	envelope["op"], envelope["after"] = "d", nil
	deletion, err := json.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	if d := mapOne(t, m, string(deletion)); d.Op != freshet.OpDelete || d.Key.Entity != "1004" || d.Text != "" || d.Metadata != nil {
		t.Errorf("got %+v", d)
	}

	// With the schema around it the row lies below payload.
	inner := newMapper(t, mapping.Change{Entity: `event.payload.after.id`, Collection: debezium.Collection, Text: `event.payload.after.email`})
	if d := mapOne(t, inner, string(shared(t, "cdc_formats/debezium/serde-with-schema.json"))); d.Key.Collection != "customers" || d.Text == "" {
		t.Errorf("got %+v", d)
	}
}

func TestProducts(t *testing.T) {
	m := newMapper(t, mapping.Change{
		Collection: `"products"`, Entity: `event.id`, Namespace: `event.category`,
		Text:     `event.name + "\n" + event.description`,
		Metadata: `{"price": event.price, "stock": event.current_stock, "style": event.style, ?"gender": event.?gender_affinity}`,
	})
	lines := bytes.Split(bytes.TrimSpace(shared(t, "retail_demo_store/products.jsonl")), []byte("\n"))
	for _, line := range lines {
		var want struct {
			ID, Name, Description, Category, Style string
			Price                                  float64
			Current_stock                          int
			Gender_affinity                        *string
		}
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		d := mapOne(t, m, string(line))
		var meta struct {
			Price  float64
			Stock  int
			Style  string
			Gender *string
		}
		if err := json.Unmarshal(d.Metadata, &meta); err != nil {
			t.Fatal(err)
		}
		if d.Key != (freshet.Key{Collection: "products", Namespace: want.Category, Entity: want.ID}) || d.Text != want.Name+"\n"+want.Description ||
			meta.Price != want.Price || meta.Stock != want.Current_stock || meta.Style != want.Style || (meta.Gender == nil) != (want.Gender_affinity == nil) {
			t.Fatalf("%s\ngave %+v with metadata %s", line, d, d.Metadata)
		}
	}
	t.Logf("%d products", len(lines))
}
