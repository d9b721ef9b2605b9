package kafka

import "github.com/freshet-io/freshet/wire"

// DeadLetterBounds are the keys in the copy's state between which the dead letters of records of a partition of events.keyed
// from offset first to last stand.
func DeadLetterBounds(partition int32, first, last int64) (lower, upper []byte) {
	key := func(offset int64) []byte { return append(prefix(partition), wire.DeadLetterKey(offset, 0)...) }
	return key(first), key(last + 1)
}
