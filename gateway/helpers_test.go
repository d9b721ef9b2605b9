package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

// api is a small node and requests of it.
type api struct {
	t    testing.TB
	node *node.Node
}

// start opens a node in memory; alter may change its settings.
func start(t testing.TB, alter ...func(*node.Options)) *api {
	t.Helper()
	o := node.Options{Config: config.Defaults(), FS: disk.New(vfs.NewMem(), nil), Logger: slog.New(slog.DiscardHandler),
		Page: []byte("<title>page</title>"), Version: "test"}
	o.Config.CacheBytes = 1 << 20
	o.Config.Partitions = 4
	o.Config.Collections["vec"] = config.Collection{Dim: 3, Metric: "cosine"}
	for _, f := range alter {
		f(&o)
	}
	n, err := node.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return &api{t, n}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request; kind is its Content-Type, or "".
func (a *api) do(method, path, kind, body string, headers ...string) answer {
	a.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.node.Gateway().ServeHTTP(w, r)
	body2, err := io.ReadAll(w.Result().Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{w.Code, w.Result().Header, body2}
}

func (a *api) post(path, body string) answer {
	a.t.Helper()
	return a.do("POST", path, "application/json", body)
}

func (a *api) get(path string) answer { a.t.Helper(); return a.do("GET", path, "", "") }

// must decodes an answer with status 200.
func must[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// ingested is the answer to events.
type ingested struct {
	Accepted int64
	Rejected []struct {
		Index         int64
		Code, Message string
	}
	RejectedCount int64 `json:"rejected_count"`
	Token         string
	problem
}

// problem is a problem document.
type problem struct {
	Type, Title, Detail, Code, Field string
	Status                           int
}

type found struct {
	Hits []struct {
		EntityID      string `json:"entity_id"`
		Score         float64
		Metadata      json.RawMessage
		Text          *string
		Version       string
		AgeMs         *int64 `json:"age_ms"`
		SourceEventID string `json:"source_event_id"`
		Slot          string
	}
	Applied  string
	Warnings []string
	TookMs   *float64 `json:"took_ms"`
}

// send takes events in and waits until they count; it returns their token.
func (a *api) send(events ...string) string {
	a.t.Helper()
	in := must[ingested](a.t, a.post("/v1/events", "["+strings.Join(events, ",")+"]"))
	if in.Accepted != int64(len(events)) {
		a.t.Fatalf("%d of %d events were accepted: %+v", in.Accepted, len(events), in.Rejected)
	}
	if err := a.node.CatchUp(context.Background()); err != nil {
		a.t.Fatal(err)
	}
	return in.Token
}

func text(entity, text string) string {
	return fmt.Sprintf(`{"entity_id":%q,"payload":{"text":%q}}`, entity, text)
}

// ids are the entities of the hits, in order.
func (f found) ids() string {
	var ids []string
	for _, h := range f.Hits {
		ids = append(ids, h.EntityID)
	}
	return strings.Join(ids, " ")
}

// mustFail holds an answer to a problem document.
func (a answer) mustFail(t testing.TB, what string, status int, code, field, detail string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Errorf("%s: status %d, %v: %s", what, a.status, err, a.body)
		return
	}
	if a.status != status || p.Status != status || p.Code != code || p.Field != field || !strings.Contains(p.Detail, detail) ||
		p.Type != "about:blank" || p.Title != http.StatusText(status) || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: status %d, %s; want %d, %s on %q with %q", what, a.status, a.body, status, code, field, detail)
	}
}
