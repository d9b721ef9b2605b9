package cdc

import (
	"strconv"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// unavailable stands for a large value of PostgreSQL that an update has left alone, and that the event does not repeat.
const unavailable = "__debezium_unavailable_value"

// debezium reads an event of Debezium, or the value of its record.
func (d *Decoder) debezium(top, key object) ([]Row, error) {
	e, schema, err := d.unwrap(top)
	if err != nil || e == nil {
		return nil, err
	}
	if key, err = d.recordKey(key); err != nil {
		return nil, err
	}
	op := e.get("op")
	if op == nil {
		if e.isNoChange() {
			return nil, nil
		}
		return nil, refuse(freshet.CodeMissingField, "op", "is missing; an event of Debezium has op, before and after (if its rows come flat, say codec.flat: true)")
	}
	source, err := e.child("source", "source")
	if err != nil {
		return nil, err
	}
	r := Row{Source: e.get("source"), Timestamp: timestampOf(source, e),
		Database: firstOf(source, "db", "keyspace"), Schema: source.text("schema"), Table: firstOf(source, "table", "collection")}
	switch r.Op, _ = codec.StringValue(op); r.Op {
	case Create, Read, Update, Delete:
	case "t", "m":
		return nil, nil // truncated, or a message of the application
	default:
		return nil, refuse(freshet.CodeInvalidField, "op", "must be c, r, u, d, t or m, is %s", codec.Clip(op))
	}
	if !d.wanted(&r) {
		return nil, nil
	}
	if r.EventID, r.Order, err = d.place(r.Op, source); err != nil {
		return nil, err
	}
	if err := readRows(&r, e, source, schema); err != nil {
		return nil, err
	}
	keys := d.opts.Key
	switch {
	case keys != nil:
	case isDocument(e, source):
		keys = []string{"_id"}
		key = documentKey(key)
	default:
		keys = key.names()
	}
	if r.After == nil { // a deletion without the row before
		for _, m := range key {
			r.After = append(r.After, Column{Name: m.Name, Value: m.Value, Text: m.Value[0] == '"'})
		}
		if r.After == nil {
			return nil, refuse(freshet.CodeMissingField, "before", `is null, and so nothing says what is deleted; send the record with its key as {"key": …, "value": …}, or let the source log the row before`)
		}
	}
	return d.split(nil, r, keys, key)
}

// readRows reads before and after into a row.
func readRows(r *Row, e, source object, schema *schema) (err error) {
	if source.text("connector") == "cassandra" {
		return readCells(r, e)
	}
	if r.Before, err = readRow(e.get("before"), "before", schema.field("before")); err != nil {
		return err
	}
	if r.After, err = readRow(e.get("after"), "after", schema.field("after")); err != nil {
		return err
	}
	if r.Op == Delete {
		r.After = r.Before
		return nil
	}
	if r.After == nil {
		return refuse(freshet.CodeMissingField, "after", "is missing or null, but the operation is %q; for MongoDB have the connector write whole documents (capture.mode change_streams_update_full)", r.Op)
	}
	for i, c := range r.After {
		if len(c.Value) == len(unavailable)+2 && string(c.Value[1:len(c.Value)-1]) == unavailable {
			before := find(r.Before, c.Name)
			if before == nil || string(before.Value) == string(c.Value) {
				return refuse(freshet.CodeInvalidField, "after."+c.Name, "is not in the event, for the update left its large value alone; give the table REPLICA IDENTITY FULL")
			}
			r.After[i] = *before
		}
	}
	return nil
}

func find(row []Column, name string) *Column {
	for i := range row {
		if row[i].Name == name {
			return &row[i]
		}
	}
	return nil
}

// readRow reads before or after: an object, or a document in extended JSON.
func readRow(v []byte, field string, s *schema) ([]Column, error) {
	if v == nil {
		return nil, nil
	}
	if text, ok := codec.StringValue(v); ok {
		return document([]byte(text), field)
	}
	row, err := parse(v, field)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return row.columns(), nil
	}
	return s.columns(row, field)
}

// readCells reads a row of Cassandra, whose values stand in cells.
func readCells(r *Row, e object) error {
	if r.Op == Update {
		return refuse(freshet.CodeUnsupportedOp, "op", "is an update of Cassandra, which holds only the columns that were written; an upsert needs the whole row")
	}
	row, err := e.child("after", "after")
	if err != nil {
		return err
	}
	if row == nil {
		return refuse(freshet.CodeMissingField, "after", "is missing or null; events of Cassandra have their cells there")
	}
	for _, m := range row {
		if isNull(m.Value) {
			continue // no key, and nothing was written
		}
		cell, err := parse(m.Value, "after."+m.Name)
		if err != nil {
			return err
		}
		if v := cell.get("value"); v != nil {
			r.After = append(r.After, Column{Name: m.Name, Value: v, Text: v[0] == '"'})
		}
	}
	return nil
}

// unwrap returns the envelope of an event with its schema, nil when it is null.
func (d *Decoder) unwrap(top object) (object, *schema, error) {
	isWrapper := len(top) == 2 && top.has("schema") && top.has("payload")
	if !isWrapper {
		return top, nil, nil
	}
	payload, err := top.child("payload", "payload")
	if err != nil || payload == nil {
		return nil, nil, err
	}
	s, err := d.schemas.parse(top.get("schema"))
	return payload, s, err
}

// recordKey returns the columns of the key of a record.
func (d *Decoder) recordKey(key object) (object, error) {
	if key == nil {
		return nil, nil
	}
	key, s, err := d.unwrap(key)
	if err != nil || s == nil {
		return key, err
	}
	columns, err := s.columns(key, "key")
	if err != nil {
		return nil, err
	}
	plain := make(object, len(columns))
	for i, c := range columns {
		plain[i] = codec.Member{Name: c.Name, Value: c.Value}
	}
	return plain, nil
}

// isNoChange reports whether an event without op is one of those that Debezium writes beside the changes of rows: of a schema, the
// boundary of a transaction, a heartbeat.
func (o object) isNoChange() bool {
	return o.has("ddl") || o.has("tableChanges") || o.has("changes") && o.has("database") ||
		o.has("status") && o.has("id") && o.has("event_count") || len(o) == 1 && o.has("ts_ms")
}

// isDocument reports whether rows are documents of MongoDB.
func isDocument(e, source object) bool {
	for _, name := range []string{"after", "before"} {
		if v := e.get(name); v != nil {
			return v[0] == '"'
		}
	}
	return source.text("connector") == "mongodb"
}

// documentKey is the key of a record of MongoDB, whose id is extended JSON in a string, as a document has it.
func documentKey(key object) object {
	id := key.get("id")
	if id == nil {
		return nil
	}
	if text, ok := codec.StringValue(id); ok && codec.Check([]byte(text)) == nil {
		id, _, _ = plain(nil, []byte(strings.TrimSpace(text)))
	}
	return object{{Name: "_id", Value: id}}
}

// flat reads a row as ExtractNewRecordState makes it. Members that begin with two underscores are what it adds.
func (d *Decoder) flat(top, key object) ([]Row, error) {
	members, s, err := d.unwrap(top)
	if err != nil {
		return nil, err
	}
	if members == nil {
		return d.tombstone(key)
	}
	if key, err = d.recordKey(key); err != nil {
		return nil, err
	}
	columns := members.columns()
	if s != nil {
		if columns, err = s.columns(members, "payload"); err != nil {
			return nil, err
		}
	}
	r := Row{Op: Update}
	var added []Column
	for _, c := range columns {
		if strings.HasPrefix(c.Name, "__") {
			added = append(added, c)
		} else {
			r.After = append(r.After, c)
		}
	}
	if added != nil {
		r.Source = AppendObject(nil, added)
	}
	switch op := members.text("__op"); op {
	case Create, Read, Update, Delete:
		r.Op = op
	}
	if deleted := members.get("__deleted"); string(deleted) == "true" || string(deleted) == `"true"` {
		r.Op = Delete
	}
	for _, name := range []string{"__source_ts_ms", "__ts_ms"} {
		if r.Timestamp == 0 {
			r.Timestamp = integer(members.get(name))
		}
	}
	keys := d.opts.Key
	if keys == nil {
		keys = key.names()
	}
	return d.split(nil, r, keys, key)
}

// tombstone is the deletion of a flat row by the key of its record. In other streams the deletion itself came before.
func (d *Decoder) tombstone(key object) ([]Row, error) {
	if !d.opts.Flat || key == nil {
		return nil, nil
	}
	key, err := d.recordKey(key)
	if err != nil {
		return nil, err
	}
	keys := d.opts.Key
	if keys == nil {
		keys = key.names()
	}
	return d.split(nil, Row{Op: Delete, After: key.columns()}, keys, nil)
}

func (o object) names() []string {
	var names []string
	for _, m := range o {
		names = append(names, m.Name)
	}
	return names
}

func firstOf(o object, names ...string) string {
	for _, name := range names {
		if s := o.text(name); s != "" {
			return s
		}
	}
	return ""
}

// timestampOf is the time of a change in its source; of snapshots, which may have none, that of the event.
func timestampOf(source, e object) int64 {
	if ms := integer(source.get("ts_ms")); ms > 0 {
		return ms
	}
	return max(0, integer(e.get("ts_ms")))
}

// integer returns a whole number, written as such or in a string; 0 for everything else.
func integer(v []byte) int64 {
	n, err := strconv.ParseInt(keyText(v), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
