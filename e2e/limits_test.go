package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBacklogFull fills the backlog while processing is held: producers are told to slow
// down, and taken again once there is room.
func TestBacklogFull(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "limits: {backlog_bytes: 10000}\n")
	a.pause()
	accepted := 0
	tryOne := func() (status int, h http.Header, p ingested) {
		t.Helper()
		body := fmt.Sprintf(`{"event_id":"b%d","entity_id":"b%d","payload":{"text":"%s"}}`, accepted, accepted, strings.Repeat("backlog ", 20))
		status, h, raw, err := a.do("POST", "/v1/events", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatalf("status %d, answer %s: %v", status, clip(raw), err)
		}
		if status == http.StatusOK {
			accepted++
		}
		return status, h, p
	}
	var last ingested
	eventually(t, "status 429", func() bool {
		status, h, p := tryOne()
		if status == http.StatusOK {
			return false
		}
		refused(t, p.problem, status, http.StatusTooManyRequests, "backlog_full", "backlog_bytes", "10000")
		if n, err := strconv.Atoi(h.Get("Retry-After")); err != nil || n < 1 {
			t.Errorf("Retry-After %q, want seconds", h.Get("Retry-After"))
		}
		last = p
		return true
	})
	if last.Accepted != 0 || last.Token != "" && last.RejectedCount != 0 {
		t.Errorf("the refusal says %+v", last)
	}
	if status := a.must("DELETE", entityPath("b0"), nil, &last); status != http.StatusTooManyRequests {
		t.Errorf("DELETE with a full backlog: status %d, want 429", status)
	}
	a.search("text", "searches go on", "k", 1)
	a.resume()
	eventually(t, "room again", func() bool {
		status, _, _ := tryOne()
		return status == http.StatusOK
	})
	a.settle()
	if r := a.audit(); r.Entities != int64(accepted) {
		t.Errorf("%d entities, %d events were acknowledged", r.Entities, accepted)
	}
}

// TestBacklogFullMidway fills the backlog in the middle of one request: it ends with a line
// that says so, though the client waits for it before it sends more.
func TestBacklogFullMidway(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "limits: {backlog_bytes: 10000}\n")
	a.pause()
	body, send := streamBody(t)
	req, err := http.NewRequest("POST", a.url()+"/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Accept", "application/x-ndjson")
	go send(`{"entity_id":"first","payload":{"text":"first"}}` + "\n")
	res, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	accepted := int64(0)
	for end := time.Now().Add(deadline); ; {
		if time.Now().After(end) {
			t.Fatalf("the backlog is not full after %d events", accepted)
		}
		var line ingested
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("after %d accepted events: %v", accepted, err)
		}
		if line.Code != "" {
			if line.Code != "backlog_full" || line.Status != http.StatusTooManyRequests || !strings.Contains(line.Detail, "backlog_bytes") {
				t.Errorf("the last line is %+v, want the problem backlog_full", line.problem)
			}
			break
		}
		accepted += line.Accepted
		send(fmt.Sprintf(`{"entity_id":"e%d","payload":{"text":"%s"}}`+"\n", accepted, strings.Repeat("midway ", 50)))
	}
	a.resume()
	a.settle()
	if r := a.audit(); r.Entities != accepted {
		t.Errorf("%d entities, %d events were acknowledged", r.Entities, accepted)
	}
}

// TestDiskFull sets a reserve that no disk has.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "limits: {free_disk_bytes: 512}\n")
	a.await(a.events(event{EntityID: "e", Payload: text("there was room")}))
	s.stop()
	s.configure("limits: {free_disk_bytes: 9000000000000000000}\n")
	s.start()
	in, status := a.post("application/json", `{"entity_id":"e","payload":{"text":"no room"}}`)
	refused(t, in.problem, status, http.StatusInsufficientStorage, "disk_full", "free_disk_bytes")
	status = a.must("DELETE", entityPath("e"), nil, in)
	refused(t, in.problem, status, http.StatusInsufficientStorage, "disk_full")
	if f := a.search("text", "room"); len(f.Hits) != 1 || a.entity("e").Text != "there was room" {
		t.Errorf("with a full disk a search finds %v", f.ids())
	}
	a.audit()
}
