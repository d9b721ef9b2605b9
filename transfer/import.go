package transfer

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// maxEvent is how large an event a server takes unless it is configured otherwise.
const maxEvent = 4 << 20

// ImportOptions say where imported entities go.
type ImportOptions struct {
	Options
	Collection, Namespace string // "": those that the file names
}

// Import sends the entities of an export, or of a stream of changes, as events that carry their whole state. Vectors are not made again
// where the collection takes them: where it has the same model, or none. Else their text is embedded anew.
//
// An event's id is made of what it says and of the version that the entity had: an import that was killed and is repeated has its effect
// once, wherever the file lies and whatever its form.
func Import(ctx context.Context, path string, o ImportOptions) (Result, error) {
	m := &importer{ImportOptions: o, ctx: ctx, collections: map[string]collection{}}
	o.Server.Default = true
	r, err := send(ctx, path, o.Options, m)
	if err == nil && m.embedded > 0 {
		o.Note("%d entities came without vectors that their collection takes: their text is embedded again", m.embedded)
	}
	if err == nil && !m.whole {
		o.Note("the file does not end as an export does: it may have been cut off")
	}
	return r, err
}

// importer makes events of entities.
type importer struct {
	ImportOptions
	ctx         context.Context
	collections map[string]collection
	embedded    int64
	lines       bool // the form is NDJSON
	whole       bool // the file says that it is
	out         []byte
}

// collection is what the server says of a collection.
type collection struct {
	Name  string `json:"name"`
	Model string `json:"model"`
	Dim   int    `json:"dim"`
	Order string `json:"order"`
}

// how implements maker.
func (m *importer) how() string {
	return fmt.Sprintf("import %q %q", m.Collection, m.Namespace)
}

// begin implements maker.
func (m *importer) begin(in *Input) error {
	if in.Form != NDJSON && in.Form != Parquet {
		return fmt.Errorf("an import has the form %s or %s, not %s; `freshet ingest` takes files of events", NDJSON, Parquet, in.Form)
	}
	if m.lines = in.parquet == nil; !m.lines {
		_, m.whole = in.parquet.Metadata(tokenKey)
	}
	body, err := m.Server.get(m.ctx, "/v1/collections")
	if err != nil {
		return err
	}
	defer body.Close()
	var all struct {
		Collections []collection `json:"collections"`
	}
	if err := json.NewDecoder(body).Decode(&all); err != nil {
		return fmt.Errorf("the answer to a question for the collections: %w", err)
	}
	for _, c := range all.Collections {
		m.collections[c.Name] = c
	}
	return nil
}

func refuse(code freshet.Code, field, format string, args ...any) *freshet.Error {
	return &freshet.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// make implements maker.
func (m *importer) make(r *Record) ([]byte, *freshet.Error) {
	e, err := parseEntity(r.Data)
	if err != nil {
		return nil, refuse(freshet.CodeInvalidJSON, "", "is no line of an export: %v", err)
	}
	if m.lines {
		m.whole = e.place()
	}
	if e.place() {
		return nil, nil
	}
	if e.EntityID == "" {
		return nil, refuse(freshet.CodeMissingField, "entity_id", "is missing; this is no line of an export. `freshet ingest` takes files of events")
	}
	e.Collection, e.Namespace = or(m.Collection, e.Collection), or(m.Namespace, e.Namespace)
	col, known := m.collections[or(e.Collection, freshet.DefaultCollection)]
	if !known { // made by the server, it is a copy of the default one; else the server refuses it
		col = m.collections[freshet.DefaultCollection]
		col.Order = "undecided"
	}
	switch {
	case col.Order == "none" && e.Order > 0:
		return nil, refuse(freshet.CodeOrderMismatch, "order", "is %d; collection %q uses the order of its log since its first event", e.Order, col.Name)
	case col.Order == "source" && e.Order == 0:
		return nil, refuse(freshet.CodeOrderMismatch, "order", "is missing; collection %q is ordered by its source since its first event", col.Name)
	}
	if e.Op == freshet.OpDelete.String() {
		return m.encode(&e), nil
	}
	points, refusal := takes(&col, e.Points)
	if refusal != nil {
		return nil, refusal
	}
	if points == nil && strings.TrimSpace(e.Text) == "" {
		return nil, refuse(freshet.CodeNoContent, "text", "is empty, and collection %q, whose model is %q, can't take the vectors", col.Name, col.Model)
	}
	if e.Points = points; points == nil {
		m.embedded++
	}
	out := m.encode(&e)
	if len(out) > maxEvent && points != nil && col.Model != "" && points[0].Model == col.Model { // the model makes the same again
		m.embedded++
		e.Points = nil
		out = m.encode(&e)
	}
	return out, nil
}

// takes returns the points of an entity as a collection takes them, nil when it can't and embeds the text.
func takes(col *collection, points []Point) ([]Point, *freshet.Error) {
	out := make([]Point, 0, len(points))
	for i, p := range points {
		switch {
		case col.Model == "":
			p.Model = "" // such a collection does not know models
		case p.Model != "" && p.Model != col.Model:
			return nil, nil
		}
		if dim := bytes.Count(p.Vector, []byte{','}) + 1; dim != col.Dim && col.Dim > 0 {
			return nil, refuse(freshet.CodeWrongDimension, fmt.Sprintf("points[%d].vector", i), "has %d dimensions, collection %q has %d", dim, col.Name, col.Dim)
		}
		out = append(out, p)
	}
	if len(out) > 0 {
		return out, nil
	}
	if col.Model == "" {
		return nil, refuse(freshet.CodeNoContent, "points", "are missing, and collection %q has no model; export with vectors", col.Name)
	}
	return nil, nil
}

// encode makes the event that carries an entity's state. What an entity was twice, with something else between, is two events: their
// versions differ.
func (m *importer) encode(e *Entity) []byte {
	const room = len(`{"event_id":"import-`) + 32
	b := append(m.out[:0], make([]byte, room)...)
	text := func(name, value string) {
		if value != "" {
			b = codec.AppendString(append(b, name...), value)
		}
	}
	b = append(b, '"')
	text(`,"entity_id":`, e.EntityID)
	text(`,"collection":`, e.Collection)
	text(`,"namespace":`, e.Namespace)
	if e.Timestamp > 0 {
		b = strconv.AppendInt(append(b, `,"timestamp":`...), e.Timestamp, 10)
	}
	if e.Order > 0 {
		b = strconv.AppendInt(append(b, `,"order":`...), e.Order, 10)
	}
	if e.Op == freshet.OpDelete.String() {
		b = append(b, `,"op":"delete"`...)
	} else {
		if e.ExpiresAt > 0 {
			b = strconv.AppendInt(append(b, `,"expires_at":`...), e.ExpiresAt, 10)
		}
		b = codec.AppendString(append(b, `,"state":{"text":`...), e.Text)
		if e.OwnText {
			b = append(b, `,"own_text":true`...)
		}
		if len(e.Metadata) > len("{}") {
			b = append(append(b, `,"metadata":`...), e.Metadata...)
		}
		b = append(appendPoints(b, e.Points), '}')
	}
	b = append(b, '}')
	h := xxh3.New()
	_, _ = h.WriteString(e.Version) // never fails, as the other
	_, _ = h.Write(b[room:])
	sum := h.Sum128().Bytes()
	hex.Encode(b[copy(b, `{"event_id":"import-`):room], sum[:])
	m.out = b
	return b
}

func appendPoints(b []byte, points []Point) []byte {
	if len(points) == 0 {
		return b
	}
	b = append(b, `,"points":[`...)
	for i, p := range points {
		if i > 0 {
			b = append(b, ',')
		}
		b = codec.AppendString(append(b, `{"slot":`...), p.Slot)
		if p.Model != "" {
			b = codec.AppendString(append(b, `,"model":`...), p.Model)
		}
		if p.End > 0 {
			b = strconv.AppendInt(append(b, `,"start":`...), int64(p.Start), 10)
			b = strconv.AppendInt(append(b, `,"end":`...), int64(p.End), 10)
		}
		b = append(append(append(b, `,"vector":`...), p.Vector...), '}')
	}
	return append(b, ']')
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
