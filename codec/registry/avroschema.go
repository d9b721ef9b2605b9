package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet/codec"
)

// avroKind is the type of an Avro schema.
type avroKind uint8

const (
	avroNull avroKind = iota + 1
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroFixed
	avroEnum
	avroArray
	avroMap
	avroRecord
	avroUnion
)

var avroPrimitives = map[string]avroKind{"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong,
	"float": avroFloat, "double": avroDouble, "bytes": avroBytes, "string": avroString}

// The logical types, as the specification names them.
const (
	decimalType    = "decimal"
	uuidType       = "uuid"
	dateType       = "date"
	durationType   = "duration"
	timeMillis     = "time-millis"
	timeMicros     = "time-micros"
	timestampMs    = "timestamp-millis"
	timestampUs    = "timestamp-micros"
	timestampNs    = "timestamp-nanos"
	localTimestamp = "local-"
)

// avroSchema is a schema as its writer has used it. A recursive one refers to itself.
type avroSchema struct {
	kind    avroKind
	logical string // a logical type that fits the kind, or ""
	scale   int64  // of a decimal
	size    uint64 // of a fixed
	connect string // the type that Kafka Connect knows it by, or ""

	symbols [][]byte      // of an enum, as JSON strings
	fields  []avroField   // of a record
	of      []*avroSchema // branches of a union, items of an array, values of a map
}

type avroField struct {
	name   string
	member []byte // the name as a member of a JSON object, with its colon
	schema *avroSchema
}

// avroNames are the named types that are known so far, by their full names.
type avroNames map[string]*avroSchema

// parseAvro reads a schema and adds its named types to the names.
func parseAvro(text string, names avroNames) (*avroSchema, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		if _, known := avroPrimitives[text]; !known { // a registry may give the name of a primitive without quotes
			return nil, err
		}
		v = text
	}
	return names.parse(v, "", 0)
}

func (names avroNames) parse(v any, namespace string, depth int) (*avroSchema, error) {
	if depth > codec.MaxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", codec.MaxDepth)
	}
	switch v := v.(type) {
	case string:
		return names.refer(v, namespace)
	case []any:
		if len(v) == 0 {
			return nil, errors.New("a union has no branches")
		}
		s := &avroSchema{kind: avroUnion}
		for _, branch := range v {
			b, err := names.parse(branch, namespace, depth+1)
			if err != nil {
				return nil, err
			}
			s.of = append(s.of, b)
		}
		return s, nil
	case map[string]any:
		return names.parseObject(v, namespace, depth)
	}
	return nil, fmt.Errorf("a type is a string, an object or an array, not %T", v)
}

// refer returns a primitive, or a named type that was defined before.
func (names avroNames) refer(name, namespace string) (*avroSchema, error) {
	if kind, ok := avroPrimitives[name]; ok {
		return &avroSchema{kind: kind}, nil
	}
	if !strings.Contains(name, ".") && namespace != "" {
		if s, ok := names[namespace+"."+name]; ok {
			return s, nil
		}
	}
	if s, ok := names[name]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("the type %q is not defined in it, nor in what it refers to", name)
}

func (names avroNames) parseObject(o map[string]any, namespace string, depth int) (*avroSchema, error) {
	kind, ok := o["type"].(string)
	if !ok { // {"type": {"type": …}}
		return names.parse(o["type"], namespace, depth+1)
	}
	s := &avroSchema{}
	s.connect, _ = o["connect.name"].(string)
	switch kind {
	case "array", "map":
		s.kind = avroArray
		key := "items"
		if kind == "map" {
			s.kind, key = avroMap, "values"
		}
		of, err := names.parse(o[key], namespace, depth+1)
		s.of = []*avroSchema{of}
		return s, err
	case "record", "error", "enum", "fixed":
		return names.define(s, kind, o, namespace, depth)
	}
	primitive, ok := avroPrimitives[kind]
	if !ok {
		return names.refer(kind, namespace)
	}
	s.kind = primitive
	s.setLogical(o)
	return s, nil
}

// define reads a named type.
func (names avroNames) define(s *avroSchema, kind string, o map[string]any, namespace string, depth int) (*avroSchema, error) {
	name, _ := o["name"].(string)
	if name == "" {
		return nil, fmt.Errorf("a type of kind %s has no name", kind)
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		namespace = name[:dot]
	} else {
		if own, ok := o["namespace"].(string); ok {
			namespace = own
		}
		if namespace != "" {
			name = namespace + "." + name
		}
	}
	if _, twice := names[name]; twice {
		return nil, fmt.Errorf("the type %q is defined twice", name)
	}
	names[name] = s // before its fields, which may refer to it
	switch kind {
	case "enum":
		s.kind = avroEnum
		symbols, _ := o["symbols"].([]any)
		for _, symbol := range symbols {
			text, ok := symbol.(string)
			if !ok {
				return nil, fmt.Errorf("a symbol of %q is no string", name)
			}
			s.symbols = append(s.symbols, codec.AppendString(nil, text))
		}
		return s, nil
	case "fixed":
		size, ok := o["size"].(float64)
		if !ok || size < 0 || size > maxJSON || size != float64(uint64(size)) {
			return nil, fmt.Errorf("the size of %q is %v, no number of bytes", name, o["size"])
		}
		s.kind, s.size = avroFixed, uint64(size)
		s.setLogical(o)
		return s, nil
	}
	s.kind = avroRecord
	fields, ok := o["fields"].([]any)
	if !ok {
		return nil, fmt.Errorf("the record %q has no fields", name)
	}
	for _, f := range fields {
		field, _ := f.(map[string]any)
		fieldName, _ := field["name"].(string)
		if fieldName == "" {
			return nil, fmt.Errorf("a field of %q has no name", name)
		}
		of, err := names.parse(field["type"], namespace, depth+1)
		if err != nil {
			return nil, fmt.Errorf("field %q of %q: %w", fieldName, name, err)
		}
		s.fields = append(s.fields, avroField{fieldName, append(codec.AppendString(nil, fieldName), ':'), of})
	}
	return s, nil
}

// setLogical takes a logical type that fits; others are ignored, as the specification demands.
func (s *avroSchema) setLogical(o map[string]any) {
	logical, _ := o["logicalType"].(string)
	fits := false
	switch strings.TrimPrefix(logical, localTimestamp) {
	case decimalType:
		scale, given := o["scale"].(float64)
		precision, _ := o["precision"].(float64)
		s.scale = int64(scale)
		fits = (s.kind == avroBytes || s.kind == avroFixed) && precision >= 1 && (!given || float64(s.scale) == scale && scale >= 0 && scale <= precision)
	case uuidType:
		fits = s.kind == avroString || s.kind == avroFixed && s.size == 16
	case durationType:
		fits = s.kind == avroFixed && s.size == 12
	case dateType, timeMillis:
		fits = s.kind == avroInt
	case timeMicros, timestampMs, timestampUs, timestampNs:
		fits = s.kind == avroLong
	}
	if fits {
		s.logical = logical
		return
	}
	parameters, _ := o["connect.parameters"].(map[string]any) // where the logical type is left out
	scale, _ := parameters["scale"].(string)
	s.scale, _ = strconv.ParseInt(scale, 10, 64)
}
