package cdc

import (
	"fmt"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// aliyun reads an event of Alibaba Cloud's Data Integration.
func (d *Decoder) aliyun(top object) ([]Row, error) {
	payload, err := top.child("payload", "payload")
	if err != nil {
		return nil, err
	}
	if payload == nil {
		return nil, refuse(freshet.CodeMissingField, "payload", "is missing or null; an event has schema and payload")
	}
	if payload.get("ddl") != nil {
		return nil, nil
	}
	head, err := top.child("schema", "schema")
	if err != nil {
		return nil, err
	}
	source, err := head.child("source", "schema.source")
	if err != nil {
		return nil, err
	}
	r := Row{Database: source.text("dbName"), Schema: source.text("schemaName"), Table: source.text("tableName"), Source: head.get("source")}
	field := "after"
	op := payload.text("op")
	switch op {
	case "INSERT":
		r.Op = Create
	case "UPDATE_AFTER":
		r.Op = Update
	case "UPDATE_BEFORE", "DELETE":
		r.Op, field = Delete, "before"
	default:
		return nil, refuse(freshet.CodeInvalidField, "payload.op", "must be INSERT, UPDATE_BEFORE, UPDATE_AFTER or DELETE, is %s", codec.Clip(payload.get("op")))
	}
	if !d.wanted(&r) {
		return nil, nil
	}
	times, err := payload.child("timestamp", "payload.timestamp")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"eventTime", "systemTime"} {
		if r.Timestamp == 0 {
			r.Timestamp = max(0, integer(times.get(name)))
		}
	}
	sequence := integer(payload.get("sequenceId"))
	if sequence > 0 {
		r.EventID = fmt.Sprintf("%d:%s", sequence, op)
	}
	if d.opts.Order { // rows of the first, full synchronisation have none, and are older than all others
		r.Order = max(1, sequence)
	}
	types, err := aliyunTypes(head)
	if err != nil {
		return nil, err
	}
	if r.After, err = aliyunRow(payload, field, types); err != nil {
		return nil, err
	}
	if r.After == nil {
		return nil, refuse(freshet.CodeMissingField, "payload."+field, "is missing or null, but the operation is %s", op)
	}
	if r.Op == Update {
		if r.Before, err = aliyunRow(payload, "before", types); err != nil {
			return nil, err
		}
	}
	keys, err := d.keyNames(head.get("primaryKey"), "schema.primaryKey")
	if err != nil {
		return nil, err
	}
	return d.split(nil, r, keys, nil)
}

// aliyunTypes are the types of columns by their names.
func aliyunTypes(head object) (map[string]string, error) {
	raw := head.get("dataColumn")
	if raw == nil {
		return nil, nil
	}
	list, err := elements(raw, "schema.dataColumn")
	if err != nil {
		return nil, err
	}
	types := make(map[string]string, len(list))
	for _, raw := range list {
		c, err := parse(raw, "schema.dataColumn")
		if err != nil {
			return nil, err
		}
		types[c.text("name")] = strings.ToUpper(c.text("type"))
	}
	return types, nil
}

func aliyunRow(payload object, side string, types map[string]string) ([]Column, error) {
	field := "payload." + side
	image, err := payload.child(side, field)
	if err != nil || image == nil {
		return nil, err
	}
	row, err := image.child("dataColumn", field+".dataColumn")
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, refuse(freshet.CodeMissingField, field+".dataColumn", "is missing or null; the columns stand there")
	}
	out := row.columns()
	for i := range out {
		out[i] = aliyunColumn(out[i], types[out[i].Name])
	}
	return out, nil
}

func aliyunColumn(c Column, kind string) Column {
	if isNull(c.Value) {
		return c
	}
	text, isText := codec.StringValue(c.Value)
	switch kind {
	case "LONG", "DOUBLE", "DECIMAL", "FLOAT", "INT", "BIGINT":
		c.Text = false
		if n, ok := number(text); isText && ok {
			c.Value = n
		}
	case "BOOLEAN":
		c.Text = false
		if text == "true" || text == "false" {
			c.Value = []byte(text)
		}
	case "DATE":
		c.Text = false
		if !isText && isNumber(c.Value) && integer(c.Value) != 0 {
			c.Value = temporal["io.debezium.time.Timestamp"].append(nil, integer(c.Value))
		}
	case "BYTES":
		c.Text, c.Binary = false, true
	}
	return c
}
