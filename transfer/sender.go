package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/freshet-io/freshet"
)

// Limits of one request.
const (
	requestBytes = 4 << 20
	requestLines = 20_000
	// markEvery is how many records lie between two places that can be gone on from.
	markEvery = 2000
	// waits is how often in a row a server may ask to wait without having taken anything.
	waits = 60
)

// request is a run of events on their way, each with its place in the file.
type request struct {
	body    bytes.Buffer
	records []sent
	marks   []mark
	err     error // why no more come; io.EOF at the end of the file
}

// mark is a place in the file that can be gone on from.
type mark struct {
	records int    // of the request up to there
	offset  int64  // in the file
	digest  string // of the file up to there
}

// sent is an event of a request, or a record that was refused before.
type sent struct {
	line    int64 // in the file
	from    int   // in the request's body; the event reaches to the next one's
	refusal *freshet.Error
	raw     []byte // of a record that was refused
}

// answer is a line that the server says to a request.
type answer struct {
	Accepted int64 `json:"accepted"`
	Rejected []struct {
		Index   int64        `json:"index"`
		Code    freshet.Code `json:"code"`
		Message string       `json:"message"`
	} `json:"rejected"`
	RejectedCount int64  `json:"rejected_count"`
	Token         string `json:"token"`
	Status        int    `json:"status"` // of a problem document
	Detail        string `json:"detail"`
}

// Server is a running server.
type Server struct {
	URL  string
	HTTP *http.Client
	// Default says that events are of the default mapping, whatever mapping the server has.
	Default bool
}

// DefaultEvents is the media type of lines of events that are of the default mapping, whatever mapping the server has.
const DefaultEvents = "application/vnd.freshet.events+x-ndjson"

// errWait is the answer of a server that takes no events at present.
type errWait struct {
	after time.Duration
	error
}

// post sends events and calls note for what becomes of each, in order: a rejection, or nil. Events are in order and what was noted is
// a beginning of them, also when there is an error. The token is that of the last event that was accepted.
func (s *Server) post(ctx context.Context, body []byte, note func(refusal *freshet.Error), token *string) error {
	url := s.URL + "/v1/events"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Accept", "application/x-ndjson")
	if s.Default {
		req.Header.Set("Content-Type", DefaultEvents)
	}
	res, err := s.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%w; is a server running there? name it with --server", err)
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	var index int64
	for {
		var a answer
		err := dec.Decode(&a)
		if err == io.EOF && index > 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the answer with status %d broke off: %w", res.StatusCode, err)
		}
		if int64(len(a.Rejected)) != a.RejectedCount {
			return errors.New("the server does not name every event that it rejected: it is of another version")
		}
		if a.Token != "" && a.Accepted > 0 {
			*token = a.Token
		}
		for end, rejected := index+a.Accepted+a.RejectedCount, a.Rejected; index < end; index++ {
			if len(rejected) == 0 || rejected[0].Index != index {
				note(nil)
				continue
			}
			note(&freshet.Error{Code: rejected[0].Code, Message: rejected[0].Message})
			rejected = rejected[1:]
		}
		if a.Status == 0 {
			continue
		}
		err = fmt.Errorf("the server answered with status %d: %s", a.Status, a.Detail)
		switch a.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
			return errWait{retryAfter(res.Header), err}
		}
		return err
	}
}

func retryAfter(h http.Header) time.Duration {
	if d, err := time.ParseDuration(h.Get("Retry-After") + "s"); err == nil {
		return d
	}
	return time.Second
}

// postAll is post for a server that may ask to wait.
func (s *Server) postAll(ctx context.Context, r *request, note func(i int, refusal *freshet.Error), token *string) error {
	done := 0
	for try := 0; ; {
		for done < len(r.records) && r.records[done].refusal != nil {
			note(done, r.records[done].refusal)
			done++
		}
		if done == len(r.records) {
			return nil
		}
		before := done
		err := s.post(ctx, r.body.Bytes()[r.records[done].from:], func(refusal *freshet.Error) {
			for done < len(r.records) && r.records[done].refusal != nil {
				note(done, r.records[done].refusal)
				done++
			}
			if done < len(r.records) {
				note(done, refusal)
				done++
			}
		}, token)
		if err == nil {
			continue // records that were refused before may be left
		}
		var wait errWait
		if done > before {
			try = 0
		} else {
			try++
		}
		if !errors.As(err, &wait) || try > waits {
			return err
		}
		select {
		case <-time.After(wait.after):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// knows reports whether the server's log has the events of a token.
func (s *Server) knows(ctx context.Context, token string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/entities/-?timeout_ms=1&after="+token, nil)
	if err != nil {
		return false, err
	}
	res, err := s.HTTP.Do(req)
	if err != nil {
		return false, fmt.Errorf("%w; is a server running there? name it with --server", err)
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	// 404: there is no such entity; 504: the events are not decided yet.
	return res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGatewayTimeout, err
}
