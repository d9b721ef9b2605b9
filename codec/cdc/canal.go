package cdc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// canalOther are the types of Canal's messages that change no row.
var canalOther = []string{"CREATE", "ALTER", "ERASE", "QUERY", "TRUNCATE", "RENAME", "CINDEX", "DINDEX", "GTID", "XACOMMIT", "XAROLLBACK", "MHEARTBEAT"}

// canal reads a flat message of Canal.
func (d *Decoder) canal(top object) ([]Row, error) {
	if string(top.get("isDdl")) == "true" {
		return nil, nil
	}
	kind := top.text("type")
	op, isRows := map[string]string{"INSERT": Create, "UPDATE": Update, "DELETE": Delete}[kind]
	switch {
	case slices.Contains(canalOther, kind):
		return nil, nil
	case !isRows && kind == "":
		return nil, refuse(freshet.CodeMissingField, "type", "is missing; a message of Canal has type, data and pkNames")
	case !isRows:
		return nil, refuse(freshet.CodeInvalidField, "type", "must be INSERT, UPDATE, DELETE or the type of a statement, is %s", codec.Clip([]byte(kind)))
	}
	proto := Row{Op: op, Database: top.text("database"), Table: top.text("table"), Timestamp: max(0, integer(top.get("es")))}
	if proto.Timestamp == 0 {
		proto.Timestamp = max(0, integer(top.get("ts")))
	}
	if !d.wanted(&proto) {
		return nil, nil
	}
	if d.opts.Order {
		return nil, refuse(freshet.CodeOrderMismatch, "order", "is not known: messages of Canal name no place in the log; set codec.order to false")
	}
	keys, err := d.keyNames(top.get("pkNames"), "pkNames")
	if err != nil {
		return nil, err
	}
	types, err := top.child("mysqlType", "mysqlType")
	if err != nil {
		return nil, err
	}
	data, err := elements(top.get("data"), "data")
	if err != nil {
		return nil, err
	}
	var old [][]byte
	if v := top.get("old"); v != nil {
		if old, err = elements(v, "old"); err != nil {
			return nil, err
		}
	}
	var rows []Row
	for i, raw := range data {
		field := fmt.Sprintf("data[%d]", i)
		r := proto
		if r.After, err = canalRow(raw, types, field); err != nil {
			return nil, err
		}
		if op == Update && i < len(old) && !isNull(old[i]) {
			if r.Before, err = canalBefore(r.After, old[i], types, fmt.Sprintf("old[%d]", i)); err != nil {
				return nil, err
			}
		}
		if rows, err = d.split(rows, r, keys, nil); err != nil {
			return nil, in(err, field)
		}
	}
	return rows, nil
}

// canalBefore is the row before an update: old holds only what it has changed.
func canalBefore(after []Column, raw []byte, types object, field string) ([]Column, error) {
	changed, err := canalRow(raw, types, field)
	if err != nil {
		return nil, err
	}
	before := slices.Clone(after)
	for _, c := range changed {
		if known := find(before, c.Name); known != nil {
			*known = c
		} else {
			before = append(before, c)
		}
	}
	return before, nil
}

func canalRow(raw []byte, types object, field string) ([]Column, error) {
	row, err := parse(raw, field)
	if err != nil {
		return nil, err
	}
	out := row.columns()
	for i := range out {
		out[i] = canalColumn(out[i], types.text(out[i].Name))
	}
	return out, nil
}

// canalColumn gives a column, which is text or null, the type that MySQL names.
func canalColumn(c Column, mysqlType string) Column {
	text, ok := codec.StringValue(c.Value)
	if !ok || mysqlType == "" {
		return c
	}
	kind := strings.ToLower(mysqlType)
	if i := strings.IndexAny(kind, "( "); i >= 0 {
		kind = kind[:i]
	}
	switch kind {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "serial", "year", "bit", "bool", "boolean",
		"decimal", "numeric", "fixed", "dec", "float", "double", "real":
		c.Text = false
		if n, ok := number(text); ok {
			c.Value = n
		}
	case "date", "datetime":
		c.Text = false
		if at, ok := parseZoneless(text); ok {
			c.Value = codec.AppendTime(nil, at)
		}
	case "timestamp", "time": // in the zone of Canal's server, which the message does not name
		c.Text = false
	case "json":
		if codec.Check([]byte(text)) == nil {
			c.Value, c.Text = []byte(strings.TrimSpace(text)), false
		}
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point", "linestring", "polygon",
		"multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection":
		c.Text, c.Binary = false, true
	}
	return c
}

// keyNames are the columns of the key: those configured, or those of the envelope.
func (d *Decoder) keyNames(raw []byte, field string) ([]string, error) {
	if d.opts.Key != nil || raw == nil {
		return d.opts.Key, nil
	}
	list, err := elements(raw, field)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, v := range list {
		var ok bool
		if names[i], ok = codec.StringValue(v); !ok {
			return nil, refuse(freshet.CodeInvalidField, field, "must be names of columns, holds %s", codec.Clip(v))
		}
	}
	return names, nil
}

// in says in which row a field is at fault.
func in(err error, row string) error {
	if e, ok := err.(*freshet.Error); ok {
		return &freshet.Error{Code: e.Code, Field: row + "." + e.Field, Message: e.Message}
	}
	return err
}
