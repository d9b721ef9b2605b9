package demo

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a server whose answers are known beforehand; nil is one that never comes.
type answers struct {
	left   []*http.Response
	bodies []string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.bodies = append(a.bodies, string(body))
	next := a.left[0]
	a.left = a.left[1:]
	if next == nil {
		return nil, errors.New("connection reset")
	}
	return next, nil
}

func answer(status int, retryAfter, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Retry-After": {retryAfter}},
		Body: io.NopCloser(strings.NewReader(body))}
}

func TestSendObeysAndRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &answers{left: []*http.Response{
			answer(429, "3", `{"detail":"too many bytes wait"}`), nil, answer(503, "", `not JSON`),
			answer(200, "", `{"accepted":2,"rejected":[],"token":"T"}`),
		}}
		a := &api{base: "http://demo", http: &http.Client{Transport: server}}
		start := time.Now()
		token, err := a.send(t.Context(), []Event{{ID: "1", Entity: "a"}, {ID: "2", Entity: "b"}})
		if err != nil || token != "T" {
			t.Fatalf("send: %q, %v; want T", token, err)
		}
		if took := time.Since(start); took != 3*time.Second+2*retryWait {
			t.Errorf("send waited for %v, want 3 s as told, and twice %v", took, retryWait)
		}
		if same := slices.Compact(server.bodies); len(same) != 1 || strings.Count(same[0], "\n") != 2 {
			t.Errorf("bodies differ, or are not two lines: %q", server.bodies)
		}
	})
}

func TestSendTellsWhatIsWrong(t *testing.T) {
	for name, response := range map[string]*http.Response{
		"refused":  answer(400, "", `{"detail":"entity_id: is missing"}`),
		"rejected": answer(200, "", `{"accepted":0,"rejected":[{"message":"entity_id: is missing"}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{base: "http://demo", http: &http.Client{Transport: &answers{left: []*http.Response{response}}}}
			if _, err := a.send(t.Context(), []Event{{}}); err == nil || !strings.Contains(err.Error(), "entity_id: is missing") {
				t.Errorf("error %v does not say what the server said", err)
			}
		})
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{1234 * time.Microsecond: "1.2 ms", 250 * time.Millisecond: "250 ms", 12 * time.Second: "12.0 s"} {
		if got := inMs(d); got != want {
			t.Errorf("inMs(%v) = %q, want %q", d, got, want)
		}
	}
}
