package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// api talks to a server. The methods without t return errors and may be used by any
// goroutine; the others fail the test and are for its own goroutine.
type api struct {
	t    testing.TB
	url  func() string // a server that starts again has another address
	http *http.Client
}

func newAPI(t testing.TB, url func() string) *api {
	a := &api{t: t, url: url, http: &http.Client{Timeout: deadline, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(a.http.CloseIdleConnections)
	return a
}

// in returns the api for a subtest.
func (a *api) in(t testing.TB) *api {
	b := *a
	b.t = t
	return &b
}

// do sends a request and reads the whole answer.
func (a *api) do(method, path, kind string, body io.Reader) (status int, h http.Header, raw []byte, err error) {
	req, err := http.NewRequest(method, a.url()+path, body)
	if err != nil {
		return 0, nil, nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	raw, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header, raw, err
}

// call sends v, or bytes as they are, and decodes a JSON answer into out.
func (a *api) call(method, path string, v, out any) (status int, err error) {
	var body io.Reader
	kind := "application/json"
	switch v := v.(type) {
	case nil:
		kind = ""
	case []byte:
		body = bytes.NewReader(v)
	case string:
		body = strings.NewReader(v)
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(raw)
	}
	status, h, raw, err := a.do(method, path, kind, body)
	if err != nil {
		return status, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if want := "application/json"; status == http.StatusOK && h.Get("Content-Type") != want {
		return status, fmt.Errorf("%s %s: Content-Type %q, want %q", method, path, h.Get("Content-Type"), want)
	}
	if want := "application/problem+json"; status != http.StatusOK && h.Get("Content-Type") != want {
		return status, fmt.Errorf("%s %s: status %d, Content-Type %q, want %q: %s", method, path, status, h.Get("Content-Type"), want, clip(raw))
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return status, fmt.Errorf("%s %s: status %d, answer %s: %w", method, path, status, clip(raw), err)
	}
	return status, nil
}

func clip(raw []byte) string { return string(raw[:min(len(raw), 400)]) }

func (a *api) must(method, path string, v, out any) int {
	a.t.Helper()
	status, err := a.call(method, path, v, out)
	if err != nil {
		a.t.Fatal(err)
	}
	return status
}

// search sends a search that must succeed, however slow the machine is; give names and values
// of its fields.
func (a *api) search(pairs ...any) *found {
	a.t.Helper()
	f, status := a.trySearch(append(pairs, "timeout_ms", deadline.Milliseconds())...)
	if status != http.StatusOK {
		a.t.Fatalf("search %v: status %d %s: %s", pairs, status, f.Code, f.Detail)
	}
	return f
}

func (a *api) trySearch(pairs ...any) (*found, int) {
	a.t.Helper()
	f := &found{}
	return f, a.must("POST", "/v1/search", fields(pairs), f)
}

// fields makes a JSON object of names and values.
func fields(pairs []any) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// entityPath is the path of an entity; give names and values of query parameters.
func entityPath(id string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	// A dot is escaped too, or "." and ".." would be taken for steps of the path.
	path := "/v1/entities/" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

// get reads an entity, whatever the status.
func (a *api) get(id string, pairs ...string) (*entity, int) {
	a.t.Helper()
	e := &entity{}
	pairs = append(pairs, "timeout_ms", strconv.FormatInt(deadline.Milliseconds(), 10))
	return e, a.must("GET", entityPath(id, pairs...), nil, e)
}

// entity reads an entity that must be there.
func (a *api) entity(id string, pairs ...string) *entity {
	a.t.Helper()
	e, status := a.get(id, pairs...)
	if status != http.StatusOK {
		a.t.Fatalf("GET %q %v: status %d %s: %s", id, pairs, status, e.Code, e.Detail)
	}
	return e
}

// gone checks that an entity is not there.
func (a *api) gone(id string, pairs ...string) {
	a.t.Helper()
	if e, status := a.get(id, pairs...); status != http.StatusNotFound || e.Code != "not_found" {
		a.t.Errorf("GET %q %v: status %d %s, want 404 not_found", id, pairs, status, e.Code)
	}
}

// events sends events as an array, which must all be accepted, and returns the token.
func (a *api) events(events ...event) string {
	a.t.Helper()
	var in ingested
	status := a.must("POST", "/v1/events", events, &in)
	if status != http.StatusOK || in.Accepted != int64(len(events)) || in.RejectedCount != 0 || in.Token == "" {
		a.t.Fatalf("POST /v1/events: status %d %s %s, %d accepted of %d, rejected %+v, token %q",
			status, in.Code, in.Detail, in.Accepted, len(events), in.Rejected, in.Token)
	}
	return in.Token
}

// post sends a body of events as it is.
func (a *api) post(kind, body string) (*ingested, int) {
	a.t.Helper()
	status, _, raw, err := a.do("POST", "/v1/events", kind, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	in := &ingested{}
	if err := json.Unmarshal(raw, in); err != nil {
		a.t.Fatalf("POST /v1/events: status %d, answer %s: %v", status, clip(raw), err)
	}
	return in, status
}

// delete deletes an entity and returns the token.
func (a *api) delete(id string, pairs ...string) string {
	a.t.Helper()
	var in ingested
	if status := a.must("DELETE", entityPath(id, pairs...), nil, &in); status != http.StatusOK || in.Accepted != 1 {
		a.t.Fatalf("DELETE %q: status %d %s: %s", id, status, in.Code, in.Detail)
	}
	return in.Token
}

// await blocks until the token's events count, and returns what a search warns of.
func (a *api) await(token string) []string {
	a.t.Helper()
	return a.search("text", "anything", "k", 1, "after", token).Warnings
}

// audit checks that an audit finds nothing.
func (a *api) audit() *audited {
	a.t.Helper()
	var r audited
	if status := a.must("POST", "/v1/admin/audit", nil, &r); status != http.StatusOK {
		a.t.Fatalf("audit: status %d %s: %s", status, r.Code, r.Detail)
	}
	if !r.Clean || r.Found != 0 {
		a.t.Errorf("audit finds %d differences, the first: %+v", r.Found, r.Differences[:min(5, len(r.Differences))])
	}
	return &r
}

// metrics is the figures of /metrics that have no labels.
func (a *api) metrics() map[string]float64 {
	a.t.Helper()
	_, _, raw, err := a.do("GET", "/metrics", "", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	figures := map[string]float64{}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			figures[name] = v
		}
	}
	return figures
}

func (a *api) stats() *stats {
	a.t.Helper()
	s := &stats{}
	a.must("GET", "/v1/admin/stats", nil, s)
	return s
}

// settle blocks until everything that is in the log is decided.
func (a *api) settle() {
	a.t.Helper()
	eventually(a.t, "no lag", func() bool { return a.stats().LagRecords == 0 })
}

// pause holds processing; what is accepted from now on is not decided until resume.
func (a *api) pause() {
	a.t.Helper()
	a.must("POST", "/v1/admin/pause", nil, &struct{}{})
}

func (a *api) resume() {
	a.t.Helper()
	a.must("POST", "/v1/admin/resume", nil, &struct{}{})
}

func (a *api) deadLetters() []deadLetter {
	a.t.Helper()
	var l struct {
		DeadLetters []deadLetter `json:"dead_letters"`
	}
	a.must("GET", "/v1/admin/dlq?limit=1000", nil, &l)
	return l.DeadLetters
}

// warned checks that the answer's one warning says all of parts.
func warned(t testing.TB, warnings []string, parts ...string) {
	t.Helper()
	if len(warnings) != 1 {
		t.Errorf("warnings %q, want one", warnings)
		return
	}
	for _, part := range parts {
		if !strings.Contains(warnings[0], part) {
			t.Errorf("the warning %q does not say %q", warnings[0], part)
		}
	}
}

// refused checks that an answer is a problem document with a status and a code, and that
// its detail says all of parts.
func refused(t testing.TB, p problem, status, wantStatus int, code string, parts ...string) {
	t.Helper()
	if status != wantStatus || p.Code != code || p.Status != status || p.Title != http.StatusText(status) {
		t.Errorf("status %d %q (%d %q): %s; want %d %s", status, p.Code, p.Status, p.Title, p.Detail, wantStatus, code)
	}
	for _, part := range parts {
		if !strings.Contains(p.Detail, part) {
			t.Errorf("the detail %q does not say %q", p.Detail, part)
		}
	}
}

// since is for figures that tests print.
func since(start time.Time) time.Duration { return time.Since(start).Round(time.Millisecond) }
