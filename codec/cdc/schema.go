package cdc

import (
	"strconv"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// schema is a schema of Kafka Connect.
type schema struct {
	kind   string // int8, …, int64, float, double, boolean, string, bytes, array, map, struct
	name   string // of the logical type, or ""
	scale  int64  // of a decimal
	fields map[string]*schema
	items  *schema // elements of an array, values of a map
}

// field returns the schema of a member; nil where it is not known.
func (s *schema) field(name string) *schema {
	if s == nil {
		return nil
	}
	return s.fields[name]
}

// schemaCache keeps schemas by the digest of their text: it comes with every event, and is ten times the size of the row.
type schemaCache struct {
	mu    sync.Mutex
	known map[xxh3.Uint128]*schema
}

// maxSchemas is how many schemas are kept; when there are more they are read anew.
const maxSchemas = 256

// parse reads a schema; null is none.
func (c *schemaCache) parse(raw []byte) (*schema, error) {
	if raw == nil {
		return nil, nil
	}
	digest := xxh3.Hash128(raw)
	c.mu.Lock()
	s, ok := c.known[digest]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := parseSchema(raw)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxSchemas {
		c.known = map[xxh3.Uint128]*schema{}
	}
	c.known[digest] = s
	return s, nil
}

func parseSchema(raw []byte) (*schema, error) {
	o, err := parse(raw, "schema")
	if err != nil {
		return nil, err
	}
	s := &schema{kind: o.text("type"), name: o.text("name")}
	parameters, err := o.child("parameters", "schema.parameters")
	if err != nil {
		return nil, err
	}
	s.scale = integer(parameters.get("scale"))
	for _, name := range []string{"items", "values"} { // of an array, of a map
		if v := o.get(name); v != nil && v[0] == '{' {
			if s.items, err = parseSchema(v); err != nil {
				return nil, err
			}
		}
	}
	fields := o.get("fields")
	if fields == nil {
		return s, nil
	}
	list, err := elements(fields, "schema.fields")
	if err != nil {
		return nil, err
	}
	s.fields = make(map[string]*schema, len(list))
	for _, raw := range list {
		f, err := parse(raw, "schema.fields")
		if err != nil {
			return nil, err
		}
		if s.fields[f.text("field")], err = parseSchema(raw); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// elements returns the elements of an array; field names it in the error.
func elements(raw []byte, field string) ([][]byte, error) {
	if raw == nil || raw[0] != '[' {
		return nil, refuse(freshet.CodeInvalidField, field, "must be a JSON array, is %s", codec.Clip(raw))
	}
	return codec.SplitArray(raw)
}

// columns are the members of a row of the schema.
func (s *schema) columns(row object, field string) ([]Column, error) {
	out := make([]Column, 0, len(row))
	for _, m := range row {
		c := Column{Name: m.Name, Value: m.Value, Text: m.Value[0] == '"'}
		if of := s.field(m.Name); of != nil {
			var err error
			if c.Value, c.Binary, err = of.value(m.Value, field+"."+m.Name); err != nil {
				return nil, err
			}
			c.Text = c.Text && of.isText()
		}
		out = append(out, c)
	}
	return out, nil
}

// isText reports whether strings of the type are text.
func (s *schema) isText() bool {
	switch s.name {
	case "", "io.debezium.data.Enum", "io.debezium.data.EnumSet", "io.debezium.data.Xml", "io.debezium.data.Ltree":
		return s.kind == "string"
	}
	return false
}

// value converts a value of the type to plain JSON; binary ones stay as they are.
func (s *schema) value(v []byte, field string) (out []byte, binary bool, err error) {
	if isNull(v) {
		return v, false, nil
	}
	switch s.name {
	case "org.apache.kafka.connect.data.Decimal":
		out, err = decimal(v, s.scale, field)
		return out, false, err
	case "io.debezium.data.VariableScaleDecimal":
		o, err := parse(v, field)
		if err == nil {
			v, err = decimal(o.get("value"), integer(o.get("scale")), field)
		}
		return v, false, err
	case "io.debezium.data.Json":
		if text, ok := codec.StringValue(v); ok && codec.Check([]byte(text)) == nil {
			return []byte(strings.TrimSpace(text)), false, nil
		}
		return v, false, nil
	}
	if unit, ok := temporal[s.name]; ok {
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return nil, false, refuse(freshet.CodeInvalidField, field, "must be an integer, for its type is %s, is %s", s.name, codec.Clip(v))
		}
		return unit.append(nil, n), false, nil
	}
	switch s.kind {
	case "bytes":
		return v, true, nil
	case "float", "double":
		if v[0] == '"' { // "NaN", "Infinity"
			return []byte("null"), false, nil
		}
	case "struct", "map":
		if v[0] == '{' {
			out, err = s.object(v, field)
			return out, false, err
		}
	case "array":
		if v[0] == '[' && s.items != nil {
			out, err = s.list(v, field)
			return out, false, err
		}
	}
	return v, false, nil
}

func (s *schema) object(v []byte, field string) ([]byte, error) {
	o, err := parse(v, field)
	if err != nil {
		return nil, err
	}
	var columns []Column
	for _, m := range o {
		of := s.items
		if s.kind == "struct" {
			of = s.field(m.Name)
		}
		c := Column{Name: m.Name, Value: m.Value}
		if of != nil {
			if c.Value, c.Binary, err = of.value(m.Value, field+"."+m.Name); err != nil {
				return nil, err
			}
		}
		columns = append(columns, c)
	}
	return AppendObject(nil, columns), nil
}

func (s *schema) list(v []byte, field string) ([]byte, error) {
	list, err := elements(v, field)
	if err != nil {
		return nil, err
	}
	out := []byte{'['}
	for i, e := range list {
		if i > 0 {
			out = append(out, ',')
		}
		e, binary, err := s.items.value(e, field)
		if err != nil {
			return nil, err
		}
		if binary {
			e = []byte("null")
		}
		out = append(out, e...)
	}
	return append(out, ']'), nil
}
