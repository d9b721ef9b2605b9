package codec_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

const kafkaTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// headers makes headers of pairs.
func headers(pairs ...string) (out []codec.KafkaHeader) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, codec.KafkaHeader{Name: pairs[i], Value: []byte(pairs[i+1])})
	}
	return out
}

// What a record becomes in each form. "-" stands for a null key or value.
func TestFromKafka(t *testing.T) {
	for _, c := range []struct {
		name, key, value string
		form             codec.Form
		want             string
	}{
		{"the key names the entity", "a/é\"", `{"payload":{"text":"x"}}`, codec.FormEvents, `{"entity_id":"a/é\"","payload":{"text":"x"}}`},
		{"the key names the entity of nothing else", "a", ` { } `, codec.FormEvents, `{"entity_id":"a"}`},
		{"null names none", "a", `{"entity_id":null,"op":"delete"}`, codec.FormEvents, `{"entity_id":"a","op":"delete"}`},
		{"null names none in escapes either", "a", `{"op":"delete","entity\u005fid":null}`, codec.FormEvents, `{"entity_id":"a","op":"delete"}`},
		{"the event names it", "a", `{ "entity_id":"b" }`, codec.FormEvents, `{ "entity_id":"b" }`},
		{"an event whose id is wrong keeps it", "a", `{"entity_id":7}`, codec.FormEvents, `{"entity_id":7}`},
		{"nobody names it", "-", `{"payload":{}}`, codec.FormEvents, `{"payload":{}}`},
		{"an empty key is none", "", `{"payload":{}}`, codec.FormEvents, `{"payload":{}}`},
		{"a null value deletes", "a", "-", codec.FormEvents, `{"entity_id":"a","op":"delete"}`},
		{"no JSON", "a", "{", codec.FormEvents, "{"},
		{"an empty value", "a", "", codec.FormEvents, ""},
		{"an object", "a", `{"x":1}`, codec.FormObjects, `{"x":1}`},
		{"a null object", "a", "-", codec.FormObjects, "null"},
		{"a row", `{"id":1}`, `{"op":"c"}`, codec.FormRows, `{"key":{"id":1},"value":{"op":"c"}}`},
		{"a tombstone", `{"id":1}`, "-", codec.FormRows, `{"key":{"id":1},"value":null}`},
		{"a row whose key is no object", "7", `{"op":"c"}`, codec.FormRows, `{"op":"c"}`},
		{"a row whose key is no JSON", "{a", `{"op":"c"}`, codec.FormRows, `{"op":"c"}`},
		{"a row without a key", "-", `{"op":"c"}`, codec.FormRows, `{"op":"c"}`},
		{"a tombstone of nothing", "-", "-", codec.FormRows, "null"},
		{"a row that is no JSON", `{"id":1}`, `1,"value":2`, codec.FormRows, `1,"value":2`},
	} {
		r := codec.KafkaRecord{Headers: headers("traceparent", kafkaTrace, "source", "shop", "other", "\xff")}
		if c.key != "-" {
			r.Key = []byte(c.key)
		}
		if c.value != "-" {
			r.Value = []byte(c.value)
		}
		got, err := codec.FromKafka(r, c.form, false)
		if err != nil || string(got.Value) != c.want || got.Source != "shop" || got.Trace != kafkaTrace || got.Default {
			t.Errorf("%s: %+v (%s), %v; want %s", c.name, got, got.Value, err, c.want)
		}
		framed, err := codec.FromKafka(r, c.form, true)
		if err != nil || framed.Trace != kafkaTrace {
			t.Errorf("%s: framed %v", c.name, err)
		}
		key, value, err := codec.SplitFrame(framed.Value)
		if err != nil || !bytes.Equal(key, r.Key) || !bytes.Equal(value, r.Value) || (key == nil) != (r.Key == nil) || (value == nil) != (r.Value == nil) {
			t.Errorf("%s: framed %x: %q %q, %v", c.name, framed.Value, key, value, err)
		}
		// What freshet's own API has written is an event of the default mapping in every form.
		r.Headers = headers(freshet.HeaderDefaultEvent, "\x01", "traceparent", "short")
		own, err := codec.FromKafka(r, codec.FormObjects, true)
		if want, _ := codec.Join(codec.FormEvents, r.Key, r.Value); (err == nil && string(own.Value) != string(want)) || !own.Default || own.Trace != "" {
			t.Errorf("%s: as an event %+v, %v", c.name, own, err)
		}
	}
	for _, c := range []struct {
		name string
		r    codec.KafkaRecord
		code freshet.Code
	}{
		{"neither key nor value", codec.KafkaRecord{}, freshet.CodeMissingField},
		{"a key that is no text", codec.KafkaRecord{Key: []byte{0xff}, Value: []byte(`{}`)}, freshet.CodeInvalidUTF8},
	} {
		got, err := codec.FromKafka(c.r, codec.FormEvents, false)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != "entity_id" || string(got.Value) != string(c.r.Value) {
			t.Errorf("%s: %+v, %v; want %s", c.name, got, err, c.code)
		}
	}
}

// The forms of the Kafka protocol binding of CloudEvents 1.0, with the examples of its conformance tests.
func TestCloudEventFromKafka(t *testing.T) {
	const (
		data   = `{"message": "Hello World!"}`
		inside = `"specversion":"1.0","type":"com.example.someevent","time":"2018-04-05T03:56:24Z","id":"1234-1234-1234","source":"/mycontext/subcontext"`
		event  = `{"event_id":"1234-1234-1234","entity_id":"p7","timestamp":1522900584000,"payload":{"message":"Hello World!"}}`
	)
	binary := headers("ce_specversion", "1.0", "ce_id", "1234-1234-1234", "ce_type", "com.example.someevent",
		"ce_source", "/mycontext/subcontext", "ce_time", "2018-04-05T03:56:24Z", "content-type", "application/json")
	structured := func(kind string) []codec.KafkaHeader { return headers("content-type", kind, "traceparent", kafkaTrace) }
	for _, c := range []struct {
		name, value, want string
		headers           []codec.KafkaHeader
	}{
		{"binary", data, event, append(headers("traceparent", kafkaTrace, "source", "other"), binary...)},
		{"binary with its own trace", data, event, append(headers("traceparent", strings.Repeat("0", 55), "ce_traceparent", kafkaTrace), binary...)},
		{"structured", `{` + inside + `,"datacontenttype":"application/json","data":` + data + `}`, event, structured("application/cloudevents+json")},
		{"structured with parameters", `{` + inside + `,"data":` + data + `}`, event, structured("application/cloudevents+json; charset=utf-8")},
		{"its own subject", `{` + inside + `,"subject":"other","data":` + data + `}`, strings.Replace(event, "p7", "other", 1), structured("application/cloudevents+json")},
		{"a deletion", "", `{"event_id":"1234-1234-1234","entity_id":"p7","timestamp":1522900584000,"op":"delete"}`,
			append(headers("traceparent", kafkaTrace, "ce_op", "delete"), binary...)},
		{"text that is not ASCII", "blau", `{"event_id":"1","entity_id":"é%41","payload":{"text":"blau"}}`, headers("traceparent", kafkaTrace, "ce_specversion", "1.0", "ce_id", "1", "ce_type", "t",
			"ce_source", "/mycontext/subcontext", "ce_subject", "é%41", "content-type", "text/plain")},
	} {
		for _, form := range []codec.Form{codec.FormEvents, codec.FormObjects, codec.FormRows} {
			r := codec.KafkaRecord{Key: []byte("p7"), Headers: c.headers}
			if c.value != "" {
				r.Value = []byte(c.value)
			}
			got, err := codec.FromKafka(r, form, form == codec.FormRows)
			if err != nil || !got.Default || got.Source != "/mycontext/subcontext" || got.Trace != kafkaTrace {
				t.Errorf("%s: %+v, %v", c.name, got, err)
				continue
			}
			if !reflect.DeepEqual(object(t, got.Value), object(t, []byte(c.want))) {
				t.Errorf("%s: %s, want %s", c.name, got.Value, c.want)
			}
			if _, err := codec.ParseEvent(got.Value, codec.Full); err != nil {
				t.Errorf("%s: %s: %v", c.name, got.Value, err)
			}
		}
	}
	for _, c := range []struct {
		name, key, value string
		headers          []codec.KafkaHeader
		code             freshet.Code
		field            string
	}{
		{"no key and no subject", "", data, binary, freshet.CodeMissingField, "subject"},
		{"another format", "p7", data, structured("application/cloudevents+avro"), freshet.CodeInvalidField, "content-type"},
		{"a batch", "p7", "[]", structured("application/cloudevents-batch+json"), freshet.CodeInvalidField, "content-type"},
		{"no JSON", "p7", "{", structured("application/cloudevents+json"), freshet.CodeInvalidJSON, ""},
		{"no event", "p7", "-", structured("application/cloudevents+json"), freshet.CodeInvalidField, ""},
		{"twice", "p7", data, append(headers("ce_id", "2"), binary...), freshet.CodeInvalidField, "id"},
		{"no version", "p7", data, headers("ce_id", "2"), freshet.CodeMissingField, "specversion"},
		{"a key that is no text", "\xff", data, binary, freshet.CodeInvalidUTF8, "subject"},
	} {
		got, err := codec.FromKafka(codec.KafkaRecord{Key: []byte(c.key), Value: []byte(c.value), Headers: c.headers}, codec.FormObjects, false)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field || string(got.Value) != c.value || !got.Default {
			t.Errorf("%s: %+v, %v; want %s of %q", c.name, got, err, c.code, c.field)
		}
	}
}

// What is split into a frame again is the same, and every other value is one without a key.
func FuzzSplitFrame(f *testing.F) {
	for _, s := range []string{"", "\x01", "\x01\x00", "\x01\x01\x02ab", "\x01\x03\x01ab", "\x01\x02", "\x01\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\x04", "\x01\x00a", "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		key, value, err := codec.SplitFrame(b)
		if err != nil {
			return
		}
		if len(b) == 0 || b[0] != 1 {
			if key != nil || !bytes.Equal(value, b) {
				t.Fatalf("%q became %q, %q", b, key, value)
			}
			return
		}
		k, v, err := codec.SplitFrame(codec.AppendFrame(nil, key, value))
		if err != nil || !bytes.Equal(k, key) || !bytes.Equal(v, value) || (k == nil) != (key == nil) || (v == nil) != (value == nil) {
			t.Fatalf("%q, %q became %q, %q, %v", key, value, k, v, err)
		}
	})
}

// Whatever a record holds, it becomes an event or is refused with a code.
func FuzzFromKafka(f *testing.F) {
	f.Add([]byte("a"), []byte(`{"payload":{}}`), "ce_id", "1", "content-type", "application/json", byte(1))
	f.Add([]byte(`{"id":1}`), []byte(`{"op":"c"}`), "ce_specversion", "1.0", "content-type", "application/cloudevents+json", byte(2))
	f.Fuzz(func(t *testing.T, key, value []byte, name1, value1, name2, value2 string, form byte) {
		in, err := codec.FromKafka(codec.KafkaRecord{Key: key, Value: value, Headers: headers(name1, value1, name2, value2)}, codec.FormEvents+codec.Form(form%3), form&4 != 0)
		var e *freshet.Error
		if err != nil && (!errors.As(err, &e) || e.Code == "" || e.Message == "" || !bytes.Equal(in.Value, value)) {
			t.Fatalf("%+v, %v", in, err)
		}
		if err == nil && form&4 == 0 && form%3 != 0 && codec.Check(value) == nil && codec.Check(in.Value) != nil {
			t.Fatalf("%q became %q", value, in.Value)
		}
	})
}
