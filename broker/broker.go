// Package broker is the contract of a log as the owner of it needs it: records to decide in one order, and what was decided
// in topics that are compacted by key, in state tables and in positions that move with it, all or nothing.
//
// The embedded log is one such log. Where the log is Kafka, each partition is one, of its own owner.
package broker

import (
	"context"
	"errors"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// ErrFenced means that another member has joined the group since: the transaction of the
// deposed one is refused and must not be repeated.
var ErrFenced = errors.New("deposed: another member of the group has taken over")

// NoRecord says that a key has no record yet; see [Txn.Replace].
const NoRecord int64 = -1

// Record is the latest record of a key in a compacted topic. Key and Value belong to the
// caller.
type Record struct {
	Offset int64
	Key    []byte
	Value  []byte
}

// Table is a state table of processing: keys and values without offsets. Its number is the first byte of its keys on disk, and
// never changes.
type Table byte

// The state tables.
const (
	TableProcess Table = 0x20 // event ids within the dedupe window, what commands have said
	TableFiles   Table = 0x21 // what the files source has sent
	TableBase    Table = 0x22 // what an audit begins with: the fold of the records that are no longer kept
	TableExpiry  Table = 0x23 // when entities expire, in order of time
	TableClaims  Table = 0x24 // of a copy of a log in Kafka: which owners may write to its partitions
	TableRouted  Table = 0x25 // of a partition of a log in Kafka: up to where what foreign producers wrote is forwarded
)

// Log is a log, or a partition of one, as its owner sees it. All methods are safe for concurrent use.
type Log interface {
	// RawTopic is the name of the topic that the records to decide are in.
	RawTopic() string
	// Append makes records to decide durable, and returns the offset of the last. Of a record value and headers count.
	Append(ctx context.Context, records ...journal.Record) (last int64, err error)
	// ReadRaw reads the records to decide from an offset on, in order.
	ReadRaw(from int64) Reader
	// ReadRawAs is ReadRaw for the member of a group, from the position of the group on: what the log notes of the records that are read
	// counts for the group as far as its position moves.
	ReadRawAs(m Member, from int64) Reader
	// RawFirst is the offset of the first record that is kept, RawEnd the one behind the last that is durable.
	RawFirst() int64
	RawEnd() int64
	// PinRaw keeps the records that are there until release is called; RawPinned is where the lowest pin begins, the end
	// without one.
	PinRaw() (release func())
	RawPinned() int64

	// Join makes the caller the owner of a group; who owned it before is fenced.
	Join(group string) Member
	// Position is the next offset that a group has to read, 0 when it never moved.
	Position(group, topic string, partition int32) (int64, error)
	// Begin starts a transaction.
	Begin() Txn
	// View is the state at one instant.
	View() View

	// Latest returns the latest record of a key. buf, which may be nil, is used for the value.
	Latest(topic string, key, buf []byte) (r Record, ok bool, err error)
	// Scan calls yield for the latest record of each key in [lower, upper), in order of key, from one consistent view; nil
	// bounds are open. Key and Value are valid during the call only.
	Scan(topic string, lower, upper []byte, yield func(Record) error) error
	// GetTable returns the value of a key in a state table.
	GetTable(t Table, key []byte) (value []byte, ok bool, err error)
	// ScanTable calls yield for the entries of a state table with keys in [lower, upper), in order; nil bounds are open.
	ScanTable(t Table, lower, upper []byte, yield func(key, value []byte) error) error
	// TableBounds returns the first and the last key of a state table in [lower, upper).
	TableBounds(t Table, lower, upper []byte) (first, last []byte, ok bool, err error)
}

// Reader reads records in order of offset.
type Reader interface {
	// Next appends records to buf, at least one and about as many bytes: it waits for the first. Keys, values and headers
	// are valid until the call after. The error is [journal.ErrClosed] when there will be no more.
	Next(ctx context.Context, buf []journal.Record, bytes int) ([]journal.Record, error)
	// Offset is where Next goes on from.
	Offset() int64
	Close() error
}

// Member is the owner of a group until the next Join.
type Member struct {
	Group      string
	Generation uint64
}

// Txn is a transaction: puts to several topics and tables and moved positions, all or
// nothing. It is for one goroutine, and ends with Commit or Abort. A topic has one writer at
// a time: two open transactions must not put to the same one.
type Txn interface {
	// Put makes value the latest record of key.
	Put(topic string, key, value []byte) error
	// Replace is Put for a caller that knows the offset of the key's latest record, or that there
	// is [NoRecord]. The topic's order is damaged if it is wrong.
	Replace(topic string, key, value []byte, latest int64) error
	// Remove takes a key out of a compacted topic. Readers of the topic find out.
	Remove(topic string, key []byte) error
	// Drop takes all keys in ranges [lower, upper) out of a compacted topic, however many there are. It stands in the topic's
	// order, with the key marker and without a record. What is put later stays. It is errors.ErrUnsupported where others read the topic.
	Drop(topic string, marker []byte, ranges [][2][]byte) error
	// Purge takes records of one shard out of a compacted topic without a trace: a reader that is behind does not find out.
	Purge(topic string, shard freshet.Shard, records []Record) error

	SetTable(t Table, key, value []byte) error
	DeleteTable(t Table, key []byte) error
	DeleteTableRange(t Table, lower, upper []byte) error

	// Move sets the next offset of the member's group. The commit fails with [ErrFenced] if the
	// member has been deposed.
	Move(m Member, topic string, partition int32, next int64) error
	// Commit makes the transaction visible, all of it.
	Commit() error
	// CommitDurable makes the transaction visible and durable, with all committed before it.
	CommitDurable(site disk.Site) error
	// Next is the offset behind what a committed transaction has put into vector.sync or dropped there; 0 without.
	Next() int64
	Abort()
}

// Forwarder is a [Txn] of a log whose partitions are decided each by itself: what comes of a record of one may be for others to decide.
type Forwarder interface {
	// Forward adds a record to decide to the partition of an entity, in the transaction. It comes of the record at the offset from of this
	// partition, as its piece with a number from 1. Pieces are forwarded in order of (from, piece), and each is decided once.
	Forward(key freshet.Key, from int64, piece int, r journal.Record) error
}

// View is the state of a log at one instant: topics and positions agree with each other. It is safe for concurrent use.
type View interface {
	Position(group, topic string, partition int32) (int64, error)
	// ReadRaw is [Log.ReadRaw] from where the audit base ended at that instant, or from the first record.
	ReadRaw(from int64) Reader
	Latest(topic string, key []byte) (r Record, ok bool, err error)
	// Scan calls yield for the latest record of each key of a topic, in order of key; Key and Value are valid during the call only.
	Scan(topic string, yield func(Record) error) error
	// ScanTable calls yield for the entries of a state table with keys in [lower, upper), in order; nil bounds are open. Both are
	// valid during the call only.
	ScanTable(t Table, lower, upper []byte, yield func(key, value []byte) error) error
	Close() error
}
