// Package freshness knows how far each partition of the log is decided, and lets searches
// wait for it. It is what makes a token mean "my event counts in this answer".
package freshness

import (
	"context"
	"fmt"
	"sync"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Tracker holds the watermarks of one log whose partitions are decided in one order, as the
// embedded log's are: one offset serves all of them. It is safe for concurrent use.
type Tracker struct {
	log        freshet.LogID
	topic      string
	partitions int
	end        func() int64 // offset behind the last record of the log

	mu      sync.Mutex    // guards decided and moved
	decided int64         // every record up to this offset is decided
	moved   chan struct{} // closed, and replaced, when decided rises
}

// NewTracker returns a tracker for a topic of a log, decided up to the given offset. end
// gives the offset behind the last record, so that a token from nowhere is not waited for.
func NewTracker(log freshet.LogID, topic string, partitions int, decided int64, end func() int64) *Tracker {
	return &Tracker{log: log, topic: topic, partitions: partitions, decided: decided, end: end, moved: make(chan struct{})}
}

// Advance records that every record up to offset through is decided, and wakes who waits.
func (t *Tracker) Advance(through int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if through <= t.decided {
		return
	}
	t.decided = through
	close(t.moved)
	t.moved = make(chan struct{})
}

// Decided is the offset up to which every record is decided, -1 before the first.
func (t *Tracker) Decided() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.decided
}

// Applied is the token of everything that is decided.
func (t *Tracker) Applied() freshet.Token {
	token := freshet.Token{Log: t.log}
	if d := t.Decided(); d >= 0 {
		for p := range t.partitions {
			token.Spans = append(token.Spans, freshet.Span{Topic: t.topic, Partition: int32(p), First: d, Last: d})
		}
	}
	return token
}

// Wait blocks until every position of the token is decided. When ctx ends first it returns a
// *freshet.Error that names the position reached: never a silent go-ahead.
func (t *Tracker) Wait(ctx context.Context, token freshet.Token) error {
	if len(token.Spans) == 0 {
		return nil
	}
	last, err := t.check(token)
	if err != nil {
		return err
	}
	decided, err := t.Past(ctx, last.Last-1)
	if err != nil {
		return &freshet.Error{Code: freshet.CodeNotReached, Field: "after",
			Message: fmt.Sprintf("%s/%d@%d is not decided yet, the position reached is %s/%d@%d; try again, or allow more timeout_ms",
				last.Topic, last.Partition, last.Last, last.Topic, last.Partition, decided)}
	}
	return nil
}

// Past blocks until more is decided than up to an offset, or ctx ends: then the error is its cause. It returns how far it
// is decided.
func (t *Tracker) Past(ctx context.Context, offset int64) (decided int64, err error) {
	for {
		t.mu.Lock()
		decided, moved := t.decided, t.moved
		t.mu.Unlock()
		if decided > offset {
			return decided, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return decided, context.Cause(ctx)
		}
	}
}

// check refuses a token that this log can't have given out, and returns its highest span.
func (t *Tracker) check(token freshet.Token) (last freshet.Span, err error) {
	foreign := func(format string, args ...any) (freshet.Span, error) {
		return freshet.Span{}, &freshet.Error{Code: freshet.CodeForeignToken, Field: "after", Message: fmt.Sprintf(format, args...)}
	}
	if token.Log != t.log {
		return foreign("the token is of log %s, this server's log is %s; use a token that this server gave out",
			wire.LogIDString(token.Log), wire.LogIDString(t.log))
	}
	for _, s := range token.Spans {
		if s.Topic != t.topic || s.Partition < 0 || int(s.Partition) >= t.partitions || s.Last < 0 || s.Last >= t.end() {
			return foreign("the token names %s/%d@%d, which is no record of this log", s.Topic, s.Partition, s.Last)
		}
		if s.Last >= last.Last {
			last = s
		}
	}
	return last, nil
}
