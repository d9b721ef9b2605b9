package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
)

// The routes by which processes ask each other.
const (
	searchPath = "/v1/internal/search"
	entityPath = "/v1/internal/entity"
	countsPath = "/v1/internal/counts"
)

// Limits of messages between processes.
const (
	MaxRequestBytes = 8 << 20
	maxAnswerBytes  = 256 << 20
	maxProblemBytes = 64 << 10
)

func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 2 * time.Second, ForceAttemptHTTP2: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// remote is a peer over HTTP.
type remote struct {
	client *http.Client
	node   control.Node
}

// Search implements Peer.
func (r *remote) Search(ctx context.Context, q *Search) (*Answer, error) {
	return post[Answer](ctx, r, searchPath, q)
}

// Entity implements Peer.
func (r *remote) Entity(ctx context.Context, q *Lookup) (*Entity, error) {
	return post[Entity](ctx, r, entityPath, q)
}

// Counts implements Peer.
func (r *remote) Counts(ctx context.Context, q *Count) (*Counts, error) {
	return post[Counts](ctx, r, countsPath, q)
}

// Ready implements Peer.
func (r *remote) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.node.Address+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxProblemBytes)) // so that the connection can be used again
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

func post[T any](ctx context.Context, r *remote, path string, q any) (*T, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, &freshet.Error{Code: freshet.CodeInternal, Message: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.node.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, problemOf(res)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxAnswerBytes {
		return nil, &freshet.Error{Code: freshet.CodeTooLarge, Field: "k", Message: fmt.Sprintf("the hits of a part have more than %d bytes; ask for fewer", maxAnswerBytes)}
	}
	answer := new(T)
	if err := json.Unmarshal(raw, answer); err != nil {
		return nil, fmt.Errorf("its answer can't be read: %w", err)
	}
	return answer, nil
}

// problemOf is the error that a peer has answered with: a *freshet.Error where it is of freshet.
func problemOf(res *http.Response) error {
	var p struct {
		Code   freshet.Code `json:"code"`
		Field  string       `json:"field"`
		Detail string       `json:"detail"`
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxProblemBytes))
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	switch {
	case err != nil || p.Code == "":
		return fmt.Errorf("it answers %s", res.Status)
	case p.Code == freshet.CodeNotFound || p.Code == freshet.CodeNoSuchMethod || p.Code == freshet.CodeUnknownField:
		return fmt.Errorf("it is of another version of freshet: %s", p.Detail) // entities that there are not are no error among processes
	}
	return &freshet.Error{Code: p.Code, Field: p.Field, Message: strings.TrimPrefix(p.Detail, p.Field+": ")}
}
