package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/freshet-io/freshet"
)

// What a producer is told to wait: one that is slowed down, and one that finds the disk full.
const (
	retryAfterSeconds     = 1
	retryAfterFullSeconds = 5
)

// status maps a code to the HTTP status of an answer that is that error and nothing else.
func status(code freshet.Code) int {
	switch code {
	case freshet.CodeUnknownCollection, freshet.CodeNotFound:
		return http.StatusNotFound
	case freshet.CodeNoSuchMethod:
		return http.StatusMethodNotAllowed
	case freshet.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case freshet.CodeForeignToken:
		return http.StatusConflict
	case freshet.CodeTooOld:
		return http.StatusGone
	case freshet.CodeNotReached:
		return http.StatusGatewayTimeout
	case freshet.CodeBacklogFull:
		return http.StatusTooManyRequests
	case freshet.CodeDiskFull:
		return http.StatusInsufficientStorage
	case freshet.CodeMisdirected:
		return http.StatusMisdirectedRequest
	case freshet.CodeUnavailable:
		return http.StatusServiceUnavailable
	case freshet.CodeEmbedFailed:
		return http.StatusBadGateway
	case freshet.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// problem is an RFC 9457 problem document.
type problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Code   freshet.Code `json:"code"`
	Field  string       `json:"field,omitempty"`

	Refused []RefusedKey `json:"refused,omitempty"` // of POST /v1/admin/reload

	// Of POST /v1/events: what became of the events that the request held.
	*ingestResult
}

// fail answers with a problem document.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error, result *ingestResult) {
	p := s.problemOf(r, err)
	p.ingestResult = result
	s.answer(w, p)
}

// problemOf gives an error the form in which it is answered. Errors without a code are the
// server's own fault; they are logged and answered without their text.
func (s *Server) problemOf(r *http.Request, err error) problem {
	var e *freshet.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled):
		e = &freshet.Error{Code: freshet.CodeUnavailable, Message: "the request was cancelled, or the server is stopping; try again"}
	case errors.Is(err, context.DeadlineExceeded):
		e = &freshet.Error{Code: freshet.CodeNotReached, Message: "the request took longer than timeout_ms; try again, or allow more"}
	default:
		s.opts.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		e = &freshet.Error{Code: freshet.CodeInternal, Message: "the server failed; its log says why"}
	}
	s.metrics.problems.WithLabelValues(string(e.Code)).Inc()
	return newProblem(e)
}

// newProblem is the document of an error, which it does not count.
func newProblem(e *freshet.Error) problem {
	return problem{Type: "about:blank", Title: http.StatusText(status(e.Code)), Status: status(e.Code),
		Detail: e.Error(), Code: e.Code, Field: e.Field}
}

func (s *Server) answer(w http.ResponseWriter, p problem) {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	case http.StatusInsufficientStorage:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterFullSeconds))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func invalid(field, message string) error {
	return &freshet.Error{Code: freshet.CodeInvalidField, Field: field, Message: message}
}

// noRoute answers a request that no route takes. unmatched is the router's own answer: it
// knows the methods that the path does have.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request, unmatched http.Handler) {
	unmatched.ServeHTTP(headersOnly{w}, r)
	err := &freshet.Error{Code: freshet.CodeNotFound, Message: fmt.Sprintf("%q is no route; /openapi.json lists them", r.URL.Path)}
	if allow := w.Header().Get("Allow"); allow != "" {
		err = &freshet.Error{Code: freshet.CodeNoSuchMethod, Message: fmt.Sprintf("%s is not a method of %q, which has %s", r.Method, r.URL.Path, allow)}
	}
	s.fail(w, r, err, nil)
}

// headersOnly keeps the headers of an answer and nothing else.
type headersOnly struct{ http.ResponseWriter }

func (headersOnly) WriteHeader(int)             {}
func (headersOnly) Write(b []byte) (int, error) { return len(b), nil }
