package codec

import (
	"fmt"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/freshet-io/freshet"
)

// Depth says how far ParseEvent goes.
type Depth uint8

// How far ParseEvent goes.
const (
	Addressed Depth = iota // as Shallow, but for what stands in the vector: enough to know whose it is
	Shallow                // well-formed, known fields, ids: what is checked before the answer
	Full                   // the vector's numbers too
)

// fields of an event in the default mapping, for the message about an unknown one.
const eventFields = "event_id, entity_id, timestamp, payload, op, order, vector, state, expires_at, collection, namespace"

// ParseEvent reads an event of the default mapping. Strings and the payload alias raw unless
// they held escapes. The error is a *freshet.Error that names the field.
func ParseEvent(raw []byte, depth Depth) (freshet.Event, error) {
	p := eventParser{scanner: scanner{b: raw}, depth: depth}
	ev := freshet.Event{Op: freshet.OpUpsert, Key: freshet.Key{
		Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace}}
	if p.peek() != '{' {
		if _, err := p.skip(0); err != nil {
			return ev, err
		}
		return ev, &freshet.Error{Code: freshet.CodeInvalidJSON, Message: "an event is a JSON object, this is another JSON value"}
	}
	if err := p.scanner.object(0, func(name []byte, escaped bool) error {
		return p.member(&ev, name, escaped)
	}); err != nil {
		return ev, err
	}
	if err := p.end(); err != nil {
		return ev, err
	}
	if p.wrong != nil {
		return ev, p.wrong
	}
	if ev.State != nil && ev.Op == freshet.OpPatch {
		return ev, &freshet.Error{Code: freshet.CodeInvalidField, Field: "state", Message: "is that of a patch, which has a payload; send it as an upsert"}
	}
	if ev.State != nil && (ev.Vector != nil || ev.Payload != nil && string(ev.Payload) != "null") {
		return ev, &freshet.Error{Code: freshet.CodeInvalidField, Field: "state", Message: "stands beside a payload or a vector; it is there instead of them"}
	}
	if ev.Key.Entity == "" {
		return ev, &freshet.Error{Code: freshet.CodeMissingField, Field: "entity_id", Message: "is missing; every event names its entity"}
	}
	return ev, checkPatch(&ev)
}

// eventParser goes on after a wrong field, so that malformed JSON is reported as such
// wherever it stands.
type eventParser struct {
	scanner
	depth Depth
	seen  uint16
	wrong error // the first wrong field
}

func (p *eventParser) refuse(code freshet.Code, field, format string, args ...any) {
	if p.wrong == nil {
		p.wrong = &freshet.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
	}
}

// member reads one top-level field of the event.
func (p *eventParser) member(ev *freshet.Event, name []byte, escaped bool) error {
	if escaped {
		name = unescape(nil, name)
	}
	switch string(name) {
	case "event_id":
		return p.id(&ev.ID, "event_id", 0)
	case "entity_id":
		return p.id(&ev.Key.Entity, "entity_id", 1)
	case "collection":
		return p.id(&ev.Key.Collection, "collection", 2)
	case "namespace":
		return p.id(&ev.Key.Namespace, "namespace", 3)
	case "timestamp":
		return p.integer(&ev.Timestamp, "timestamp", 4, 0, "ms since 1970")
	case "expires_at":
		ev.SetsExpiry = true
		return p.integer(&ev.ExpiresAt, "expires_at", 10, 1, "ms since 1970")
	case "order":
		return p.integer(&ev.Order, "order", 5, 1, "the source's own order")
	case "op":
		return p.op(ev)
	case "payload":
		p.once(7, "payload")
		v, err := p.skip(1)
		ev.Payload = v
		return err
	case "vector":
		return p.vector(ev)
	case "state":
		p.once(9, "state")
		v, err := p.skip(1)
		if string(v) != "null" {
			ev.State = v
		}
		return err
	}
	_, err := p.skip(1)
	p.refuse(freshet.CodeUnknownField, Clip(name), "is not a field of an event (%s); your own data belongs into payload", eventFields)
	return err
}

func (p *eventParser) once(bit uint, field string) {
	if p.seen&(1<<bit) != 0 {
		p.refuse(freshet.CodeInvalidField, field, "stands twice in the event")
	}
	p.seen |= 1 << bit
}

// id reads an id; null counts as absent.
func (p *eventParser) id(dst *string, field string, bit uint) error {
	p.once(bit, field)
	switch p.peek() {
	case '"':
	case 'n':
		return p.literal("null")
	default:
		v, err := p.skip(1)
		p.refuse(freshet.CodeInvalidField, field, "must be a string, is %s", Clip(v))
		return err
	}
	content, escaped, err := p.string()
	if err != nil {
		return err
	}
	if escaped {
		content = unescape(nil, content)
	}
	*dst = unsafe.String(unsafe.SliceData(content), len(content))
	if problem := IDProblem(*dst); problem != "" {
		p.refuse(freshet.CodeInvalidField, field, "%s", problem)
	}
	return nil
}

// IDProblem says why s can't be an id, or "". It must be valid UTF-8.
func IDProblem(s string) string {
	if len(s) == 0 {
		return "is empty; an id has 1 to 1024 bytes"
	}
	if len(s) > freshet.MaxIDBytes {
		return fmt.Sprintf("has %d bytes; an id has at most %d", len(s), freshet.MaxIDBytes)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == 0x7f || c == 0xc2 && i+1 < len(s) && s[i+1] < 0xa0 {
			return fmt.Sprintf("holds a control character at byte %d; leave it out", i)
		}
	}
	return ""
}

func (p *eventParser) integer(dst *int64, field string, bit uint, least int64, what string) error {
	p.once(bit, field)
	if p.peek() == 'n' {
		return p.literal("null")
	}
	v, err := p.skip(1)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(unsafe.String(unsafe.SliceData(v), len(v)), 10, 64)
	if err != nil || n < least {
		p.refuse(freshet.CodeInvalidField, field, "must be an integer >= %d (%s), is %s", least, what, Clip(v))
	}
	*dst = n
	return nil
}

func (p *eventParser) op(ev *freshet.Event) error {
	p.once(6, "op")
	v, err := p.skip(1)
	if err != nil {
		return err
	}
	switch string(v) {
	case `"upsert"`, "null":
		ev.Op = freshet.OpUpsert
	case `"delete"`:
		ev.Op = freshet.OpDelete
	case `"patch"`:
		ev.Op = freshet.OpPatch
	default:
		p.refuse(freshet.CodeInvalidField, "op", `must be "upsert", "patch" or "delete", is %s`, Clip(v))
	}
	return nil
}

func (p *eventParser) vector(ev *freshet.Event) error {
	p.once(8, "vector")
	switch p.peek() {
	case '[':
	case 'n':
		return p.literal("null")
	default:
		v, err := p.skip(1)
		p.refuse(freshet.CodeInvalidField, "vector", "must be an array of numbers, is %s", Clip(v))
		return err
	}
	if p.depth == Addressed && p.flat() {
		ev.Vector = []float32{}
		return nil
	}
	if p.depth < Full {
		ev.Vector = []float32{}
		return p.array(1, func() error {
			_, err := p.skip(2)
			return err
		})
	}
	v, err := p.floats(1, func(element int, v []byte) {
		p.refuse(freshet.CodeBadVector, "vector", "element %d must be a finite float32, is %s", element, Clip(v))
	})
	ev.Vector = v
	return err
}

// Clip shortens a value for a message.
func Clip(v []byte) string {
	const most = 64
	if len(v) <= most {
		return string(v)
	}
	v = v[:most]
	for len(v) > 0 && !utf8.Valid(v) {
		v = v[:len(v)-1]
	}
	return string(v) + "…"
}

// Member is one member of a JSON object: Name without quotes and escapes, Raw and Value its
// bytes as they stand, with and without the name.
type Member struct {
	Name  string
	Raw   []byte
	Value []byte
}

// Members returns the members of the JSON object b, in order. Raw and Value alias b, and so
// may Name. The error says what b is if it is no object.
func Members(b []byte, dst []Member) ([]Member, error) {
	s := scanner{b: b}
	if s.peek() != '{' {
		return dst, &freshet.Error{Code: freshet.CodeInvalidField, Message: "must be a JSON object, is " + Clip(b)}
	}
	err := s.object(0, func(name []byte, escaped bool) error {
		start := s.nameAt
		if escaped {
			name = unescape(nil, name)
		}
		v, err := s.skip(1)
		dst = append(dst, Member{Name: unsafe.String(unsafe.SliceData(name), len(name)), Raw: b[start:s.i], Value: v})
		return err
	})
	if err != nil {
		return dst, err
	}
	return dst, s.end()
}

// StringValue returns the text of a JSON string, always a copy; ok is false if v is another
// JSON value.
func StringValue(v []byte) (text string, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	s := scanner{b: v}
	content, escaped, err := s.string()
	if err != nil {
		return "", false
	}
	if escaped {
		return string(unescape(make([]byte, 0, len(content)), content)), true
	}
	return string(content), true
}

// CheckObject reports, as a *freshet.Error, why b is no well-formed JSON object.
func CheckObject(b []byte) error {
	s := scanner{b: b}
	isObject := s.peek() == '{'
	if _, err := s.skip(0); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	if !isObject {
		return &freshet.Error{Code: freshet.CodeInvalidJSON, Message: "an event is a JSON object, this is another JSON value"}
	}
	return nil
}

// SplitArray returns the elements of a JSON array, or b itself if it is another JSON value.
// The elements alias b.
func SplitArray(b []byte) ([][]byte, error) {
	s := scanner{b: b}
	if s.peek() != '[' {
		v, err := s.skip(0)
		if err != nil {
			return nil, err
		}
		if err := s.end(); err != nil {
			return nil, &freshet.Error{Code: freshet.CodeInvalidJSON,
				Message: err.Error() + "; if these are lines of events, send Content-Type: application/x-ndjson"}
		}
		return [][]byte{v}, nil
	}
	var elements [][]byte
	if err := s.array(0, func() error {
		v, err := s.skip(1)
		elements = append(elements, v)
		return err
	}); err != nil {
		return nil, err
	}
	return elements, s.end()
}
