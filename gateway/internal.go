package gateway

import (
	"context"
	"fmt"
	"net/http"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/query/fanout"
)

// internalRoutes are those by which the processes of a log that several share ask each other.
func (s *Server) internalRoutes() {
	s.route("POST /v1/internal/search", internal(s, func(q *fanout.Search) string { return q.Node }, fanout.Peer.Search))
	s.route("POST /v1/internal/entity", internal(s, func(q *fanout.Lookup) string { return q.Node }, fanout.Peer.Entity))
	s.route("POST /v1/internal/counts", internal(s, func(q *fanout.Count) string { return q.Node }, fanout.Peer.Counts))
}

// internal answers from what this process holds itself, if it is the one that is meant.
func internal[Q, A any](s *Server, node func(*Q) string, answer func(fanout.Peer, context.Context, *Q) (*A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		err := readBounded(w, r, fanout.MaxRequestBytes, &q)
		if part := s.opts.Part; err == nil && (part == nil || node(&q) != part.Node) {
			err = &freshet.Error{Code: freshet.CodeMisdirected, Field: "node", Message: fmt.Sprintf("%.80q is not this process, or it holds nothing", node(&q))}
		}
		var a *A
		if err == nil {
			a, err = answer(s.opts.Part, r.Context(), &q)
		}
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, a)
	}
}
