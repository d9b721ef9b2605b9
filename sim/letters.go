package sim

import (
	"context"
	"fmt"
	"math"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/gateway"
)

// never is an offset that no log reaches.
const never int64 = math.MaxInt64

// letters is what became of dead letters without a word of events.raw: those that were dropped, and perhaps those
// that were to be dropped when the power went. By their offset, with the end of events.raw then: what had been
// replayed before had been.
type letters struct{ dropped, perhaps map[int64]int64 }

// letters replays some dead letters or drops them.
func (o *operator) letters(ctx context.Context) error {
	q := gateway.LettersRequest{Limit: 1 + o.rng.IntN(8)}
	switch o.rng.IntN(4) {
	case 0:
		q.Class = freshet.CodeUnknownCollection
	case 1:
		q.Class = freshet.CodeNotFound
	case 2:
		q.Collection = (&author{rng: o.rng, late: o.late}).blank().key.Collection
	}
	if o.rng.IntN(3) == 0 {
		return o.dropLetters(ctx, q)
	}
	o.model.appending.RLock()
	defer o.model.appending.RUnlock()
	result, err := o.node.ReplayLetters(ctx, q)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if result.Replayed+result.Failed != result.Matched {
		return fmt.Errorf("a replay counts %+v", result)
	}
	decided := o.node.Planner().Tracker.Decided()
	o.outlet.witness(func() { o.model.through(decided) })
	return nil
}

// dropLetters drops those that are there, which nobody else replays meanwhile.
func (o *operator) dropLetters(ctx context.Context, q gateway.LettersRequest) error {
	through, at := o.node.Planner().Tracker.Decided(), o.node.Log().RawEnd()
	if through < 0 {
		return nil
	}
	there, err := o.node.DeadLetters(gateway.LettersQuery{From: &through, Back: true, Limit: all})
	if err != nil {
		return err
	}
	q.Through = &through
	chosen := map[int64]int64{}
	for i := len(there) - 1; i >= 0 && len(chosen) < q.Limit; i-- {
		if q.Selects(&there[i]) {
			chosen[there[i].Position.Offset] = at
		}
	}
	o.outlet.witness(func() { o.model.letters.perhaps = chosen })
	result, err := o.node.DropLetters(ctx, q)
	if err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	if result.Dropped != len(chosen) {
		return fmt.Errorf("of %d dead letters that were there these were dropped: %+v", len(chosen), result)
	}
	o.outlet.witness(func() {
		for offset := range chosen {
			o.model.letters.dropped[offset] = at
		}
		o.model.letters.perhaps = nil
	})
	return nil
}

// settleDropped looks which dead letters were dropped when nobody could say so any more.
func (l *life) settleDropped() error {
	m := l.model
	if len(m.letters.perhaps) == 0 {
		return nil
	}
	there, err := l.node.DeadLetters(gateway.LettersQuery{Limit: all})
	if err != nil {
		return err
	}
	for i := range there {
		delete(m.letters.perhaps, there[i].Position.Offset)
	}
	for offset, at := range m.letters.perhaps {
		m.letters.dropped[offset] = at
	}
	m.letters.perhaps = nil
	return nil
}
