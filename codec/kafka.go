package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
)

// KafkaRecord is a record of Kafka. A nil key or value is null, which is not the same as an empty one.
type KafkaRecord struct {
	Key, Value []byte
	Headers    []KafkaHeader
}

// KafkaHeader is a header of a record of Kafka.
type KafkaHeader struct {
	Name  string
	Value []byte
}

// Form says what the values of a topic are, and so what the key of a record means.
type Form uint8

// The forms.
const (
	// FormEvents are events of the default mapping. The key is the entity's id where the event names none, and a null value
	// deletes that entity.
	FormEvents Form = iota + 1
	// FormObjects are whatever a configured mapping reads. The key means nothing.
	FormObjects
	// FormRows are the envelopes of change data capture: {"key": …, "value": …} where the key is an object.
	FormRows
)

// Incoming is what freshet reads of a record. It may alias the record.
type Incoming struct {
	Value   []byte
	Source  string // the system that the event came from, or ""
	Trace   string // W3C traceparent, or ""
	Default bool   // an event of the default mapping, whatever mapping is configured
}

// The headers that mean something besides those of freshet; Kafka compares their names byte for byte.
const (
	kafkaContentType = "content-type"
	kafkaCloudPrefix = "ce_"
	cloudStructured  = "application/cloudevents"
)

// FromKafka makes an event of a record: of a cloud event, in binary or structured mode, one of the default mapping; of any
// other what Join makes of it or, where values come in the wire format of a schema registry, the frame of AppendFrame, which
// is joined when it is decoded. The subject of a cloud event that has none is the key. The error is a *freshet.Error; with it
// the value is that of the record, and all else as far as it is known.
func FromKafka(r KafkaRecord, form Form, registry bool) (Incoming, error) {
	in := Incoming{Value: r.Value}
	var kind string
	isCloud := false
	for _, h := range r.Headers {
		switch h.Name {
		case freshet.HeaderSource:
			in.Source = string(h.Value)
		case freshet.HeaderTrace:
			if len(h.Value) == freshet.TraceBytes {
				in.Trace = string(h.Value)
			}
		case freshet.HeaderDefaultEvent:
			in.Default = true
		case kafkaContentType:
			kind = string(h.Value)
		case kafkaCloudPrefix + "specversion", kafkaCloudPrefix + "id":
			isCloud = true
		}
	}
	if strings.HasPrefix(mediaType(kind), cloudStructured) || isCloud {
		in.Default = true
		e, err := cloudOfKafka(r, kind)
		if err != nil {
			return in, err
		}
		in.Value, in.Source = e.Event, e.Source
		if e.Trace != "" {
			in.Trace = e.Trace
		}
		return in, nil
	}
	var err error
	switch {
	case in.Default:
		in.Value, err = Join(FormEvents, r.Key, r.Value)
	case registry:
		in.Value = AppendFrame(nil, r.Key, r.Value)
	default:
		in.Value, err = Join(form, r.Key, r.Value)
	}
	if err != nil {
		in.Value = r.Value
	}
	return in, err
}

// cloudOfKafka reads a cloud event; kind is its content type.
func cloudOfKafka(r KafkaRecord, kind string) (CloudEvent, error) {
	var attributes map[string]string
	var data cloudData
	if media := mediaType(kind); strings.HasPrefix(media, cloudStructured) {
		if media != cloudStructured+"+json" {
			return CloudEvent{}, invalidAttribute(kafkaContentType, "must be application/cloudevents+json, or that of the data with the attributes in headers, is "+Clip([]byte(kind)))
		}
		var err error
		if attributes, data, err = structured(r.Value); err != nil {
			return CloudEvent{}, err
		}
	} else {
		attributes = map[string]string{}
		for _, h := range r.Headers {
			name, ok := strings.CutPrefix(h.Name, kafkaCloudPrefix)
			if !ok {
				continue
			}
			if _, twice := attributes[name]; twice {
				return CloudEvent{}, invalidAttribute(Clip([]byte(name)), "stands twice in the headers")
			}
			attributes[name] = string(h.Value)
		}
		if kind != "" {
			attributes["datacontenttype"] = kind
		}
		data = cloudData{bytes: r.Value, given: len(r.Value) > 0}
	}
	if attributes["subject"] == "" && len(r.Key) > 0 {
		attributes["subject"] = string(r.Key)
	}
	return cloudEvent(attributes, data)
}

// Join makes one JSON text of the key and the value of a record, by the form; a nil key or value is null. A value that is no JSON
// is given back as it is, for whoever reads it says what is wrong. The key need not be JSON. The error is a *freshet.Error.
func Join(form Form, key, value []byte) ([]byte, error) {
	switch {
	case form == FormEvents:
		return withEntity(key, value)
	case value == nil:
		value = []byte("null")
	}
	if form != FormRows || CheckObject(key) != nil || Check(value) != nil {
		return value, nil
	}
	return JoinRow(key, value), nil
}

// JoinRow is Join for a row whose key is an object, and whose key and value are known to be well-formed.
func JoinRow(key, value []byte) []byte {
	if value == nil {
		value = []byte("null")
	}
	out := make([]byte, 0, len(key)+len(value)+len(`{"key":,"value":}`))
	out = append(append(out, `{"key":`...), key...)
	out = append(append(out, `,"value":`...), value...)
	return append(out, '}')
}

// withEntity returns an event that names its entity: by its own entity_id or else by the key.
func withEntity(key, value []byte) ([]byte, error) {
	if namesEntity(value) {
		return value, nil
	}
	var rest []Member
	var room [16]Member
	if value != nil {
		members, err := Members(value, room[:0])
		if err != nil {
			return value, nil // whoever reads it says what is wrong
		}
		for _, m := range members {
			if m.Name != "entity_id" { // else it is null
				rest = append(rest, m)
			}
		}
	}
	switch {
	case len(key) == 0 && value == nil:
		return nil, &freshet.Error{Code: freshet.CodeMissingField, Field: "entity_id", Message: "is missing: the record has neither key nor value; every event names its entity"}
	case len(key) == 0:
		return value, nil
	case !utf8.Valid(key):
		return nil, &freshet.Error{Code: freshet.CodeInvalidUTF8, Field: "entity_id", Message: fmt.Sprintf("is missing, and the record's key %.32x is not valid UTF-8; name the entity in the event, or in the key as text", key)}
	}
	out := AppendString([]byte(`{"entity_id":`), string(key))
	if value == nil {
		out = append(out, `,"op":"delete"`...)
	}
	for _, m := range rest {
		out = append(append(out, ','), m.Raw...)
	}
	return append(out, '}'), nil
}

// errNamed ends a scan that has found what it looks for.
var errNamed = errors.New("it is named")

// namesEntity reports whether an event has an entity_id that is not null. It looks no further.
func namesEntity(value []byte) bool {
	s := scanner{b: value}
	return s.peek() == '{' && s.object(0, func(name []byte, escaped bool) error {
		if escaped {
			name = unescape(nil, name)
		}
		v, err := s.skip(1)
		if err == nil && string(name) == "entity_id" && string(v) != "null" {
			err = errNamed
		}
		return err
	}) == errNamed
}

// frameMark begins a frame. No JSON begins with it, and no value in the wire format of a schema registry.
const frameMark = 0x01

// What a frame holds.
const (
	frameKey   = 1
	frameValue = 2
)

// AppendFrame appends key and value of a record as one value, either of which may be null. docs/FORMATS.md draws it.
func AppendFrame(dst, key, value []byte) []byte {
	flags := byte(0)
	if key != nil {
		flags |= frameKey
	}
	if value != nil {
		flags |= frameValue
	}
	dst = append(dst, frameMark, flags)
	if key != nil {
		dst = append(binary.AppendUvarint(dst, uint64(len(key))), key...)
	}
	return append(dst, value...)
}

// SplitFrame is the inverse of AppendFrame. What is no frame is a value without a key. Both alias b.
func SplitFrame(b []byte) (key, value []byte, err error) {
	if len(b) == 0 || b[0] != frameMark {
		return nil, b, nil
	}
	malformed := &freshet.Error{Code: freshet.CodeInvalidRecord, Message: "the frame of the record's key and value is malformed"}
	if len(b) < 2 || b[1] > frameKey|frameValue {
		return nil, nil, malformed
	}
	flags, rest := b[1], b[2:]
	if flags&frameKey != 0 {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return nil, nil, malformed
		}
		key, rest = rest[n:n+int(size):n+int(size)], rest[n+int(size):]
	}
	if flags&frameValue == 0 {
		if len(rest) > 0 {
			return nil, nil, malformed
		}
		return key, nil, nil
	}
	return key, rest, nil
}
