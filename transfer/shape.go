package transfer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// Shape says how records become events. The zero value takes lines and JSON as events of the default mapping, and columns by their names.
type Shape struct {
	// The columns, or members of a JSON object, that are fields of the event; "" means the one of the field's own name. With
	// any of them set, lines and JSON are records too, no events.
	EntityID, EventID, Timestamp, Vector string
	// Text are the columns that make the text, joined by a line feed; empty means the column text.
	Text []string
	// Collection and Namespace of the events that name none; "" means the default ones.
	Collection, Namespace string
	// Flat leaves records as they are, for a server with a mapping or a codec of its own.
	Flat bool
}

// named reports whether columns are named.
func (s *Shape) named() bool {
	return s.EntityID != "" || s.EventID != "" || s.Timestamp != "" || s.Vector != "" || len(s.Text) > 0
}

// Validate names what contradicts itself.
func (s *Shape) Validate() error {
	if s.Flat && (s.named() || s.Collection != "" || s.Namespace != "") {
		return fmt.Errorf("--flat sends records as they are; leave out the flags that say which columns and collection they go to")
	}
	return nil
}

// shaper makes events of the records of one input.
type shaper struct {
	Shape
	events  bool   // the records are events
	id      string // what ids of events begin with to be hashed; "" where they get none
	members []codec.Member
	out     []byte
	payload []byte
	texts   []string
}

// checkColumns refuses a file whose columns are known and lack one that is named, or the entity's.
func (s *shaper) checkColumns(in *Input) error {
	var columns []string
	switch r := in.records.(type) {
	case csvRecords:
		columns = r.Columns()
	case *parquetRecords:
		columns = r.Columns()
	default:
		return nil
	}
	for _, name := range append([]string{columnOf(s.EntityID, "entity_id"), s.EventID, s.Timestamp, s.Vector}, s.Text...) {
		if name != "" && !slices.Contains(columns, name) {
			hint := ""
			if s.EntityID == "" && name == "entity_id" {
				hint = "; name the one of the entity's id with --entity-id"
			}
			return fmt.Errorf("there is no column %q among %s%s", name, strings.Join(columns, ", "), hint)
		}
	}
	return nil
}

// make implements maker. What is no event is passed on: the server says what is wrong.
func (s *shaper) make(r *Record) ([]byte, *freshet.Error) {
	if s.Flat {
		return r.Data, nil
	}
	if !s.events {
		return s.fromColumns(r)
	}
	ev, err := codec.ParseEvent(r.Data, codec.Shallow)
	if err != nil || ev.ID != "" && s.Collection == "" && s.Namespace == "" {
		return r.Data, nil
	}
	s.members, _ = codec.Members(r.Data, s.members[:0]) // it has been checked
	given := func(name string) bool {
		i := slices.IndexFunc(s.members, func(m codec.Member) bool { return m.Name == name })
		return i >= 0 && string(s.members[i].Value) != "null"
	}
	s.start(r, given("event_id"), given("collection"), given("namespace"))
	for _, m := range s.members {
		if string(m.Value) == "null" {
			continue // a field may stand there once
		}
		s.separate()
		s.out = append(s.out, m.Raw...)
	}
	return s.end(), nil
}

// start begins an event with the fields that its record does not have.
func (s *shaper) start(r *Record, id, collection, namespace bool) {
	s.out = append(s.out[:0], '{')
	if !id && s.id != "" {
		s.field("event_id", recordID(s.id, r))
	}
	if !collection && s.Collection != "" {
		s.field("collection", s.Collection)
	}
	if !namespace && s.Namespace != "" {
		s.field("namespace", s.Namespace)
	}
}

func (s *shaper) separate() {
	if s.out[len(s.out)-1] != '{' {
		s.out = append(s.out, ',')
	}
}

func (s *shaper) field(name, value string) {
	s.raw(name, codec.AppendString(nil, value))
}

func (s *shaper) raw(name string, value []byte) {
	s.separate()
	s.out = append(append(codec.AppendString(s.out, name), ':'), value...)
}

func (s *shaper) end() []byte {
	s.out = append(s.out, '}')
	return s.out
}

// recordID is the id of the event of a record that brings none: the same record at the same place of the same file is the same
// event.
func recordID(name string, r *Record) string {
	h := xxh3.New()
	_, _ = h.WriteString(name) // never fails, as the others
	_, _ = h.Write([]byte{0})
	_, _ = h.WriteString(strconv.FormatInt(r.Number, 10))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(r.Raw)
	sum := h.Sum128().Bytes()
	return "file-" + hex.EncodeToString(sum[:])
}

// columnOf returns the column of a field.
func columnOf(name, field string) string {
	if name != "" {
		return name
	}
	return field
}

// fromColumns makes the event of a record whose members are columns.
func (s *shaper) fromColumns(r *Record) ([]byte, *freshet.Error) {
	var err error
	if s.members, err = codec.Members(r.Data, s.members[:0]); err != nil {
		return r.Data, nil
	}
	fields := map[string]string{columnOf(s.EntityID, "entity_id"): "entity_id", columnOf(s.EventID, "event_id"): "event_id",
		columnOf(s.Timestamp, "timestamp"): "timestamp", columnOf(s.Vector, "vector"): "vector",
		"op": "op", "order": "order", "collection": "collection", "namespace": "namespace", "expires_at": "expires_at"}
	has := func(field string) bool {
		return slices.ContainsFunc(s.members, func(m codec.Member) bool { return fields[m.Name] == field && string(m.Value) != "null" })
	}
	s.start(r, has("event_id"), has("collection"), has("namespace"))
	s.payload = append(s.payload[:0], '{')
	s.texts = make([]string, len(s.Text))
	whole := false
	for _, m := range s.members {
		if string(m.Value) == "null" {
			continue
		}
		field, isField := fields[m.Name]
		switch {
		case isField:
			s.raw(field, fieldValue(field, m.Value))
			continue
		case m.Name == "payload" && m.Value[0] == '{':
			s.raw("payload", m.Value)
			whole = true
			continue
		case slices.Contains(s.Text, m.Name):
			s.texts[slices.Index(s.Text, m.Name)] = plain(m.Value)
			if len(s.Text) == 1 {
				continue
			}
		case m.Name == "text" && len(s.Text) > 0:
			return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "text", Message: "there is a column text beside the ones that --text names; name it with them, or rename it"}
		}
		if len(s.payload) > 1 {
			s.payload = append(s.payload, ',')
		}
		if m.Name == "text" {
			s.payload = codec.AppendString(append(s.payload, `"text":`...), plain(m.Value))
		} else {
			s.payload = append(s.payload, m.Raw...)
		}
	}
	if text := joinTexts(s.texts); text != "" {
		if len(s.payload) > 1 {
			s.payload = append(s.payload, ',')
		}
		s.payload = codec.AppendString(append(s.payload, `"text":`...), text)
	}
	switch {
	case whole && len(s.payload) > 1:
		return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "payload", Message: "there are a column payload and columns beside it; they are either the payload or its members"}
	case !whole && len(s.payload) > 1:
		s.raw("payload", append(s.payload, '}'))
	}
	return s.end(), nil
}

// joinTexts joins the texts that are not empty.
func joinTexts(texts []string) string {
	return strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), "\n")
}

// plain is the text of a value: that of a string, and others as they are written.
func plain(v []byte) string {
	if text, ok := codec.StringValue(v); ok {
		return text
	}
	return string(v)
}

// fieldValue gives the value of a column the type of its field. What can't be it stays, and the server says what it has to be.
func fieldValue(field string, v []byte) []byte {
	text, isString := codec.StringValue(v)
	switch field {
	case "entity_id", "event_id", "collection", "namespace", "op":
		if !isString {
			return codec.AppendString(nil, string(v))
		}
	case "timestamp", "expires_at":
		if t, err := time.Parse(time.RFC3339, text); isString && err == nil {
			return strconv.AppendInt(nil, t.UnixMilli(), 10)
		}
		fallthrough
	case "order":
		if n, err := strconv.ParseInt(text, 10, 64); isString && err == nil {
			return strconv.AppendInt(nil, n, 10)
		}
	case "vector":
		if isString && json.Valid([]byte(text)) {
			return bytes.Clone([]byte(text))
		}
	}
	return v
}
