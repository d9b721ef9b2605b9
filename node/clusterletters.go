package node

import (
	"context"
	"errors"
	"iter"
	"math"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// letterbox takes the dead letters of all partitions: any process may ask, the owner of the partition decides.
func (c *Cluster) letterbox() *letterbox {
	return &letterbox{partitions: c.client.Options().Partitions, state: c.state, intake: c.intake, key: kafka.DeadLetterKey,
		decided: func(partition int32) (int64, error) {
			next, err := c.copy.Decided(partition)
			return next - 1, err
		},
		replay: func(ctx context.Context, partition int32, run []freshet.DeadLetter) error {
			last, err := process.AppendReplays(ctx, c.commands.In(partition), run)
			if err != nil || last < 0 {
				return err
			}
			return c.waitDecided(ctx, partition, last)
		},
		drop: c.discard}
}

// discard has dead letters of a partition removed.
func (c *Cluster) discard(ctx context.Context, partition int32, run []freshet.DeadLetter) (dropped int, err error) {
	last, err := process.AppendDiscard(ctx, c.commands.In(partition), run)
	if err == nil {
		err = c.waitDecided(ctx, partition, last)
	}
	if err != nil {
		return 0, err
	}
	for i := range run {
		if err := c.letters.untilGone(ctx, partition, &run[i]); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// deadLettersOf returns the dead letters of records in a span.
func (c *Cluster) deadLettersOf(s freshet.Span, limit int) ([]freshet.DeadLetter, error) {
	lower, upper := kafka.DeadLetterBounds(s.Partition, s.First, s.Last)
	return deadLetters(c.state.Scan, lower, upper, nil, limit)
}

// DeadLetters lists dead letters of one partition, or of all in order of time, or backwards. Those of a partition are in order of offset,
// which is that of time as far as the brokers' clocks agree.
func (c *Cluster) DeadLetters(q gateway.LettersQuery) ([]freshet.DeadLetter, error) {
	partitions := c.client.Options().Partitions
	var heads []*letterHead
	defer func() {
		for _, h := range heads {
			h.stop()
		}
	}()
	for p := range int32(partitions) {
		if q.Partition != nil && *q.Partition != p {
			continue
		}
		h := &letterHead{}
		heads = append(heads, h)
		h.next, h.stop = iter.Pull2(c.lettersIn(p, &q))
		if err := h.advance(); err != nil {
			return nil, err
		}
	}
	var out []freshet.DeadLetter
	for len(out) < q.Limit {
		var best *letterHead
		for _, h := range heads {
			if h.there && (best == nil || q.Back && h.letter.At > best.letter.At || !q.Back && h.letter.At < best.letter.At) {
				best = h
			}
		}
		if best == nil {
			break
		}
		out = append(out, best.letter)
		if err := best.advance(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lettersIn are the dead letters of a partition that a list may have.
func (c *Cluster) lettersIn(partition int32, q *gateway.LettersQuery) iter.Seq2[freshet.DeadLetter, error] {
	first, last := q.Bounds()
	if last < 0 {
		last = math.MaxInt64 - 1
	}
	lower, upper := kafka.DeadLetterBounds(partition, first, last)
	scan := c.state.Scan
	if q.Back {
		scan = c.state.ScanBack
	}
	return func(yield func(freshet.DeadLetter, error) bool) {
		err := scan(freshet.TopicDead, lower, upper, func(r broker.Record) error {
			l, err := wire.DecodeDeadLetter(r.Value)
			if err == nil && !yield(l, nil) {
				err = errEnough
			}
			return err
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(freshet.DeadLetter{}, err)
		}
	}
}

// letterHead is the next dead letter of a partition.
type letterHead struct {
	letter freshet.DeadLetter
	there  bool
	next   func() (freshet.DeadLetter, error, bool)
	stop   func()
}

func (h *letterHead) advance() (err error) {
	h.letter, err, h.there = h.next()
	return err
}
