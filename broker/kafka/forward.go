package kafka

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// headerForwarded says where in events.raw a forwarded record of events.keyed comes from:
//
//	id of the topic 16, partition 4, offset 8, number of the change of the event 4 (from 1; 0 = the event as a whole); big-endian
//
// Forwards of one source partition arrive in order of their place, as one router sends them and waits; a router that begins
// again, or one that does not know yet that it was replaced, sends again what stands there already. So a forward whose place is not above the
// last one of its source is a repetition. A topic that was deleted and made again is another source, in which offsets start anew.
const headerForwarded = "freshet.forwarded"

// origin is a partition of events.raw, of one of the topics that have had that name.
type origin struct {
	topic     TopicID
	partition int32
}

const originBytes = 20

func (o origin) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, o.topic[:]...), uint32(o.partition))
}

func parseOrigin(b []byte) origin {
	return origin{TopicID(b), int32(binary.BigEndian.Uint32(b[16:]))}
}

// forward is the place in its source that a record of events.keyed comes from.
type forward struct {
	offset int64
	change int32 // of the event, from 1; 0 = the event as a whole
}

const forwardBytes = 12

func (f forward) after(o forward) bool {
	return f.offset > o.offset || f.offset == o.offset && f.change > o.change
}

func (f forward) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, uint64(f.offset)), uint32(f.change))
}

func parseForward(b []byte) forward {
	return forward{int64(binary.BigEndian.Uint64(b)), int32(binary.BigEndian.Uint32(b[8:]))}
}

// Forwarded is the header of a record of events.keyed that comes from a partition of events.raw. change is the number of the
// change of the event, from 1; 0 = the event as a whole.
func Forwarded(topic TopicID, partition int32, offset int64, change int) Header {
	return Header{Name: headerForwarded, Value: forward{offset, int32(change)}.append(origin{topic, partition}.append(nil))}
}

func parseForwarded(v []byte) (o origin, f forward, err error) {
	if len(v) != originBytes+forwardBytes {
		return o, f, fmt.Errorf("header %s has %d bytes, not %d", headerForwarded, len(v), originBytes+forwardBytes)
	}
	return parseOrigin(v), parseForward(v[originBytes:]), nil
}

// Forwarder appends to events.keyed what comes from one partition of events.raw, without holes: of what it is given in one order, no
// record of a partition is in the log without those before it. It is for one goroutine.
type Forwarder struct {
	appender *Appender
	warm     bool // the producer knows the partitions
	failed   bool
}

// NewForwarder returns a forwarder to events.keyed.
func (c *Client) NewForwarder() (*Forwarder, error) {
	a, err := c.newAppender(c.opts.Topics.Keyed,
		// Nothing goes out before all of an append is there: what fails takes with it what is behind it in its partition.
		kgo.ManualFlushing(),
		kgo.StopProducerOnDataLossDetected(),
	)
	if err != nil {
		return nil, err
	}
	a.flush = true
	return &Forwarder{appender: a}, nil
}

// Append returns when all records are durable. After an error, which may be of unknown outcome, the forwarder takes nothing
// more: another one begins at what was acknowledged.
func (f *Forwarder) Append(ctx context.Context, records []Record) error {
	if f.failed {
		return errors.New("the forwarder has failed before")
	}
	f.failed = true
	if !f.warm && len(records) > 0 {
		// Before it knows them, records wait elsewhere, and are handed to their partitions during the flush, one by one.
		if _, err := f.appender.Append(ctx, records[:1]); err != nil {
			return err
		}
		f.warm, records = true, records[1:]
	}
	_, err := f.appender.Append(ctx, records)
	f.failed = err != nil
	return err
}

// Close ends the connection.
func (f *Forwarder) Close() { f.appender.Close() }

// TopicID returns the id that a topic has now.
func (c *Client) TopicID(ctx context.Context, topic string) (TopicID, error) {
	topics, err := c.admin.ListTopics(ctx, topic)
	if err != nil {
		return TopicID{}, fmt.Errorf("id of %s: %w", topic, err)
	}
	if err := unsettled(topics, []string{topic}); err != nil {
		return TopicID{}, err
	}
	return TopicID(topics[topic].ID), nil
}

// Checkpoint returns the offset that a group has to go on from in a partition, as Commit has left it; ok is false if there is none for
// this topic. The group has no members. What keeps positions takes its time in a new cluster: it is asked for ConnectTimeout.
func (c *Client) Checkpoint(ctx context.Context, group, topic string, id TopicID, partition int32) (next int64, ok bool, err error) {
	var offsets kadm.OffsetResponses
	err = c.patient(ctx, func(ctx context.Context) (err error) {
		offsets, err = c.admin.FetchOffsetsForTopics(ctx, group, topic)
		return err
	})
	if errors.Is(err, kerr.GroupIDNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("position of group %s: %w", group, err)
	}
	at, ok := offsets.Lookup(topic, partition)
	if !ok || at.At < 0 || at.Metadata != hex.EncodeToString(id[:]) {
		return 0, false, nil
	}
	if at.Err != nil {
		return 0, false, fmt.Errorf("position of group %s in %s/%d: %w", group, topic, partition, at.Err)
	}
	return at.At, true, nil
}

// Commit sets the offset that a group has to go on from.
func (c *Client) Commit(ctx context.Context, group, topic string, id TopicID, partition int32, next int64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: next, LeaderEpoch: -1, Metadata: hex.EncodeToString(id[:])})
	if err := c.admin.CommitAllOffsets(ctx, group, offsets); err != nil {
		return fmt.Errorf("commit position %d of group %s in %s/%d: %w", next, group, topic, partition, err)
	}
	return nil
}
