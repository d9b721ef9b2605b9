package codec_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// required are the attributes that every cloud event needs, and one that says what it is about.
const required = `"specversion":"1.0","id":"i-1","source":"/shop/eu","type":"product.changed","subject":"p7"`

func TestStructuredCloudEvent(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct{ name, raw, event string }{
		{"the least", `{` + required + `}`, `{"event_id":"i-1","entity_id":"p7"}`},
		{"JSON", `{` + required + `,"data":{"text":"a  <b>","n":1.50}}`, `{"event_id":"i-1","entity_id":"p7","payload":{"text":"a  <b>","n":1.50}}`},
		{"JSON of a type", `{` + required + `,"datacontenttype":"application/vnd.shop+json; charset=utf-8","data":{"a":1}}`, `{"event_id":"i-1","entity_id":"p7","payload":{"a":1}}`},
		{"null beside bytes", `{` + required + `,"data":null,"data_base64":"e30=","time":"1970-01-01t00:00:01z"}`, `{"event_id":"i-1","entity_id":"p7","timestamp":1000,"payload":{}}`},
		{"bytes that are null", `{` + required + `,"data_base64":null}`, `{"event_id":"i-1","entity_id":"p7"}`},
		{"text", `{` + required + `,"datacontenttype":"text/plain","data":"red \"shoes\"\u00e9"}`, `{"event_id":"i-1","entity_id":"p7","payload":{"text":"red \"shoes\"é"}}`},
		{"bytes that are JSON", `{` + required + `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`{"a":[1]}`)) + `"}`, `{"event_id":"i-1","entity_id":"p7","payload":{"a":[1]}}`},
		{"bytes that are text", `{` + required + `,"datacontenttype":"text/html","data_base64":"` + base64.StdEncoding.EncodeToString([]byte("<b>é")) + `"}`, `{"event_id":"i-1","entity_id":"p7","payload":{"text":"<b>é"}}`},
		{"null", `{` + required + `,"data":null,"time":null,"order":null}`, `{"event_id":"i-1","entity_id":"p7"}`},
		{"a deletion with all that is known", `{` + required + `,"op":"delete","order":42,"collection":"c","namespace":"n","time":"2026-01-02T03:04:05.678+01:00","dataschema":"x","other":true}`,
			`{"event_id":"i-1","entity_id":"p7","op":"delete","order":42,"collection":"c","namespace":"n","timestamp":1767319445678}`},
		{"an order beyond 32 bits", `{` + required + `,"order":"9007199254740993"}`, `{"event_id":"i-1","entity_id":"p7","order":9007199254740993}`},
		{"a trace", `{` + required + `,"traceparent":"` + trace + `"}`, `{"event_id":"i-1","entity_id":"p7"}`},
	} {
		got, err := codec.StructuredCloudEvent([]byte(c.raw))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a, b := object(t, got.Event), object(t, []byte(c.event)); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %s, want %s", c.name, got.Event, c.event)
		}
		if got.Source != "/shop/eu" || (got.Trace == trace) != (c.name == "a trace") {
			t.Errorf("%s: source %q, trace %q", c.name, got.Source, got.Trace)
		}
		if _, err := codec.ParseEvent(got.Event, codec.Full); err != nil {
			t.Errorf("%s: %s is no event of the default mapping: %v", c.name, got.Event, err)
		}
	}
}

// object decodes an object, its numbers as they stand.
func object(t *testing.T, raw []byte) (v map[string]any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// What is wrong is named by the attribute that the producer wrote.
func TestCloudEventRefused(t *testing.T) {
	without := func(name string) string {
		var left []string
		for _, part := range strings.Split(required, ",") {
			if !strings.HasPrefix(part, `"`+name+`"`) {
				left = append(left, part)
			}
		}
		return "{" + strings.Join(left, ",") + "}"
	}
	for _, c := range []struct {
		raw   string
		code  freshet.Code
		field string
	}{
		{without("specversion"), freshet.CodeMissingField, "specversion"},
		{without("id"), freshet.CodeMissingField, "id"},
		{without("source"), freshet.CodeMissingField, "source"},
		{without("type"), freshet.CodeMissingField, "type"},
		{without("subject"), freshet.CodeMissingField, "subject"},
		{strings.Replace(`{`+required+`}`, `"1.0"`, `"0.3"`, 1), freshet.CodeInvalidField, "specversion"},
		{strings.Replace(`{`+required+`}`, `"p7"`, `"p\n7"`, 1), freshet.CodeInvalidField, "subject"},
		{strings.Replace(`{`+required+`}`, `"p7"`, `"`+strings.Repeat("x", 1025)+`"`, 1), freshet.CodeInvalidField, "subject"},
		{strings.Replace(`{`+required+`}`, `"p7"`, `{}`, 1), freshet.CodeInvalidField, "subject"},
		{strings.Replace(`{`+required+`}`, `"p7"`, `7`, 1), freshet.CodeInvalidField, "subject"},
		{`{` + required + `,"time":"yesterday"}`, freshet.CodeInvalidField, "time"},
		{`{` + required + `,"time":"1969-12-31T23:59:59Z"}`, freshet.CodeInvalidField, "time"},
		{`{` + required + `,"order":0}`, freshet.CodeInvalidField, "order"},
		{`{` + required + `,"order":1.5}`, freshet.CodeInvalidField, "order"},
		{`{` + required + `,"id":"again"}`, freshet.CodeInvalidField, "id"},
		{`{` + required + `,"data":1,"data_base64":""}`, freshet.CodeInvalidField, "data"},
		{`{` + required + `,"data_base64":"%"}`, freshet.CodeInvalidField, "data_base64"},
		{`{` + required + `,"data_base64":"eyI="}`, freshet.CodeInvalidJSON, ""},
		{`{` + required + `,"datacontenttype":"image/png","data_base64":"aGk="}`, freshet.CodeInvalidField, "datacontenttype"},
		{`{` + required + `,"datacontenttype":"text/plain","data_base64":"/w=="}`, freshet.CodeInvalidUTF8, "data"},
		{`{` + required + `,"datacontenttype":"application/json","data":"x"}`, freshet.CodeInvalidField, "data"},
		{`{` + required + `,"data":[1]}`, freshet.CodeInvalidField, "data"},
		{`{` + required + `,"data_base64":[123,125]}`, freshet.CodeInvalidField, "data_base64"},
		{`[]`, freshet.CodeInvalidField, ""},
		{`{`, freshet.CodeInvalidJSON, ""},
	} {
		_, err := codec.StructuredCloudEvent([]byte(c.raw))
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field || e.Message == "" {
			t.Errorf("%.80s: %v, want %s of %q", c.raw, err, c.code, c.field)
		}
	}
}

func TestBinaryCloudEvent(t *testing.T) {
	attributes := map[string]string{"specversion": "1.0", "id": "i", "source": "s", "type": "t", "subject": "e", "order": "3"}
	for _, c := range []struct{ kind, content, event string }{
		{"", `{"a": 1}`, `{"event_id":"i","entity_id":"e","order":3,"payload":{"a":1}}`},
		{"application/json", `{"a": 1}`, `{"event_id":"i","entity_id":"e","order":3,"payload":{"a":1}}`},
		{"text/plain; charset=utf-8", `{"a": 1}`, `{"event_id":"i","entity_id":"e","order":3,"payload":{"text":"{\"a\": 1}"}}`},
		{"application/json", "null\n", `{"event_id":"i","entity_id":"e","order":3}`},
		{"image/png", "", `{"event_id":"i","entity_id":"e","order":3}`},
	} {
		attributes["datacontenttype"] = c.kind
		got, err := codec.BinaryCloudEvent(attributes, []byte(c.content))
		if err != nil || !reflect.DeepEqual(object(t, got.Event), object(t, []byte(c.event))) {
			t.Errorf("%s: %s, %v; want %s", c.kind, got.Event, err, c.event)
		}
	}
	for kind, code := range map[string]freshet.Code{"application/json": freshet.CodeInvalidJSON, "application/octet-stream": freshet.CodeInvalidField} {
		attributes["datacontenttype"] = kind
		_, err := codec.BinaryCloudEvent(attributes, []byte("{"))
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v, want %s", kind, err, code)
		}
	}
}

// What is accepted is an event whose ids are those of the cloud event; what is not is refused with a code.
func FuzzStructuredCloudEvent(f *testing.F) {
	f.Add([]byte(`{` + required + `,"data":{"text":"a"},"order":7}`))
	f.Add([]byte(`{` + required + `,"data_base64":"eyJhIjoxfQ==","op":"delete"}`))
	f.Add([]byte(`{"specversion":"1.0","id":"\u0041","source":"\ud83d\ude00","type":"t","subject":"é","data":null,"datacontenttype":"text/x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := codec.StructuredCloudEvent(raw)
		if err != nil {
			var e *freshet.Error
			if !errors.As(err, &e) || e.Code == "" {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		if codec.CheckObject(raw) != nil || codec.CheckObject(got.Event) != nil {
			t.Fatalf("%q is no JSON object", got.Event)
		}
		var e *freshet.Error
		ev, err := codec.ParseEvent(got.Event, codec.Full)
		if errors.As(err, &e) && (e.Field == "op" || e.Field == "collection" || e.Field == "namespace") {
			return // these are named as the producer wrote them
		}
		if err != nil || ev.ID == "" || ev.Key.Entity == "" || got.Source == "" {
			t.Fatalf("%q: %v", got.Event, err)
		}
	})
}
