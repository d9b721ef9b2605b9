package kafka

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/journal"
)

// AnyPartition asks an append for the partition that Java's producer finds for the key.
const AnyPartition int32 = -1

// Record is a record of a topic. An append has no use for Offset and Time. Time is the broker's, when it was appended, in topics that
// are not compacted, and the producer's in others. A nil Value deletes the key from a compacted topic.
type Record = journal.Record

// Header is a name and value beside a record.
type Header = journal.Header

// recordOverhead is what a record costs in memory beside its bytes, about.
const recordOverhead = 256

// memory is about how many bytes a record takes while it waits.
func memory(r *Record) int64 {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return int64(n)
}

// write makes a record for franz-go of another, whose bytes it copies.
func write(to *kgo.Record, from *Record) {
	to.Partition, to.Key, to.Value = from.Partition, bytes.Clone(from.Key), bytes.Clone(from.Value)
	for _, h := range from.Headers {
		to.Headers = append(to.Headers, kgo.RecordHeader{Key: h.Name, Value: bytes.Clone(h.Value)})
	}
}

// read is a record as franz-go gives it. Its bytes are those of the batch that it came in.
func read(r *kgo.Record) Record {
	var headers []Header
	if len(r.Headers) > 0 {
		headers = make([]Header, len(r.Headers))
		for i, h := range r.Headers {
			headers[i] = Header{Name: h.Key, Value: h.Value}
		}
	}
	return Record{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value, Headers: headers}
}
