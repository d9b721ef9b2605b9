package sim

import (
	"context"
	"fmt"
	"sync"

	"github.com/freshet-io/freshet"
)

// network lies between clients and nodes. Requests and answers get lost in it, and requests arrive twice, or when nobody
// waits for them any more: after others that were sent later, and perhaps at the next node.
type network struct {
	mu  sync.Mutex
	air [][]*event // requests that arrive later
}

// keep has a request arrive later.
func (n *network) keep(events []*event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.air = append(n.air, events)
}

// triesMost is how often a client sends a batch before it gives up.
const triesMost = 4

// exchange sends a batch until there is an answer, with the same ids each time. The result is nil when there never was one, or
// when the request was doubled, so that its double may have come first.
func (w *writer) exchange(ctx context.Context, events []*event) (*batch, error) {
	for range triesMost {
		b := w.model.submit(events)
		arrives, answered, doubled := true, true, false
		switch w.rng.IntN(24) {
		case 0:
			arrives = false
		case 1:
			arrives = false
			w.net.keep(repeats(events))
		case 2, 3:
			answered = false
		case 4:
			doubled = true
			w.net.keep(repeats(events))
		}
		if arrives {
			if err := w.send(ctx, b, answered); err != nil {
				return nil, err
			}
		}
		switch {
		case arrives && answered && doubled:
			return nil, nil
		case arrives && answered || !w.outlet.on():
			return b, nil
		}
		w.model.giveUp(b)
		events = repeats(events)
	}
	return nil, nil
}

// arrive takes to the node what has been in the air, if there is any. Nobody waits for the answer.
func (w *writer) arrive(ctx context.Context) error {
	w.net.mu.Lock()
	if len(w.net.air) == 0 {
		w.net.mu.Unlock()
		return nil
	}
	i, last := w.rng.IntN(len(w.net.air)), len(w.net.air)-1
	events := w.net.air[i]
	w.net.air[i], w.net.air = w.net.air[last], w.net.air[:last]
	w.net.mu.Unlock()
	b := w.model.submit(events)
	w.model.giveUp(b)
	err := w.send(ctx, b, false)
	if isCode(err, freshet.CodeOrderMismatch) { // a patch, for what has an order by now
		return nil
	}
	w.outlet.witness(func() { w.model.report.Late++ })
	if err != nil {
		return fmt.Errorf("a late request: %w", err)
	}
	return nil
}

// giveUp notes down that nobody waits for the answer to a batch any more.
func (m *model) giveUp(b *batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.given = true
	m.report.Unanswered++
}

// repeats are events as they are sent again.
func repeats(events []*event) []*event {
	again := make([]*event, len(events))
	for i, e := range events {
		e := *e
		e.again = true
		again[i] = &e
	}
	return again
}
