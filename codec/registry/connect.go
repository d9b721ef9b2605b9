package registry

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// The schema of Kafka Connect, in the JSON that its own converter writes: Debezium's envelopes come with it, and package cdc reads
// from it what a value is. What has a name in Connect stays as Connect has it; the others are plain JSON already, and their
// schema only tells whether a string is text.
type connectSchema struct {
	Type       string            `json:"type,omitempty"`
	Name       string            `json:"name,omitempty"`
	Field      string            `json:"field,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Fields     []*connectSchema  `json:"fields,omitempty"`
	Items      *connectSchema    `json:"items,omitempty"`
	Values     *connectSchema    `json:"values,omitempty"`
}

// plainType is the name of a type whose strings are no text.
const plainType = "freshet.plain"

// text returns the schema in JSON.
func (c *connectSchema) text() []byte {
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // it is made of strings and maps
	}
	return raw
}

var avroConnect = map[avroKind]string{avroBoolean: "boolean", avroInt: "int32", avroLong: "int64", avroFloat: "float", avroDouble: "double",
	avroBytes: "bytes", avroFixed: "bytes", avroString: "string", avroEnum: "string", avroArray: "array", avroMap: "map", avroRecord: "struct"}

// maxConnect is how many types a schema of Connect holds: those that are used in many places are written down in each.
const maxConnect = 10_000

// connector makes schemas of Connect. A type within itself, and all beyond maxConnect, is one of which nothing is known.
type connector struct {
	open map[any]bool // types that are being written down
	used int
}

// enter begins a type; ok is false where it is left out.
func (k *connector) enter(s any) (ok bool) {
	if k.used++; k.open[s] || k.used > maxConnect {
		return false
	}
	if k.open == nil {
		k.open = map[any]bool{}
	}
	k.open[s] = true
	return true
}

func (k *connector) leave(s any) { delete(k.open, s) }

// avro returns the schema of Connect for one of Avro.
func (k *connector) avro(s *avroSchema) *connectSchema {
	if !k.enter(s) {
		return &connectSchema{}
	}
	defer k.leave(s)
	c := &connectSchema{Type: avroConnect[s.kind], Name: s.connect}
	switch {
	case s.logical != "" && s.connect == "":
		c.Type, c.Name = "string", plainType
		return c
	case s.kind == avroBytes && s.connect != "":
		c.Parameters = map[string]string{"scale": strconv.FormatInt(s.scale, 10)}
	}
	switch s.kind {
	case avroUnion:
		var some []*avroSchema
		for _, b := range s.of {
			if b.kind != avroNull {
				some = append(some, b)
			}
		}
		if len(some) == 1 {
			return k.avro(some[0])
		}
		return &connectSchema{} // of values of several types nobody says which
	case avroArray:
		c.Items = k.avro(s.of[0])
	case avroMap:
		c.Values = k.avro(s.of[0])
	case avroRecord:
		for _, f := range s.fields {
			of := *k.avro(f.schema)
			of.Field = f.name
			c.Fields = append(c.Fields, &of)
		}
	}
	return c
}

var protoConnect = map[protoreflect.Kind]string{protoreflect.BoolKind: "boolean", protoreflect.FloatKind: "float", protoreflect.DoubleKind: "double",
	protoreflect.StringKind: "string", protoreflect.BytesKind: "bytes", protoreflect.EnumKind: "string", protoreflect.MessageKind: "struct", protoreflect.GroupKind: "struct",
	protoreflect.Uint64Kind: "int64", protoreflect.Fixed64Kind: "int64", protoreflect.Int64Kind: "int64", protoreflect.Sint64Kind: "int64", protoreflect.Sfixed64Kind: "int64"}

// message returns the schema of Connect for a message, whose values appendProtobuf has made plain.
func (k *connector) message(m protoreflect.MessageDescriptor) *connectSchema {
	switch kindOfMessage(m) {
	case protoMessage:
	case protoWrapper:
		return k.field(m.Fields().ByName("value"))
	default:
		return &connectSchema{Type: "string", Name: plainType}
	}
	if !k.enter(m.FullName()) {
		return &connectSchema{}
	}
	defer k.leave(m.FullName())
	c := &connectSchema{Type: "struct"}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		var of connectSchema
		switch {
		case f.IsMap():
			of = connectSchema{Type: "map", Values: k.field(f.MapValue())}
		case f.IsList():
			of = connectSchema{Type: "array", Items: k.field(f)}
		default:
			of = *k.field(f)
		}
		of.Field = string(f.Name())
		c.Fields = append(c.Fields, &of)
	}
	return c
}

func (k *connector) field(f protoreflect.FieldDescriptor) *connectSchema {
	if m := f.Message(); m != nil {
		return k.message(m)
	}
	kind, ok := protoConnect[f.Kind()]
	if !ok {
		kind = "int32"
	}
	return &connectSchema{Type: kind}
}

// connectOfJSONSchema returns the schema of Connect for a JSON Schema that its converter has written: names stand in title, types in
// connect.type.
func connectOfJSONSchema(v any) *connectSchema {
	o, _ := v.(map[string]any)
	for _, key := range []string{"oneOf", "anyOf"} {
		var some []any
		branches, _ := o[key].([]any)
		for _, b := range branches {
			if branch, _ := b.(map[string]any); branch["type"] != "null" {
				some = append(some, b)
			}
		}
		if len(some) == 1 {
			return connectOfJSONSchema(some[0])
		}
	}
	c := &connectSchema{}
	c.Name, _ = o["title"].(string)
	kind, _ := o["type"].(string)
	switch c.Type, _ = o["connect.type"].(string); {
	case c.Type != "":
	case kind == "object":
		c.Type = "struct"
	case kind == "integer":
		c.Type = "int64"
	case kind == "number":
		c.Type = "double"
	default:
		c.Type = kind // string, boolean, array
	}
	if format, _ := o["format"].(string); c.Type == "string" && c.Name == "" && (strings.HasPrefix(format, "date") || format == "time" || format == "uuid") {
		c.Name = plainType
	}
	parameters, _ := o["connect.parameters"].(map[string]any)
	for name, value := range parameters {
		if text, ok := value.(string); ok {
			if c.Parameters == nil {
				c.Parameters = map[string]string{}
			}
			c.Parameters[name] = text
		}
	}
	if items, ok := o["items"]; ok {
		c.Items = connectOfJSONSchema(items)
	}
	if values, ok := o["additionalProperties"].(map[string]any); ok && c.Type == "map" {
		c.Values = connectOfJSONSchema(values)
	}
	properties, _ := o["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		of := *connectOfJSONSchema(properties[name])
		of.Field = name
		c.Fields = append(c.Fields, &of)
	}
	return c
}
