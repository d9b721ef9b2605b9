package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// debeziumStream is what Debezium writes of a table in MySQL, with everything that is no change of a row between; a line each.
var debeziumStream = strings.Join([]string{
	change(100, "c", `null`, `{"id":1,"title":"red boots","price":20}`),
	change(110, "c", `null`, `{"id":2,"title":"blue coat","price":90.5}`),
	change(120, "c", `null`, `{"id":3,"title":"green hat","price":7}`),
	`{"source":{"connector":"mysql","db":"shop"},"databaseName":"shop","ddl":"ALTER TABLE goods ADD stock INT","tableChanges":[]}`,
	`{"op":"c","before":null,`, // cut off: refused before the answer
	change(130, "u", `{"id":1,"title":"red boots","price":20}`, `{"id":1,"title":"red boots of leather","price":25}`),
	change(130, "u", `{"id":1,"title":"red boots","price":20}`, `{"id":1,"title":"red boots of leather","price":25}`), // told twice
	change(140, "u", `{"id":3,"title":"green hat","price":7}`, `{"id":4,"title":"green hat","price":7}`),
	change(150, "d", `{"id":2,"title":"blue coat","price":90.5}`, `null`),
	`{"key":{"id":2},"value":null}`,
	`null`,
	`{"op":"d","before":null,"after":null,"source":{"connector":"mysql","db":"shop","table":"goods"}}`,
	`{"op":"c","after":{"title":"no key"},"source":{"connector":"mysql","db":"shop","table":"goods"}}`,
	`{"before":null,"after":{"id":9}}`,
	change(160, "c", `null`, `{"id":5,"title":"grey gloves","price":12}`),
	strings.Replace(change(170, "c", `null`, `{"id":5,"title":"an order","price":1}`), `"goods"`, `"orders"`, 1),
}, "\n")

func change(pos int, op, before, after string) string {
	return fmt.Sprintf(`{"op":%q,"ts_ms":1700000000999,"before":%s,"after":%s,"source":{"connector":"mysql","name":"m","ts_ms":17000000%05d,"db":"shop","table":"goods","file":"bin.000007","pos":%d,"row":0}}`,
		op, before, after, pos, pos)
}

// TestDebezium sends a stream of changes and looks for each row.
func TestDebezium(t *testing.T) {
	t.Parallel()
	const base = "codec: {format: debezium, key: [id], table: goods}\n"
	for name, c := range map[string]struct{ yaml, metadata string }{
		"by the default mapping": {base, `{"id":1,"price":25}`},
		"by expressions": {base + `
mapping:
  changes:
    - entity: cdc.entity
      text: event.title
      metadata: '{"id": event.id, "price": event.price}'
`, `{"id":1,"price":25}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, a := startServer(t, c.yaml)
			in, status := a.post("application/x-ndjson", debeziumStream)
			if status != http.StatusOK || in.Accepted != 15 || in.RejectedCount != 1 || in.Rejected[0].Index != 4 || in.Rejected[0].Code != "invalid_json" {
				t.Fatalf("status %d, %d accepted, rejected %+v", status, in.Accepted, in.Rejected)
			}
			f := a.search("text", "boots hat gloves", "k", 10, "after", in.Token)
			if len(f.Hits) != 3 || len(f.Warnings) != 3 {
				t.Errorf("found %v with warnings %q, want 1, 4 and 5, and three warnings", f.ids(), f.Warnings)
			}
			look := func() {
				boots := a.entity("1")
				if !strings.Contains(boots.Text, "red boots of leather") || boots.Timestamp != 1700000000130 || boots.Events != 2 || boots.SourceEventID != "m/bin.000007:130:0:1700000000130:u" {
					t.Errorf("the row is %+v", boots)
				}
				if name == "by expressions" && string(boots.Metadata) != c.metadata {
					t.Errorf("its metadata is %s", boots.Metadata)
				}
				for _, id := range []string{"2", "3", "9"} {
					a.gone(id)
				}
				for id, says := range map[string]string{"4": "green hat", "5": "grey gloves"} {
					if e := a.entity(id); !strings.Contains(e.Text, says) {
						t.Errorf("%s says %q, want %q", id, e.Text, says)
					}
				}
				dead := a.deadLetters()
				if len(dead) != 3 {
					t.Errorf("dead letters %+v", dead)
				}
				for i, says := range []string{"before: is null", "id: is missing", "op: is missing"} {
					if i < len(dead) && (!strings.Contains(dead[i].Message, says) || dead[i].Stage != "map" || dead[i].Class != "missing_field" || len(dead[i].Event) == 0) {
						t.Errorf("dead letter %d is %+v, want one that says %q", i, dead[i], says)
					}
				}
			}
			look()
			if o := a.stats().Outcomes; o["dropped"] != 4 || o["repeated"] != 1 || o["applied"] != 6 || o["deleted"] != 2 || o["dead_lettered"] != 3 {
				t.Errorf("outcomes %v", o)
			}
			a.audit()
			s.kill()
			s.start()
			look()
			a.audit()
			s.stop()
			other := newServer(t, "codec: {format: debezium, key: [id]}\n")
			other.data = s.data
			if out := other.refused(); !strings.Contains(out, "mapping") || !strings.Contains(out, "has changed") {
				t.Errorf("another codec is taken on the folder: %s", out)
			}
		})
	}
}
