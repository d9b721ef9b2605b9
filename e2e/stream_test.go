package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
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

// TestLargeBody streams one body of lines: the server's memory does not grow with it.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a long test")
	}
	// Two entities: the table, whose memory has a size of its own to fill, hardly grows.
	const total, entities = 150 << 20, 2
	s, a := startServer(t, "cache_bytes: 8388608\n") // small caches, so that what grows is what the body costs
	lines := make([]string, entities)
	for n := range lines {
		lines[n] = fmt.Sprintf(`{"entity_id":"e%d","payload":{"text":"text of entity %d","filler":"%s"}}`+"\n", n, n,
			strings.Repeat("Large bodies are read as a stream. ", 28))
	}
	for range 300 { // until caches and buffers are in use
		in, _ := a.post("application/x-ndjson", strings.Join(lines, ""))
		a.await(in.Token)
	}
	before := s.memory("VmRSS")
	start := time.Now()
	body := &repeated{lines: lines, total: total}
	halves := [2]int64{} // highest memory during each half of the body
	body.read = func(done int64) { half := 2 * done / total; halves[half] = max(halves[half], s.memory("VmRSS")) }
	status, _, raw, err := a.do("POST", "/v1/events", "application/x-ndjson", body)
	var answer ingested
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil || status != 200 || answer.Accepted != body.events || answer.RejectedCount != 0 {
		t.Fatalf("status %d, %d of %d accepted, %v: %s", status, answer.Accepted, body.events, err, clip(raw))
	}
	const mb = 1 << 20
	t.Logf("%d events, %d MB in %v; memory %d MB before, %d MB at most in the first half, %d MB in the second",
		body.events, total/mb, since(start), before/mb, halves[0]/mb, halves[1]/mb)
	if grown := halves[1] - max(before, halves[0]); grown > 30*mb {
		t.Errorf("the server's memory grew by %d MB during the second half of a body of %d MB, want constant memory", grown/mb, total/mb)
	}
	a.await(answer.Token)
}

// repeated is a body of lines, given over and over until there are total bytes.
type repeated struct {
	lines  []string
	total  int64
	read   func(done int64) // told how much has been read, every megabyte
	events int64            // lines given so far

	rest       string // of the line at hand
	done, told int64
}

// Read implements io.Reader.
func (r *repeated) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if r.rest == "" {
			if r.done >= r.total {
				return n, io.EOF
			}
			r.rest = r.lines[r.events%int64(len(r.lines))]
			r.events++
		}
		c := copy(b[n:], r.rest)
		r.rest = r.rest[c:]
		n += c
		r.done += int64(c)
	}
	if r.done-r.told >= 1<<20 && r.done < r.total {
		r.told = r.done
		r.read(r.done)
	}
	return n, nil
}
