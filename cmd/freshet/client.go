package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// defaultServer is where a server without configuration answers.
const defaultServer = "http://127.0.0.1:8080"

// client talks to a running server.
type client struct {
	base string
	http *http.Client
}

func serverFlag(cmd *cobra.Command, server *string) {
	cmd.Flags().StringVar(server, "server", defaultServer, "`URL` of the running server")
}

func newClient(server string) *client {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	return &client{base: strings.TrimRight(server, "/"), http: &http.Client{}}
}

// problem is the part of a problem document that is shown.
type problem struct {
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

// statusError is an answer that was a problem document.
type statusError struct {
	status int
	problem
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s (%s, HTTP %d)", e.Detail, e.Code, e.status)
}

// send sends a request and returns the answer, whose status is 2xx.
func (c *client) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; is a server running there? start one with `freshet run`, or name it with --server", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	e := &statusError{status: res.StatusCode}
	if err := json.NewDecoder(res.Body).Decode(&e.problem); err != nil || e.Detail == "" {
		e.Detail, e.Code = res.Status, "no problem document"
	}
	return nil, e
}

// do sends a request and decodes the answer into out, if that is not nil.
func (c *client) do(ctx context.Context, method, path, contentType string, body io.Reader, out any) error {
	res, err := c.send(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(out)
}
