package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// AnyPartition asks an append for the partition that Java's producer finds for the key.
const AnyPartition int32 = -1

// Record is a record of a topic.
type Record struct {
	Partition int32 // or AnyPartition, in an append
	Offset    int64 // as read; an append has no use for it
	Time      int64 // ms since 1970, by the producer's clock or the broker's, as the topic says; an append has no use for it
	Key       []byte
	Value     []byte // nil deletes the key from a compacted topic
	Headers   []Header
}

// Header is a name and value beside a record.
type Header struct {
	Name  string
	Value []byte
}

// recordOverhead is what a record costs in memory beside its bytes, about.
const recordOverhead = 256

// bytes is about how much memory a record takes while it waits.
func (r *Record) bytes() int64 {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return int64(n)
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
