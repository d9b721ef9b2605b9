package node

import (
	"context"
	"errors"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/wire"
)

// How many dead letters are replayed at once. The next ones wait until these are decided, behind
// the live events that were there before: replays are never more than this in their way.
const (
	replayLetters = 256
	replayBytes   = 4 << 20
	replayPause   = 100 * time.Millisecond // between two looks for room in the backlog
)

// ReplayLetters has the events of dead letters decided again.
func (n *Node) ReplayLetters(ctx context.Context, q gateway.LettersRequest) (gateway.LettersResult, error) {
	return n.takeLetters(ctx, q, func(run []freshet.DeadLetter, out *gateway.LettersResult) error {
		if err := n.room(ctx); err != nil {
			return err
		}
		last, err := n.processor.Replay(ctx, run)
		if err != nil {
			return err
		}
		if err := n.waitDecided(ctx, last); err != nil {
			return err
		}
		for i := range run {
			_, there, err := n.log.Latest(freshet.TopicDead, wire.DeadLetterKey(run[i].Position.Offset, run[i].Ordinal), nil)
			if err != nil {
				return err
			}
			if there {
				out.Failed++
			} else {
				out.Replayed++
			}
		}
		return nil
	})
}

// DropLetters removes dead letters for good.
func (n *Node) DropLetters(ctx context.Context, q gateway.LettersRequest) (gateway.LettersResult, error) {
	return n.takeLetters(ctx, q, func(run []freshet.DeadLetter, out *gateway.LettersResult) error {
		dropped, err := n.processor.Drop(ctx, run)
		out.Dropped += dropped
		return err
	})
}

// room waits while so many events are not decided yet that producers are slowed down.
func (n *Node) room(ctx context.Context) error {
	for {
		err := n.intake.Room()
		var e *freshet.Error
		if err == nil || !errors.As(err, &e) || e.Code != freshet.CodeBacklogFull {
			return err
		}
		select {
		case <-time.After(replayPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// takeLetters hands the dead letters that are meant to take, in runs, in order of the log.
func (n *Node) takeLetters(ctx context.Context, q gateway.LettersRequest, take func([]freshet.DeadLetter, *gateway.LettersResult) error) (out gateway.LettersResult, err error) {
	out.Through = n.tracker.Decided()
	if q.Through != nil {
		out.Through = min(out.Through, *q.Through)
	}
	after := q.After
	for more := true; more && out.Matched < q.Limit; {
		var run []freshet.DeadLetter
		if run, after, more, err = n.findLetters(&q, after, out.Through, min(replayLetters, q.Limit-out.Matched)); err != nil {
			return out, err
		}
		out.Matched += len(run)
		if out.Next = nil; more {
			out.Next = after
		}
		if len(run) > 0 && !q.DryRun {
			if err := take(run, &out); err != nil {
				return out, err
			}
		}
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
	}
	return out, nil
}

// lettersLooked is how many dead letters are looked at in one go.
const lettersLooked = 10_000

// findLetters returns the next ones that are meant, and the last that was looked at; more says that others may follow.
func (n *Node) findLetters(q *gateway.LettersRequest, after *gateway.LetterPlace, through int64, most int) (run []freshet.DeadLetter, last *gateway.LetterPlace, more bool, err error) {
	var lower []byte
	if last = after; after != nil {
		lower = append(wire.DeadLetterKey(after.Offset, after.Ordinal), 0)
	}
	looked, size := 0, 0
	err = n.log.Scan(freshet.TopicDead, lower, wire.DeadLetterKey(through+1, 0), func(r broker.Record) error {
		if len(run) == most || size >= replayBytes || looked == lettersLooked {
			more = true
			return errEnough
		}
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		looked++
		last = &gateway.LetterPlace{Offset: l.Position.Offset, Ordinal: l.Ordinal}
		if q.Selects(&l) {
			size += len(l.Value)
			run = append(run, l)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return run, last, more, err
}
