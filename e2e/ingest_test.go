package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestBodies sends bodies in every form, good and bad.
func TestBodies(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "limits: {event_bytes: 100000}\n")
	one := func(id string) string {
		return fmt.Sprintf(`{"entity_id":%q,"payload":{"text":"body %s"}}`, id, id)
	}
	const lines, array = "application/x-ndjson", "application/json"

	t.Run("forms", func(t *testing.T) {
		a := a.in(t)
		for i, c := range []struct {
			kind, body string
			want       int64
		}{
			{array, one("a"), 1},
			{array, " \r\n\t" + one("a") + "\n\n", 1},
			{"", one("a"), 1},
			{"text/plain; charset=utf-8", one("a"), 1},
			{array, "[" + one("a") + "," + one("b") + "]", 2},
			{"application/json; charset=utf-8", "[ " + one("a") + " ]", 1},
			{lines, one("a"), 1},
			{lines, one("a") + "\n", 1},
			{lines, "\n\n" + one("a") + "\r\n \t\n" + one("b") + "\n\n", 2},
			{"application/jsonl", one("a") + "\n" + one("b"), 2},
			{"application/x-ndjson; charset=utf-8", one("a") + "\n" + one("b"), 2},
		} {
			in, status := a.post(c.kind, c.body)
			if status != http.StatusOK || in.Accepted != c.want || in.RejectedCount != 0 || in.Rejected == nil || in.Token == "" {
				t.Errorf("case %d: status %d, %d accepted, rejected %v, token %q; want %d accepted", i, status, in.Accepted, in.Rejected, in.Token, c.want)
			}
		}
	})
	t.Run("nothing", func(t *testing.T) {
		a := a.in(t)
		for _, c := range [][2]string{{array, ""}, {array, " \n"}, {array, "[]"}, {lines, ""}, {lines, "\n \n\n"}, {"", ""}} {
			in, status := a.post(c[0], c[1])
			if status != http.StatusBadRequest || in.Status != status || in.Code == "" || in.Detail == "" {
				t.Errorf("%s %q: status %d %+v, want 400", c[0], c[1], status, in.problem)
			}
		}
	})
	t.Run("malformed as a whole", func(t *testing.T) {
		a := a.in(t)
		for _, body := range []string{"[", one("a")[:20], "[" + one("a"), "[" + one("a") + ",]", "[" + one("a") + "] x", one("a") + one("b"), "hello"} {
			in, status := a.post(array, body)
			refused(t, in.problem, status, http.StatusBadRequest, "invalid_json")
			if in.Accepted != 0 {
				t.Errorf("%q: %d accepted", body, in.Accepted)
			}
		}
		in, status := a.post(array, one("a")+"\n"+one("b"))
		refused(t, in.problem, status, http.StatusBadRequest, "invalid_json", "application/x-ndjson")
	})
	t.Run("nothing good", func(t *testing.T) {
		a := a.in(t)
		for _, c := range []struct {
			kind, body, code string
			status           int
		}{
			{lines, "{bad\n{worse\n", "invalid_json", 400},
			{array, `[{"payload":{}},{"entity_id":7}]`, "missing_field", 400},
			{array, `[{"entity_id":"a","collection":"nowhere"},7]`, "unknown_collection", 400},
			{array, `[` + one(strings.Repeat("x", 100_000)) + `,7]`, "too_large", 413},
		} {
			in, status := a.post(c.kind, c.body)
			refused(t, in.problem, status, c.status, c.code, "no event was accepted")
			if in.Accepted != 0 || in.RejectedCount != 2 || len(in.Rejected) != 2 || in.Rejected[0].Code != c.code || in.Rejected[1].Index != 1 {
				t.Errorf("%s: rejected %+v, want both with their codes", c.body[:20], in.Rejected)
			}
		}
	})
	t.Run("some lines bad", func(t *testing.T) {
		a := a.in(t)
		bad := map[int]string{0: "{", 7: `{"entity_id":""}`, 8: "\xff", 30: one(strings.Repeat("y", 200_000)), 99: `{"entity_id":"e","op":"?"}`}
		codes := map[int]string{0: "invalid_json", 7: "invalid_field", 8: "invalid_json", 30: "too_large", 99: "invalid_field"}
		var body strings.Builder
		for i := range 100 {
			line := one(fmt.Sprint("some", i))
			if b, ok := bad[i]; ok {
				line = b
			}
			body.WriteString(line + "\n")
		}
		in, status := a.post(lines, body.String())
		if status != http.StatusOK || in.Accepted != 95 || in.RejectedCount != 5 || len(in.Rejected) != 5 {
			t.Fatalf("status %d, %d accepted, %d rejected", status, in.Accepted, in.RejectedCount)
		}
		for i, index := range keys(bad) {
			if r := in.Rejected[i]; r.Index != int64(index) || r.Code != codes[index] || r.Message == "" {
				t.Errorf("rejected %+v, want index %d as %s", r, index, codes[index])
			}
		}
		a.entity("some98", "after", in.Token)
	})
	t.Run("more than 1000 rejected", func(t *testing.T) {
		a := a.in(t)
		body := one("good") + "\n" + strings.Repeat("{bad}\n", 2500) + one("good too") + "\n"
		in, status := a.post(lines, body)
		if status != http.StatusOK || in.Accepted != 2 || in.RejectedCount != 2500 || len(in.Rejected) != 1000 ||
			in.Rejected[0].Index != 1 || in.Rejected[999].Index != 1000 {
			t.Errorf("status %d, %d accepted, %d rejected, %d listed; want 2, 2500, 1000", status, in.Accepted, in.RejectedCount, len(in.Rejected))
		}
		a.entity("good too", "after", in.Token)
	})
	t.Run("array too large", func(t *testing.T) {
		a := a.in(t)
		body := strings.NewReader("[" + strings.Repeat(" ", 64<<20) + one("a") + "]")
		status, _, raw, err := a.do("POST", "/v1/events", array, body)
		if err != nil {
			t.Skipf("the connection was closed before the answer was read: %v", err)
		}
		var p problem
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatalf("answer %s: %v", clip(raw), err)
		}
		refused(t, p, status, http.StatusRequestEntityTooLarge, "too_large", "64 MiB", "application/x-ndjson")
	})
	a.audit()
}

// TestBodyBrokenOff sends a body that turns into nonsense, by a client that still listens:
// what was whole is taken, and the answer says where it broke off.
func TestBodyBrokenOff(t *testing.T) {
	t.Parallel()
	_, a := startServer(t, "")
	send := func(body string) (*ingested, int) {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.url(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nno length\r\n", len(body), body)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		in := &ingested{}
		if err := json.Unmarshal(raw, in); err != nil {
			t.Fatalf("answer %s: %v", clip(raw), err)
		}
		return in, res.StatusCode
	}
	whole := `{"entity_id":"whole","payload":{"text":"whole"}}` + "\n"
	in, status := send(whole + `{"entity_id":"half","payload":{"te`)
	if status != http.StatusOK || in.Accepted != 1 || len(in.Rejected) != 1 || in.Rejected[0].Index != 1 || in.Rejected[0].Code != "invalid_json" {
		t.Errorf("status %d, %d accepted, rejected %+v; want 200, the whole event accepted, index 1 rejected", status, in.Accepted, in.Rejected)
	}
	a.entity("whole", "after", in.Token)
	a.gone("half")
	in, status = send(`{"entity_id":"half","payload":{"text":"half"}}`) // all there, but no one can know
	if in.Accepted != 0 {
		t.Errorf("an event at the end of a body that broke off was accepted")
	}
	refused(t, in.problem, status, http.StatusBadRequest, "invalid_json")
}
