package kafka

import (
	"errors"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

var errEnough = errors.New("enough")

// DeadLettersOf returns the dead letters of records of a partition of events.keyed from offset first to last, at most limit.
func (c *Copy) DeadLettersOf(partition int32, first, last int64, limit int) ([]freshet.DeadLetter, error) {
	key := func(offset int64) []byte { return append(prefix(partition), wire.DeadLetterKey(offset, 0)...) }
	return c.letters(key(first), key(last+1), limit, nil)
}

// DeadLetters returns dead letters of all partitions with an offset of from or more, or backwards from it, at most limit, in order
// of time. A negative from means the first or the last.
func (c *Copy) DeadLetters(from int64, back bool, limit int) ([]freshet.DeadLetter, error) {
	all, err := c.letters(nil, nil, int(^uint(0)>>1), func(l *freshet.DeadLetter) bool {
		return from < 0 || back && l.Position.Offset <= from || !back && l.Position.Offset >= from
	})
	slices.SortStableFunc(all, func(a, b freshet.DeadLetter) int { return int(a.At - b.At) })
	if back {
		slices.Reverse(all)
	}
	return all[:min(len(all), limit)], err
}

func (c *Copy) letters(lower, upper []byte, limit int, keep func(*freshet.DeadLetter) bool) (out []freshet.DeadLetter, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = c.state.Scan(freshet.TopicDead, lower, upper, func(r broker.Record) error {
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		if keep == nil || keep(&l) {
			if out = append(out, l); len(out) == limit {
				return errEnough
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}
