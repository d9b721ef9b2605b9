package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/wire"
)

// getExport streams the entities of a collection at one instant as lines of JSON. The last line has a token and nothing else: it tells
// that all is there, and from where the changes go on. A stream that fails ends with a problem document.
func (s *Server) getExport(w http.ResponseWriter, r *http.Request) {
	request, err := s.exportOf(r)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/x-ndjson")
		return
	}
	out := newSteadyStream(w, r, "application/x-ndjson")
	defer out.close()
	var buf bytes.Buffer
	gone := false
	write := func(v any) error {
		buf.Reset()
		if err := appendLine(&buf, v); err != nil {
			return err
		}
		_, err := out.Write(buf.Bytes())
		gone = gone || err != nil
		return err
	}
	token, err := s.opts.Changes.Export(r.Context(), request, func(run []freshet.Change) error {
		for i := range run {
			if err := write(changeOf(&run[i])); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		_ = write(change{Token: wire.TokenString(token)})
	case gone:
	case !out.begun:
		s.fail(w, r, err, nil)
	case errors.Is(err, context.Canceled):
		_ = write(newProblem(&freshet.Error{Code: freshet.CodeUnavailable, Message: "the server is stopping; export again"}))
	default:
		_ = write(s.problemOf(r, err))
	}
}

// exportOf reads the parameters of an export.
func (s *Server) exportOf(r *http.Request) (q feed.ExportRequest, err error) {
	values, err := parametersOf(r, "collection", "namespace", "filter")
	if err != nil {
		return q, err
	}
	if q.Collection, q.Namespace, err = s.collectionOf(values); err != nil {
		return q, err
	}
	v := values.get("filter")
	if v == nil {
		return q, nil
	}
	raw := json.RawMessage(*v)
	if !strings.HasPrefix(strings.TrimSpace(*v), "{") { // CEL
		if raw, err = json.Marshal(*v); err != nil {
			return q, err
		}
	}
	expr, err := filterOf(raw)
	if err != nil {
		return q, invalid("filter", fmt.Sprint(err))
	}
	if expr != nil {
		q.Filter = expr
	}
	return q, nil
}
