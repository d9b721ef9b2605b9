package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/wire"
)

// changesIdle is how long a stream of changes is silent at most: then it says where it is.
const changesIdle = 15 * time.Second

// change is a line of the stream of changes. One that has a token only is a place and no change.
type change struct {
	Token         string          `json:"token,omitempty"`
	Op            string          `json:"op,omitempty"`
	Collection    string          `json:"collection,omitempty"`
	Namespace     string          `json:"namespace,omitempty"`
	EntityID      string          `json:"entity_id,omitempty"`
	Version       string          `json:"version,omitempty"`
	Order         int64           `json:"order,omitempty"`
	Revision      uint32          `json:"revision,omitempty"`
	Text          string          `json:"text,omitempty"`
	OwnText       bool            `json:"own_text,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	Source        string          `json:"source,omitempty"`
	SourceEventID string          `json:"source_event_id,omitempty"`
	Timestamp     int64           `json:"timestamp,omitempty"`
	ExpiresAt     int64           `json:"expires_at,omitempty"` // ms
	UpdatedAt     string          `json:"updated_at,omitempty"`
	Events        uint64          `json:"events,omitempty"`
	Points        []changePoint   `json:"points,omitempty"`
}

type changePoint struct {
	Slot   string    `json:"slot"`
	Start  int       `json:"start,omitempty"`
	End    int       `json:"end,omitempty"`
	Model  string    `json:"model"`
	Vector []float32 `json:"vector"`
}

func (s *Server) getChanges(w http.ResponseWriter, r *http.Request) {
	request, err := s.changesOf(r)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/x-ndjson")
		return // a stream has no end to wait for
	}
	out := &changeStream{w: w, flush: http.NewResponseController(w).Flush}
	out.events = strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	err = s.opts.Changes.Follow(r.Context(), request, func(b feed.Batch) error {
		s.metrics.changes.Add(float64(len(b.Items)))
		return out.send(b)
	})
	switch {
	case err == nil || out.gone:
	case out.begun && errors.Is(err, context.Canceled):
		// Most likely the peer has gone, and that is no problem of anybody's.
		_ = out.line("problem", "", newProblem(&freshet.Error{Code: freshet.CodeUnavailable, Message: "the server is stopping; go on with the last token"}))
		_ = out.flush()
	case out.begun:
		_ = out.line("problem", "", s.problemOf(r, err))
		_ = out.flush()
	default:
		s.fail(w, r, err, nil)
	}
}

// changesOf reads the parameters of a request for changes.
func (s *Server) changesOf(r *http.Request) (q feed.Request, err error) {
	values, err := parametersOf(r, "collection", "namespace", "after", "follow", "vectors")
	if err != nil {
		return q, err
	}
	q.Idle = changesIdle
	if q.Collection, q.Namespace, err = s.collectionOf(values); err != nil {
		return q, err
	}
	if q.Follow, err = values.flag("follow", true); err != nil {
		return q, err
	}
	if q.Vectors, err = values.flag("vectors", false); err != nil {
		return q, err
	}
	after := tokens(values["after"])
	if last := r.Header.Get("Last-Event-ID"); last != "" { // a browser goes on by itself, with the query that it began with
		after = tokens{last}
	}
	if len(after) == 1 && after[0] == "now" {
		q.After, err = s.opts.Changes.Token()
		return q, err
	}
	if len(after) > 1 {
		return q, invalid("after", "is given twice; changes are followed from one place")
	}
	q.After, err = s.merged(after)
	return q, err
}

// collectionOf returns the collection and the namespace that a request is about; "" stands for all namespaces.
func (s *Server) collectionOf(values parameters) (collection, namespace string, err error) {
	shard, err := shardOf(values.get("collection"), values.get("namespace"))
	if err != nil {
		return "", "", err
	}
	if _, ok := s.opts.Catalog.Get(shard.Collection); !ok {
		return "", "", &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("%q does not exist", shard.Collection)}
	}
	if values.get("namespace") == nil {
		return shard.Collection, "", nil
	}
	return shard.Collection, shard.Namespace, nil
}

// changeStream writes changes as lines of JSON, or as server-sent events.
type changeStream struct {
	w      http.ResponseWriter
	flush  func() error
	events bool
	begun  bool
	gone   bool // the peer
	buf    bytes.Buffer
}

func (c *changeStream) send(b feed.Batch) error {
	if !c.begun {
		c.begun = true
		kind := "application/x-ndjson"
		if c.events {
			kind = "text/event-stream"
		}
		c.w.Header().Set("Content-Type", kind)
		c.w.Header().Set("Cache-Control", "no-store")
	}
	for i := range b.Items {
		line := changeOf(&b.Items[i].Change)
		if b.Items[i].Dropped {
			line = change{Op: "drop", Collection: line.Collection, Namespace: line.Namespace}
		}
		line.Token = wire.TokenString(b.Items[i].Token)
		if err := c.line("change", line.Token, line); err != nil {
			return err
		}
	}
	if len(b.Items) == 0 {
		token := wire.TokenString(b.Token)
		if err := c.line("place", token, change{Token: token}); err != nil {
			return err
		}
	}
	if err := c.flush(); err != nil {
		c.gone = true
		return err
	}
	return nil
}

// line writes one line or event.
func (c *changeStream) line(event, id string, v any) error {
	c.buf.Reset()
	err := appendLine(&c.buf, v)
	if err != nil {
		return err
	}
	raw := bytes.TrimSuffix(c.buf.Bytes(), []byte("\n"))
	switch {
	case !c.events:
		_, err = c.w.Write(c.buf.Bytes())
	case id == "":
		_, err = fmt.Fprintf(c.w, "event: %s\ndata: %s\n\n", event, raw)
	default:
		_, err = fmt.Fprintf(c.w, "event: %s\nid: %s\ndata: %s\n\n", event, id, raw)
	}
	if err != nil {
		c.gone = true
	}
	return err
}

// appendLine appends a line of JSON. The points of a change, which are most of it, are written without reflection.
func appendLine(b *bytes.Buffer, v any) error {
	var points []changePoint
	if c, ok := v.(change); ok {
		points, c.Points = c.Points, nil
		v = c
	}
	lines := json.NewEncoder(b)
	lines.SetEscapeHTML(false) // metadata as it is
	if err := lines.Encode(v); err != nil || len(points) == 0 {
		return err
	}
	b.Truncate(b.Len() - len("}\n"))
	raw := append(b.AvailableBuffer(), `,"points":[`...)
	for i, p := range points {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = codec.AppendString(append(raw, `{"slot":`...), p.Slot)
		if p.End > 0 {
			raw = strconv.AppendInt(append(raw, `,"start":`...), int64(p.Start), 10)
			raw = strconv.AppendInt(append(raw, `,"end":`...), int64(p.End), 10)
		}
		raw = codec.AppendString(append(raw, `,"model":`...), p.Model)
		raw = append(codec.AppendVector(append(raw, `,"vector":`...), p.Vector), '}')
	}
	b.Write(append(raw, "]}\n"...))
	return nil
}

func changeOf(item *freshet.Change) change {
	c := change{Op: item.Op.String(), Collection: item.Key.Collection, Namespace: item.Key.Namespace,
		EntityID: item.Key.Entity, Version: wire.VersionString(item.Version), Order: item.Version.Order, Revision: item.Revision, Text: item.Text, OwnText: item.OwnText, Metadata: item.Metadata,
		Source: item.Source, SourceEventID: item.SourceEventID, Timestamp: item.EventTime, ExpiresAt: item.ExpiresAt, UpdatedAt: timeString(item.AcceptedAt), Events: item.Events}
	for _, p := range item.Points {
		c.Points = append(c.Points, changePoint{p.Slot, p.Start, p.End, p.Model, p.Vector})
	}
	return c
}
