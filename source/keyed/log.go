package keyed

import (
	"context"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/wire"
)

// Log is events.keyed as an intake sees it. It is safe for concurrent use.
type Log struct {
	id         freshet.LogID
	partitions int
	appender   *kafka.Appender
}

var _ source.Log = (*Log)(nil)

// NewLog returns the log with an identity, and so many partitions, that an appender to events.keyed writes to.
func NewLog(id freshet.LogID, partitions int, appender *kafka.Appender) *Log {
	return &Log{id: id, partitions: partitions, appender: appender}
}

// ID implements [source.Log].
func (l *Log) ID() freshet.LogID { return l.id }

// Partitions implements [source.Log].
func (l *Log) Partitions() int { return l.partitions }

// Room implements [source.Log]: it is backlog_full while too much waits to become durable.
func (l *Log) Room() error { return l.appender.Room() }

// DiskFree implements [source.Log]: the disks are the brokers'.
func (l *Log) DiskFree() (uint64, error) { return 0, vfs.ErrUnsupported }

// RawBytesFrom implements [source.Log]: what waits to be decided is the brokers' to keep.
func (l *Log) RawBytesFrom(int64) int64 { return 0 }

// AppendEvents implements [source.Log]. After an error some of the events may be in the log.
func (l *Log) AppendEvents(ctx context.Context, b *journal.Batch, _ []int32) ([]freshet.Span, error) {
	records, err := b.Records()
	if err != nil {
		return nil, err
	}
	for i := range records {
		records[i].Key = nil // the events of HTTP have none
	}
	positions, err := l.appender.Append(ctx, records)
	if err != nil {
		return nil, err
	}
	return wire.Spans(freshet.TopicKeyed, len(positions), func(i int) (int32, int64) { return positions[i].Partition, positions[i].Offset }), nil
}
