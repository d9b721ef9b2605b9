package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/codec"
)

// Limits of one request of `freshet ingest`.
const (
	ingestBytes   = 4 << 20
	ingestLines   = 20_000
	ingestLineMax = 32 << 20
	ingestRetries = 60
)

func newIngest() *cobra.Command {
	var server string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ingest FILE|-",
		Short: "Send events, a JSON object a line, to the server",
		Long: "Sends newline-delimited JSON in bounded requests and waits for each to be durable. A server that\n" +
			"asks to slow down is waited for. Rejected events are named; the exit status is then 1.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, size, err := openInput(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			s := &sender{client: newClient(server), progress: newProgress(cmd.ErrOrStderr(), size, quiet), errors: cmd.ErrOrStderr()}
			err = s.sendAll(cmd.Context(), in)
			s.progress.finish()
			fmt.Fprintf(cmd.OutOrStdout(), "%d accepted, %d rejected\n", s.accepted, s.rejected)
			if s.token != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "token of the last request: %s\n", s.token)
			}
			if err == nil && s.rejected > 0 {
				return exitError(1)
			}
			return err
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress bar")
	return cmd
}

func openInput(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// sender sends lines in requests. The server takes the events of a request in order, so what
// it accepted and rejected is always a beginning of what was sent.
type sender struct {
	client             *client
	progress           *progress
	errors             io.Writer
	lines              int64 // sent so far
	accepted, rejected int64
	token              string
}

type ingestAnswer struct {
	Accepted int64 `json:"accepted"`
	Rejected []struct {
		Index   int64  `json:"index"`
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"rejected"`
	RejectedCount int64  `json:"rejected_count"`
	Token         string `json:"token"`
	Detail        string `json:"detail"` // of a problem document
}

func (s *sender) sendAll(ctx context.Context, in io.Reader) error {
	lines := codec.NewLines(in, ingestLineMax)
	var body bytes.Buffer
	var ends []int // where each line of body ends
	for {
		line, err := lines.Next()
		if err != nil && err != io.EOF {
			return fmt.Errorf("read input behind line %d: %w", s.lines+int64(len(ends)), err)
		}
		if err == nil {
			body.Write(line)
			body.WriteByte('\n')
			ends = append(ends, body.Len())
		}
		full := body.Len() >= ingestBytes || len(ends) >= ingestLines
		if len(ends) > 0 && (full || err == io.EOF) {
			if err := s.send(ctx, body.Bytes(), ends); err != nil {
				return err
			}
			body.Reset()
			ends = ends[:0]
		}
		if err == io.EOF {
			return nil
		}
	}
}

// send sends one request's lines, again from where the server stopped if it asks to wait.
func (s *sender) send(ctx context.Context, body []byte, ends []int) error {
	done := 0 // lines answered for
	for try := 0; ; try++ {
		start := 0
		if done > 0 {
			start = ends[done-1]
		}
		var a ingestAnswer
		status, wait, err := s.request(ctx, body[start:], &a)
		if err != nil {
			return fmt.Errorf("%d events were acknowledged, then: %w", s.accepted, err)
		}
		s.note(&a)
		if n := int(a.Accepted + a.RejectedCount); n > 0 {
			done, try = done+n, 0
		}
		s.progress.add(int64(ends[max(0, done-1)]-start), a.Accepted)
		if done >= len(ends) {
			return nil
		}
		if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable && status != http.StatusInsufficientStorage ||
			try == ingestRetries {
			return fmt.Errorf("%d events were acknowledged, then the server answered with status %d: %s", s.accepted, status, a.Detail)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *sender) note(a *ingestAnswer) {
	for _, r := range a.Rejected {
		fmt.Fprintf(s.errors, "\rline %d rejected (%s): %s\n", s.lines+r.Index+1, r.Code, r.Message)
	}
	s.lines += a.Accepted + a.RejectedCount
	s.accepted += a.Accepted
	s.rejected += a.RejectedCount
	if a.Token != "" && a.Accepted > 0 {
		s.token = a.Token
	}
}

// request sends lines. Answers that say what became of the events are no errors.
func (s *sender) request(ctx context.Context, lines []byte, a *ingestAnswer) (status int, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.client.base+"/v1/events", bytes.NewReader(lines))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := s.client.http.Do(req)
	if err != nil {
		return 0, 0, fmt.Errorf("%w; is a server running there? name it with --server", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, 0, err
	}
	if err := json.Unmarshal(raw, a); err != nil {
		return 0, 0, fmt.Errorf("answer with status %d: %s", res.StatusCode, clipText(raw))
	}
	wait = time.Second
	if v := res.Header.Get("Retry-After"); v != "" {
		if d, err := time.ParseDuration(v + "s"); err == nil {
			wait = d
		}
	}
	return res.StatusCode, wait, nil
}

// progress draws a bar with the rate while a file is sent.
type progress struct {
	w          io.Writer
	size, sent int64
	events     int64
	start      time.Time
	drawn      time.Time
	off        bool
}

func newProgress(w io.Writer, size int64, off bool) *progress {
	return &progress{w: w, size: size, start: time.Now(), off: off}
}

func (p *progress) add(bytes, events int64) {
	p.sent += bytes
	p.events += events
	if now := time.Now(); now.Sub(p.drawn) > 100*time.Millisecond {
		p.drawn = now
		p.draw()
	}
}

func (p *progress) draw() {
	if p.off {
		return
	}
	rate := float64(p.events) / max(time.Since(p.start).Seconds(), 1e-6)
	if p.size == 0 {
		fmt.Fprintf(p.w, "\r%d events, %.0f/s ", p.events, rate)
		return
	}
	const width = 30
	share := min(1, float64(p.sent)/float64(p.size))
	full := int(share * width)
	fmt.Fprintf(p.w, "\r[%s%s] %3.0f %%  %d events, %.0f/s ", strings.Repeat("#", full), strings.Repeat("·", width-full), 100*share, p.events, rate)
}

func (p *progress) finish() {
	if p.off {
		return
	}
	p.draw()
	fmt.Fprintln(p.w)
}
