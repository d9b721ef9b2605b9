package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/source"
)

// The forms of CloudEvents 1.0 over HTTP: an event in JSON, a batch of them, or one whose attributes are headers.
const (
	cloudPrefix = "application/cloudevents"
	cloudOne    = "application/cloudevents+json"
	cloudBatch  = "application/cloudevents-batch+json"
	cloudHeader = "Ce-"
)

// isCloud reports whether a request carries CloudEvents.
func isCloud(r *http.Request, kind string) bool {
	return strings.HasPrefix(kind, cloudPrefix) || r.Header.Get(cloudHeader+"Specversion") != "" || r.Header.Get(cloudHeader+"Id") != ""
}

// cloudEvents are events of CloudEvents 1.0.
type cloudEvents struct {
	arrayEvents
	decode func(raw []byte) (codec.CloudEvent, error)
}

// cloudEventsOf returns the events of a request that carries some.
func cloudEventsOf(r *http.Request, kind string, body []byte) (events, error) {
	switch {
	case kind == cloudOne || kind == cloudBatch:
		list, err := codec.SplitArray(body)
		if err != nil {
			return nil, err
		}
		isArray := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
		if isArray != (kind == cloudBatch) {
			return nil, &freshet.Error{Code: freshet.CodeInvalidJSON,
				Message: fmt.Sprintf("one event is sent as %s, an array of events as %s; this one is %s", cloudOne, cloudBatch, kind)}
		}
		return &cloudEvents{arrayEvents{list}, codec.StructuredCloudEvent}, nil
	case strings.HasPrefix(kind, cloudPrefix):
		return nil, invalid("Content-Type", fmt.Sprintf("must be %s, %s, or that of the data with the attributes in headers, is %s", cloudOne, cloudBatch, kind))
	}
	attributes, err := cloudAttributes(r)
	if err != nil {
		return nil, err
	}
	return &cloudEvents{arrayEvents{[][]byte{body}}, func(raw []byte) (codec.CloudEvent, error) {
		return codec.BinaryCloudEvent(attributes, raw)
	}}, nil
}

// cloudAttributes returns the attributes of an event in binary mode.
func cloudAttributes(r *http.Request) (map[string]string, error) {
	attributes := map[string]string{}
	for header, values := range r.Header {
		name, ok := strings.CutPrefix(header, cloudHeader)
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		value, err := headerValue(values[0])
		if err != nil || len(values) > 1 {
			return nil, invalid(name, fmt.Sprintf("the header %s must stand once, with what is not printable ASCII as %%XX, is %.64q", header, values))
		}
		attributes[name] = value
	}
	if v := r.Header.Get("Content-Type"); v != "" {
		attributes["datacontenttype"] = v
	}
	return attributes, nil
}

// headerValue undoes the encoding of an attribute in a header: quotes, then percent signs.
func headerValue(v string) (string, error) {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		var text strings.Builder
		for inner := v[1 : len(v)-1]; inner != ""; inner = inner[1:] {
			if inner[0] == '\\' && len(inner) > 1 {
				inner = inner[1:]
			}
			text.WriteByte(inner[0])
		}
		v = text.String()
	}
	return url.PathUnescape(v)
}

// add implements events.
func (c *cloudEvents) add(b *source.Batch, raw []byte, headers []journal.Header) error {
	e, err := c.decode(raw)
	if err != nil {
		return err
	}
	own := []journal.Header{{Name: freshet.HeaderSource, Value: []byte(e.Source)}}
	if e.Trace != "" {
		headers = []journal.Header{{Name: freshet.HeaderTrace, Value: []byte(e.Trace)}}
	}
	return b.AddEvent(e.Event, append(own, headers...)...)
}
