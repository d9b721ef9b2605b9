package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
)

// CloudEvent is an event of CloudEvents 1.0 as one of the default mapping: its id is the event_id, its subject the
// entity_id, its time the timestamp, its data the payload; the extensions op, order, expiresat, collection and namespace are the
// fields of the same names. Text becomes the payload {"text": …}. Its type and other extensions have no effect.
type CloudEvent struct {
	Event  []byte // in the default mapping
	Source string
	Trace  string // its traceparent, "" when it has none
}

// cloudVersion is the only version of CloudEvents.
const cloudVersion = "1.0"

// cloudData is the data of a cloud event, in one of its forms.
type cloudData struct {
	json  []byte // a JSON value, nil when there is none
	bytes []byte // of some other content type
	given bool
}

// StructuredCloudEvent reads an event in the JSON event format. The error is a *freshet.Error that names the attribute.
func StructuredCloudEvent(raw []byte) (CloudEvent, error) {
	attributes, data, err := structured(raw)
	if err != nil {
		return CloudEvent{}, err
	}
	return cloudEvent(attributes, data)
}

// structured returns attributes and data of an event in the JSON event format.
func structured(raw []byte) (attributes map[string]string, data cloudData, err error) {
	var room [16]Member
	members, err := Members(raw, room[:0])
	if err != nil {
		return nil, data, err
	}
	attributes = make(map[string]string, len(members))
	for _, m := range members {
		switch m.Name {
		case "data":
			if data.given {
				return nil, data, invalidAttribute("data", "stands twice, or beside data_base64")
			}
			if m.Value[0] != 'n' {
				data = cloudData{json: m.Value, given: true}
			}
		case "data_base64":
			if m.Value[0] == 'n' {
				continue
			}
			if data.given {
				return nil, data, invalidAttribute("data", "stands twice, or beside data_base64")
			}
			text, isText := StringValue(m.Value)
			content, err := base64.StdEncoding.DecodeString(text)
			if !isText || err != nil {
				return nil, data, invalidAttribute("data_base64", "is no string of base64")
			}
			data = cloudData{bytes: content, given: true}
		default:
			if _, twice := attributes[m.Name]; twice {
				return nil, data, invalidAttribute(m.Name, "stands twice in the event")
			}
			value, given, err := attributeValue(m)
			if err != nil {
				return nil, data, err
			}
			if given {
				attributes[m.Name] = value
			}
		}
	}
	if text, isText := StringValue(data.json); isText && !isJSONType(attributes["datacontenttype"]) {
		data.json, data.bytes = nil, []byte(text) // the content itself, as a JSON string
	}
	return attributes, data, nil
}

// attributeValue returns the value of an attribute as text; null counts as absent.
func attributeValue(m Member) (value string, given bool, err error) {
	switch m.Value[0] {
	case 'n':
		return "", false, nil
	case '"':
		value, _ = StringValue(m.Value)
		return value, true, nil
	case '{', '[':
		return "", false, invalidAttribute(Clip([]byte(m.Name)), "must be a string, a number or a boolean, is "+Clip(m.Value)+"; your own data belongs into data")
	}
	if slices.Contains(textAttributes, m.Name) {
		return "", false, invalidAttribute(m.Name, "must be a string, is "+Clip(m.Value))
	}
	return string(m.Value), true, nil
}

// textAttributes are those whose value is a string; of others it may be a number or a boolean too.
var textAttributes = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "op", "collection", "namespace", "traceparent"}

// BinaryCloudEvent makes an event of attributes, without their prefix, and the content that they describe.
func BinaryCloudEvent(attributes map[string]string, content []byte) (CloudEvent, error) {
	return cloudEvent(attributes, cloudData{bytes: content, given: len(content) > 0})
}

func cloudEvent(attributes map[string]string, data cloudData) (CloudEvent, error) {
	if err := checkAttributes(attributes); err != nil {
		return CloudEvent{}, err
	}
	e := map[string]any{"event_id": attributes["id"], "entity_id": attributes["subject"]}
	if v, ok := attributes["time"]; ok {
		at, err := time.Parse(time.RFC3339, strings.ToUpper(v))
		if err != nil || at.UnixMilli() < 0 {
			return CloudEvent{}, invalidAttribute("time", "must be a time of RFC 3339 since 1970, is "+Clip([]byte(v)))
		}
		e["timestamp"] = at.UnixMilli()
	}
	if v, ok := attributes["expiresat"]; ok {
		ms, err := strconv.ParseInt(v, 10, 64)
		if at, problem := time.Parse(time.RFC3339, strings.ToUpper(v)); err != nil && problem == nil {
			ms, err = at.UnixMilli(), nil
		}
		if err != nil || ms < 1 {
			return CloudEvent{}, invalidAttribute("expiresat", "must be a time of RFC 3339, or ms, since 1970, is "+Clip([]byte(v)))
		}
		e["expires_at"] = ms
	}
	if v, ok := attributes["order"]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 1 {
			return CloudEvent{}, invalidAttribute("order", "must be an integer >= 1, as a number or a string, is "+Clip([]byte(v)))
		}
		e["order"] = n
	}
	for _, name := range []string{"op", "collection", "namespace"} {
		if v, ok := attributes[name]; ok {
			e[name] = v
		}
	}
	payload, err := payloadOf(attributes["datacontenttype"], data)
	if err != nil {
		return CloudEvent{}, err
	}
	if payload != nil {
		e["payload"] = payload
	}
	var event strings.Builder
	enc := json.NewEncoder(&event)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return CloudEvent{}, &freshet.Error{Code: freshet.CodeInvalidJSON, Message: err.Error()}
	}
	c := CloudEvent{Event: []byte(strings.TrimSuffix(event.String(), "\n")), Source: attributes["source"]}
	if v := attributes["traceparent"]; len(v) == freshet.TraceBytes {
		c.Trace = v
	}
	return c, nil
}

// checkAttributes checks what every event must have. A message names the attribute, not the field that it becomes.
func checkAttributes(attributes map[string]string) error {
	if v := attributes["specversion"]; v != cloudVersion {
		if v == "" {
			return missingAttribute("specversion", `is missing; CloudEvents of version "1.0" are read`)
		}
		return invalidAttribute("specversion", `must be "1.0", is `+Clip([]byte(v)))
	}
	for _, name := range []string{"id", "source", "type"} {
		if attributes[name] == "" {
			return missingAttribute(name, "is missing; CloudEvents require it")
		}
	}
	if attributes["subject"] == "" {
		return missingAttribute("subject", "is missing; every event names its entity, and the subject is the entity's id")
	}
	for _, name := range []string{"id", "source", "subject"} {
		if !utf8.ValidString(attributes[name]) {
			return &freshet.Error{Code: freshet.CodeInvalidUTF8, Field: name, Message: "is not valid UTF-8"}
		}
		if problem := IDProblem(attributes[name]); problem != "" {
			return invalidAttribute(name, problem)
		}
	}
	return nil
}

// payloadOf returns the payload that data is, nil when there is none.
func payloadOf(contentType string, data cloudData) (json.RawMessage, error) {
	if !data.given {
		return nil, nil
	}
	if data.json == nil && !isJSONType(contentType) {
		return textPayload(contentType, data.bytes)
	}
	raw := data.json
	if raw == nil {
		raw = data.bytes
		if err := Check(raw); err != nil {
			return nil, err
		}
	}
	switch raw = bytes.TrimSpace(raw); {
	case string(raw) == "null":
		return nil, nil
	case raw[0] != '{':
		return nil, invalidAttribute("data", "must be a JSON object, or text with datacontenttype text/…, is "+Clip(raw))
	}
	return raw, nil
}

func textPayload(contentType string, text []byte) (json.RawMessage, error) {
	if !strings.HasPrefix(mediaType(contentType), "text/") {
		return nil, invalidAttribute("datacontenttype", "must be JSON or text, is "+Clip([]byte(contentType))+"; other data can't be read here")
	}
	if !utf8.Valid(text) {
		return nil, &freshet.Error{Code: freshet.CodeInvalidUTF8, Field: "data", Message: "is not valid UTF-8"}
	}
	return json.Marshal(map[string]string{"text": string(text)})
}

func mediaType(contentType string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return kind
}

// isJSONType reports whether content is JSON: what has no type is.
func isJSONType(contentType string) bool {
	kind := mediaType(contentType)
	return contentType == "" || strings.HasSuffix(kind, "/json") || strings.HasSuffix(kind, "+json")
}

func invalidAttribute(name, message string) error {
	return &freshet.Error{Code: freshet.CodeInvalidField, Field: name, Message: message}
}

func missingAttribute(name, message string) error {
	return &freshet.Error{Code: freshet.CodeMissingField, Field: name, Message: message}
}
