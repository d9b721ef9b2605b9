package registry_test

import (
	"bytes"
	"encoding/json"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/freshet-io/freshet/codec"
)

// runPython returns the lines that a program prints. The test is skipped where the interpreter, which PYTHON may name, can't import what it needs.
func runPython(t *testing.T, imports, program string, args ...string) iter.Seq[[]byte] {
	t.Helper()
	interpreter := os.Getenv("PYTHON")
	if interpreter == "" {
		interpreter = "python3"
	}
	if err := exec.Command(interpreter, "-c", imports).Run(); err != nil {
		t.Skipf("%s can't %s: %v (set PYTHON)", interpreter, imports, err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(interpreter, append([]string{"-c", program}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	return bytes.Lines(out)
}

// fastavro encodes records of the real schemas by the package of this name, an implementation that shares nothing with those in Go.
const fastavro = `
import sys, json, glob, struct, io, random, base64, math
import fastavro
from fastavro.utils import generate_one
from fastavro._schema_py import parse_schema
random.seed(1)
def plain(v):
    if isinstance(v, bytes): return base64.b64encode(v).decode()
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    if isinstance(v, float) and not math.isfinite(v): return None
    return v
def strip(s): # logical types are tested elsewhere, and their values are no JSON
    if isinstance(s, dict): return {k: strip(v) for k, v in s.items() if k not in ("logicalType", "arg.properties")}
    if isinstance(s, list): return [strip(x) for x in s]
    return s
for name in sorted(glob.glob(sys.argv[1] + "/*.avro.json")):
    try: # some are no JSON, or generate what is none of their type
        schema = strip(json.load(open(name)))
        parsed = parse_schema(json.loads(json.dumps(schema)))
    except Exception: continue
    for i in range(5):
        v = generate_one(parsed)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, v)
        print(json.dumps({"schema": json.dumps(schema), "data": base64.b64encode(out.getvalue()).decode(), "want": plain(v)}))
`

// The schemas of a data generator of Confluent, with records that an implementation in Python has encoded. PYTHON is an interpreter
// that has the package.
func TestAvroOfPython(t *testing.T) {
	shared := os.Getenv("FRESHET_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	dir := filepath.Join(shared, "data", "cdc_formats", "datagen_avro_schemas")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no schemas: %v (set FRESHET_SHARED)", err)
	}
	s := newServer(t)
	d := s.open(t, objects)
	n := 0
	for line := range runPython(t, "import fastavro", fastavro, dir) {
		var c struct {
			Schema string
			Data   []byte
			Want   json.RawMessage
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode(framed(s.add(sr.TypeAvro, c.Schema), c.Data...))
		if err != nil {
			t.Fatalf("%s: %v", c.Schema, err)
		}
		if !sameNumbers(parse(t, string(got)), parse(t, string(c.Want))) {
			t.Errorf("%s: %s, want %s", c.Schema, got, c.Want)
		}
		n++
	}
	if n < 100 {
		t.Errorf("only %d records came from Python", n)
	}
}

// confluent has Confluent's own client register schemas and write keys and values, in each format.
const confluent = `
import sys, json, base64, datetime, decimal
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import SerializationContext, MessageField
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
client = SchemaRegistryClient({"url": sys.argv[1]})
def out(name, serializer, value, want, key=None):
    data = serializer(value, SerializationContext(name, MessageField.VALUE))
    print(json.dumps({"name": name, "key": base64.b64encode(key).decode() if key else None, "data": base64.b64encode(data).decode(), "want": want}))
avro = """{"type":"record","name":"Event","fields":[{"name":"event_id","type":"string"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"payload","type":{"type":"record","name":"P","fields":[{"name":"text","type":"string"},{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
  {"name":"tags","type":{"type":"array","items":"string"}},{"name":"day","type":["null",{"type":"int","logicalType":"date"}]}]}}]}"""
at = datetime.datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=datetime.timezone.utc)
keys = AvroSerializer(client, '"string"')
out("avro", AvroSerializer(client, avro), {"event_id": "e1", "timestamp": at, "payload": {"text": "rot é", "price": decimal.Decimal("-19.90"), "tags": ["a", "b"], "day": datetime.date(2026, 2, 3)}},
    {"entity_id": "k1", "event_id": "e1", "timestamp": 1770091506789, "payload": {"text": "rot é", "price": -19.90, "tags": ["a", "b"], "day": "2026-02-03T00:00:00Z"}},
    keys("k1", SerializationContext("avro", MessageField.KEY)))
schema = """{"$schema":"http://json-schema.org/draft-07/schema#","title":"Event","type":"object","properties":{"entity_id":{"type":"string"},"payload":{"type":"object"}}}"""
out("json", JSONSerializer(schema, client), {"entity_id": "j", "payload": {"text": "rot", "n": [1.5, None]}}, {"entity_id": "j", "payload": {"text": "rot", "n": [1.5, None]}})
F = descriptor_pb2.FieldDescriptorProto
file = descriptor_pb2.FileDescriptorProto(name="shop/event.proto", package="shop", syntax="proto3", dependency=["google/protobuf/timestamp.proto"])
def add(message, name, number, kind, type_name=None, label=F.LABEL_OPTIONAL):
    message.field.add(name=name, number=number, type=kind, type_name=type_name, label=label)
file.message_type.add(name="Unused")
event = file.message_type.add(name="Event")
payload = event.nested_type.add(name="Payload")
add(payload, "text", 1, F.TYPE_STRING); add(payload, "sizes", 2, F.TYPE_SINT64, label=F.LABEL_REPEATED); add(payload, "rate", 3, F.TYPE_FLOAT)
inner = event.nested_type.add(name="Inner")
add(inner, "entity_id", 1, F.TYPE_STRING); add(inner, "payload", 2, F.TYPE_MESSAGE, ".shop.Event.Payload")
add(event, "entity_id", 1, F.TYPE_STRING); add(event, "timestamp", 2, F.TYPE_MESSAGE, ".google.protobuf.Timestamp"); add(event, "payload", 3, F.TYPE_MESSAGE, ".shop.Event.Payload")
add(event, "vector", 4, F.TYPE_FLOAT, label=F.LABEL_REPEATED); add(event, "order", 5, F.TYPE_INT64)
pool = descriptor_pool.DescriptorPool()
pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
pool.Add(file)
Event = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Event"))
Inner = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Event.Inner"))
m = Event(entity_id="p", order=7)
m.timestamp.FromDatetime(at)
m.payload.text = "rot"; m.payload.sizes.extend([-1, 1 << 60])
conf = {"use.deprecated.format": False}
out("protobuf", ProtobufSerializer(Event, client, conf), m, {"entity_id": "p", "order": 7, "timestamp": 1770091506789, "payload": {"text": "rot", "sizes": [-1, 1 << 60], "rate": 0}})
n = Inner(entity_id="q"); n.payload.text = "blau"
out("protobuf-nested", ProtobufSerializer(Inner, client, conf), n, {"entity_id": "q", "payload": {"text": "blau", "sizes": [], "rate": 0}})
`

// What Confluent's own client writes is read: ids, keys, lists of message indexes, values.
func TestConfluentClient(t *testing.T) {
	s := newServer(t)
	d := s.open(t, events)
	n := 0
	for line := range runPython(t, "import confluent_kafka.schema_registry.avro, confluent_kafka.schema_registry.protobuf, confluent_kafka.schema_registry.json_schema", confluent, s.URL()) {
		var c struct {
			Name      string
			Key, Data []byte
			Want      json.RawMessage
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode(codec.AppendFrame(nil, c.Key, c.Data))
		if err != nil || !sameNumbers(parse(t, string(got)), parse(t, string(c.Want))) {
			t.Errorf("%s: %s, %v; want %s", c.Name, got, err, c.Want)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d records came", n)
	}
}

// sameNumbers compares values, numbers by what they are to 32 bits: Python writes floats with the digits of doubles.
func sameNumbers(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k := range a {
			if !sameNumbers(a[k], b[k]) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameNumbers(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		x, _ := a.Float64()
		y, _ := b.Float64()
		return ok && (a == b || x == y || float32(x) == float32(y) && strings.Contains(a.String()+b.String(), "."))
	}
	return a == b
}
