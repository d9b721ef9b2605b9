package kafka

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/wire"
)

// The headers of a dead letter have the names and the form that those of Kafka Connect have, so that what reads its dead letters reads these.
const (
	headerErrorTopic     = "__connect.errors.topic"
	headerErrorPartition = "__connect.errors.partition"
	headerErrorOffset    = "__connect.errors.offset"
	headerErrorStage     = "__connect.errors.stage"
	headerErrorClass     = "__connect.errors.exception.class.name"
	headerErrorMessage   = "__connect.errors.exception.message"
)

// letterHeaders are the headers of a dead letter, of which value is that of its record.
func letterHeaders(value []byte) ([]kgo.RecordHeader, error) {
	l, err := wire.DecodeDeadLetter(value)
	if err != nil {
		return nil, err
	}
	var list []kgo.RecordHeader
	add := func(name, value string) {
		list = append(list, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	add(headerErrorTopic, l.Position.Topic)
	add(headerErrorPartition, strconv.Itoa(int(l.Position.Partition)))
	add(headerErrorOffset, strconv.FormatInt(l.Position.Offset, 10))
	add(headerErrorStage, l.Stage)
	add(headerErrorClass, string(l.Class))
	add(headerErrorMessage, l.Message)
	return list, nil
}

// DeadLetterBounds are the keys in the copy's state between which the dead letters of records of a partition of events.keyed
// from offset first to last stand.
func DeadLetterBounds(partition int32, first, last int64) (lower, upper []byte) {
	return DeadLetterKey(partition, first, 0), DeadLetterKey(partition, last+1, 0)
}

// DeadLetterKey is the key in the copy's state of a dead letter of a record of a partition of events.keyed.
func DeadLetterKey(partition int32, offset int64, ordinal int) []byte {
	return append(prefix(partition), wire.DeadLetterKey(offset, ordinal)...)
}
