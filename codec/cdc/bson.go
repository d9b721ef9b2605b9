package cdc

import (
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/freshet-io/freshet/codec"
)

// document reads a document of MongoDB in extended JSON, canonical, relaxed or of the old form.
func document(text []byte, field string) ([]Column, error) {
	o, err := parse(text, field)
	if err != nil {
		return nil, err
	}
	out := make([]Column, len(o))
	for i, m := range o {
		v, isText, keep := plain(nil, m.Value)
		out[i] = Column{Name: m.Name, Value: v, Text: isText, Binary: !keep}
	}
	return out, nil
}

// plain appends a value of extended JSON as plain JSON; isText says that it was a string. keep is false for binary data.
func plain(dst, v []byte) (out []byte, isText, keep bool) {
	switch v[0] {
	case '"':
		return append(dst, v...), true, true
	case '[':
		list, err := codec.SplitArray(v)
		if err != nil {
			break
		}
		dst = append(dst, '[')
		for i, e := range list {
			if i > 0 {
				dst = append(dst, ',')
			}
			before := len(dst)
			if dst, _, keep = plain(dst, e); !keep {
				dst = append(dst[:before], "null"...)
			}
		}
		return append(dst, ']'), false, true
	case '{':
		o, err := parse(v, "")
		if err != nil {
			break
		}
		if len(o) > 0 && len(o[0].Name) > 1 && o[0].Name[0] == '$' {
			if scalar, isText, keep, ok := scalar(o); ok {
				return append(dst, scalar...), isText, keep
			}
		}
		var columns []Column
		for _, m := range o {
			v, _, keep := plain(nil, m.Value)
			columns = append(columns, Column{Name: m.Name, Value: v, Binary: !keep})
		}
		return AppendObject(dst, columns), false, true
	}
	return append(dst, v...), false, true
}

// scalar reads an object that stands for a value of BSON which JSON lacks; ok is false for any other.
func scalar(o object) (v []byte, isText, keep, ok bool) {
	first := o[0].Value
	text, isString := codec.StringValue(first)
	null := []byte("null")
	switch o[0].Name {
	case "$oid", "$uuid":
		return first, false, true, isString
	case "$symbol":
		return first, true, true, isString
	case "$code":
		return first, false, true, isString
	case "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal":
		if isNumber(first) {
			return first, false, true, true
		}
		if n, ok := number(text); ok {
			return n, false, true, true
		}
		return null, false, true, isString // NaN and the infinities
	case "$date":
		v, ok := date(first)
		return v, false, true, ok
	case "$timestamp":
		t, err := parse(first, "")
		return unit{time.Second, false}.append(nil, integer(t.get("t"))), false, true, err == nil
	case "$binary":
		subtype := o.text("$type")
		if inner, err := parse(first, ""); err == nil {
			text, subtype, isString = inner.text("base64"), inner.text("subType"), true
		}
		return uuid(text, subtype), false, isUUID(text, subtype), isString
	case "$regularExpression":
		inner, err := parse(first, "")
		return codec.AppendString(nil, "/"+inner.text("pattern")+"/"+inner.text("options")), false, true, err == nil
	case "$regex":
		return codec.AppendString(nil, "/"+text+"/"+o.text("$options")), false, true, isString
	case "$minKey", "$maxKey", "$undefined":
		return null, false, true, len(o) == 1
	}
	return nil, false, false, false
}

// date reads a $date: ms since 1970 as a number or as {"$numberLong"}, or RFC 3339.
func date(v []byte) ([]byte, bool) {
	if text, ok := codec.StringValue(v); ok {
		at, err := time.Parse(time.RFC3339, text)
		return codec.AppendTime(nil, at), err == nil
	}
	if o, err := parse(v, ""); err == nil {
		v = o.get("$numberLong")
	}
	n := integer(v)
	if n == 0 && keyText(v) != "0" {
		return nil, false
	}
	return temporal["io.debezium.time.Timestamp"].append(nil, n), true
}

const uuidBytes = 16

func isUUID(text, subtype string) bool {
	raw, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(raw) == uuidBytes && (subtype == "4" || subtype == "04")
}

// uuid returns binary data that is a UUID as a JSON string of its text, other data as it came.
func uuid(text, subtype string) []byte {
	if !isUUID(text, subtype) {
		return codec.AppendString(nil, text)
	}
	raw, _ := base64.StdEncoding.DecodeString(text)
	h := hex.EncodeToString(raw)
	return codec.AppendString(nil, h[:8]+"-"+h[8:12]+"-"+h[12:16]+"-"+h[16:20]+"-"+h[20:])
}
