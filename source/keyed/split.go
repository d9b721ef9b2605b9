package keyed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source"
)

// Split takes the events of an intake apart by a mapping.
func Split(mapper process.Mapper, partitions int, now func() time.Time) source.Split {
	return func(raw []byte, headers []journal.Header, add func(int32, ...journal.Header)) error {
		r := process.Record{AcceptedAt: now().UnixMilli(), Value: raw}
		for _, h := range headers {
			if h.Name == freshet.HeaderSource {
				r.Source = string(h.Value)
			}
		}
		whole := int32(xxh3.Hash(raw) % uint64(partitions))
		pieces, err := process.Split(mapper, r, partitions, whole)
		if err == nil && len(pieces) == 0 { // it is counted where it is decided
			add(whole, journal.Header{Name: freshet.HeaderMappedAt, Value: strconv.AppendInt(nil, r.AcceptedAt, 10)})
		}
		for _, p := range pieces {
			add(p.Partition, p.Headers...)
		}
		return err
	}
}

// split is what becomes of a record of events.raw: pieces with all their headers but that of their origin, and the value
// of all of them. It waits for what the mapping needs; the error is the end of ctx.
func (r *Router) split(ctx context.Context, rec *kafka.Record) (pieces []process.Piece, value []byte, err error) {
	in, problem := codec.FromKafka(incoming(rec), r.opts.Form, r.opts.Registry)
	if size := len(in.Value) + len(in.Source); size > r.most {
		problem = &freshet.Error{Code: freshet.CodeTooLarge, Message: fmt.Sprintf("the event has %d bytes, the limit event_bytes is %d; it is not kept here, "+
			"but it is %s/%d@%d for as long as that topic keeps it", size, r.most, r.topic(), r.partition, rec.Offset)}
		in.Value, in.Source = nil, ""
	}
	if problem != nil {
		pieces = []process.Piece{{Partition: r.partition, Headers: []journal.Header{process.RefusedHeader(process.StageDecode, problem)}}}
	} else if pieces, err = r.take(ctx, process.Record{AcceptedAt: rec.Time, Source: in.Source, Trace: in.Trace, Default: in.Default, Value: in.Value}); err != nil {
		return nil, nil, err
	}
	common := process.EventHeaders(in.Source, in.Trace, in.Default)
	for i := range pieces {
		for _, h := range pieces[i].Headers {
			if h.Name == freshet.HeaderRefused {
				r.Refused.Add(1)
			}
		}
		pieces[i].Headers = append(pieces[i].Headers[:len(pieces[i].Headers):len(pieces[i].Headers)], common...)
	}
	return pieces, in.Value, nil
}

// take takes an event apart; what mapping needs and is away it waits for.
func (r *Router) take(ctx context.Context, rec process.Record) ([]process.Piece, error) {
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		pieces, err := process.Split(r.opts.Mapper, rec, r.opts.Client.Options().Partitions, r.partition)
		if err == nil {
			return pieces, nil
		}
		if !r.Paused.Swap(true) {
			r.opts.Logger.Error("routing waits; it is tried again", "topic", r.topic(), "partition", r.partition, "error", err)
		}
		if !sleep(ctx, wait) {
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

func incoming(rec *kafka.Record) codec.KafkaRecord {
	in := codec.KafkaRecord{Key: rec.Key, Value: rec.Value, Headers: make([]codec.KafkaHeader, len(rec.Headers))}
	for i, h := range rec.Headers {
		in.Headers[i] = codec.KafkaHeader{Name: h.Name, Value: h.Value}
	}
	return in
}
