package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// peerStall is how long the peer of a backup or an export may take nothing: what is pinned for it keeps disk space from being freed.
var peerStall = time.Minute

// steadyStream sends an answer to a peer that has to take it: a write fails where the peer has stalled, or the request has
// ended while it did not take what there was.
type steadyStream struct {
	w       http.ResponseWriter
	kind    string // of the content
	control *http.ResponseController
	disarm  func() bool
	begun   bool
	mu      sync.Mutex // guards ended, and what it says while a deadline is set
	ended   bool
}

func newSteadyStream(w http.ResponseWriter, r *http.Request, kind string) *steadyStream {
	s := &steadyStream{w: w, kind: kind, control: http.NewResponseController(w)}
	s.disarm = context.AfterFunc(r.Context(), func() { // a peer that does not read must not hold the stop of the server
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		_ = s.control.SetWriteDeadline(time.Now())
	})
	return s
}

// Write implements io.Writer.
func (s *steadyStream) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", s.kind)
		s.w.Header().Set("Cache-Control", "no-store")
	}
	s.mu.Lock()
	if !s.ended {
		_ = s.control.SetWriteDeadline(time.Now().Add(peerStall)) // a writer without deadlines never stalls
	}
	s.mu.Unlock()
	return s.w.Write(p)
}

// close lets the connection go on, where the request has not ended.
func (s *steadyStream) close() {
	if s.disarm() {
		_ = s.control.SetWriteDeadline(time.Time{})
	}
}
