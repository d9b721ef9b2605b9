package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/wire"
)

// How many dead letters are replayed at once. The next ones wait until these are decided, behind
// the live events that were there before: replays are never more than this in their way.
const (
	replayLetters = 256
	replayBytes   = 4 << 20
	replayPause   = 100 * time.Millisecond // between two looks for room in the backlog
	settlePause   = 5 * time.Millisecond   // between two looks whether a dead letter of another process is settled
)

// letterbox takes dead letters, wherever the log is.
type letterbox struct {
	partitions int // that are decided each by itself
	state      *broker.State
	intake     *source.Intake
	// key is the key of a dead letter in the state, and of what would stand first at an offset.
	key func(partition int32, offset int64, ordinal int) []byte
	// decided is the last offset of a partition that is decided.
	decided func(partition int32) (int64, error)
	// replay has the events of dead letters of a partition decided again, and drop removes them; both return when that is decided.
	replay func(ctx context.Context, partition int32, run []freshet.DeadLetter) error
	drop   func(ctx context.Context, partition int32, run []freshet.DeadLetter) (dropped int, err error)
}

// ReplayLetters has the events of dead letters decided again.
func (n *core) ReplayLetters(ctx context.Context, q gateway.LettersRequest) (gateway.LettersResult, error) {
	return n.letters.Replay(ctx, q)
}

// DropLetters removes dead letters for good.
func (n *core) DropLetters(ctx context.Context, q gateway.LettersRequest) (gateway.LettersResult, error) {
	return n.letters.Drop(ctx, q)
}

// Replay has the events of dead letters decided again.
func (b *letterbox) Replay(ctx context.Context, q gateway.LettersRequest) (gateway.LettersResult, error) {
	return b.take(ctx, q, func(partition int32, run []freshet.DeadLetter, out *gateway.LettersResult) error {
		if err := b.room(ctx); err != nil {
			return err
		}
		if err := b.replay(ctx, partition, run); err != nil {
			return err
		}
		for i := range run {
			there, err := b.settled(ctx, partition, &run[i])
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

// Drop removes dead letters for good.
func (b *letterbox) Drop(ctx context.Context, q gateway.LettersRequest) (gateway.LettersResult, error) {
	return b.take(ctx, q, func(partition int32, run []freshet.DeadLetter, out *gateway.LettersResult) error {
		dropped, err := b.drop(ctx, partition, run)
		out.Dropped += dropped
		return err
	})
}

// settled waits until a dead letter whose replay is decided is gone here too, or has an attempt more, and reports whether it is there
// still. One that can't be read again has not been tried.
func (b *letterbox) settled(ctx context.Context, partition int32, l *freshet.DeadLetter) (there bool, err error) {
	return b.until(ctx, partition, l, func(now *freshet.DeadLetter) bool { return now.Attempts > l.Attempts || !process.CanReplay(l) })
}

// untilGone waits until a dead letter whose removal is decided is gone here too.
func (b *letterbox) untilGone(ctx context.Context, partition int32, l *freshet.DeadLetter) error {
	_, err := b.until(ctx, partition, l, func(*freshet.DeadLetter) bool { return false })
	return err
}

// until waits until a dead letter is gone, or is as it is to be.
func (b *letterbox) until(ctx context.Context, partition int32, l *freshet.DeadLetter, is func(now *freshet.DeadLetter) bool) (there bool, err error) {
	for {
		now, there, err := b.find(partition, l)
		if err != nil || !there || is(&now) {
			return there, err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return there, context.Cause(ctx)
		}
	}
}

// find returns a dead letter as it is now.
func (b *letterbox) find(partition int32, l *freshet.DeadLetter) (now freshet.DeadLetter, there bool, err error) {
	r, there, err := b.state.Latest(freshet.TopicDead, b.key(partition, l.Position.Offset, l.Ordinal), nil)
	if err != nil || !there {
		return now, false, err
	}
	now, err = wire.DecodeDeadLetter(r.Value)
	return now, true, err
}

// room waits while so many events are not decided yet that producers are slowed down.
func (b *letterbox) room(ctx context.Context) error {
	for {
		err := b.intake.Room()
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

// take hands the dead letters that are meant to f, in runs of one partition, in order of the log.
func (b *letterbox) take(ctx context.Context, q gateway.LettersRequest, f func(int32, []freshet.DeadLetter, *gateway.LettersResult) error) (out gateway.LettersResult, err error) {
	first := int32(0)
	if q.After != nil {
		first = q.After.Partition
	}
	if first < 0 || int(first) >= b.partitions {
		return out, &freshet.Error{Code: freshet.CodeInvalidField, Field: "after.partition", Message: fmt.Sprintf("is %d, the log has partitions 0 to %d", first, b.partitions-1)}
	}
	for p := first; int(p) < b.partitions; p++ {
		if out.Through, err = b.decided(p); err != nil {
			return out, err
		}
		after := q.After
		if after != nil && p != first {
			after = nil
		} else if q.Through != nil {
			out.Through = min(out.Through, *q.Through)
		}
		if after, err = b.takeIn(ctx, &q, p, after, &out, f); err != nil || out.Next != nil {
			return out, err
		}
		if out.Matched == q.Limit && int(p) < b.partitions-1 {
			out.Next = after
			return out, nil
		}
	}
	return out, nil
}

// takeIn is take for one partition, behind a place in it. It returns the last place that it looked at, and sets out.Next to that if there
// may be more.
func (b *letterbox) takeIn(ctx context.Context, q *gateway.LettersRequest, partition int32, after *gateway.LetterPlace, out *gateway.LettersResult,
	f func(int32, []freshet.DeadLetter, *gateway.LettersResult) error) (last *gateway.LetterPlace, err error) {
	last = after
	for more := true; more && out.Matched < q.Limit; {
		var run []freshet.DeadLetter
		if run, last, more, err = b.next(q, partition, last, out.Through, min(replayLetters, q.Limit-out.Matched)); err != nil {
			return last, err
		}
		out.Matched += len(run)
		if out.Next = nil; more {
			out.Next = last
		}
		if len(run) > 0 && !q.DryRun {
			if err := f(partition, run, out); err != nil {
				return last, err
			}
		}
		if ctx.Err() != nil {
			return last, context.Cause(ctx)
		}
	}
	return last, nil
}

// lettersLooked is how many dead letters are looked at in one go.
const lettersLooked = 10_000

// next returns the next ones of a partition that are meant, and the last that was looked at; more says that others may follow.
func (b *letterbox) next(q *gateway.LettersRequest, partition int32, after *gateway.LetterPlace, through int64, most int) (run []freshet.DeadLetter, last *gateway.LetterPlace, more bool, err error) {
	lower := b.key(partition, 0, 0)
	if last = after; after != nil {
		lower = append(b.key(partition, after.Offset, after.Ordinal), 0)
	}
	looked, size := 0, 0
	err = b.state.Scan(freshet.TopicDead, lower, b.key(partition, through+1, 0), func(r broker.Record) error {
		if len(run) == most || size >= replayBytes || looked == lettersLooked {
			more = true
			return errEnough
		}
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		looked++
		last = &gateway.LetterPlace{Partition: partition, Offset: l.Position.Offset, Ordinal: l.Ordinal}
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
