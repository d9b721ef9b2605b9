// Package freshness knows how far each partition of the log is decided, and lets searches
// wait for it. It is what makes a token mean "my event counts in this answer".
package freshness

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Tracker holds the watermarks of one log. Where its partitions are decided in one order, as the embedded log's are, one
// offset serves all of them. It is safe for concurrent use.
type Tracker struct {
	log        freshet.LogID
	topic      string
	partitions int
	end        func() int64 // offset behind the last record of the log

	mu      sync.Mutex    // guards decided and moved
	decided []int64       // every record up to this offset is decided: of each partition, or one for all of them
	moved   chan struct{} // closed, and replaced, when one rises
}

// NewTracker returns a tracker for a topic of a log, decided up to the given offset. end
// gives the offset behind the last record, so that a token from nowhere is not waited for.
func NewTracker(log freshet.LogID, topic string, partitions int, decided int64, end func() int64) *Tracker {
	return &Tracker{log: log, topic: topic, partitions: partitions, decided: []int64{decided}, end: end, moved: make(chan struct{})}
}

// NewPartitioned returns a tracker for a topic each of whose partitions is decided by itself, up to the given offsets. Where
// they end is not known: a token from nowhere is waited for.
func NewPartitioned(log freshet.LogID, topic string, decided []int64) *Tracker {
	return &Tracker{log: log, topic: topic, partitions: len(decided), decided: slices.Clone(decided),
		end: func() int64 { return math.MaxInt64 }, moved: make(chan struct{})}
}

// Log is the identity of the log.
func (t *Tracker) Log() freshet.LogID { return t.log }

// Advance records that every record up to offset through is decided, and wakes who waits.
func (t *Tracker) Advance(through int64) { t.AdvanceIn(0, through) }

// AdvanceIn is Advance for one partition.
func (t *Tracker) AdvanceIn(partition int32, through int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	decided := t.of(partition)
	if through <= *decided {
		return
	}
	*decided = through
	close(t.moved)
	t.moved = make(chan struct{})
}

// of is where the offset of a partition is kept.
func (t *Tracker) of(partition int32) *int64 {
	if len(t.decided) == 1 {
		return &t.decided[0]
	}
	return &t.decided[partition]
}

// Decided is the offset up to which every record is decided, -1 before the first. It is for partitions that are decided in
// one order.
func (t *Tracker) Decided() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.decided[0]
}

// Applied is the token of everything that is decided.
func (t *Tracker) Applied() freshet.Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := freshet.Token{Log: t.log}
	for p := range int32(t.partitions) {
		if d := *t.of(p); d >= 0 {
			token.Spans = append(token.Spans, freshet.Span{Topic: t.topic, Partition: p, First: d, Last: d})
		}
	}
	return token
}

// Wait blocks until every position of the token is decided. When ctx ends first it returns a
// *freshet.Error that names the position reached: never a silent go-ahead.
func (t *Tracker) Wait(ctx context.Context, token freshet.Token) error {
	if err := t.Check(token); err != nil {
		return err
	}
	last, decided, err := t.reach(ctx, token.Spans)
	if err != nil {
		return &freshet.Error{Code: freshet.CodeNotReached, Field: "after",
			Message: fmt.Sprintf("%s/%d@%d is not decided yet, the position reached is %s/%d@%d; try again, or allow more timeout_ms",
				last.Topic, last.Partition, last.Last, last.Topic, last.Partition, decided)}
	}
	return nil
}

// reach blocks until all spans are decided, or ctx ends: then it returns the first one that is not, and how far its
// partition is decided.
func (t *Tracker) reach(ctx context.Context, spans []freshet.Span) (missing freshet.Span, decided int64, err error) {
	for {
		t.mu.Lock()
		for len(spans) > 0 && *t.of(spans[0].Partition) >= spans[0].Last {
			spans = spans[1:]
		}
		if len(spans) == 0 {
			t.mu.Unlock()
			return missing, 0, nil
		}
		decided, moved := *t.of(spans[0].Partition), t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return spans[0], decided, context.Cause(ctx)
		}
	}
}

// Past blocks until more is decided than up to an offset, or ctx ends: then the error is its cause. It returns how far it
// is decided. It is for partitions that are decided in one order.
func (t *Tracker) Past(ctx context.Context, offset int64) (decided int64, err error) {
	for {
		t.mu.Lock()
		decided, moved := t.decided[0], t.moved
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

// Check refuses a token that this log can't have given out.
func (t *Tracker) Check(token freshet.Token) error {
	foreign := func(format string, args ...any) error {
		return &freshet.Error{Code: freshet.CodeForeignToken, Field: "after", Message: fmt.Sprintf(format, args...)}
	}
	if len(token.Spans) == 0 {
		return nil
	}
	if token.Log != t.log {
		return foreign("the token is of log %s, this server's log is %s; use a token that this server gave out",
			wire.LogIDString(token.Log), wire.LogIDString(t.log))
	}
	for _, s := range token.Spans {
		if s.Topic != t.topic || s.Partition < 0 || int(s.Partition) >= t.partitions || s.Last < 0 || s.Last >= t.end() {
			return foreign("the token names %s/%d@%d, which is no record of this log", s.Topic, s.Partition, s.Last)
		}
	}
	return nil
}
