package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/filter/cel"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/wire"
)

// maxSearchBytes is the largest body of a search.
const maxSearchBytes = 4 << 20

// searchRequest is the body of POST /v1/search.
type searchRequest struct {
	Text       *string         `json:"text"`
	Vector     []float32       `json:"vector"`
	EntityID   *string         `json:"entity_id"`
	K          *int            `json:"k"`
	Collection *string         `json:"collection"`
	Namespace  *string         `json:"namespace"`
	Filter     json.RawMessage `json:"filter"`
	After      tokens          `json:"after"`
	TimeoutMs  *int64          `json:"timeout_ms"`
	Include    *[]string       `json:"include"`
	Ef         int             `json:"ef"`
	Exact      bool            `json:"exact"`
	Partial    bool            `json:"partial"`
}

// tokens is one token or a list of them.
type tokens []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *tokens) UnmarshalJSON(b []byte) error {
	if string(b) == "null" { // as if it were not there
		return nil
	}
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*t = tokens{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return invalid("after", "must be a token or a list of tokens")
	}
	*t = many
	return nil
}

// merged is the token that waits for all of them. One of an earlier epoch counts as one of the present, if it can.
func (s *Server) merged(t tokens) (freshet.Token, error) {
	var all freshet.Token
	for _, text := range t {
		one, err := wire.ParseToken(text)
		if err != nil {
			return all, invalid("after", err.Error())
		}
		if one, err = s.opts.Catalog.Adopt(one); err != nil {
			return all, err
		}
		if all, err = wire.MergeTokens(all, one); err != nil {
			return all, &freshet.Error{Code: freshet.CodeForeignToken, Field: "after", Message: err.Error()}
		}
	}
	return all, nil
}

// The parts of a hit that "include" chooses; without it a hit has metadata and no text.
const (
	includeMetadata = "metadata"
	includeText     = "text"
)

type hit struct {
	EntityID      string          `json:"entity_id"`
	Score         float32         `json:"score"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	Text          *string         `json:"text,omitempty"`
	Version       string          `json:"version"`
	AgeMs         int64           `json:"age_ms"`
	SourceEventID string          `json:"source_event_id"`
	Slot          string          `json:"slot"`
	Revision      uint32          `json:"revision"`
}

type searchResponse struct {
	Hits     []hit    `json:"hits"`
	Applied  string   `json:"applied"`
	Warnings []string `json:"warnings,omitempty"`
	Missing  []int32  `json:"missing_partitions,omitempty"`
	TookMs   float64  `json:"took_ms"`
}

func (s *Server) postSearch(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	var body searchRequest
	if err := readJSON(w, r, &body); err != nil {
		s.fail(w, r, err, nil)
		return
	}
	req, include, err := s.requestOf(&body)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	res, err := s.opts.Planner.Search(r.Context(), req)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	out := searchResponse{Hits: make([]hit, len(res.Hits)), Applied: wire.TokenString(res.Applied), Warnings: res.Warnings, Missing: res.Missing}
	now := s.now()
	for i := range res.Hits {
		out.Hits[i] = hitOf(&res.Hits[i], include, now)
	}
	took := now.Sub(start)
	out.TookMs = float64(took.Microseconds()) / 1000
	s.searched(took)
	reply(w, out)
}

// searched notes a search that was answered, for Live.
func (s *Server) searched(took time.Duration) {
	s.searches.Add(1)
	s.searchMs.Add(took)
}

func hitOf(h *freshet.Hit, include []string, now time.Time) hit {
	out := hit{EntityID: h.Key.Entity, Score: h.Score, Version: wire.VersionString(h.Version),
		AgeMs: max(0, now.UnixMilli()-h.AcceptedAt), SourceEventID: h.SourceEventID, Slot: h.Slot, Revision: h.Revision}
	if slices.Contains(include, includeMetadata) {
		if out.Metadata = h.Metadata; out.Metadata == nil {
			out.Metadata = json.RawMessage("{}")
		}
	}
	if slices.Contains(include, includeText) {
		out.Text = &h.Text
	}
	return out
}

// requestOf checks the fields whose form HTTP decides; query checks the rest.
func (s *Server) requestOf(b *searchRequest) (req query.Request, include []string, err error) {
	req = query.Request{Text: b.Text, Vector: b.Vector, Entity: b.EntityID, Ef: b.Ef, Exact: b.Exact, Partial: b.Partial}
	if req.Shard, err = shardOf(b.Collection, b.Namespace); err != nil {
		return req, nil, err
	}
	if b.EntityID != nil {
		if err := checkID("entity_id", *b.EntityID); err != nil {
			return req, nil, err
		}
	}
	if b.K != nil {
		if req.K = *b.K; req.K == 0 {
			return req, nil, invalid("k", fmt.Sprintf("is 0, must be 1 to %d", query.MaxK))
		}
	}
	if b.Ef < 0 || b.Ef > query.MaxK {
		return req, nil, invalid("ef", fmt.Sprintf("is %d, must be 1 to %d", b.Ef, query.MaxK))
	}
	if b.TimeoutMs != nil {
		if *b.TimeoutMs < 1 || *b.TimeoutMs > query.MaxTimeout.Milliseconds() {
			return req, nil, invalid("timeout_ms", fmt.Sprintf("is %d, must be 1 to %d", *b.TimeoutMs, query.MaxTimeout.Milliseconds()))
		}
		req.Timeout = time.Duration(*b.TimeoutMs) * time.Millisecond
	}
	if len(b.Filter) > 0 && string(b.Filter) != "null" {
		if req.Filter, err = filterOf(b.Filter); err != nil {
			return req, nil, invalid("filter", err.Error())
		}
	}
	if req.After, err = s.merged(b.After); err != nil {
		return req, nil, err
	}
	include = []string{includeMetadata}
	if b.Include != nil {
		include = *b.Include
		for _, name := range include {
			if name != includeMetadata && name != includeText {
				return req, nil, invalid("include", fmt.Sprintf("%q is not known; a hit can include %q and %q", name, includeMetadata, includeText))
			}
		}
	}
	req.Texts = slices.Contains(include, includeText)
	return req, include, nil
}

// filterOf reads a filter: an object, or a string in CEL.
func filterOf(raw json.RawMessage) (*filter.Expr, error) {
	if text, ok := codec.StringValue(raw); ok {
		return cel.Parse(text)
	}
	return filter.Parse(raw)
}

func shardOf(collection, namespace *string) (freshet.Shard, error) {
	s := freshet.Shard{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace}
	if collection != nil {
		s.Collection = *collection
	}
	if namespace != nil {
		s.Namespace = *namespace
	}
	if err := checkID("collection", s.Collection); err != nil {
		return s, err
	}
	return s, checkID("namespace", s.Namespace)
}

func checkID(field, id string) error {
	if !validUTF8(id) {
		return &freshet.Error{Code: freshet.CodeInvalidUTF8, Field: field, Message: "is not valid UTF-8"}
	}
	if problem := codec.IDProblem(id); problem != "" {
		return invalid(field, problem)
	}
	return nil
}

// readJSON decodes a small body strictly: one object, no field that is not known. into points
// to a struct whose tags are names alone.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	return readBounded(w, r, maxSearchBytes, into)
}

func readBounded(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return &freshet.Error{Code: freshet.CodeTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", limit)}
		}
		return &freshet.Error{Code: freshet.CodeInvalidJSON, Message: "the body could not be read: " + err.Error()}
	}
	if err := codec.Check(raw); err != nil {
		return err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		return &freshet.Error{Code: freshet.CodeInvalidJSON, Message: "the body is no JSON object"}
	}
	if err := checkNames(raw, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	err = json.Unmarshal(raw, into)
	var typeError *json.UnmarshalTypeError
	var own *freshet.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &typeError):
		return invalid(typeError.Field, fmt.Sprintf("must be %s, is a JSON %s", typeName(typeError.Type.Kind().String()), typeError.Value))
	}
	return &freshet.Error{Code: freshet.CodeInvalidJSON, Message: err.Error()}
}

// checkNames refuses members that the struct does not have and those that stand twice.
// encoding/json would take "K" for k, and the last of two.
func checkNames(object []byte, request reflect.Type) error {
	members, err := codec.Members(object, nil)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range request.NumField() {
		name, _, _ := strings.Cut(request.Field(i).Tag.Get("json"), ",")
		seen[name] = false
	}
	for _, m := range members {
		twice, known := seen[m.Name]
		if !known {
			return &freshet.Error{Code: freshet.CodeUnknownField, Field: m.Name, Message: "is not a field of this request; /openapi.json lists them"}
		}
		if twice {
			return invalid(m.Name, "stands twice in the request")
		}
		seen[m.Name] = true
	}
	return nil
}

// typeName is a Go kind in words of JSON.
func typeName(kind string) string {
	switch kind {
	case "string":
		return "a string"
	case "bool":
		return "true or false"
	case "slice":
		return "an array"
	case "float32":
		return "a number that fits a float32"
	}
	return "an integer"
}

// postSeedSearch is the minimal form: POST /search?k=10 with {"text": "…"}.
func (s *Server) postSeedSearch(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	var body struct {
		Text *string `json:"text"`
	}
	err := readJSON(w, r, &body)
	if err == nil && body.Text == nil {
		err = &freshet.Error{Code: freshet.CodeMissingField, Field: "text", Message: "is missing; say what to search for"}
	}
	req := query.Request{Text: body.Text, Bare: true}
	if err == nil {
		req.Shard, err = shardOf(nil, nil)
	}
	if k := r.URL.Query().Get("k"); err == nil && k != "" {
		if req.K, err = strconv.Atoi(k); err != nil || req.K < 1 {
			err = invalid("k", fmt.Sprintf("is %q, must be 1 to %d", k, query.MaxK))
		}
	}
	var res *query.Response
	if err == nil {
		res, err = s.opts.Planner.Search(r.Context(), req)
	}
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	type bare struct {
		EntityID string  `json:"entity_id"`
		Score    float32 `json:"score"`
	}
	hits := make([]bare, len(res.Hits))
	for i, h := range res.Hits {
		hits[i] = bare{h.Key.Entity, h.Score}
	}
	s.searched(s.now().Sub(start))
	reply(w, map[string]any{"hits": hits})
}

// postEmbed is POST /embed with {"text": "…"}: the vector that a search for it would use.
func (s *Server) postEmbed(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Text       *string `json:"text"`
		Collection *string `json:"collection"`
	}
	err := readJSON(w, r, &body)
	if err == nil && body.Text == nil {
		err = &freshet.Error{Code: freshet.CodeMissingField, Field: "text", Message: "is missing; say what to embed"}
	}
	var shard freshet.Shard
	if err == nil {
		shard, err = shardOf(body.Collection, nil)
	}
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	col, ok := s.opts.Catalog.Get(shard.Collection)
	if !ok {
		s.fail(w, r, &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("%q does not exist", shard.Collection)}, nil)
		return
	}
	vector, err := s.opts.Planner.Embed(r.Context(), col, *body.Text)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	reply(w, map[string]any{"vector": vector, "model": col.Model})
}
