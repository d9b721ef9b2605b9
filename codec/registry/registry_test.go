package registry_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/codec/registry"
)

const seedAvro = `{"type":"record","name":"Event","fields":[{"name":"event_id","type":"string"},{"name":"entity_id","type":["null","string"]},
	{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
	{"name":"payload","type":["null","string",{"type":"record","name":"Payload","fields":[{"name":"text","type":"string"},{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]},{"type":"map","values":"string"}]}]}`

// An event of the seed's shape in each format, with its key in each, is the JSON event of that shape.
func TestEvents(t *testing.T) {
	s := newServer(t)
	d := s.open(t, events)
	id := s.add(sr.TypeAvro, seedAvro)
	text := s.add(sr.TypeAvro, `"string"`)
	number := s.add(sr.TypeAvro, `"long"`)
	record := s.add(sr.TypeAvro, `{"type":"record","name":"K","fields":[{"name":"id","type":"long"}]}`)
	event := func(entity, payload any) []byte {
		return framed(id, encodeAvro(t, seedAvro, map[string]any{"event_id": "e1", "entity_id": entity, "timestamp": 1700000000123, "payload": payload})...)
	}
	proto := s.add(sr.TypeProtobuf, `syntax="proto3"; import "google/protobuf/timestamp.proto";
		message Event { string event_id = 1; string entity_id = 2; google.protobuf.Timestamp timestamp = 3; Payload payload = 4; repeated float vector = 5; int64 order = 6; string op = 7; }
		message Payload { string text = 1; double price = 2; }`)
	schema := s.add(sr.TypeJSON, `{"type":"object"}`)
	payload := map[string]any{"text": "red", "price": "19.90"}
	for _, c := range []struct {
		name       string
		key, value []byte
		want       string
	}{
		{"a record", nil, event("a", map[string]any{"Payload": payload}), `{"event_id":"e1","entity_id":"a","timestamp":1700000000123,"payload":{"text":"red","price":19.90}}`},
		{"a map", nil, event("a", map[string]any{"map": map[string]any{"text": "red"}}), `{"event_id":"e1","entity_id":"a","timestamp":1700000000123,"payload":{"text":"red"}}`},
		{"an object in a string", nil, event("a", ` {"text":"red","n":[1.50]}`), `{"event_id":"e1","entity_id":"a","timestamp":1700000000123,"payload":{"text":"red","n":[1.50]}}`},
		{"another string", nil, event("a", `[1]`), `{"event_id":"e1","entity_id":"a","timestamp":1700000000123,"payload":"[1]"}`},
		{"the key as text", []byte("k/é"), event(nil, nil), `{"entity_id":"k/é","event_id":"e1","timestamp":1700000000123,"payload":null}`},
		{"the key in the wire format", framed(text, encodeAvro(t, `"string"`, "k")...), event(nil, nil), `{"entity_id":"k","event_id":"e1","timestamp":1700000000123,"payload":null}`},
		{"the key as a number", framed(number, 10), event(nil, nil), `{"entity_id":"5","event_id":"e1","timestamp":1700000000123,"payload":null}`},
		{"a key that nobody needs", framed(4711), event("a", nil), `{"event_id":"e1","entity_id":"a","timestamp":1700000000123,"payload":null}`},
		{"a deletion", framed(number, 10), nil, `{"entity_id":"5","op":"delete"}`},
		{"Protobuf", nil, indexed(proto, []byte("\x0a\x02e1\x12\x01a\x1a\x04\x08\x81\xe2\x31\x22\x05\x0a\x03red"), 0), `{"event_id":"e1","entity_id":"a","timestamp":815361000,"payload":{"text":"red","price":0}}`},
		{"Protobuf and its key", []byte("k"), indexed(proto, []byte("\x2a\x04\x00\x00\x80\x3f"), 0), `{"entity_id":"k","vector":[1]}`},
		{"JSON Schema", nil, framed(schema, []byte(`{"entity_id":"a","timestamp":"2023-11-14T22:13:20.123Z","payload":"{}"}`)...), `{"entity_id":"a","timestamp":1700000000123,"payload":{}}`},
		{"JSON that names no schema", []byte("k"), []byte(`{"payload":{"text":"red"}}`), `{"entity_id":"k","payload":{"text":"red"}}`},
	} {
		raw := c.value
		if c.key != nil {
			raw = codec.AppendFrame(nil, c.key, c.value)
		}
		got, err := d.Decode(raw)
		if err != nil || !same(t, string(got), c.want) {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		key, value []byte
		code       freshet.Code
		field      string
	}{
		"a key that is a record": {framed(record, 2), event(nil, nil), freshet.CodeMissingField, "key.entity_id"},
		"a key of no schema":     {framed(4711, 2), event(nil, nil), freshet.CodeUnknownSchema, "key"},
		"a key that is cut":      {framed(text, 9), event(nil, nil), freshet.CodeInvalidRecord, "key"},
		"a key that is no text":  {[]byte{0xff}, event(nil, nil), freshet.CodeInvalidUTF8, "entity_id"},
		"neither key nor value":  {nil, nil, freshet.CodeMissingField, "entity_id"},
		"a record that is none":  {nil, framed(text, 2, 'x'), freshet.CodeInvalidField, ""},
		"JSON that is cut":       {nil, framed(schema, '{'), freshet.CodeInvalidJSON, ""},
		"a field that is cut":    {nil, framed(id, 2, 'x', 2, 9), freshet.CodeInvalidRecord, "entity_id"},
	} {
		_, err := d.Decode(codec.AppendFrame(nil, c.key, c.value))
		mustFail(t, name, err, c.code, c.field)
	}
}

const envelope = `{"type":"record","name":"Envelope","namespace":"shop.public.products","fields":[
	{"name":"before","type":["null",{"type":"record","name":"Value","connect.name":"shop.public.products.Value","fields":[
		{"name":"id","type":"long"},{"name":"title","type":"string"},
		{"name":"price","type":{"type":"bytes","scale":2,"precision":9,"connect.version":1,"connect.parameters":{"scale":"2"},"connect.name":"org.apache.kafka.connect.data.Decimal","logicalType":"decimal"}},
		{"name":"rate","type":["null",{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","connect.name":"io.debezium.data.VariableScaleDecimal","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}]},
		{"name":"made","type":["null",{"type":"long","connect.version":1,"connect.name":"io.debezium.time.MicroTimestamp"}]},
		{"name":"day","type":["null",{"type":"int","connect.version":1,"connect.name":"io.debezium.time.Date"}]},
		{"name":"seen","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
		{"name":"attributes","type":["null",{"type":"string","connect.version":1,"connect.name":"io.debezium.data.Json"}]},
		{"name":"picture","type":["null","bytes"]},{"name":"tags","type":["null",{"type":"array","items":["null","string"]}]}]}],"default":null},
	{"name":"after","type":["null","Value"],"default":null},
	{"name":"source","type":{"type":"record","name":"Source","namespace":"io.debezium.connector.postgresql","fields":[{"name":"connector","type":"string"},{"name":"name","type":"string"},{"name":"ts_ms","type":"long"},{"name":"db","type":"string"},
		{"name":"schema","type":"string"},{"name":"table","type":"string"},{"name":"txId","type":["null","long"]},{"name":"lsn","type":["null","long"]}]}},
	{"name":"op","type":"string"},{"name":"ts_ms","type":["null","long"]}]}`

// Envelopes of Debezium in the wire format are the rows that the same envelopes in JSON are: the decoder of change data capture reads both.
func TestDebezium(t *testing.T) {
	s := newServer(t)
	d := s.open(t, rows)
	const keySchema = `{"type":"record","name":"Key","fields":[{"name":"id","type":"long"}]}`
	value, key := s.add(sr.TypeAvro, envelope), framed(s.add(sr.TypeAvro, keySchema), encodeAvro(t, keySchema, map[string]any{"id": 7})...)
	source := map[string]any{"connector": "postgresql", "name": "shop", "ts_ms": 1700000000000, "db": "shop", "schema": "public", "table": "products", "txId": 5, "lsn": 99}
	row := map[string]any{"id": 7, "title": "red shoes", "price": "19.90", "rate": map[string]any{"scale": 3, "value": []byte{5}}, "made": 1700000000123456, "day": 19000, "seen": 1000,
		"attributes": `{"a": [1]}`, "picture": []byte{1, 2}, "tags": []any{"x", nil}}
	record := func(after, before any, op string) []byte {
		b := encodeAvro(t, envelope, map[string]any{"after": after, "before": before, "source": source, "op": op, "ts_ms": 1})
		return codec.AppendFrame(nil, key, framed(value, b...))
	}
	decoder, err := cdc.New(cdc.Options{Format: cdc.Debezium, Order: true})
	if err != nil {
		t.Fatal(err)
	}
	read := func(raw []byte) []cdc.Row {
		t.Helper()
		text, err := d.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		out, err := decoder.Decode(text)
		if err != nil {
			t.Fatalf("%v of %s", err, text)
		}
		return out
	}
	got := read(record(row, nil, "u"))
	if len(got) != 1 || got[0].Op != cdc.Update || got[0].Entity() != "shop.public.products/7" || got[0].Order != 99 || got[0].Timestamp != 1700000000000 {
		t.Fatalf("%+v", got)
	}
	if row := string(cdc.AppendObject(nil, got[0].After)); !same(t, row, `{"id":7,"title":"red shoes","price":19.90,"rate":0.005,"made":"2023-11-14T22:13:20.123456Z","day":"2022-01-08T00:00:00Z",
		"seen":"1970-01-01T00:00:01Z","attributes":{"a":[1]},"tags":["x",null]}`) {
		t.Errorf("the row is %s", row)
	}
	for _, c := range got[0].After {
		if c.Text != (c.Name == "title") {
			t.Errorf("column %s is text: %v", c.Name, c.Text)
		}
	}
	if got := read(record(nil, nil, "d")); len(got) != 1 || got[0].Op != cdc.Delete || got[0].Key != "7" {
		t.Errorf("a deletion without the row before is %+v", got)
	}
	if got := read(codec.AppendFrame(nil, key, nil)); len(got) != 0 {
		t.Errorf("a tombstone is %+v", got)
	}
	flat, err := cdc.New(cdc.Options{Format: cdc.Debezium, Flat: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.Decode(codec.AppendFrame(nil, key, nil))
	if got, decodeErr := flat.Decode(text); err != nil || decodeErr != nil || len(got) != 1 || got[0].Op != cdc.Delete || got[0].Key != "7" {
		t.Errorf("a tombstone of a flat stream is %+v, %v, %v", got, err, decodeErr)
	}
	// A key that is no struct is left out, and what is wrong with a key is told.
	scalar := framed(s.add(sr.TypeAvro, `"long"`), 14)
	if text, err := d.Decode(codec.AppendFrame(nil, scalar, nil)); err != nil || string(text) != "null" {
		t.Errorf("a tombstone with a number as its key: %s, %v", text, err)
	}
	if text, err := d.Decode(codec.AppendFrame(nil, key, []byte(`{"op":"c"}`))); err != nil || !strings.Contains(string(text), `"payload":{"id":7}},"value":{"op":"c"}}`) {
		t.Errorf("a value in JSON: %s, %v", text, err)
	}
	if text, err := d.Decode(codec.AppendFrame(nil, key, []byte(`{"op"`))); err != nil || string(text) != `{"op"` {
		t.Errorf("a value that is none: %s, %v", text, err)
	}
	_, err = d.Decode(codec.AppendFrame(nil, key[:5], nil))
	mustFail(t, "a key that is cut", err, freshet.CodeInvalidRecord, "key.id")
	// The same in JSON Schema, as Connect's converter writes it, and in Protobuf.
	schema := s.add(sr.TypeJSON, `{"type":"object","title":"v","properties":{"id":{"type":"integer","connect.type":"int64"},"title":{"oneOf":[{"type":"null"},{"type":"string"}]},
		"price":{"type":"number","title":"org.apache.kafka.connect.data.Decimal","connect.type":"bytes","connect.parameters":{"scale":"2"}},
		"made":{"type":"integer","title":"io.debezium.time.MicroTimestamp","connect.type":"int64"},"picture":{"oneOf":[{"type":"null"},{"type":"string","connect.type":"bytes"}]},
		"when":{"type":"string","format":"date-time"},"more":{"type":"object","properties":{"day":{"type":"integer","title":"io.debezium.time.Date","connect.type":"int32"}}}}}`)
	proto := s.add(sr.TypeProtobuf, `syntax="proto3"; import "google/protobuf/timestamp.proto"; import "confluent/type/decimal.proto";
		message V { int64 id = 1; string title = 2; confluent.type.Decimal price = 3; google.protobuf.Timestamp made = 4; bytes picture = 5; V more = 6; map<string, bytes> parts = 7; }`)
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"JSON": {framed(schema, []byte(`{"id":7,"title":"red","price":"B8Y=","made":1700000000123456,"picture":"AQI=","when":"2026-01-02T03:04:05Z","more":{"day":1}}`)...),
			`{"id":7,"title":"red","price":19.90,"made":"2023-11-14T22:13:20.123456Z","when":"2026-01-02T03:04:05Z","more":{"day":"1970-01-02T00:00:00Z"}}`},
		"Protobuf": {indexed(proto, []byte("\x08\x07\x12\x03red\x1a\x06\x0a\x02\x07\xc6\x18\x02\x22\x02\x08\x01\x2a\x01\x01"), 0),
			`{"id":7,"title":"red","price":19.90,"made":"1970-01-01T00:00:01Z","more":null,"parts":{}}`},
	} {
		text, err := d.Decode(codec.AppendFrame(nil, key, c.raw))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := flat.Decode(text)
		if err != nil || len(got) != 1 || got[0].Key != "7" || !same(t, string(cdc.AppendObject(nil, got[0].After)), c.want) {
			t.Errorf("%s: %+v (%s), %v", name, got, cdc.AppendObject(nil, got[0].After), err)
			continue
		}
		for _, column := range got[0].After {
			if column.Text != (column.Name == "title") {
				t.Errorf("%s: column %s is text: %v", name, column.Name, column.Text)
			}
		}
	}
}

// Schemas may be in parts, that refer to parts in turn.
func TestReferences(t *testing.T) {
	s := newServer(t)
	d := s.open(t, objects)
	size := s.add(sr.TypeAvro, `{"type":"enum","name":"shop.Size","symbols":["S","M"]}`)
	item := s.add(sr.TypeAvro, `{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"size","type":"Size"}]}`, refer("shop.Size", size))
	order := s.add(sr.TypeAvro, `{"type":"record","name":"Order","fields":[{"name":"items","type":{"type":"array","items":"shop.Item"}},{"name":"size","type":"shop.Size"}]}`,
		refer("shop.Item", item), refer("shop.Size", size))
	if got, err := d.Decode(framed(order, 4, 2, 0, 0, 2)); err != nil || string(got) != `{"items":[{"size":"M"},{"size":"S"}],"size":"M"}` {
		t.Errorf("Avro: %s, %v", got, err)
	}
	protoSize := s.add(sr.TypeProtobuf, `syntax="proto3"; package shop; enum Size { S = 0; M = 1; }`)
	protoItem := s.add(sr.TypeProtobuf, `syntax="proto3"; package shop; import "size.proto"; message Item { Size size = 1; }`, refer("size.proto", protoSize))
	protoOrder := s.add(sr.TypeProtobuf, `syntax="proto3"; import "dir/item.proto"; message Order { repeated shop.Item items = 1; }`, refer("dir/item.proto", protoItem))
	if got, err := d.Decode(indexed(protoOrder, []byte{0x0a, 2, 8, 1, 0x0a, 0}, 0)); err != nil || string(got) != `{"items":[{"size":"M"},{"size":"S"}]}` {
		t.Errorf("Protobuf: %s, %v", got, err)
	}
	lost := s.add(sr.TypeAvro, `"shop.Size"`, refer("shop.Size", size))
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool { // who has deleted it for good was told that it is in use
		if r.URL.Path == "/subjects/s1/versions/1" {
			http.Error(w, `{"error_code":40402,"message":"Version not found."}`, http.StatusNotFound)
			return true
		}
		return false
	})
	_, err := d.Decode(framed(lost, 0))
	mustFail(t, "a reference that is not there", err, freshet.CodeUnknownSchema, "")
	if err == nil || !strings.Contains(err.Error(), `version 1 of "s1"`) {
		t.Errorf("the message does not name what is missing: %v", err)
	}
}

// A schema is asked for once, by whoever comes first; that there is none holds for a while.
func TestSchemasAreKept(t *testing.T) {
	s := newServer(t)
	var asked atomic.Int64
	s.Intercept(func(http.ResponseWriter, *http.Request) bool {
		asked.Add(1)
		return false
	})
	d := s.open(t, objects)
	id := s.add(sr.TypeAvro, `"long"`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if got, err := d.Decode(framed(id, 10)); err != nil || string(got) != "5" {
					t.Errorf("%s, %v", got, err)
				}
				if _, err := d.Decode(framed(99, 10)); err == nil {
					t.Error("a schema that is not there is known")
				}
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("the registry was asked %d times for two schemas", n)
	}
}

// A registry that does not answer, or not as one does, costs no record: the error says to try again. The next address may answer.
func TestUnavailable(t *testing.T) {
	s := newServer(t)
	id := s.add(sr.TypeAvro, `"long"`)
	var broken atomic.Bool
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if broken.Load() {
			http.Error(w, `{"error_code":50001,"message":"Error in the backend"}`, http.StatusInternalServerError)
		}
		return broken.Load()
	})
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	open := func(urls ...string) *registry.Decoder {
		d, err := registry.New(registry.Options{URLs: urls}, objects)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, url := range map[string]string{"closed": closed.URL, "another server": other.URL, "another path": s.URL() + "/none"} {
		d := open(url)
		for range 1000 { // all but the first are told at once
			_, err := d.Decode(framed(id, 10))
			if mustFail(t, name, err, freshet.CodeUnavailable, ""); err == nil || !strings.Contains(err.Error(), url) {
				t.Fatalf("%s: %v does not name %s", name, err, url)
			}
		}
		if got, err := open(url, s.URL()).Decode(framed(id, 10)); err != nil || string(got) != "5" {
			t.Errorf("%s before one that answers: %s, %v", name, got, err)
		}
	}
	d := open(s.URL())
	broken.Store(true)
	_, err := d.Decode(codec.AppendFrame(nil, []byte("k"), framed(id, 10)))
	mustFail(t, "a fault", err, freshet.CodeUnavailable, "")
	broken.Store(false)
	registry.Expire(d)
	if got, err := d.Decode(framed(id, 10)); err != nil || string(got) != "5" {
		t.Errorf("once it answers: %s, %v", got, err)
	}
	broken.Store(true)
	if got, err := d.Decode(framed(id, 12)); err != nil || string(got) != "6" {
		t.Errorf("a known schema needs no registry: %s, %v", got, err)
	}
	broken.Store(false)
	_, err = d.Decode(framed(id+1, 10))
	mustFail(t, "not yet", err, freshet.CodeUnknownSchema, "")
	s.add(sr.TypeAvro, `"int"`)
	registry.Expire(d)
	if got, err := d.Decode(framed(id+1, 10)); err != nil || string(got) != "5" {
		t.Errorf("a schema that came later: %s, %v", got, err)
	}
}

// Basic authentication, a token, and TLS with a certificate authority of one's own.
func TestAccess(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		right  registry.Options
	}{
		"basic": {"Basic dTpw", registry.Options{User: "u", PasswordFile: secretFile(t, "p\n")}},
		"token": {"Bearer abc", registry.Options{TokenFile: secretFile(t, "abc")}},
	} {
		fake := srfake.New(srfake.WithAuth(c.header))
		defer fake.Close()
		fake.SeedSchema("s", 1, 1, sr.Schema{Schema: `"long"`})
		for _, right := range []bool{true, false} {
			o := registry.Options{}
			if right {
				o = c.right
			}
			o.URLs = []string{fake.URL()}
			d, err := registry.New(o, objects)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = d.Decode(framed(1, 10)); right && err != nil {
				t.Errorf("%s: %v", name, err)
			} else if !right {
				mustFail(t, name+" without", err, freshet.CodeUnavailable, "")
			}
		}
	}
	s := newServer(t)
	id := s.add(sr.TypeAvro, `"long"`)
	secure := httptest.NewTLSServer(s.Handler())
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := registry.New(registry.Options{URLs: []string{secure.URL}, TLS: registry.TLS{CAFile: ca}}, objects)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Decode(framed(id, 10)); err != nil || string(got) != "5" {
		t.Errorf("TLS: %s, %v", got, err)
	}
	if d, err = registry.New(registry.Options{URLs: []string{secure.URL}}, objects); err != nil {
		t.Fatal(err)
	}
	_, err = d.Decode(framed(id, 10))
	mustFail(t, "TLS of someone else", err, freshet.CodeUnavailable, "")
	for _, o := range []registry.Options{{TLS: registry.TLS{CAFile: "nowhere"}}, {TLS: registry.TLS{CAFile: "doc.go"}}, {TLS: registry.TLS{CertFile: "doc.go", KeyFile: "doc.go"}},
		{TokenFile: "nowhere"}, {User: "u", PasswordFile: secretFile(t, "\n")}} {
		o.URLs = []string{"https://x"}
		if _, err := registry.New(o, objects); err == nil || !strings.Contains(err.Error(), "schema_registry.") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// secretFile is a file with a secret.
func secretFile(t *testing.T, secret string) string {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOptions(t *testing.T) {
	for field, o := range map[string]registry.Options{
		"urls": {}, "urls ": {URLs: []string{"registry:8081"}}, "urls  ": {URLs: []string{"http://u:secret@x"}}, "urls   ": {URLs: []string{"ftp://x"}},
		"token_file":    {URLs: []string{"http://x"}, TokenFile: "t", User: "u"},
		"password_file": {URLs: []string{"http://x"}, User: "u"},
		"user":          {URLs: []string{"http://x"}, PasswordFile: "p"},
		"tls.key_file":  {URLs: []string{"http://x"}, TLS: registry.TLS{CertFile: "c"}},
		"tls.cert_file": {URLs: []string{"http://x"}, TLS: registry.TLS{KeyFile: "k"}},
	} {
		err := o.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), "schema_registry."+strings.TrimSpace(field)+": ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
