package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

const (
	asJSON  = "application/json"
	asLines = "application/x-ndjson"
)

// The forms that a body can have, and what becomes of its events.
func TestBodies(t *testing.T) {
	a := start(t)
	one := `{"entity_id":"a","payload":{"text":"red"}}`
	for _, c := range []struct {
		name, kind, body string
		accepted         int64
		rejected         string // index and code of each
	}{
		{"one event", asJSON, one, 1, ""},
		{"one event, no type", "", one, 1, ""},
		{"one event, with spaces", asJSON, " \n" + one + "\n ", 1, ""},
		{"one event of a browser's form", "application/x-www-form-urlencoded", one, 1, ""},
		{"with a character set", "application/json; charset=utf-8", one, 1, ""},
		{"an array", asJSON, "[" + one + " , " + one + "]", 2, ""},
		{"an array of one", asJSON, "[" + one + "]", 1, ""},
		{"an array in part", asJSON, `[` + one + `,5,{"entity_id":""},` + one + `,{"a":1}]`, 2, "1 invalid_json, 2 invalid_field, 4 unknown_field"},
		{"an array in an array", asJSON, `[[` + one + `],` + one + `]`, 1, "0 invalid_json"},
		{"lines", asLines, one + "\n" + one + "\n", 2, ""},
		{"lines, the last open", asLines, one + "\n" + one, 2, ""},
		{"lines with blanks and carriage returns", "application/ndjson", "\n" + one + "\r\n\r\n \n" + one + "\r\n", 2, ""},
		{"lines in part", "application/jsonl", one + "\nnonsense\n" + one + "\n{\n", 2, "1 invalid_json, 3 invalid_json"},
		{"a line too long", "application/x-jsonlines", one + "\n{\"entity_id\":\"" + strings.Repeat("x", 4<<20) + "\"}\n" + one, 2, "1 too_large"},
		{"one line that is an array", asLines, "[" + one + "]\n" + one, 1, "0 invalid_json"},
		{"records", "text/csv; charset=utf-8", "entity_id,text,n\na,red,1\nb,\"blue\r\nsky\",2\n", 2, ""},
		{"records with tabs, in part", "text/tab-separated-values", "entity_id\ttext\na\tred\nb\n\tx\n" + strings.Repeat("x", 4<<20) + "\ty\nc\tblue", 2, "1 invalid_field, 2 missing_field, 3 too_large"},
		{"invalid UTF-8 in one", asLines, one + "\n{\"entity_id\":\"a\",\"payload\":{\"text\":\"\xff\"}}", 1, "1 invalid_utf8"},
		{"an unknown collection", asJSON, `[` + one + `,{"entity_id":"a","collection":"x","payload":{"text":"a"}}]`, 1, "1 unknown_collection"},
		{"a patch", asJSON, `[` + one + `,{"entity_id":"a","op":"patch"},{"entity_id":"a","op":"patch","order":1}]`, 2, "2 order_mismatch"},
	} {
		in := must[ingested](t, a.do("POST", "/v1/events", c.kind, c.body))
		var rejected []string
		for _, r := range in.Rejected {
			rejected = append(rejected, fmt.Sprintf("%d %s", r.Index, r.Code))
			if r.Message == "" {
				t.Errorf("%s: %s without a message", c.name, r.Code)
			}
		}
		if in.Accepted != c.accepted || strings.Join(rejected, ", ") != c.rejected || in.RejectedCount != int64(len(rejected)) || in.Token == "" {
			t.Errorf("%s: accepted %d, rejected %v (%d); want %d and %s", c.name, in.Accepted, rejected, in.RejectedCount, c.accepted, c.rejected)
		}
	}
}

// Without a header that can be used no record is read.
func TestCSVWithoutHeader(t *testing.T) {
	start(t).do("POST", "/v1/events", "text/csv", "id,text\n1,red\n2,blue\n").mustFail(t, "no entity_id", 400, "missing_field", "", "no event was accepted; the first: entity_id: no column has this name")
}

// Of many refused events the first are named and all are counted, also when none is accepted.
func TestManyRejected(t *testing.T) {
	a := start(t)
	bad := strings.Repeat("{\"entity_id\":\"\"}\n", 2500)
	in := must[ingested](t, a.do("POST", "/v1/events", asLines, bad+text("a", "x")))
	if in.Accepted != 1 || len(in.Rejected) != 1000 || in.RejectedCount != 2500 || in.Rejected[999].Index != 999 {
		t.Errorf("accepted %d, rejected %d, named %d", in.Accepted, in.RejectedCount, len(in.Rejected))
	}
	got := a.do("POST", "/v1/events", asLines, bad)
	got.mustFail(t, "none accepted", 400, "invalid_field", "", "no event was accepted")
	if err := json.Unmarshal(got.body, &in); err != nil || in.Accepted != 0 || len(in.Rejected) != 1000 || in.RejectedCount != 2500 {
		t.Errorf("the problem document holds accepted %d, rejected %d, named %d", in.Accepted, in.RejectedCount, len(in.Rejected))
	}
}

func TestAnArrayTooLarge(t *testing.T) {
	a := start(t)
	body := "[" + strings.Repeat(" ", 64<<20) + text("a", "x") + "]"
	a.post("/v1/events", body).mustFail(t, "more than 64 MiB", 413, "too_large", "", "x-ndjson")
}

// With Accept: application/x-ndjson the answer is a line for each chunk that is durable, each
// while the producer goes on sending.
func TestAnswersByChunk(t *testing.T) {
	a := start(t)
	server := httptest.NewServer(a.node.Gateway())
	defer server.Close()
	body, write := io.Pipe()
	r, err := http.NewRequest("POST", server.URL+"/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", asLines)
	r.Header.Set("Accept", "application/x-ndjson")
	send := func(s string) {
		t.Helper()
		if _, err := io.WriteString(write, s); err != nil {
			t.Error(err)
		}
	}
	go send(text("e0", "text 0") + "\n")
	res, err := http.DefaultClient.Do(r) // the answer begins while the body is open
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for i := range 3 {
		if i > 0 {
			send(text(fmt.Sprint("e", i), fmt.Sprint("text ", i)) + "\nnonsense\n")
		}
		var accepted, rejected int64
		var token string
		for accepted == 0 || rejected == 0 && i > 0 { // the two lines may be two chunks
			if !lines.Scan() {
				t.Fatal("the answer ends:", lines.Err())
			}
			var in ingested
			if err := json.Unmarshal(lines.Bytes(), &in); err != nil {
				t.Fatal(err)
			}
			accepted, rejected = accepted+in.Accepted, rejected+in.RejectedCount
			if in.Accepted > 0 {
				token = in.Token
			}
		}
		f := must[found](t, a.post("/v1/search", fmt.Sprintf(`{"text":"text %d","after":%q}`, i, token)))
		if len(f.Hits) != i+1 || f.Hits[0].EntityID != fmt.Sprint("e", i) {
			t.Errorf("behind line %d a search finds %s", i, f.ids())
		}
	}
	write.Close()
	if lines.Scan() {
		t.Errorf("a line behind the last chunk: %s", lines.Bytes())
	}
}

// The token of a body over all partitions makes a search wait for all of it.
func TestOneTokenForManyChunks(t *testing.T) {
	a := start(t)
	var body strings.Builder
	const n = 700
	pad := strings.Repeat("x", 2000)
	for i := range n {
		fmt.Fprintf(&body, "{\"entity_id\":\"e%d\",\"payload\":{\"text\":\"some text\",\"pad\":%q}}\n", i, pad)
	}
	in := must[ingested](t, a.do("POST", "/v1/events", asLines, body.String()))
	if in.Accepted != n {
		t.Fatal(in.Accepted, "accepted")
	}
	f := must[found](t, a.post("/v1/search", fmt.Sprintf(`{"text":"some text","k":10000,"after":%q}`, in.Token)))
	if len(f.Hits) != n {
		t.Errorf("%d of %d are found", len(f.Hits), n)
	}
}

// Too much backlog slows producers down, and what was taken in stays.
func TestBacklog(t *testing.T) {
	a := start(t, func(o *node.Options) { o.Config.Limits.BacklogBytes = 1 })
	a.post("/v1/admin/pause", "")
	var got answer
	accepted := 0
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the limit is looked at now and then
		if got = a.post("/v1/events", text(fmt.Sprint("e", accepted), "red")); got.status != 200 {
			break
		}
		if accepted++; time.Now().After(deadline) {
			t.Fatal("no event is refused")
		}
	}
	got.mustFail(t, "backlog", 429, "backlog_full", "", "backlog_bytes")
	if got.header.Get("Retry-After") != "1" {
		t.Error("Retry-After is", got.header.Get("Retry-After"))
	}
	a.do("DELETE", "/v1/entities/e0", "", "").mustFail(t, "a deletion", 429, "backlog_full", "", "")
	a.post("/v1/admin/resume", "")
	if err := a.node.CatchUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	if f := must[found](t, a.post("/v1/search", `{"text":"red","k":10000}`)); len(f.Hits) != accepted {
		t.Errorf("%d events were accepted, %d are found", accepted, len(f.Hits))
	}
}

func TestDiskLimit(t *testing.T) {
	a := start(t, func(o *node.Options) {
		o.FS = disk.OS()
		o.Config.Data = t.TempDir()
		o.Config.Limits.FreeDiskBytes = 1 << 60
	})
	got := a.post("/v1/events", text("a", "red"))
	got.mustFail(t, "no room", 507, "disk_full", "", "free_disk_bytes")
	if got.header.Get("Retry-After") != "5" {
		t.Error("Retry-After is", got.header.Get("Retry-After"))
	}
}

// A W3C trace context goes with the events of its request.
func TestTraceparentTravels(t *testing.T) {
	a := start(t)
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	must[ingested](t, a.do("POST", "/v1/events", asJSON, text("a", "red"), "traceparent", trace))
	must[ingested](t, a.do("POST", "/v1/events", asJSON, text("b", "red"), "traceparent", "short"))
	if err := a.node.CatchUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	for entity, want := range map[string]string{"a": trace, "b": ""} {
		c, ok, err := a.node.Store().Get(context.Background(), keyOf(entity))
		if err != nil || !ok || c.Trace != want {
			t.Errorf("%s has the trace %q, %v", entity, c.Trace, err)
		}
	}
}
