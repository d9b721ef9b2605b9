package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// writer is a client that sends batches of events, one after another, and looks now and then
// at what became of them.
type writer struct {
	*life
	rng    *rand.Rand
	author *author
	retry  []*batch // to be sent again first: they were never acknowledged
}

// run sends batches until it has sent enough or the power is off.
func (w *writer) run(ctx context.Context) error {
	for n := 2 + w.rng.IntN(8); n > 0 && w.outlet.on(); n-- {
		w.clock.move(w.rng)
		if !w.late && w.rng.IntN(5) == 0 {
			if err := w.stray(ctx); err != nil {
				return fmt.Errorf("stray events: %w", err)
			}
		}
		if w.rng.IntN(3) == 0 {
			if err := w.arrive(ctx); err != nil {
				return err
			}
		}
		b, err := w.exchange(ctx, w.compose())
		if err != nil {
			return fmt.Errorf("writer: %w", err)
		}
		if w.retains() && !w.held && w.rng.IntN(2) == 0 { // between batches, where it matters most
			if err := (&operator{life: w.life, rng: w.rng}).retain(ctx); err != nil {
				return fmt.Errorf("retention: %w", err)
			}
		}
		if w.rng.IntN(10) == 0 && !w.held {
			if err := w.drop(ctx, w.rng); err != nil {
				return err
			}
		}
		if w.rng.IntN(3) == 0 && !w.held && b != nil && b.token != "" {
			if err := w.readBack(ctx, b); err != nil {
				return fmt.Errorf("reading back: %w", err)
			}
		}
	}
	return nil
}

// compose makes up the events of a batch, or sends a lost one again. It leaves out patches where
// they are refused at once.
func (w *writer) compose() []*event {
	events := slices.DeleteFunc(w.gather(), func(e *event) bool {
		col, _ := w.node.Planner().Catalog.Get(e.key.Collection)
		return e.op == freshet.OpPatch && col.Order != control.OrderNone
	})
	if len(events) == 0 {
		events = append(events, w.author.rewrite(w.author.write()))
	}
	return events
}

func (w *writer) gather() []*event {
	if len(w.retry) > 0 {
		b := w.retry[0]
		w.retry = w.retry[1:]
		events := make([]*event, len(b.subs))
		for i, s := range b.subs {
			events[i] = s.event
		}
		return repeats(events)
	}
	events := make([]*event, 1+w.rng.IntN(1<<w.rng.IntN(5)))
	for i := range events {
		old := w.model.old(w.rng)
		if old != nil && old.key.Collection == collectionLate && !w.late {
			old = nil
		}
		switch p := w.rng.IntN(100); {
		case p < 8 && old != nil:
			again := *old
			again.again = true
			events[i] = &again
		case p < 13 && old != nil:
			events[i] = w.author.rewrite(old)
		default:
			events[i] = w.author.write()
		}
	}
	return events
}

// send takes a batch to the node's intake, as the gateway does. The client gets the answer only if answered says so.
func (w *writer) send(ctx context.Context, b *batch, answered bool) error {
	in := w.node.Intake().NewBatch()
	defer in.Release()
	for _, s := range b.subs {
		if err := add(in, s); err != nil {
			return fmt.Errorf("event of %s is refused: %w", name(s.key), err)
		}
		w.outlet.witness(func() { w.model.exists(s.key.Collection) })
	}
	w.model.appending.RLock()
	defer w.model.appending.RUnlock()
	token, err := in.Append(ctx)
	if err != nil {
		return err
	}
	first, err := tokenOf(token, b, w.node.Log().ID())
	if err != nil {
		return err
	}
	if answered {
		w.outlet.witness(func() { err = w.model.acknowledge(b, first, wire.TokenString(token)) })
	}
	return err
}

// stray appends events of a collection that does not exist, as those of a configured mapping may be.
func (w *writer) stray(ctx context.Context) error {
	author := *w.author
	author.stray = true
	events := make([]*event, 0, 3)
	for range cap(events) {
		if e := author.write(); e.dead == "" {
			events = append(events, e)
		}
	}
	w.author.count = author.count
	if len(events) == 0 {
		return nil
	}
	b := w.model.submit(events)
	b.stray = true
	var records journal.Batch
	for _, s := range b.subs {
		records.Add(wire.Partition(s.key, w.cfg.Partitions), nil, s.raw, journal.Header{Name: freshet.HeaderTrace, Value: []byte(s.mark)})
	}
	w.model.appending.RLock()
	defer w.model.appending.RUnlock()
	first, err := w.node.Log().AppendRaw(ctx, &records)
	if err == nil {
		w.outlet.witness(func() { err = w.model.acknowledge(b, first, "") })
	}
	return err
}

type intakeBatch interface {
	Add(raw []byte, headers ...journal.Header) error
	AddDelete(key freshet.Key, eventID string, order int64, headers ...journal.Header) error
}

func add(in intakeBatch, s *submission) error {
	mark := journal.Header{Name: freshet.HeaderTrace, Value: []byte(s.mark)}
	if s.raw == nil {
		return in.AddDelete(s.key, s.id, s.order, mark)
	}
	return in.Add(s.raw, mark)
}

// tokenOf checks the token of a batch and returns the offset of its first event.
func tokenOf(t freshet.Token, b *batch, log freshet.LogID) (first int64, err error) {
	if t.Log != log || len(t.Spans) == 0 {
		return 0, fmt.Errorf("the token %+v is not of log %x", t, log)
	}
	first, last := t.Spans[0].First, t.Spans[0].Last
	for _, s := range t.Spans {
		first, last = min(first, s.First), max(last, s.Last)
	}
	if last-first+1 != int64(len(b.subs)) {
		return 0, fmt.Errorf("the token covers offsets %d to %d, the batch has %d events", first, last, len(b.subs))
	}
	return first, nil
}

// readBack reads an entity of the batch with the batch's token: the answer must count it.
func (w *writer) readBack(ctx context.Context, b *batch) error {
	s := b.subs[w.rng.IntN(len(b.subs))]
	token, _, err := w.tokenOfBatch(ctx, b)
	if err != nil {
		return err
	}
	if _, _, err = w.node.Planner().Get(ctx, s.key, token, waitMost); err != nil && !isCode(err, freshet.CodeNotFound) {
		return err
	}
	c, ok, err := w.node.Store().Get(ctx, s.key) // tombstones too
	if err != nil {
		return err
	}
	w.seen(s.key, c.Version)
	if s.dead != "" || s.again || s.op == freshet.OpPatch {
		return nil // of no effect, perhaps
	}
	order := control.OrderNone
	if s.order > 0 {
		order = control.OrderSource
	}
	if col, _ := w.node.Planner().Catalog.Get(s.key.Collection); col.Order != order {
		return nil // a dead letter
	}
	mine := freshet.Version{Order: s.order, Epoch: w.model.epochs.of(s.offset), Offset: s.offset}
	switch {
	case (w.retains() || w.drops.Load()) && (!ok || s.order > 0 && mine.After(c.Version)):
		return nil // deleted, and that is forgotten; it may have come back with an older order
	case !ok:
		return fmt.Errorf("%s is not there after the token of %+v", name(s.key), mine)
	case mine.After(c.Version):
		return fmt.Errorf("%s has version %+v after the token of %+v", name(s.key), c.Version, mine)
	case c.Version == mine && (c.Op != s.op || c.Text != s.text || string(c.Metadata) != s.metadata):
		return fmt.Errorf("%s has at version %+v the content %q %.60s, sent was %q %.60s", name(s.key), mine, c.Text, c.Metadata, s.text, s.metadata)
	}
	return nil
}

// seen notes down what a client was shown.
func (l *life) seen(key freshet.Key, v freshet.Version) {
	if v != (freshet.Version{}) {
		l.outlet.witness(func() { l.model.observe(key, v) })
	}
}

func isCode(err error, code freshet.Code) bool {
	var e *freshet.Error
	return errors.As(err, &e) && e.Code == code
}

// name is a key in a message.
func name(k freshet.Key) string {
	return fmt.Sprintf("%s/%s/%.20s", k.Collection, k.Namespace, k.Entity)
}
