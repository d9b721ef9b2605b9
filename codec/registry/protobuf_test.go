package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

const (
	allTypes = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
message Other { string unused = 1; }
message All {
  bool bool_field = 1; int32 int32_field = 2; sint32 sint32_field = 3; uint32 uint32_field = 4; int64 int64_field = 5;
  sint64 sint64_field = 6; uint64 uint64_field = 7; sfixed32 sfixed32_field = 8; fixed32 fixed32_field = 9; float float_field = 10;
  sfixed64 sfixed64_field = 11; fixed64 fixed64_field = 12; double double_field = 13; string string_field = 14; bytes bytes_field = 15;
  Color color = 16; All all = 17; repeated All many = 18; repeated sint64 numbers = 19; map<string, All> by_name = 20; map<int32, bool> by_number = 21;
  optional string maybe = 22;
  oneof choice { string chosen_text = 23; Inner chosen = 24; }
  google.protobuf.Timestamp at = 25; google.protobuf.Duration took = 26; google.protobuf.Struct data = 27;
  google.protobuf.Int64Value wrapped = 28; google.protobuf.BytesValue wrapped_bytes = 29; repeated google.protobuf.Value values = 30;
  message Inner { message Deeper { int32 x = 1; } Deeper deeper = 1; }
  enum Color { NONE = 0; RED = 1; BLUE = 2; }
}
`
	decimalProto = `syntax = "proto3";
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
message Price {
  option (confluent.message_meta).doc = "a price";
  confluent.type.Decimal amount = 1 [(confluent.field_meta) = { params: [ { key: "precision", value: "9" } ] }];
}
`
)

// compile is how the test gets at messages to write.
func compile(t testing.TB, text string) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"x.proto": text})})}
	files, err := c.Compile(context.Background(), "x.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// describe is the descriptor that generated code has of a schema, in base64, as some clients register it.
func describe(t *testing.T, text string) string {
	t.Helper()
	file := protodesc.ToFileDescriptorProto(compile(t, text))
	for _, m := range file.MessageType {
		for _, f := range m.Field {
			f.JsonName = nil
		}
	}
	raw, err := proto.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// indexed is a value of Protobuf in the wire format, of the message that a list of indexes names.
func indexed(id int, data []byte, indexes ...int64) []byte {
	b := framed(id)
	if len(indexes) == 1 && indexes[0] == 0 {
		return append(append(b, 0), data...)
	}
	b = binary.AppendVarint(b, int64(len(indexes)))
	for _, i := range indexes {
		b = binary.AppendVarint(b, i)
	}
	return append(b, data...)
}

// fill sets fields at random.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		m.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(r.Int64N(4e9)-1e9))
		m.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(r.Int32N(1e9)))
		return
	case "google.protobuf.Duration":
		sign := r.Int64N(2)*2 - 1
		m.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(sign*r.Int64N(3e9)))
		m.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(int32(sign)*r.Int32N(1e9)))
		return
	}
	for i := range fields.Len() {
		f := fields.Get(i)
		if r.IntN(2) == 0 && f.ContainingOneof() == nil || f.ContainingOneof() != nil && r.IntN(2) == 0 || f.Message() != nil && depth > 2 {
			continue
		}
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			for range r.IntN(3) {
				v := list.NewElement()
				if f.Message() != nil {
					fill(r, v.Message(), depth+1)
					if needsKind(v.Message()) {
						continue
					}
				} else {
					v = scalar(r, f)
				}
				list.Append(v)
			}
		case f.IsMap():
			mm := m.Mutable(f).Map()
			for range r.IntN(3) {
				v := mm.NewValue()
				if f.MapValue().Message() != nil {
					fill(r, v.Message(), depth+1)
					if needsKind(v.Message()) {
						continue
					}
				} else {
					v = scalar(r, f.MapValue())
				}
				mm.Set(scalar(r, f.MapKey()).MapKey(), v)
			}
		case f.Message() != nil:
			fill(r, m.Mutable(f).Message(), depth+1)
			if needsKind(m.Get(f).Message()) {
				m.Clear(f)
			}
		default:
			m.Set(f, scalar(r, f))
		}
	}
}

// needsKind reports whether a google.protobuf.Value holds none, which it may not.
func needsKind(m protoreflect.Message) bool {
	oneof := m.Descriptor().Oneofs().ByName("kind")
	return oneof != nil && m.WhichOneof(oneof) == nil
}

func scalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	n := int64(r.Uint64()) >> r.IntN(64)
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 0)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(r.NormFloat64()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20)))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n & 1))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(binary.AppendVarint(nil, n))
	}
	return protoreflect.ValueOfString(strings.Repeat("é\"\\\n", r.IntN(3)) + strconv.FormatInt(n, 36))
}

// agree compares JSON with that of the reference, whose 64-bit numbers are strings, whose times have other numbers of digits, and which leaves out what is
// not set in a oneof.
func agree(got, want any) bool {
	switch g := got.(type) {
	case map[string]any:
		w, ok := want.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range w {
			if _, there := g[k]; !there && v != nil {
				return false
			}
		}
		for k, v := range g {
			if !agree(v, w[k]) {
				return false
			}
		}
		return true
	case []any:
		w, ok := want.([]any)
		if !ok || len(w) != len(g) {
			return false
		}
		for i := range g {
			if !agree(g[i], w[i]) {
				return false
			}
		}
		return true
	case json.Number:
		if text, ok := want.(string); ok {
			return text == g.String()
		}
		w, _ := want.(json.Number)
		x, errX := g.Float64()
		y, errY := w.Float64()
		return errX == nil && errY == nil && x == y
	case string:
		w, _ := want.(string)
		if a, err := time.Parse(time.RFC3339Nano, g); err == nil {
			b, err := time.Parse(time.RFC3339Nano, w)
			return err == nil && a.Equal(b)
		}
		if a, ok := strings.CutSuffix(g, "s"); ok && w != g {
			b, ok := strings.CutSuffix(w, "s")
			x, errX := strconv.ParseFloat(a, 64)
			y, errY := strconv.ParseFloat(b, 64)
			return ok && errX == nil && errY == nil && x == y
		}
		return g == w
	}
	return got == want
}

// Messages of every type, as the reference implementation has written them, are what its own JSON says.
func TestProtobufOfReferenceEncoder(t *testing.T) {
	s := newServer(t)
	d := s.open(t, objects)
	id := s.add(sr.TypeProtobuf, allTypes)
	all := compile(t, allTypes).Messages().ByName("All")
	r := rand.New(rand.NewPCG(9, 1))
	for range 400 {
		m := dynamicpb.NewMessage(all)
		fill(r, m, 0)
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode(indexed(id, data, 1))
		if err != nil || !agree(parse(t, string(got)), parse(t, string(want))) {
			t.Fatalf("%s\n%v; want\n%s", got, err, want)
		}
		again, err := d.Decode(indexed(id, data, 1))
		if err != nil || string(again) != string(got) {
			t.Fatalf("the same message is %s, then %s", got, again)
		}
	}
}

func TestProtobufValues(t *testing.T) {
	s := newServer(t)
	d := s.open(t, objects)
	id := s.add(sr.TypeProtobuf, allTypes)
	all := s.add(sr.TypeProtobuf, `syntax="proto2"; message M { required int32 r = 1; optional int32 o = 2 [default = 7]; optional string s = 3; repeated group G = 4 { optional bool b = 1; } }`)
	price := s.add(sr.TypeProtobuf, decimalProto)
	descriptor := s.add(sr.TypeProtobuf, describe(t, allTypes))
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"the first message", indexed(id, []byte{0x0a, 1, 'x'}, 0), `{"unused":"x"}`},
		{"a message by its full list", append(framed(id, 2, 0), 0x0a, 1, 'x'), `{"unused":"x"}`},
		{"a message within one within one", indexed(id, []byte{0x08, 5}, 1, 0, 0), `{"x":5}`},
		{"a message around one", indexed(id, []byte{0x0a, 2, 0x08, 5}, 1, 0), `{"deeper":{"x":5}}`},
		{"a descriptor instead of a text", indexed(descriptor, []byte{0x08, 5}, 1, 0, 0), `{"x":5}`},
		{"an empty message", indexed(id, nil, 1, 0), `{"deeper":null}`},
		{"what is not known is left out", indexed(id, []byte{0x0a, 1, 'x', 0xf8, 7, 1}, 0), `{"unused":"x"}`},
		{"fields of the second syntax", indexed(all, nil, 0), `{"r":null,"o":null,"s":null,"g":[]}`},
		{"groups", indexed(all, []byte{0x10, 1, 0x23, 0x08, 1, 0x24}, 0), `{"r":null,"o":1,"s":null,"g":[{"b":true}]}`},
		{"a decimal", indexed(price, []byte{0x0a, 5, 0x0a, 1, 0xfb, 0x18, 2}, 0), `{"amount":-0.05}`},
		{"NaN", indexed(id, append([]byte{0x69}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN()))...), 1), ""},
		{"an enum's unknown number", indexed(id, []byte{0x80, 1, 9}, 1), ""},
	} {
		got, err := d.Decode(c.raw)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.name == "NaN":
			if !strings.Contains(string(got), `"double_field":null`) {
				t.Errorf("%s: %s", c.name, got)
			}
		case c.want == "":
			if !strings.Contains(string(got), `"color":9`) {
				t.Errorf("%s: %s", c.name, got)
			}
		case string(got) != c.want:
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	deep := []byte{}
	for range 200 {
		deep = append(binary.AppendUvarint([]byte{0x8a, 1}, uint64(len(deep))), deep...)
	}
	for name, c := range map[string]struct {
		raw   []byte
		code  freshet.Code
		field string
	}{
		"no list":                      {framed(id), freshet.CodeInvalidRecord, ""},
		"a list that is cut":           {framed(id, 4, 2), freshet.CodeInvalidRecord, ""},
		"a list without end":           {framed(id, 0xfe, 0xff, 0xff, 0xff, 0x0f), freshet.CodeInvalidRecord, ""},
		"a message that is not":        {indexed(id, nil, 2), freshet.CodeInvalidRecord, ""},
		"a negative message":           {indexed(id, nil, -1), freshet.CodeInvalidRecord, ""},
		"cut":                          {indexed(id, []byte{0x0a, 9}, 0), freshet.CodeInvalidRecord, ""},
		"no text":                      {indexed(id, []byte{0x0a, 1, 0xff}, 0), freshet.CodeInvalidRecord, ""},
		"no text in the old syntax":    {indexed(all, []byte{0x1a, 1, 0xff}, 0), freshet.CodeInvalidUTF8, "s"},
		"no time":                      {indexed(id, append([]byte{0xca, 1, 11, 0x10}, binary.AppendUvarint(nil, math.MaxUint64)...), 1), freshet.CodeInvalidRecord, "at"},
		"a time of a year 99999":       {indexed(id, append([]byte{0xca, 1, 7, 0x08}, binary.AppendUvarint(nil, 3_000_000_000_000)...), 1), freshet.CodeInvalidRecord, "at"},
		"a second key of another type": {indexed(id, []byte{0xa2, 1, 5, 0x0a, 1, 'k', 0x08, 1}, 1), freshet.CodeInvalidRecord, ""},
		"nested too deep":              {indexed(id, deep, 1), freshet.CodeInvalidRecord, ""},
		"a decimal of nothing":         {indexed(price, []byte{0x0a, 0}, 0), freshet.CodeInvalidRecord, "amount"},
		"a schema without messages":    {indexed(s.add(sr.TypeProtobuf, `syntax="proto3";`), nil, 0), freshet.CodeInvalidRecord, ""},
		"a schema that is none":        {indexed(s.add(sr.TypeProtobuf, `message {`), nil, 0), freshet.CodeUnknownSchema, ""},
		"an import that is not there":  {indexed(s.add(sr.TypeProtobuf, `syntax="proto3"; import "other.proto";`), nil, 0), freshet.CodeUnknownSchema, ""},
	} {
		_, err := d.Decode(c.raw)
		mustFail(t, name, err, c.code, c.field)
	}
}

// FuzzProtobuf: any bytes are a message that is valid JSON, or refused with a code.
func FuzzProtobuf(f *testing.F) {
	s := newServer(f)
	d, typed, event := s.open(f, objects), s.open(f, rows), s.open(f, events)
	id := s.add(sr.TypeProtobuf, allTypes)
	r := rand.New(rand.NewPCG(9, 2))
	for range 10 {
		m := dynamicpb.NewMessage(compile(f, allTypes).Messages().ByName("All"))
		fill(r, m, 0)
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte{2, 2}, data...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		raw := framed(id, data...)
		got, err := d.Decode(raw)
		if err != nil {
			if strings.Contains(err.Error(), "panicked") {
				t.Fatal(err)
			}
			return
		}
		if err := codec.Check(got); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		for _, d := range []interface{ Decode([]byte) ([]byte, error) }{typed, event} {
			if got, err := d.Decode(raw); err != nil || codec.Check(got) != nil {
				t.Fatalf("%s, %v", got, err)
			}
		}
	})
}
