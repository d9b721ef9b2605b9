package fanout_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/query/fanout"
)

// overHTTP returns a fan-out that asks one other process, which has all partitions.
func overHTTP(t *testing.T, address string) *fanout.Fanout {
	f := fanout.New(fanout.Options{Partitions: partitions, Nodes: func() []control.Node {
		return []control.Node{{ID: "other", Address: address, Partitions: "0-5"}}
	}})
	t.Cleanup(f.Close)
	return f
}

// Messages arrive as they were sent, scores and vectors to the last bit.
func TestMessages(t *testing.T) {
	want := fanout.Answer{Applied: "", Warnings: []string{"w"}, Hits: []fanout.Hit{
		{EntityID: "ä/b", Score: 0.1234567, Slot: "3", Version: freshet.Version{Order: 1, Epoch: 2, Offset: 1 << 60}, Revision: 4, AcceptedAt: 5,
			SourceEventID: "s", Text: "<t>", Metadata: json.RawMessage(`{"n":1e100}`)},
		{EntityID: "c", Score: -1e-30}}}
	query := fanout.Search{Collection: "c", Namespace: "n", Vector: []float32{0.1, -3e-39, 16777217}, K: 7, Ef: 8, Exact: true, Filter: json.RawMessage(`{"exists":"n"}`),
		Exclude: "x", Bare: true, Text: true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got fanout.Search
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.URL.Path != "/v1/internal/search" || got.TimeoutMs < 1000 || got.TimeoutMs > 2000 {
			t.Errorf("%s: %+v, %v", r.URL, got, err)
		}
		q := query
		if q.Node, q.Partitions, q.TimeoutMs = "other", "0-5", got.TimeoutMs; !reflect.DeepEqual(got, q) {
			t.Errorf("asked\n%+v\nwant\n%+v", got, q)
		}
		json.NewEncoder(w).Encode(want)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, _, err := overHTTP(t, server.URL).Search(ctx, query, false)
	if err == nil || !strings.Contains(err.Error(), "answer of another process") {
		t.Errorf("an answer without its token: %v", err)
	}
	want.Applied = "ATxB0EQfsgGsDGV2ZW50cy5rZXllZABGRgABNjYAAkFBAAMzMwAETU0ABU1N"
	if got, _, err := overHTTP(t, server.URL).Search(ctx, query, false); err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("answered\n%+v, %v\nwant\n%+v", got, err, want)
	}
}

// What a process refuses keeps its code and field; what is no answer of freshet, or of another version, is as if it were not there.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		code   freshet.Code
		field  string
		says   string
	}{
		"refused":         {400, `{"code":"invalid_field","field":"filter","detail":"filter: is none"}`, freshet.CodeInvalidField, "filter", "is none"},
		"catching up":     {503, `{"code":"unavailable","detail":"catching up"}`, freshet.CodeUnavailable, "", "catching up"},
		"no problem":      {502, `<html>`, freshet.CodeUnavailable, "", "502"},
		"another version": {400, `{"code":"unknown_field","field":"x","detail":"x is not known"}`, freshet.CodeUnavailable, "", "another version"},
		"another server":  {404, `{"code":"not_found","detail":"no route"}`, freshet.CodeUnavailable, "", "another version"},
		"a redirect":      {302, "", freshet.CodeUnavailable, "", "302"},
		"no JSON":         {200, `{"hits":7}`, freshet.CodeUnavailable, "", "can't be read"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(c.status)
			w.Write([]byte(c.body))
		}))
		_, _, err := overHTTP(t, server.URL).Search(t.Context(), fanout.Search{K: 1, Vector: []float32{1}}, false)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

// A process that is gone fails at once, and one that takes connections and is silent when the time is over.
func TestNobodyAtTheAddress(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	for _, silent := range []bool{true, false} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		begun := time.Now()
		_, _, err = overHTTP(t, address).Search(ctx, fanout.Search{K: 1, Vector: []float32{1}}, false)
		cancel()
		if took := time.Since(begun); err == nil || !strings.Contains(err.Error(), "partitions 0-5") || (took >= time.Second) != silent {
			t.Errorf("after %v: %v", took, err)
		}
		listener.Close()
	}
}
