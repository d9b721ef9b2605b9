package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
	"github.com/freshet-io/freshet/process/mapping"
)

// exported are the entities of an export and its token, which is on the last line alone.
func exported(t *testing.T, a *api, query string) (list []changeLine, token string) {
	t.Helper()
	got := a.get("/v1/admin/export?" + query)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != asLines {
		t.Fatalf("status %d, type %s: %s", got.status, got.header.Get("Content-Type"), got.body)
	}
	for line := range strings.Lines(string(got.body)) {
		var c changeLine
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if token != "" || (c.Token == "") == (c.Op == "") {
			t.Errorf("a line is %s", line)
		}
		if token = c.Token; token == "" {
			list = append(list, c)
		}
	}
	if token == "" {
		t.Error("the last line has no token")
	}
	return list, token
}

func TestExport(t *testing.T) {
	a := start(t)
	a.send(`{"entity_id":"a","payload":{"text":"<red>","n":1}}`, `{"entity_id":"b","namespace":"m","payload":{"text":"blue","n":2}}`,
		text("gone", "x"), `{"entity_id":"gone","op":"delete"}`)
	list, token := exported(t, a, "")
	if len(list) != 2 || list[1].EntityID != "a" || list[1].Text != "<red>" || list[1].Metadata["n"] != 1. || list[1].Version == "" || len(list[1].Points) != 1 || len(list[1].Points[0].Vector) != 256 {
		t.Errorf("exported %+v", list)
	}
	a.send(text("c", "later"))
	if list, _ := changes(t, a, "&after="+token); len(list) != 1 || list[0].EntityID != "c" {
		t.Errorf("behind the export there is %+v", list)
	}
	for query, want := range map[string]string{"namespace=m": "b", "namespace=default": "a c", `filter={"eq":{"n":2}}`: "b", "filter=n%20%3E%200": "b a", "collection=vec": ""} {
		list, _ := exported(t, a, query)
		var ids []string
		for _, c := range list {
			ids = append(ids, c.EntityID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s gives %q, want %q", query, got, want)
		}
	}
	for query, want := range map[string][2]string{
		"collection=none": {"unknown_collection", "collection"},
		"filter={":        {"invalid_field", "filter"},
		"filter=n%20%3E":  {"invalid_field", "filter"},
		"vectors=true":    {"unknown_field", "vectors"},
	} {
		status := 400
		if want[0] == "unknown_collection" {
			status = 404
		}
		a.get("/v1/admin/export?"+query).mustFail(t, query, status, want[0], want[1], "")
	}
	if got := a.do("HEAD", "/v1/admin/export", "", ""); got.status != http.StatusOK || len(got.body) > 0 {
		t.Errorf("HEAD: status %d, %d bytes", got.status, len(got.body))
	}
}

// Lines of events of the default mapping are such also where another mapping is configured.
func TestEventsOfTheDefaultMapping(t *testing.T) {
	a := start(t, func(o *node.Options) {
		o.Config.Mapping = &mapping.Config{Changes: []mapping.Change{{Entity: `"mapped"`, Text: `"mapped"`}}}
	})
	const own = "application/vnd.freshet.events+x-ndjson"
	in := must[ingested](t, a.do("POST", "/v1/events", own, text("a", "red")+"\n{\"no\":\"event\"}\n"))
	if in.Accepted != 1 || len(in.Rejected) != 1 || in.Rejected[0].Index != 1 || in.Rejected[0].Code != "unknown_field" {
		t.Errorf("answer %+v", in)
	}
	a.send(text("b", "is mapped"))
	list, _ := exported(t, a, "")
	if len(list) != 2 || list[0].EntityID != "a" || list[0].Text != "red" || list[1].EntityID != "mapped" {
		t.Errorf("entities %+v", list)
	}
}

// An answer by line names every rejected event, however many there are.
func TestEveryRejectedEventIsNamed(t *testing.T) {
	a := start(t)
	got := a.do("POST", "/v1/events", asLines, strings.Repeat("{bad\n", 2500)+text("a", "good"), "Accept", asLines)
	var index int64
	for line := range strings.Lines(string(got.body)) {
		var in ingested
		if err := json.Unmarshal([]byte(line), &in); err != nil {
			t.Fatal(err)
		}
		if int64(len(in.Rejected)) != in.RejectedCount {
			t.Errorf("%d of %d rejected are named", len(in.Rejected), in.RejectedCount)
		}
		for _, r := range in.Rejected {
			if r.Index != index {
				t.Fatalf("index %d, want %d", r.Index, index)
			}
			index++
		}
	}
	if index != 2500 {
		t.Errorf("%d are named", index)
	}
}

// An export holds what it reads, so it ends when its peer takes nothing; one that reads slowly gets all.
func TestExportThatIsNotRead(t *testing.T) {
	gateway.SetPeerStall(t, 400*time.Millisecond)
	a := start(t)
	blob := strings.Repeat("x", 1<<20)
	for i := range 24 { // more than sockets hold
		a.send(fmt.Sprintf(`{"entity_id":"%d","payload":{"text":"t","blob":"%s"}}`, i, blob))
	}
	ended := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.node.Gateway().ServeHTTP(w, r)
		ended <- struct{}{}
	}))
	defer server.Close()
	for _, reads := range []bool{true, false} {
		answer, err := http.Get(server.URL + "/v1/admin/export")
		if err != nil {
			t.Fatal(err)
		}
		if reads {
			n := int64(0)
			for part := int64(1 << 20); err == nil; time.Sleep(20 * time.Millisecond) { // longer than peerStall in all
				part, err = io.CopyN(io.Discard, answer.Body, part)
				n += part
			}
			if err != io.EOF || n < 24<<20 {
				t.Errorf("read slowly it has %d bytes: %v", n, err)
			}
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("an export goes on whose peer takes nothing")
		}
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}
