package registry

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// The imports that Confluent's registry knows without a reference, besides those of google/protobuf.
var confluentImports = map[string]string{
	"confluent/meta.proto": `syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
}
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
`,
	"confluent/type/decimal.proto": `syntax = "proto3";
package confluent.type;
message Decimal {
  bytes value = 1;
  uint32 precision = 2;
  int32 scale = 3;
}
`,
}

// mainFile is the name under which a schema is compiled; imports have those of their references.
const mainFile = "freshet.proto"

// compileProtobuf compiles a schema. Imports are the texts of what it refers to, by the names that it imports them by.
func compileProtobuf(text string, imports map[string]string) (protoreflect.FileDescriptor, error) {
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			if path == mainFile {
				return sourceOf(path, text), nil
			}
			for _, from := range []map[string]string{imports, confluentImports} {
				if text, ok := from[path]; ok {
					return sourceOf(path, text), nil
				}
			}
			return protocompile.SearchResult{}, fmt.Errorf("%q is imported, but the registry has no reference for it", path)
		})),
		MaxParallelism: 1,
	}
	files, err := c.Compile(context.Background(), mainFile)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// sourceOf returns a schema as the compiler takes it. Some clients register the descriptor of a file, in base64, instead of its text; not all
// registries make text of it.
func sourceOf(path, text string) protocompile.SearchResult {
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) > 0 {
		file := &descriptorpb.FileDescriptorProto{}
		if proto.Unmarshal(raw, file) == nil {
			file.Name = &path
			nameJSON(file.MessageType)
			return protocompile.SearchResult{Proto: file}
		}
	}
	return protocompile.SearchResult{Source: strings.NewReader(text)}
}

// nameJSON names the fields that a descriptor has no JSON name for, which generated code leaves out and the compiler takes for one.
// Each gets its own: they are not used.
func nameJSON(messages []*descriptorpb.DescriptorProto) {
	for _, m := range messages {
		for _, f := range m.Field {
			if f.JsonName == nil {
				f.JsonName = f.Name
			}
		}
		nameJSON(m.NestedType)
	}
}

// maxNesting bounds the list of indexes that names a message type.
const maxNesting = 32

// messageOf reads the list of indexes that names a message of a file, and returns the bytes behind it.
func messageOf(file protoreflect.FileDescriptor, data []byte) (protoreflect.MessageDescriptor, []byte, error) {
	malformed := refuse(freshet.CodeInvalidRecord, "", "does not name the type of its message by a list of indexes behind the id of its schema")
	next := func() (int64, bool) {
		n, size := binary.Varint(data)
		if size <= 0 {
			return 0, false
		}
		data = data[size:]
		return n, true
	}
	count, ok := next()
	if !ok || count < 0 || count > maxNesting {
		return nil, nil, malformed
	}
	types := declared(file.Messages())
	if count == 0 { // the first one, in short
		if len(types) == 0 {
			return nil, nil, refuse(freshet.CodeInvalidRecord, "", "names the first message of its schema, which has none")
		}
		return types[0], data, nil
	}
	var m protoreflect.MessageDescriptor
	for ; count > 0; count-- {
		i, ok := next()
		if !ok {
			return nil, nil, malformed
		}
		if i < 0 || i >= int64(len(types)) {
			return nil, nil, refuse(freshet.CodeInvalidRecord, "", "names the message number %d, of %d; its schema is not the one it was written with", i, len(types))
		}
		m = types[i]
		types = declared(m.Messages())
	}
	return m, data, nil
}

// declared returns the messages that the text of a schema has: not those that stand for its maps, which Confluent's own serializer does not
// count either.
func declared(all protoreflect.MessageDescriptors) (out []protoreflect.MessageDescriptor) {
	for i := range all.Len() {
		if !all.Get(i).IsMapEntry() {
			out = append(out, all.Get(i))
		}
	}
	return out
}

// appendProtobuf appends the JSON of a message. Fields have the names of the schema. Those without presence that are not set have their default, unless bare
// says that those of the message itself are to be left out; those with presence are null.
func appendProtobuf(dst []byte, m protoreflect.MessageDescriptor, data []byte, bare bool) ([]byte, error) {
	msg := dynamicpb.NewMessage(m)
	if err := unmarshal(data, msg); err != nil {
		return dst, refuse(freshet.CodeInvalidRecord, "", "is no message %s: %s", m.FullName(), strings.ReplaceAll(err.Error(), "\u00a0", " "))
	}
	w := protoWriter{out: dst, limit: len(dst) + maxJSON}
	if err := w.message(msg, bare); err != nil {
		return dst, err
	}
	return w.out, nil
}

// unmarshal reads a message. The library panics at a key of a map that is of another type (v1.36.12).
func unmarshal(data []byte, msg proto.Message) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return proto.UnmarshalOptions{AllowPartial: true, RecursionLimit: codec.MaxDepth}.Unmarshal(data, msg)
}

type protoWriter struct {
	out   []byte
	limit int
}

func (w *protoWriter) message(m protoreflect.Message, bare bool) error {
	if known, err := w.wellKnown(m); known || err != nil {
		return err
	}
	w.out = append(w.out, '{')
	first := true
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if bare && !m.Has(f) {
			continue
		}
		if !first {
			w.out = append(w.out, ',')
		}
		first = false
		w.out = append(codec.AppendString(w.out, string(f.Name())), ':')
		if err := w.field(m, f); err != nil {
			return within(err, string(f.Name()))
		}
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *protoWriter) field(m protoreflect.Message, f protoreflect.FieldDescriptor) error {
	switch {
	case f.IsList():
		list := m.Get(f).List()
		w.out = append(w.out, '[')
		for i := range list.Len() {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			if err := w.value(f, list.Get(i)); err != nil {
				return within(err, strconv.Itoa(i))
			}
		}
		w.out = append(w.out, ']')
		return nil
	case f.IsMap():
		return w.mapping(f, m.Get(f).Map())
	case f.HasPresence() && !m.Has(f):
		w.out = append(w.out, "null"...)
		return nil
	}
	return w.value(f, m.Get(f))
}

// mapping writes a map in the order of its keys, for it has none of its own.
func (w *protoWriter) mapping(f protoreflect.FieldDescriptor, m protoreflect.Map) error {
	values := make(map[string]protoreflect.Value, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		values[k.String()] = v
		return true
	})
	w.out = append(w.out, '{')
	for i, key := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if !utf8.ValidString(key) {
			return refuse(freshet.CodeInvalidUTF8, "", "has a key that is not valid UTF-8; send UTF-8")
		}
		w.out = append(codec.AppendString(w.out, key), ':')
		if err := w.value(f.MapValue(), values[key]); err != nil {
			return within(err, key)
		}
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *protoWriter) value(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	if len(w.out) > w.limit {
		return tooLarge()
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case protoreflect.FloatKind:
		w.out = appendFinite(w.out, v.Float(), 32)
	case protoreflect.DoubleKind:
		w.out = appendFinite(w.out, v.Float(), 64)
	case protoreflect.StringKind:
		if !utf8.ValidString(v.String()) {
			return refuse(freshet.CodeInvalidUTF8, "", "is not valid UTF-8; send UTF-8")
		}
		w.out = codec.AppendString(w.out, v.String())
	case protoreflect.BytesKind:
		w.out = appendBase64(w.out, v.Bytes())
	case protoreflect.EnumKind:
		if name := f.Enum().Values().ByNumber(v.Enum()); name != nil {
			w.out = codec.AppendString(w.out, string(name.Name()))
		} else {
			w.out = strconv.AppendInt(w.out, int64(v.Enum()), 10)
		}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.message(v.Message(), false)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	default:
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	}
	return nil
}

func appendBase64(dst, b []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b)
	return append(dst, '"')
}

// wellKnown writes a message that stands for a value.
func (w *protoWriter) wellKnown(m protoreflect.Message) (known bool, err error) {
	get := func(name protoreflect.Name) protoreflect.Value { return m.Get(m.Descriptor().Fields().ByName(name)) }
	switch kindOfMessage(m.Descriptor()) {
	case protoTimestamp:
		seconds, nanos := get("seconds").Int(), get("nanos").Int()
		const year0, year9999 = -62167219200, 253402300799
		if seconds < year0 || seconds > year9999 || nanos < 0 || nanos >= int64(time.Second) {
			return true, refuse(freshet.CodeInvalidRecord, "", "must be a time of the years 0 to 9999, is %d s and %d ns since 1970", seconds, nanos)
		}
		w.out = codec.AppendTime(w.out, time.Unix(seconds, nanos))
	case protoDuration:
		seconds, nanos := get("seconds").Int(), get("nanos").Int()
		if nanos <= -int64(time.Second) || nanos >= int64(time.Second) || seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0 || seconds == math.MinInt64 {
			return true, refuse(freshet.CodeInvalidRecord, "", "must be a duration, is %d s and %d ns", seconds, nanos)
		}
		w.out = appendSeconds(w.out, seconds, nanos)
	case protoDecimal:
		var ok bool
		value, scale := get("value").Bytes(), get("scale").Int()
		if w.out, ok = codec.AppendDecimal(w.out, value, scale); !ok {
			return true, refuse(freshet.CodeInvalidRecord, "", "must be a decimal of 1 to %d bytes with a scale up to %d, has %d and %d", codec.MaxDecimalBytes, codec.MaxDecimalScale, len(value), scale)
		}
	case protoWrapper:
		f := m.Descriptor().Fields().ByName("value")
		return true, w.value(f, m.Get(f))
	case protoStruct:
		return true, w.field(m, m.Descriptor().Fields().ByName("fields"))
	case protoList:
		return true, w.field(m, m.Descriptor().Fields().ByName("values"))
	case protoAny:
		f := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
		if f == nil || f.Name() == "null_value" {
			w.out = append(w.out, "null"...)
			return true, nil
		}
		return true, w.value(f, m.Get(f))
	default:
		return false, nil
	}
	return true, nil
}

// appendSeconds appends a duration as the JSON of Protobuf has it: "-3.5s".
func appendSeconds(dst []byte, seconds, nanos int64) []byte {
	dst = append(dst, '"')
	if seconds < 0 || nanos < 0 {
		dst, seconds, nanos = append(dst, '-'), -seconds, -nanos
	}
	dst = strconv.AppendInt(dst, seconds, 10)
	if nanos > 0 {
		dst = append(dst, strings.TrimRight(fmt.Sprintf(".%09d", nanos), "0")...)
	}
	return append(dst, 's', '"')
}

// protoKind is what a message stands for.
type protoKind uint8

const (
	protoMessage protoKind = iota
	protoTimestamp
	protoDuration
	protoDecimal
	protoWrapper
	protoStruct
	protoList
	protoAny
)

var protoKinds = map[protoreflect.FullName]protoKind{
	"google.protobuf.Timestamp": protoTimestamp, "google.protobuf.Duration": protoDuration, "confluent.type.Decimal": protoDecimal,
	"google.protobuf.Struct": protoStruct, "google.protobuf.ListValue": protoList, "google.protobuf.Value": protoAny,
	"google.protobuf.BoolValue": protoWrapper, "google.protobuf.StringValue": protoWrapper, "google.protobuf.BytesValue": protoWrapper,
	"google.protobuf.FloatValue": protoWrapper, "google.protobuf.DoubleValue": protoWrapper,
	"google.protobuf.Int32Value": protoWrapper, "google.protobuf.Int64Value": protoWrapper,
	"google.protobuf.UInt32Value": protoWrapper, "google.protobuf.UInt64Value": protoWrapper,
}

// kindOfMessage says what a message stands for. A type of one of these names that was redefined with other fields is a message.
func kindOfMessage(m protoreflect.MessageDescriptor) protoKind {
	kind := protoKinds[m.FullName()]
	has := func(name protoreflect.Name, kinds ...protoreflect.Kind) bool {
		f := m.Fields().ByName(name)
		return f != nil && !f.IsList() && !f.IsMap() && slices.Contains(kinds, f.Kind())
	}
	ok := true
	switch kind {
	case protoTimestamp, protoDuration:
		ok = has("seconds", protoreflect.Int64Kind) && has("nanos", protoreflect.Int32Kind)
	case protoDecimal:
		ok = has("value", protoreflect.BytesKind) && has("scale", protoreflect.Int32Kind)
	case protoWrapper:
		ok = m.Fields().ByName("value") != nil && !m.Fields().ByName("value").IsList() && !m.Fields().ByName("value").IsMap()
	case protoStruct:
		ok = m.Fields().ByName("fields") != nil && m.Fields().ByName("fields").IsMap()
	case protoList:
		ok = m.Fields().ByName("values") != nil && m.Fields().ByName("values").IsList()
	case protoAny:
		ok = m.Oneofs().ByName("kind") != nil
	}
	if !ok {
		return protoMessage
	}
	return kind
}
