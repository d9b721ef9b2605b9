package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	ndjson = "application/x-ndjson"
	asJSON = "application/json"
	// callTimeout bounds one request; retryWait is how long to wait when the server does not say.
	callTimeout = 30 * time.Second
	retryWait   = time.Second
)

// api calls the server's HTTP API. It is safe for concurrent use.
type api struct {
	base string
	http *http.Client
}

// refusal is an answer that says no.
type refusal struct {
	status int
	detail string
	wait   time.Duration // before trying again, if that may help
}

func (e *refusal) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.detail, e.status) }

// call sends a request and decodes the answer into out, if that is not nil.
func (a *api) call(ctx context.Context, method, path, kind string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return refusalOf(res, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

func refusalOf(res *http.Response, raw []byte) error {
	e := &refusal{status: res.StatusCode, detail: res.Status}
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(raw, &problem) == nil && problem.Detail != "" {
		e.detail = problem.Detail
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		e.wait = retryWait
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
			e.wait = time.Duration(n) * time.Second
		}
	}
	return e
}

// send sends events and returns once they are durable, with the token that a search can wait
// for. A server that says to slow down is obeyed. After an answer that did not come, or came
// for a part, everything is sent again: what was accepted has no effect a second time, because
// its event_id is known.
func (a *api) send(ctx context.Context, events []Event) (token string, err error) {
	var body bytes.Buffer
	for i := range events {
		body.Write(events[i].JSON())
		body.WriteByte('\n')
	}
	for {
		var answer struct {
			Accepted int    `json:"accepted"`
			Rejected []any  `json:"rejected"`
			Token    string `json:"token"`
		}
		err := a.call(ctx, http.MethodPost, "/v1/events", ndjson, body.Bytes(), &answer)
		if err == nil && answer.Accepted == len(events) {
			return answer.Token, nil
		}
		if err == nil {
			return "", fmt.Errorf("of %d events the server accepted %d: %v", len(events), answer.Accepted, answer.Rejected)
		}
		wait := retryWait
		var no *refusal
		if errors.As(err, &no) {
			if wait = no.wait; wait == 0 {
				return "", fmt.Errorf("send events: %w", err)
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// hit is the part of a search's hit that the demo reads.
type hit struct {
	EntityID      string `json:"entity_id"`
	SourceEventID string `json:"source_event_id"`
}

// search returns the best hits for a text. With a token it waits for that first.
func (a *api) search(ctx context.Context, collection, text string, k int, after string) ([]hit, error) {
	query := map[string]any{"collection": collection, "text": text, "k": k, "include": []string{}}
	if after != "" {
		query["after"] = after
		query["timeout_ms"] = (callTimeout - time.Second).Milliseconds()
	}
	raw, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Hits []hit `json:"hits"`
	}
	err = a.call(ctx, http.MethodPost, "/v1/search", asJSON, raw, &answer)
	return answer.Hits, err
}

// stats is the part of the server's live figures that the demo prints.
type stats struct {
	Accepted    int64 `json:"accepted"`
	Entities    int64 `json:"entities"`
	LagRecords  int64 `json:"lag_records"`
	DeadLetters int64 `json:"dead_letters"`
	FreshnessMs struct {
		P50 *float64 `json:"p50"`
		P99 *float64 `json:"p99"`
	} `json:"freshness_ms"`
}

func (a *api) stats(ctx context.Context) (s stats, err error) {
	err = a.call(ctx, http.MethodGet, "/v1/admin/stats", asJSON, nil, &s)
	return s, err
}

// audit reports whether log, table and indexes agree, and how many differences were found.
func (a *api) audit(ctx context.Context) (clean bool, found int64, err error) {
	var answer struct {
		Clean bool  `json:"clean"`
		Found int64 `json:"found"`
	}
	err = a.call(ctx, http.MethodPost, "/v1/admin/audit", asJSON, nil, &answer)
	return answer.Clean, answer.Found, err
}
