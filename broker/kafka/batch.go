package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batchKey is the key of a record of vector.sync that holds a whole batch, or a part of one: the number of the part follows it.
const batchKey = "\x00\x00batch"

const (
	batchFormat = 1
	maxParts    = 256
)

// isBatch reports whether a record holds a batch.
func isBatch(key []byte) bool {
	return len(key) == len(batchKey)+1 && string(key[:len(batchKey)]) == batchKey
}

// batchTopics are the topics that records of a batch are of; their places are written.
func (t Topics) batchTopics() []string { return []string{t.Sync, t.State, t.Dead, t.Keyed} }

// batchRecords are the records of vector.sync that hold a batch: one, or as many as its size takes. Whoever reads the last has read all.
//
// The batch is its records: place of the topic (1 byte), and with their lengths as uvarint partition, key, value, one longer than it is and 0 without, and
// headers: their number, name, value. Each part begins with the format, its number and how many there are, a byte each.
func (c *Client) batchRecords(partition int32, records []*kgo.Record) []*kgo.Record {
	var all []byte
	for _, r := range records {
		all = append(all, byte(slices.Index(c.opts.Topics.batchTopics(), r.Topic)))
		all = binary.AppendUvarint(all, uint64(r.Partition))
		all = appendBytes(all, r.Key)
		if r.Value == nil {
			all = append(all, 0)
		} else {
			all = append(binary.AppendUvarint(all, uint64(len(r.Value))+1), r.Value...)
		}
		all = binary.AppendUvarint(all, uint64(len(r.Headers)))
		for _, h := range r.Headers {
			all = appendBytes(appendBytes(all, []byte(h.Key)), h.Value)
		}
	}
	room := c.opts.MaxRecordBytes - recordRoom
	parts := (len(all) + room - 1) / room
	out := make([]*kgo.Record, parts)
	for i := range out {
		value := append([]byte{batchFormat, byte(i), byte(parts - 1)}, all[i*room:min(len(all), (i+1)*room)]...)
		out[i] = &kgo.Record{Topic: c.opts.Topics.Sync, Partition: partition, Key: append([]byte(batchKey), byte(i)), Value: value, Headers: c.written}
	}
	return out
}

func appendBytes(b, bytes []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(bytes))), bytes...)
}

// unfinished is the last batch of a partition as its next owner reads it.
type unfinished struct {
	term  int64
	parts int
	next  int
	value []byte
}

// complete reports whether all parts are there: only then it was committed.
func (u *unfinished) complete() bool { return u.parts > 0 && u.next == u.parts }

// add takes in a part.
func (u *unfinished) add(r *Record) error {
	if len(r.Value) < 3 || r.Value[0] != batchFormat {
		return errors.New("a batch is of a format that this version of freshet does not know; use the one that wrote it")
	}
	part, parts := int(r.Value[1]), int(r.Value[2])+1
	if part == 0 {
		*u = unfinished{term: termOf(r), parts: parts}
	}
	if part != u.next || parts != u.parts {
		*u = unfinished{} // of one that was not committed, or not seen from its beginning
		return nil
	}
	u.next++
	u.value = append(u.value, r.Value[3:]...)
	return nil
}

// records are those of a batch.
func (c *Client) records(batch []byte) (out []*kgo.Record, err error) {
	b := batch
	number := func() (n uint64) {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			err = errors.New("a batch is damaged")
			return 0
		}
		b = b[size:]
		return n
	}
	bytes := func(n uint64) (v []byte) {
		if n > uint64(len(b)) {
			err = errors.New("a batch is damaged")
			return nil
		}
		v, b = b[:n:n], b[n:]
		return v
	}
	topics := c.opts.Topics.batchTopics()
	for len(b) > 0 && err == nil {
		topic := b[0]
		if int(topic) >= len(topics) {
			return nil, fmt.Errorf("a batch has a record of topic %d, which this version of freshet does not know", topic)
		}
		b = b[1:]
		r := &kgo.Record{Topic: topics[topic], Partition: int32(number())}
		r.Key = bytes(number())
		if n := number(); n > 0 {
			r.Value = notNil(bytes(n - 1))
		}
		for n := number(); n > 0 && err == nil; n-- {
			name := string(bytes(number()))
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: bytes(number())})
		}
		out = append(out, r)
	}
	return out, err
}
