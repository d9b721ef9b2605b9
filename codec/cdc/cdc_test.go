package cdc_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/cdc"
)

func newDecoder(t testing.TB, o cdc.Options) *cdc.Decoder {
	t.Helper()
	d, err := cdc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// table is of MySQL, t of database shop.
const mysql = `"source":{"connector":"mysql","name":"m","db":"shop","table":"t","ts_ms":5000,"file":"bin.000003","pos":154,"row":1}`

var (
	byID    = cdc.Options{Format: cdc.Debezium, Key: []string{"id"}, Table: "t"}
	byKey   = cdc.Options{Format: cdc.Debezium}
	flat    = cdc.Options{Format: cdc.Debezium, Flat: true}
	ordered = cdc.Options{Format: cdc.Debezium, Key: []string{"id"}, Order: true}
	canal   = cdc.Options{Format: cdc.Canal}
	aliyun  = cdc.Options{Format: cdc.Aliyun}
)

func TestDecode(t *testing.T) {
	const place = " at 5000 event m/bin.000003:154:1:5000:"
	for _, c := range []struct {
		name string
		o    cdc.Options
		in   string
		want string // per row, and of a row with a row before what it was
	}{
		{"create", byID, `{"op":"c","before":null,"after":{"id":7,"t":"x"},` + mysql + `}`, "c 7" + place + `c {"id":7,"t":"x"}`},
		{"a row of a snapshot has no place of its own", byID, `{"op":"r","after":{"id":7},` + mysql + `}`, `r 7 at 5000 {"id":7}`},
		{"update", byID, `{"op":"u","before":{"id":7,"t":"a"},"after":{"id":7,"t":"b"},` + mysql + `}`, "u 7" + place + `u {"id":7,"t":"b"} was {"id":7,"t":"a"}`},
		{"update of the key", byID, `{"op":"u","before":{"id":7},"after":{"id":8},` + mysql + `}`, "d 7" + place + `u {"id":7} was {"id":7}; u 8` + place + `u {"id":8} was {"id":7}`},
		{"update with a part of the row before", byID, `{"op":"u","before":{"t":"a"},"after":{"id":7},` + mysql + `}`, "u 7" + place + `u {"id":7} was {"t":"a"}`},
		{"delete", byID, `{"op":"d","before":{"id":7,"t":"a"},"after":null,` + mysql + `}`, "d 7" + place + `d {"id":7,"t":"a"} was {"id":7,"t":"a"}`},
		{"delete by the key of the record", byKey, `{"key":{"id":7},"value":{"op":"d","before":null,"after":null}}`, `d 7 at 0 {"id":7}`},
		{"in a schema", byID, `{"schema":null,"payload":{"op":"c","after":{"id":7}}}`, ``}, // of no table
		{"truncation", byID, `{"op":"t",` + mysql + `}`, ``},
		{"message", byID, `{"op":"m","message":{}}`, ``},
		{"tombstone", byID, `null`, ``},
		{"tombstone with a key", byID, `{"key":{"id":7},"value":null}`, ``},
		{"tombstone in a schema", byID, `{"schema":null,"payload":null}`, ``},
		{"change of a schema", byID, `{"source":{},"databaseName":"shop","ddl":"ALTER TABLE t ADD x INT","tableChanges":[]}`, ``},
		{"heartbeat", byID, `{"ts_ms":5}`, ``},
		{"transaction", byID, `{"status":"END","id":"1","event_count":2,"data_collections":[]}`, ``},
		{"another table", byID, `{"op":"c","after":{"id":7},"source":{"db":"shop","table":"tt"}}`, ``},
		{"the table of a schema", cdc.Options{Format: cdc.Debezium, Key: []string{"id"}, Table: "public.t"}, `{"op":"c","after":{"id":7},"source":{"db":"d","schema":"public","table":"t"}}`, `c 7 at 0 {"id":7}`},
		{"tables in ids", byKey, `{"key":{"id":"a/b"},"value":{"op":"c","after":{"id":"a/b"},"source":{"db":"d/e","schema":"s","table":"t"}}}`, `c d%2Fe.s.t/a/b at 0 {"id":"a/b"}`},
		{"a record whose key is no object", byID, `{"topic":"t","key":"7","value":{"op":"c","after":{"id":7},` + mysql + `}}`, "c 7" + place + `c {"id":7}`},
		{"a record without a key", byID, `{"key":null,"value":{"op":"c","after":{"id":7},` + mysql + `}}`, "c 7" + place + `c {"id":7}`},
		{"a key of two", byKey, `{"key":{"b":"x/y%","a":true},"value":{"op":"c","after":{"a":true,"b":"x/y%"}}}`, `c x%2Fy%25/true at 0 {"a":true,"b":"x/y%"}`},
		{"the event's own time", byKey, `{"key":{"id":1},"value":{"op":"c","ts_ms":9,"after":{"id":1},"source":{"ts_ms":0}}}`, `c 1 at 9 {"id":1}`},

		{"flat", flat, `{"key":{"id":1},"value":{"id":1,"t":"x","__op":"c","__source_ts_ms":8}}`, `c 1 at 8 {"id":1,"t":"x"}`},
		{"flat, deleted", flat, `{"key":{"id":1},"value":{"id":1,"t":"x","__deleted":"true"}}`, `d 1 at 0 {"id":1,"t":"x"}`},
		{"flat, tombstone", flat, `{"key":{"schema":null,"payload":{"id":1}},"value":null}`, `d 1 at 0 {"id":1}`},
		{"flat, tombstone in a schema", flat, `{"key":{"id":1},"value":{"schema":null,"payload":null}}`, `d 1 at 0 {"id":1}`},
		{"flat, columns key and value", cdc.Options{Format: cdc.Debezium, Flat: true, Key: []string{"key"}}, `{"key":"k","value":null}`, `u k at 0 {"key":"k","value":null}`},

		{"TOAST from the row before", byKey, `{"key":{"id":1},"value":{"op":"u","before":{"id":1,"t":"long"},"after":{"id":1,"t":"__debezium_unavailable_value"}}}`, `u 1 at 0 {"id":1,"t":"long"} was {"id":1,"t":"long"}`},
		{"a document", byKey, `{"op":"c","after":"{\"_id\":{\"$oid\":\"5f\"},\"t\":\"x\"}","source":{"connector":"mongodb","name":"r","db":"d","collection":"c","ts_ms":9000,"ord":3}}`,
			`c d.c/5f at 9000 event r/9:3:c {"_id":"5f","t":"x"}`},
		{"a document in a transaction", byKey, `{"op":"c","after":"{\"_id\":1}","source":{"connector":"mongodb","ts_ms":9000,"ord":3,"txnNumber":4}}`, `c 1 at 9000 {"_id":1}`},
		{"a deleted document", byKey, `{"key":{"id":"{\"$numberLong\":\"5\"}"},"value":{"op":"d","source":{"connector":"mongodb","ts_ms":9000,"ord":3}}}`, `d 5 at 9000 event /9:3:d {"_id":5}`},
		{"a document whose id is one", byKey, `{"op":"c","after":"{\"_id\": {\"b\": {\"$numberInt\": \"1\"}, \"a\": \"x\"}}"}`, `c {"b":1,"a":"x"} at 0 {"_id":{"b":1,"a":"x"}}`},

		{"order of MySQL", ordered, `{"op":"c","after":{"id":7},` + mysql + `}`, "c shop.t/7" + place + `c order 3298534883482 {"id":7}`},
		{"order of PostgreSQL", ordered, `{"op":"c","after":{"id":7},"source":{"connector":"postgresql","name":"p","table":"t","lsn":24023128,"txId":5}}`, `c t/7 at 0 event p/5:24023128:c order 24023128 {"id":7}`},
		{"order of MongoDB", ordered, `{"op":"c","after":{"id":7},"source":{"connector":"mongodb","collection":"t","ts_ms":2000,"ord":1}}`, `c t/7 at 2000 event /2:1:c order 8589934593 {"id":7}`},
		{"places of SQL Server", byKey, `{"key":{"id":1},"value":{"op":"u","after":{"id":1},"source":{"connector":"sqlserver","name":"s","change_lsn":"27:758:3","commit_lsn":"27:758:5","event_serial_no":2}}}`, `u 1 at 0 event s/27:758:5:27:758:3:2:u {"id":1}`},
		{"places of Oracle", byKey, `{"key":{"id":1},"value":{"op":"u","after":{"id":1},"source":{"connector":"oracle","name":"o","txId":"6","scn":"21","rs_id":" 1.2 ","ssn":3}}}`, `u 1 at 0 event o/6:21:1.2:3:u {"id":1}`},

		{"canal, rows", canal, `{"type":"UPDATE","database":"d","table":"t","es":7,"pkNames":["a","b"],"data":[{"a":"1","b":"x","v":"n"},{"a":"2","b":"y","v":"m"}],"old":[{"b":"w"},{"v":"l"}],"mysqlType":{"a":"int(11)","v":"text"}}`,
			`d d.t/1/w at 7 {"a":1,"b":"w","v":"n"} was {"a":1,"b":"w","v":"n"}; u d.t/1/x at 7 {"a":1,"b":"x","v":"n"} was {"a":1,"b":"w","v":"n"}; u d.t/2/y at 7 {"a":2,"b":"y","v":"m"} was {"a":2,"b":"y","v":"l"}`},
		{"canal, values", canal, `{"type":"INSERT","pkNames":["u"],"data":[{"u":"0007","d":"-00.50","z":"0000-00-00","f":"1e5","j":"{bad","b":"\u0000","n":null}],"mysqlType":{"u":"int unsigned zerofill","d":"decimal(4,2)","z":"date","f":"double","j":"json","b":"blob","n":"int"}}`,
			`c 7 at 0 {"u":7,"d":-0.50,"z":"0000-00-00","f":1e5,"j":"{bad","n":null}`},
		{"canal, a record", canal, `{"key":"k","value":{"type":"INSERT","pkNames":["a"],"data":[{"a":"1"}]}}`, `c 1 at 0 {"a":"1"}`},
		{"canal, statement", canal, `{"type":"TRUNCATE","data":null}`, ``},
		{"canal, DDL", canal, `{"type":"UPDATE","isDdl":true,"data":null}`, ``},
		{"aliyun, in two records", aliyun, `{"schema":{"primaryKey":["id"],"dataColumn":[{"name":"id","type":"LONG"},{"name":"b","type":"BOOLEAN"},{"name":"x","type":"BYTES"}]},"payload":{"op":"UPDATE_BEFORE","sequenceId":"5","before":{"dataColumn":{"id":1,"b":"true","x":"AA=="}},"after":null}}`,
			`d 1 at 0 event 5:UPDATE_BEFORE {"id":1,"b":true}`},
		{"aliyun, order", cdc.Options{Format: cdc.Aliyun, Order: true, Key: []string{"id"}}, `{"payload":{"op":"INSERT","sequenceId":"-1","after":{"dataColumn":{"id":1}}}}`, `c 1 at 0 order 1 {"id":1}`},
		{"aliyun, statement", aliyun, `{"payload":{"ddl":"ALTER","op":null}}`, ``},
	} {
		rows, err := newDecoder(t, c.o).Decode([]byte(c.in))
		var got []string
		for i := range rows {
			r := &rows[i]
			s := fmt.Sprintf("%s %s at %d", r.Op, r.Entity(), r.Timestamp)
			if r.EventID != "" {
				s += " event " + r.EventID
			}
			if r.Order != 0 {
				s += fmt.Sprintf(" order %d", r.Order)
			}
			s += " " + string(cdc.AppendObject(nil, r.After))
			if r.Before != nil {
				s += " was " + string(cdc.AppendObject(nil, r.Before))
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != c.want || err != nil {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.name, s, err, c.want)
		}
	}
}

// What is wrong is named by its field.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		o     cdc.Options
		in    string
		code  freshet.Code
		field string
	}{
		{byID, `nonsense`, freshet.CodeInvalidField, ""},
		{byID, `{"op":"c"`, freshet.CodeInvalidJSON, ""},
		{byID, `[]`, freshet.CodeInvalidField, ""},
		{byID, `{"id":7}`, freshet.CodeMissingField, "op"},
		{byID, `{"op":"x"}`, freshet.CodeInvalidField, "op"},
		{byID, `{"op":7}`, freshet.CodeInvalidField, "op"},
		{byKey, `{"op":"c","after":null}`, freshet.CodeMissingField, "after"},
		{byKey, `{"op":"c","after":[]}`, freshet.CodeInvalidField, "after"},
		{byKey, `{"op":"c","after":"x"}`, freshet.CodeInvalidField, "after"},
		{byKey, `{"op":"c","after":"{\"a\":"}`, freshet.CodeInvalidJSON, "after"},
		{byKey, `{"op":"u","before":7,"after":{}}`, freshet.CodeInvalidField, "before"},
		{byKey, `{"op":"c","after":{"id":1}}`, freshet.CodeMissingField, "key"},
		{byKey, `{"op":"d","before":null}`, freshet.CodeMissingField, "before"},
		{byKey, `{"op":"c","source":7}`, freshet.CodeInvalidField, "source"},
		{byID, `{"op":"c","after":{"id":null},` + mysql + `}`, freshet.CodeMissingField, "id"},
		{byID, `{"op":"c","after":{"id":""},` + mysql + `}`, freshet.CodeInvalidField, "id"},
		{byID, `{"op":"c","after":{"id":{}},` + mysql + `}`, freshet.CodeInvalidField, "id"},
		{byKey, `{"key":{"id":1},"value":{"op":"u","after":{"id":1,"t":"__debezium_unavailable_value"}}}`, freshet.CodeInvalidField, "after.t"},
		{byKey, `{"op":"u","source":{"connector":"cassandra"}}`, freshet.CodeUnsupportedOp, "op"},
		{byKey, `{"op":"c","after":{"a":7},"source":{"connector":"cassandra"}}`, freshet.CodeInvalidField, "after.a"},
		{byKey, `{"op":"c","after":"{}","source":{"connector":"mongodb"}}`, freshet.CodeMissingField, "_id"},
		{byKey, `{"op":"u","after":null,"updateDescription":{},"source":{"connector":"mongodb"}}`, freshet.CodeMissingField, "after"},
		{byKey, `{"schema":7,"payload":{"op":"c"}}`, freshet.CodeInvalidField, "schema"},
		{byKey, `{"schema":{"fields":7},"payload":{"op":"c"}}`, freshet.CodeInvalidField, "schema.fields"},
		{byKey, `{"schema":{},"payload":7}`, freshet.CodeInvalidField, "payload"},
		{ordered, `{"op":"c","after":{"id":1},"source":{"connector":"oracle"}}`, freshet.CodeOrderMismatch, "order"},
		{ordered, `{"op":"c","after":{"id":1},"source":{"connector":"mysql","file":"bin.x","pos":1}}`, freshet.CodeOrderMismatch, "order"},
		{flat, `{"id":7}`, freshet.CodeMissingField, "key"},
		{canal, `{"data":[]}`, freshet.CodeMissingField, "type"},
		{canal, `{"type":"UPSERT"}`, freshet.CodeInvalidField, "type"},
		{canal, `{"type":"INSERT","data":null}`, freshet.CodeInvalidField, "data"},
		{canal, `{"type":"INSERT","pkNames":["a"],"data":[7]}`, freshet.CodeInvalidField, "data[0]"},
		{canal, `{"type":"INSERT","pkNames":["a"],"data":[{"a":"1"},{"b":"1"}]}`, freshet.CodeMissingField, "data[1].a"},
		{canal, `{"type":"INSERT","pkNames":[7],"data":[]}`, freshet.CodeInvalidField, "pkNames"},
		{canal, `{"type":"UPDATE","pkNames":["a"],"data":[{"a":"1"}],"old":[7]}`, freshet.CodeInvalidField, "old[0]"},
		{cdc.Options{Format: cdc.Canal, Order: true}, `{"type":"INSERT","data":[]}`, freshet.CodeOrderMismatch, "order"},
		{aliyun, `{}`, freshet.CodeMissingField, "payload"},
		{aliyun, `{"payload":{"op":"x"}}`, freshet.CodeInvalidField, "payload.op"},
		{aliyun, `{"payload":{"op":"INSERT"}}`, freshet.CodeMissingField, "payload.after"},
		{aliyun, `{"payload":{"op":"INSERT","after":{}}}`, freshet.CodeMissingField, "payload.after.dataColumn"},
	} {
		rows, err := newDecoder(t, c.o).Decode([]byte(c.in))
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field || rows != nil {
			t.Errorf("%s: %v, %#v; want %s on %q", c.in, rows, err, c.code, c.field)
		}
	}
}

// Values become what their type says: by the schema, and in extended JSON by themselves.
func TestValues(t *testing.T) {
	typed := func(kind, name, rest string) string {
		return fmt.Sprintf(`{"field":"v","type":%q,"name":%q%s}`, kind, name, rest)
	}
	const decimalType, left = "org.apache.kafka.connect.data.Decimal", "left out"
	for _, c := range []struct{ schema, in, want string }{
		{typed("bytes", decimalType, `,"parameters":{"scale":"2"}`), `"AN0="`, `2.21`},
		{typed("bytes", decimalType, `,"parameters":{"scale":"2"}`), `"/w=="`, `-0.01`},
		{typed("bytes", decimalType, `,"parameters":{"scale":"0"}`), `"AA=="`, `0`},
		{typed("bytes", decimalType, `,"parameters":{"scale":"-3"}`), `"AQ=="`, `1000`},
		{typed("bytes", decimalType, `,"parameters":{"scale":"1"}`), `12.5`, `12.5`},
		{typed("bytes", decimalType, ``), `"%"`, `refused`},
		{typed("bytes", decimalType, ``), `""`, `refused`},
		{typed("bytes", decimalType, `,"parameters":{"scale":"99999"}`), `"AQ=="`, `refused`},
		{typed("struct", "io.debezium.data.VariableScaleDecimal", ``), `{"scale":1,"value":"Cg=="}`, `1.0`},
		{typed("struct", "io.debezium.data.VariableScaleDecimal", ``), `{"scale":1}`, `refused`},
		{typed("int32", "io.debezium.time.Date", ``), `19439`, `"2023-03-23T00:00:00Z"`},
		{typed("int32", "io.debezium.time.Date", ``), `-1`, `"1969-12-31T00:00:00Z"`},
		{typed("int32", "io.debezium.time.Date", ``), `2147483647`, `2147483647`},
		{typed("int32", "io.debezium.time.Date", ``), `"x"`, `refused`},
		{typed("int64", "io.debezium.time.Timestamp", ``), `1679581805123`, `"2023-03-23T14:30:05.123Z"`},
		{typed("int64", "io.debezium.time.MicroTimestamp", ``), `-1`, `"1969-12-31T23:59:59.999999Z"`},
		{typed("int64", "io.debezium.time.MicroTimestamp", ``), `9223372036825200000`, `9223372036825200000`},
		{typed("int64", "io.debezium.time.NanoTimestamp", ``), `1`, `"1970-01-01T00:00:00.000000001Z"`},
		{typed("int64", "io.debezium.time.MicroTime", ``), `36803000000`, `"10:13:23"`},
		{typed("int64", "io.debezium.time.MicroTime", ``), `-36803000000`, `-36803000000`},
		{typed("string", "io.debezium.data.Json", ``), `" {\"a\": [1]} "`, `{"a": [1]}`},
		{typed("string", "io.debezium.data.Json", ``), `"{"`, `"{"`},
		{typed("string", "", ``), `"a"`, `"a" text`},
		{typed("string", "io.debezium.data.Uuid", ``), `"a"`, `"a"`},
		{typed("string", "io.debezium.data.Enum", ``), `"a"`, `"a" text`},
		{typed("bytes", "", ``), `"AA=="`, left},
		{typed("double", "", ``), `"NaN"`, `null`},
		{typed("int32", "", ``), `null`, `null`},
		{typed("array", "", `,"items":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}`), `["AQ==",null]`, `[1,null]`},
		{typed("array", "", `,"items":{"type":"bytes"}`), `["AQ=="]`, `[null]`},
		{typed("array", "io.debezium.data.FloatVector", `,"items":{"type":"float"}`), `[1.5,2]`, `[1.5,2]`},
		{typed("map", "", `,"values":{"type":"int32","name":"io.debezium.time.Date"}`), `{"a":0}`, `{"a":"1970-01-01T00:00:00Z"}`},
		{typed("struct", "io.debezium.data.geometry.Point", `,"fields":[{"field":"x","type":"double"},{"field":"wkb","type":"bytes"}]`), `{"x":1.5,"wkb":"AA==","srid":null}`, `{"x":1.5,"srid":null}`},
		{`{"field":"other","type":"int32"}`, `"a"`, `"a" text`},

		{"", `{"$numberLong":"5"}`, `5`},
		{"", `{"$numberDouble":"-Infinity"}`, `null`},
		{"", `{"$numberDecimal":"3.140"}`, `3.140`},
		{"", `{"$numberInt":7}`, `7`},
		{"", `{"$date":1739455297970}`, `"2025-02-13T14:01:37.97Z"`},
		{"", `{"$date":{"$numberLong":"0"}}`, `"1970-01-01T00:00:00Z"`},
		{"", `{"$date":"2025-02-13T15:01:37.97+01:00"}`, `"2025-02-13T14:01:37.97Z"`},
		{"", `{"$date":"yesterday"}`, `{"$date":"yesterday"}`},
		{"", `{"$timestamp":{"t":1736997330,"i":2}}`, `"2025-01-16T03:15:30Z"`},
		{"", `{"$binary":"uE2/4v5MSVOiJZkOo3APKQ==","$type":"4"}`, `"b84dbfe2-fe4c-4953-a225-990ea3700f29"`},
		{"", `{"$binary":{"base64":"uE2/4v5MSVOiJZkOo3APKQ==","subType":"04"}}`, `"b84dbfe2-fe4c-4953-a225-990ea3700f29"`},
		{"", `{"$binary":"AA==","$type":"0"}`, left},
		{"", `{"$regularExpression":{"pattern":"^p","options":"i"}}`, `"/^p/i"`},
		{"", `{"$symbol":"s"}`, `"s" text`},
		{"", `{"$undefined":true}`, `null`},
		{"", `{"$ref":"c","$id":{"$oid":"5f"}}`, `{"$ref":"c","$id":"5f"}`},
		{"", `{"a":[{"$numberLong":"5"},{"b":{"$binary":"AA==","$type":"0"}},{"$binary":"AA==","$type":"0"}]}`, `{"a":[5,{},null]}`},
		{"", `"a"`, `"a" text`},
	} {
		event := fmt.Sprintf(`{"key":{"id":"1"},"value":{"op":"c","after":%q}}`, `{"_id":1,"v":`+c.in+`}`)
		if c.schema != "" {
			event = fmt.Sprintf(`{"key":{"id":"1"},"value":{"schema":{"type":"struct","fields":[{"field":"after","type":"struct","fields":[%s]}]},"payload":{"op":"c","after":{"v":%s}}}}`, c.schema, c.in)
		}
		got := ""
		rows, err := newDecoder(t, byKey).Decode([]byte(event))
		var e *freshet.Error
		switch {
		case errors.As(err, &e) && e.Field == "after.v":
			got = "refused"
		case err != nil:
			t.Error(c.in, err)
			continue
		default:
			v := rows[0].After[len(rows[0].After)-1]
			if got = string(v.Value); v.Text {
				got += " text"
			}
			if v.Binary {
				got = left
			}
		}
		if got != c.want {
			t.Errorf("%s of %s is %s, want %s", c.in, c.schema, got, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	for field, o := range map[string]cdc.Options{
		"codec.format": {Format: "avro"}, "codec.flat": {Format: cdc.Canal, Flat: true}, "codec.table": {Format: cdc.Debezium, Flat: true, Table: "t"},
		"codec.order": {Format: cdc.Debezium, Flat: true, Order: true}, "codec.key": {Format: cdc.Canal, Key: []string{"a", "a"}},
	} {
		_, err := cdc.New(o)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Field != field {
			t.Errorf("%+v: %v, want %s", o, err, field)
		}
	}
	if _, err := cdc.New(cdc.Options{}); err == nil {
		t.Error("no format is needed")
	}
	all := []cdc.Options{byID, byKey, flat, ordered, canal, aliyun}
	described := map[string]bool{}
	for _, o := range all {
		described[newDecoder(t, o).Describe()] = true
	}
	if len(described) != len(all) {
		t.Error("two options are described alike:", described)
	}
}

// FuzzDecode: any bytes give rows of valid JSON or a *freshet.Error, and the same each time.
func FuzzDecode(f *testing.F) {
	options := []cdc.Options{byID, byKey, flat, ordered, canal, aliyun}
	for i, s := range []string{`{"op":"u","before":{"id":7},"after":{"id":8},` + mysql + `}`, `{"key":{"id":"{\"$oid\":\"5f\"}"},"value":{"op":"c","after":"{\"_id\":{\"$oid\":\"5f\"},\"d\":{\"$date\":{\"$numberLong\":\"1\"}},\"b\":{\"$binary\":\"AA==\",\"$type\":\"0\"}}","source":{"connector":"mongodb","ts_ms":1000,"ord":1}}}`,
		`{"key":{"schema":{"type":"struct","fields":[{"field":"id","type":"int32","name":"io.debezium.time.Date"}]},"payload":{"id":1}},"value":null}`,
		`{"schema":{"type":"struct","fields":[{"field":"after","type":"struct","fields":[{"field":"id","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},{"field":"a","type":"array","items":{"type":"map","values":{"type":"string","name":"io.debezium.data.Json"}}}]}]},"payload":{"op":"c","after":{"id":"AN0=","a":[{"x":"{}"}]},"source":{"connector":"postgresql","lsn":5}}}`,
		`{"type":"UPDATE","database":"d","table":"t","es":7,"pkNames":["a"],"data":[{"a":"1","j":"[1]","t":"2023-03-23 14:30:05"}],"old":[{"a":"2"}],"mysqlType":{"a":"int(11)","j":"json","t":"datetime"}}`,
		`{"schema":{"primaryKey":["id"],"dataColumn":[{"name":"id","type":"LONG"},{"name":"d","type":"DATE"}],"source":{"tableName":"t"}},"payload":{"op":"UPDATE_AFTER","sequenceId":"5","before":{"dataColumn":{"id":1}},"after":{"dataColumn":{"id":"2","d":1731661114000}}}}`,
		`null`} {
		f.Add([]byte(s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, which uint8) {
		o := options[int(which)%len(options)]
		d := newDecoder(t, o)
		first, err := d.Decode(raw)
		var e *freshet.Error
		if err != nil && (!errors.As(err, &e) || e.Code == "" || e.Message == "") {
			t.Fatalf("%q: %#v", raw, err)
		}
		again, err2 := d.Decode(raw)
		if fmt.Sprint(first, err) != fmt.Sprint(again, err2) {
			t.Fatalf("%q: %v, then %v", raw, first, again)
		}
		for _, r := range first {
			if r.Key == "" || r.Timestamp < 0 || r.Order < 0 || o.Order != (r.Order > 0) {
				t.Fatalf("%q: %+v", raw, r)
			}
			for _, columns := range [][]cdc.Column{r.After, r.Before} {
				object := cdc.AppendObject(nil, columns)
				if err := codec.Check(object); err != nil && !strings.Contains(err.Error(), "nested") {
					t.Fatalf("%q gives %s: %v", raw, object, err)
				}
			}
			if r.Source != nil && codec.Check(r.Source) != nil {
				t.Fatalf("%q gives the source %s", raw, r.Source)
			}
		}
	})
}

// One decoder serves all workers; schemas come and go in its cache.
func TestConcurrent(t *testing.T) {
	d := newDecoder(t, byKey)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 400 {
				event := fmt.Sprintf(`{"key":{"id":%d},"value":{"schema":{"n":%d,"fields":[{"field":"after","fields":[{"field":"v","type":"int32","name":"io.debezium.time.Date"}]}]},"payload":{"op":"c","after":{"id":%d,"v":0}}}}`, w, i%300, w)
				rows, err := d.Decode([]byte(event))
				if err != nil || len(rows) != 1 || rows[0].Key != fmt.Sprint(w) || string(rows[0].After[1].Value) != `"1970-01-01T00:00:00Z"` {
					t.Errorf("%v, %v", rows, err)
					return
				}
			}
		})
	}
	all.Wait()
}
