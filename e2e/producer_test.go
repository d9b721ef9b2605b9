package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// producer sends events as a careful client does: one request after another, in order, and
// the same events again until an answer says that all of them are durable. So the events of
// one entity keep their order as long as one producer sends them. It is for one goroutine.
type producer struct {
	url    func() string
	http   *http.Client
	random *rand.Rand
	most   int           // events of a request
	wait   time.Duration // before a request is sent again

	// pace blocks before every new request; may be nil.
	pace func()
	// acked is told of every answer; may be nil.
	acked func(batch []event, token string)
	// failed is told of every request that ended without an answer; may be nil.
	failed func(err error)
	// waiting counts requests that are sent and not answered; may be nil.
	waiting *atomic.Int64

	requests int // answered ones
	unknown  int // requests of which the producer never learnt what became of them
}

// send sends all events, until ctx ends. The error says what an answer refused for good.
func (p *producer) send(ctx context.Context, events []event) error {
	for len(events) > 0 {
		if p.pace != nil {
			p.pace()
		}
		batch := events[:min(1+p.random.IntN(p.most), len(events))]
		token, err := p.insist(ctx, batch)
		if err != nil {
			return err
		}
		if p.acked != nil {
			p.acked(batch, token)
		}
		events = events[len(batch):]
	}
	return nil
}

// insist sends one request until it is answered.
func (p *producer) insist(ctx context.Context, batch []event) (token string, err error) {
	for {
		token, err = p.request(ctx, batch)
		var refusal errRefused
		if err == nil || errors.As(err, &refusal) {
			p.requests++
			return token, err
		}
		p.unknown++
		if p.failed != nil {
			p.failed(err)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w; the last attempt: %w", context.Cause(ctx), err)
		case <-time.After(p.wait):
		}
	}
}

// errRefused is an answer after which it is no use to try again.
type errRefused string

func (e errRefused) Error() string { return string(e) }

func (p *producer) request(ctx context.Context, batch []event) (token string, err error) {
	kind, body, err := encode(batch, p.random.IntN(2) == 0)
	if err != nil {
		return "", errRefused(err.Error())
	}
	req, err := http.NewRequestWithContext(ctx, "POST", p.url()+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return "", errRefused(err.Error())
	}
	req.Header.Set("Content-Type", kind)
	if p.waiting != nil {
		p.waiting.Add(1)
		defer p.waiting.Add(-1)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var in ingested
	if err := json.Unmarshal(raw, &in); err != nil {
		return "", errRefused(fmt.Sprintf("status %d, answer %s: %v", res.StatusCode, clip(raw), err))
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		return "", fmt.Errorf("status %d: %s", res.StatusCode, in.Detail)
	case res.StatusCode != http.StatusOK || in.Accepted != int64(len(batch)) || in.RejectedCount != 0 || in.Token == "":
		return "", errRefused(fmt.Sprintf("status %d for %d events: %s", res.StatusCode, len(batch), clip(raw)))
	}
	return in.Token, nil
}

// encode gives a body in one of the forms that are taken: one event alone, lines, or an array.
func encode(batch []event, lines bool) (kind string, body []byte, err error) {
	if len(batch) == 1 && !lines {
		body, err = json.Marshal(batch[0])
		return "application/json", body, err
	}
	if !lines {
		body, err = json.Marshal(batch)
		return "application/json", body, err
	}
	for _, e := range batch {
		line, err := json.Marshal(e)
		if err != nil {
			return "", nil, err
		}
		body = append(append(body, line...), '\n')
	}
	return "application/x-ndjson", body, nil
}

// byEntity deals events to n producers, all events of an entity to the same one.
func byEntity(events []event, n int) [][]event {
	out := make([][]event, n)
	for _, e := range events {
		i := int(hash(e.EntityID) % uint64(n))
		out[i] = append(out[i], e)
	}
	return out
}
