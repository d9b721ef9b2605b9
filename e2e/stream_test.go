package e2e_test

import (
	"io"
	"testing"
)

// streamBody is a request's body that a test sends piece by piece. Closing the reader's
// other end is the end of the body.
func streamBody(t testing.TB) (body *pipeBody, send func(string)) {
	r, w := io.Pipe()
	b := &pipeBody{r, w}
	t.Cleanup(b.Close)
	return b, func(s string) {
		t.Helper()
		if _, err := io.WriteString(w, s); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
}

// pipeBody is the reader of a pipe with the writer's Close.
type pipeBody struct {
	io.Reader
	w *io.PipeWriter
}

// Close ends the body.
func (b *pipeBody) Close() { _ = b.w.Close() } // never fails
