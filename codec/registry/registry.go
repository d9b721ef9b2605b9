package registry

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// version counts the changes of what records are read as. It is part of Describe.
const version = 1

// maxJSON bounds the JSON of one value: a few bytes of Avro may stand for a billion nulls.
const maxJSON = 32 << 20

// The wire format: magic, id of the schema, value.
const (
	magic       = 0x00
	headerBytes = 5
)

// Shape says what records are read as.
type Shape struct {
	Form codec.Form
	// Typed rows come with the schema of Kafka Connect, as Debezium's do.
	Typed bool
}

// Decoder reads records. It is safe for concurrent use.
type Decoder struct {
	shape   Shape
	schemas *schemas
}

// New returns a decoder. It asks the registry nothing yet.
func New(o Options, shape Shape) (*Decoder, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s, err := newSchemas(o)
	if err != nil {
		return nil, err
	}
	return &Decoder{shape: shape, schemas: s}, nil
}

// Describe is a canonical text of what records are read as. Where the registry is found is no part of it: an id means the same
// schema everywhere.
func (d *Decoder) Describe() string { return fmt.Sprintf("registry/%d", version) }

// Decode returns the JSON of a record: a value, or a frame of codec.AppendFrame with its key. A value that does not begin with a zero
// byte is JSON already. The error is a *freshet.Error: CodeUnavailable where the registry does not answer and the record is to be tried
// again, CodeUnknownSchema where it has no such schema or one that can't be used, else what is wrong with the record. The
// result may alias raw.
func (d *Decoder) Decode(raw []byte) ([]byte, error) {
	key, value, err := codec.SplitFrame(raw)
	if err != nil {
		return nil, err
	}
	switch d.shape.Form {
	case codec.FormRows:
		return d.row(key, value)
	case codec.FormEvents:
		if len(value) > 0 && value[0] == magic {
			if value, err = d.event(value); err != nil {
				return nil, err
			}
		}
		if key != nil && (value == nil || lacksEntity(value)) {
			if key, err = d.entity(key); err != nil {
				return nil, within(err, "key")
			}
		}
	default:
		if value, err = d.part(value); err != nil {
			return nil, err
		}
	}
	return codec.Join(d.shape.Form, key, value)
}

// row decodes a row and its key. A key that is no struct says no column.
func (d *Decoder) row(key, value []byte) ([]byte, error) {
	out, err := d.part(value)
	if err != nil {
		return nil, err
	}
	if len(key) == 0 || key[0] != magic {
		return codec.Join(codec.FormRows, key, out)
	}
	s, data, err := d.open(key)
	if err == nil {
		key, err = s.append(nil, data, d.shape.Typed, false)
	}
	if err != nil {
		return nil, within(err, "key")
	}
	switch isStruct := key[0] == '{'; {
	case !isStruct:
		return codec.Join(codec.FormRows, nil, out)
	case d.shape.Typed:
		key = typed(s.connectOf(data), key)
	}
	if value != nil && (len(value) == 0 || value[0] != magic) { // it came as JSON, or as what is none
		return codec.Join(codec.FormRows, key, out)
	}
	return codec.JoinRow(key, out), nil
}

// typed is a value of Kafka Connect with its schema.
func typed(schema, payload []byte) []byte {
	out := make([]byte, 0, len(schema)+len(payload)+len(`{"schema":,"payload":}`))
	out = append(append(out, `{"schema":`...), schema...)
	return append(append(append(out, `,"payload":`...), payload...), '}')
}

// part decodes a key or a value where it is in the wire format.
func (d *Decoder) part(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != magic {
		return b, nil
	}
	s, data, err := d.open(b)
	if err != nil {
		return nil, err
	}
	if d.shape.Form != codec.FormRows || !d.shape.Typed {
		return s.append(nil, data, false, false)
	}
	payload, err := s.append(nil, data, true, false)
	if err != nil {
		return nil, err
	}
	return typed(s.connectOf(data), payload), nil
}

// open returns the schema of what is in the wire format, and the bytes behind its id.
func (d *Decoder) open(b []byte) (*schema, []byte, error) {
	if len(b) < headerBytes {
		return nil, nil, refuse(freshet.CodeInvalidRecord, "", "has %d bytes, fewer than the wire format of the schema registry has in front", len(b))
	}
	s, err := d.schemas.get(int(int32(binary.BigEndian.Uint32(b[1:]))))
	return s, b[headerBytes:], err
}

// event decodes an event of the default mapping.
func (d *Decoder) event(b []byte) ([]byte, error) {
	s, data, err := d.open(b)
	if err != nil {
		return nil, err
	}
	raw, err := s.append(nil, data, false, true)
	if err != nil {
		return nil, err
	}
	var room [16]codec.Member
	members, err := codec.Members(raw, room[:0])
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1, len(raw))
	out[0] = '{'
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(codec.AppendString(out, m.Name), ':')
		out = append(out, eventValue(m)...)
	}
	return append(out, '}'), nil
}

// eventValue returns a field of an event as JSON has it.
func eventValue(m codec.Member) []byte {
	switch m.Name {
	case "payload":
		if text, isText := codec.StringValue(m.Value); isText && codec.CheckObject([]byte(text)) == nil {
			return []byte(text)
		}
	case "timestamp", "expires_at":
		if text, isText := codec.StringValue(m.Value); isText {
			if at, err := time.Parse(time.RFC3339, text); err == nil {
				return strconv.AppendInt(nil, at.UnixMilli(), 10)
			}
		}
	}
	return m.Value
}

// lacksEntity reports whether an event does not name its entity.
func lacksEntity(value []byte) bool {
	var room [16]codec.Member
	members, err := codec.Members(value, room[:0])
	for _, m := range members {
		if m.Name == "entity_id" && string(m.Value) != "null" {
			return false
		}
	}
	return err == nil
}

// entity returns the id that a key is.
func (d *Decoder) entity(key []byte) ([]byte, error) {
	if len(key) < headerBytes || key[0] != magic {
		return key, nil
	}
	raw, err := d.part(key)
	if err != nil {
		return nil, err
	}
	if text, ok := codec.StringValue(raw); ok {
		return []byte(text), nil
	}
	if c := raw[0]; c == '{' || c == '[' || c == 'n' {
		return nil, refuse(freshet.CodeMissingField, "entity_id", "is missing, and the record's key is %s; name the entity in the event, or in the key as a string or a number", codec.Clip(raw))
	}
	return raw, nil
}

// schema is one that records are written with; one of its fields is set.
type schema struct {
	avro     *avroSchema
	protobuf protoreflect.FileDescriptor
	json     bool
	connect  []byte // the schema of Connect, but for Protobuf, which has many messages
}

// append appends the JSON of a value; see appendAvro and appendProtobuf.
func (s *schema) append(dst, data []byte, typed, bare bool) ([]byte, error) {
	switch {
	case s.avro != nil:
		return appendAvro(dst, s.avro, data, typed)
	case s.protobuf != nil:
		m, data, err := messageOf(s.protobuf, data)
		if err != nil {
			return dst, err
		}
		return appendProtobuf(dst, m, data, bare)
	}
	if err := codec.Check(data); err != nil {
		return dst, err
	}
	return append(dst, data...), nil
}

// connectOf returns the schema of Connect for a value.
func (s *schema) connectOf(data []byte) []byte {
	if s.protobuf == nil {
		return s.connect
	}
	m, _, err := messageOf(s.protobuf, data)
	if err != nil {
		return []byte("null") // append has refused it
	}
	return (&connector{}).message(m).text()
}

// newSchema reads the text of a schema; referred are those that it refers to, the ones that they refer to before them.
func newSchema(text string, referred []reference, kind string) (*schema, error) {
	switch kind {
	case kindProtobuf:
		imports := make(map[string]string, len(referred))
		for _, r := range referred {
			imports[r.name] = r.text
		}
		file, err := compileProtobuf(text, imports)
		return &schema{protobuf: file}, err
	case kindJSON:
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, err
		}
		return &schema{json: true, connect: connectOfJSONSchema(v).text()}, nil
	case kindAvro:
		names := avroNames{}
		for _, r := range referred {
			if _, err := parseAvro(r.text, names); err != nil {
				return nil, fmt.Errorf("%q, which it refers to: %w", r.name, err)
			}
		}
		s, err := parseAvro(text, names)
		if err != nil {
			return nil, err
		}
		return &schema{avro: s, connect: (&connector{}).avro(s).text()}, nil
	}
	return nil, fmt.Errorf("its type is %q; Avro, Protobuf and JSON Schema can be read", kind)
}

func refuse(code freshet.Code, field, format string, args ...any) error {
	return &freshet.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

func tooLarge() error {
	return refuse(freshet.CodeTooLarge, "", "makes more than %d MiB of JSON", maxJSON>>20)
}

// within puts the name of what the field at fault is in before it.
func within(err error, name string) error {
	var e *freshet.Error
	if !errors.As(err, &e) || e.Code == freshet.CodeUnavailable {
		return err
	}
	field := codec.Clip([]byte(name))
	if e.Field != "" {
		field += "." + e.Field
	}
	return &freshet.Error{Code: e.Code, Field: field, Message: e.Message}
}
