package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// changeLine is a line of the stream, as a client sees it.
type changeLine struct {
	Token, Op, Text, Source, Version string
	EntityID                         string `json:"entity_id"`
	Namespace                        string `json:"namespace"`
	SourceEventID                    string `json:"source_event_id"`
	Metadata                         map[string]any
	Points                           []struct {
		Slot   string
		Vector []float32
	}
}

// changes are what there is, and the last token.
func changes(t *testing.T, a *api, query string) (list []changeLine, last string) {
	t.Helper()
	got := a.get("/v1/changes?follow=false" + query)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != asLines {
		t.Fatalf("status %d, type %s: %s", got.status, got.header.Get("Content-Type"), got.body)
	}
	for line := range strings.Lines(string(got.body)) {
		var c changeLine
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if last = c.Token; c.Op != "" {
			list = append(list, c)
		}
	}
	return list, last
}

func TestChanges(t *testing.T) {
	a := start(t)
	a.get("/v1/entities/a?after=" + a.send(`{"entity_id":"a","event_id":"e1","payload":{"text":"red","n":1}}`, `{"entity_id":"b","namespace":"m","payload":{"text":"blue"}}`))
	list, token := changes(t, a, "")
	if len(list) != 2 || list[0].EntityID != "a" || list[0].Text != "red" || list[0].Metadata["n"] != 1. || list[0].SourceEventID != "e1" ||
		list[0].Op != "upsert" || list[0].Version == "" || list[0].Points != nil || list[1].Namespace != "m" {
		t.Errorf("changes %+v", list)
	}
	if list, _ = changes(t, a, "&namespace=m&vectors=true"); len(list) != 1 || len(list[0].Points) != 1 || len(list[0].Points[0].Vector) != 256 {
		t.Errorf("of namespace m, with vectors: %+v", list)
	}
	deleted := must[ingested](t, a.do("DELETE", "/v1/entities/a", "", ""))
	a.get("/v1/entities/a?after=" + deleted.Token)
	if list, _ = changes(t, a, "&after="+token); len(list) != 1 || list[0].EntityID != "a" || list[0].Op != "delete" || list[0].Text != "" {
		t.Errorf("after the token: %+v", list)
	}
	if list, _ = changes(t, a, "&after=now"); len(list) != 0 {
		t.Errorf("after now: %+v", list)
	}
	for query, want := range map[string][2]string{
		"collection=none":          {"unknown_collection", "collection"},
		"after=x":                  {"invalid_field", "after"},
		"after=" + deleted.Token:   {"foreign_token", "after"},
		"after=now&after=" + token: {"invalid_field", "after"},
		"follow=perhaps":           {"invalid_field", "follow"},
		"vectors=1":                {"invalid_field", "vectors"},
		"limit=3":                  {"unknown_field", "limit"},
	} {
		status := map[string]int{"unknown_collection": 404, "foreign_token": 409}[want[0]]
		if status == 0 {
			status = 400
		}
		a.get("/v1/changes?"+query).mustFail(t, query, status, want[0], want[1], "")
	}
}

// A stream of server-sent events goes on with what comes, and another one where it broke off.
func TestChangesAsEvents(t *testing.T) {
	a := start(t)
	server := httptest.NewServer(a.node.Gateway())
	defer server.Close()
	a.get("/v1/entities/a?after=" + a.send(text("a", "red")))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	follow := func(last string) *bufio.Scanner {
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
			t.Fatalf("the type is %s", kind)
		}
		return bufio.NewScanner(answer.Body)
	}
	next := func(s *bufio.Scanner) (kind, id string, c changeLine) {
		t.Helper()
		for s.Scan() && s.Text() != "" {
			name, value, _ := strings.Cut(s.Text(), ": ")
			switch name {
			case "event":
				kind = value
			case "id":
				id = value
			case "data":
				if err := json.Unmarshal([]byte(value), &c); err != nil {
					t.Fatal(err)
				}
			}
		}
		return kind, id, c
	}
	s := follow("")
	kind, id, c := next(s)
	if kind != "change" || c.EntityID != "a" || id != c.Token {
		t.Errorf("the first is %s %s of %+v", kind, id, c)
	}
	if kind, _, _ = next(s); kind != "place" {
		t.Errorf("once all is told comes %q, want its place", kind)
	}
	a.send(text("b", "blue"))
	if kind, _, c = next(s); kind != "change" || c.EntityID != "b" {
		t.Errorf("then comes %s of %+v", kind, c)
	}
	if _, _, c = next(follow(id)); c.EntityID != "b" {
		t.Errorf("after the first comes %+v", c)
	}
}
