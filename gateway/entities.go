package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/wire"
)

func validUTF8(s string) bool { return utf8.ValidString(s) }

// entityRequest is what the routes of one entity take in path and query string.
type entityRequest struct {
	key     freshet.Key
	after   freshet.Token
	timeout time.Duration
	order   int64
	eventID string
}

// parameters are the query parameters of a request.
type parameters url.Values

// parametersOf refuses a parameter that is not allowed, or is given twice where that means nothing.
func parametersOf(r *http.Request, allowed ...string) (parameters, error) {
	values := r.URL.Query()
	for name, v := range values {
		if !slices.Contains(allowed, name) || len(v) != 1 && name != "after" {
			return nil, &freshet.Error{Code: freshet.CodeUnknownField, Field: name, Message: fmt.Sprintf("is not a parameter of this request, or given twice; it takes %v", allowed)}
		}
	}
	return parameters(values), nil
}

// get returns a parameter, nil when it is not given.
func (p parameters) get(name string) *string {
	if v, ok := p[name]; ok {
		return &v[0]
	}
	return nil
}

// flag returns a parameter that is true or false.
func (p parameters) flag(name string, otherwise bool) (bool, error) {
	switch v := p.get(name); {
	case v == nil:
		return otherwise, nil
	case *v == "true" || *v == "false":
		return *v == "true", nil
	default:
		return false, invalid(name, fmt.Sprintf("is %.40q, must be true or false", *v))
	}
}

// entityOf reads a request about one entity; allowed are the names of its query parameters.
func (s *Server) entityOf(r *http.Request, allowed ...string) (e entityRequest, err error) {
	values, err := parametersOf(r, allowed...)
	if err != nil {
		return e, err
	}
	get := values.get
	shard, err := shardOf(get("collection"), get("namespace"))
	if err != nil {
		return e, err
	}
	e.key = freshet.Key{Collection: shard.Collection, Namespace: shard.Namespace, Entity: r.PathValue("id")}
	if err := checkID("entity_id", e.key.Entity); err != nil {
		return e, err
	}
	if e.after, err = s.merged(tokens(values["after"])); err != nil {
		return e, err
	}
	if v := get("timeout_ms"); v != nil {
		n, err := strconv.ParseInt(*v, 10, 64)
		if err != nil || n < 1 || n > query.MaxTimeout.Milliseconds() {
			return e, invalid("timeout_ms", fmt.Sprintf("is %q, must be 1 to %d", *v, query.MaxTimeout.Milliseconds()))
		}
		e.timeout = time.Duration(n) * time.Millisecond
	}
	if v := get("order"); v != nil {
		if e.order, err = strconv.ParseInt(*v, 10, 64); err != nil || e.order < 1 {
			return e, invalid("order", fmt.Sprintf("is %q, must be an integer >= 1", *v))
		}
	}
	if v := get("event_id"); v != nil {
		e.eventID = *v
		err = checkID("event_id", *v)
	}
	return e, err
}

type entityResponse struct {
	EntityID      string          `json:"entity_id"`
	Collection    string          `json:"collection"`
	Namespace     string          `json:"namespace"`
	Version       string          `json:"version"`
	Text          string          `json:"text"`
	Metadata      json.RawMessage `json:"metadata"`
	SourceEventID string          `json:"source_event_id"`
	UpdatedAt     string          `json:"updated_at"`
	Timestamp     int64           `json:"timestamp,omitempty"`
	ExpiresAt     int64           `json:"expires_at,omitempty"` // ms
	Events        uint64          `json:"events"`
	Points        int             `json:"points"`
	Revision      uint32          `json:"revision"`
	Warnings      []string        `json:"warnings,omitempty"`
}

func (s *Server) getEntity(w http.ResponseWriter, r *http.Request) {
	e, err := s.entityOf(r, "collection", "namespace", "after", "timeout_ms")
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	c, warnings, err := s.opts.Planner.Get(r.Context(), e.key, e.after, e.timeout)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	out := entityResponse{EntityID: c.Key.Entity, Collection: c.Key.Collection, Namespace: c.Key.Namespace,
		Version: wire.VersionString(c.Version), Text: c.Text, Metadata: c.Metadata, SourceEventID: c.SourceEventID,
		UpdatedAt: timeString(c.AcceptedAt), Timestamp: c.EventTime, ExpiresAt: c.ExpiresAt,
		Events: c.Events, Points: len(c.Points), Revision: c.Revision, Warnings: warnings}
	if out.Metadata == nil {
		out.Metadata = json.RawMessage("{}")
	}
	reply(w, out)
}

// timeString is a time in ms as answers have it.
func timeString(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// deleteEntity turns a DELETE into the event that it stands for.
func (s *Server) deleteEntity(w http.ResponseWriter, r *http.Request) {
	e, err := s.entityOf(r, "collection", "namespace", "order", "event_id")
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	if err := s.opts.Intake.Room(); err != nil {
		s.fail(w, r, err, nil)
		return
	}
	b := s.opts.Intake.NewBatch()
	defer b.Release()
	if err := b.AddDelete(e.key, e.eventID, e.order, headersOf(r)...); err != nil {
		s.fail(w, r, err, nil)
		return
	}
	token, err := b.Append(r.Context())
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	s.metrics.accepted.Inc()
	reply(w, ingestResult{Accepted: 1, Rejected: []rejected{}, Token: wire.TokenString(token)})
}

// sizes are how many entities and points the namespaces have, wherever they are.
func (s *Server) sizes(ctx context.Context) (sizes []fanout.Size, err error) {
	if others := s.opts.Planner.Others; others != nil {
		ctx, cancel := context.WithTimeout(ctx, query.DefaultTimeout)
		defer cancel()
		return others.Counts(ctx)
	}
	for _, st := range s.opts.Admin.Shards() {
		sizes = append(sizes, fanout.Size{Collection: st.Collection, Namespace: st.Namespace, Entities: st.Entities, Points: st.Points})
	}
	return sizes, nil
}

func (s *Server) getCollections(w http.ResponseWriter, r *http.Request) {
	type namespace struct {
		Name     string `json:"name"`
		Entities int    `json:"entities"`
		Points   int    `json:"points"`
	}
	type collection struct {
		Name       string      `json:"name"`
		Model      string      `json:"model"`
		Dim        int         `json:"dim"`
		Metric     string      `json:"metric"`
		Order      string      `json:"order"`
		Namespaces []namespace `json:"namespaces"`
	}
	shards := map[string][]namespace{}
	sizes, err := s.sizes(r.Context())
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	for _, st := range sizes {
		shards[st.Collection] = append(shards[st.Collection], namespace{st.Namespace, st.Entities, st.Points})
	}
	out := []collection{}
	for _, c := range s.opts.Catalog.All() {
		ns := shards[c.Name]
		if ns == nil {
			ns = []namespace{}
		}
		order := string(c.Order)
		if order == "" {
			order = "undecided"
		}
		out = append(out, collection{c.Name, c.Model, c.Dim, c.Metric, order, ns})
	}
	reply(w, map[string]any{"collections": out})
}
