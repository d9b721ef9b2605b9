package transfer

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
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
	out         bytes.Buffer
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

// stateEvent is an event that carries the whole state of an entity.
type stateEvent struct {
	EventID    string       `json:"event_id,omitempty"`
	EntityID   string       `json:"entity_id"`
	Collection string       `json:"collection,omitempty"`
	Namespace  string       `json:"namespace,omitempty"`
	Op         string       `json:"op,omitempty"`
	Timestamp  int64        `json:"timestamp,omitempty"`
	ExpiresAt  int64        `json:"expires_at,omitempty"`
	Order      int64        `json:"order,omitempty"`
	State      *entityState `json:"state,omitempty"`
}

type entityState struct {
	Text     string          `json:"text,omitempty"`
	OwnText  bool            `json:"own_text,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Points   []Point         `json:"points,omitempty"`
}

func refuse(code freshet.Code, field, format string, args ...any) *freshet.Error {
	return &freshet.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// make implements maker.
func (m *importer) make(r *Record) ([]byte, *freshet.Error) {
	var e Entity
	if err := json.Unmarshal(r.Data, &e); err != nil {
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
	ev := stateEvent{EntityID: e.EntityID, Collection: or(m.Collection, e.Collection), Namespace: or(m.Namespace, e.Namespace), Timestamp: e.Timestamp, ExpiresAt: e.ExpiresAt, Order: e.Order}
	col, known := m.collections[or(ev.Collection, freshet.DefaultCollection)]
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
		ev.Op = e.Op
		return m.encode(&ev, e.Version)
	}
	points, refusal := takes(&col, e.Points)
	if refusal != nil {
		return nil, refusal
	}
	if points == nil && strings.TrimSpace(e.Text) == "" {
		return nil, refuse(freshet.CodeNoContent, "text", "is empty, and collection %q can't take the vectors, which are of model %q: it has model %q", col.Name, e.Points[0].Model, col.Model)
	}
	if string(e.Metadata) == "{}" {
		e.Metadata = nil
	}
	ev.State = &entityState{Text: e.Text, OwnText: e.OwnText, Metadata: e.Metadata, Points: points}
	if points == nil {
		m.embedded++
	}
	out, refusal := m.encode(&ev, e.Version)
	if len(out) > maxEvent && points != nil && col.Model != "" && points[0].Model == col.Model { // the model makes the same again
		m.embedded++
		ev.State.Points, ev.EventID = nil, ""
		return m.encode(&ev, e.Version)
	}
	return out, refusal
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

// encode gives an event its id and its bytes. What an entity was twice, with something else between, is two events: their versions
// differ.
func (m *importer) encode(ev *stateEvent, version string) ([]byte, *freshet.Error) {
	m.out.Reset()
	enc := json.NewEncoder(&m.out)
	enc.SetEscapeHTML(false) // metadata stays as it is
	if err := enc.Encode(ev); err != nil {
		return nil, refuse(freshet.CodeInvalidJSON, "", "%v", err)
	}
	raw := m.out.Bytes()
	h := xxh3.New()
	_, _ = h.WriteString(version) // never fails, as the other
	_, _ = h.Write(raw)
	sum := h.Sum128().Bytes()
	head := []byte(`{"event_id":"import-` + hex.EncodeToString(sum[:]) + `",`)
	return append(head, raw[1:]...), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
