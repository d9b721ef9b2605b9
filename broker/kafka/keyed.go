package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
)

// headerForwarded says where in events.raw a forwarded record of events.keyed comes from:
//
//	partition 4, offset 8, number of the change of the event 4 (from 1; 0 = the event as a whole); big-endian
//
// Forwards of one source partition arrive in order of their place, as one router sends them and waits; a router that begins
// again, or one that does not know yet that it was replaced, sends again what stands there already. So a forward whose place is not above the
// last one of its source is a repetition.
const headerForwarded = "freshet.forwarded"

// Forwarded is the header of a record of events.keyed that comes from a partition of events.raw. change is the number of the
// change of the event, from 1; 0 = the event as a whole.
func Forwarded(source int32, offset int64, change int) Header {
	v := binary.BigEndian.AppendUint32(nil, uint32(source))
	v = binary.BigEndian.AppendUint64(v, uint64(offset))
	return Header{Name: headerForwarded, Value: binary.BigEndian.AppendUint32(v, uint32(change))}
}

func parseForwarded(v []byte) (source int32, f forward, err error) {
	if len(v) != 16 {
		return 0, f, fmt.Errorf("header %s has %d bytes, not 16", headerForwarded, len(v))
	}
	return int32(binary.BigEndian.Uint32(v)), forward{int64(binary.BigEndian.Uint64(v[4:])), int32(binary.BigEndian.Uint32(v[12:]))}, nil
}

// keyedReader reads a partition of events.keyed for its owner, without repeated forwards.
type keyedReader struct {
	p      *Partition
	reader *Reader
	err    error
	next   int64
	last   map[int32]forward // of each partition of events.raw
	noting bool              // what it reads is decided
}

// ReadRaw implements [broker.Log]. The first reader is that of what is decided. Another one finds repeated forwards if it begins at
// 0, as an audit does: it has to have read what was forwarded before.
func (p *Partition) ReadRaw(from int64) broker.Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &keyedReader{p: p, next: from, last: map[int32]forward{}}
	if !p.reading {
		p.reading, r.noting, r.last = true, true, p.decided
	}
	r.reader, r.err = p.client.NewReader(freshet.Position{Topic: p.RawTopic(), Partition: p.number, Offset: from})
	return r
}

// Next implements [broker.Reader]. The bytes of a fetch are bounded by Options.FetchBytes.
func (r *keyedReader) Next(ctx context.Context, buf []journal.Record, _ int) ([]journal.Record, error) {
	for had := len(buf); len(buf) == had; {
		if r.err != nil {
			return buf, r.err
		}
		fetched, err := r.reader.Read(ctx)
		if errors.Is(err, ErrClosed) {
			return buf, journal.ErrClosed
		}
		if err != nil {
			return buf, err
		}
		for _, f := range fetched {
			r.p.end.Store(f.End)
			r.next = f.Next
			for i := range f.Records {
				again, err := r.repeats(&f.Records[i])
				if err != nil {
					return buf, err
				}
				if !again {
					buf = append(buf, raw(&f.Records[i]))
				}
			}
		}
	}
	return buf, nil
}

func raw(r *Record) journal.Record {
	out := journal.Record{Partition: r.Partition, Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, journal.Header(h))
	}
	return out
}

// Offset implements [broker.Reader].
func (r *keyedReader) Offset() int64 { return r.next }

// Close implements [broker.Reader].
func (r *keyedReader) Close() error {
	if r.reader != nil {
		r.reader.Close()
	}
	return nil
}

// repeats reports whether a record was forwarded before, and remembers it.
func (r *keyedReader) repeats(rec *Record) (bool, error) {
	for _, h := range rec.Headers {
		if h.Name != headerForwarded {
			continue
		}
		source, f, err := parseForwarded(h.Value)
		if err != nil {
			return false, fmt.Errorf("%s/%d@%d: %w; only freshet writes to this topic", r.p.RawTopic(), rec.Partition, rec.Offset, err)
		}
		if last, ok := r.last[source]; ok && !f.after(last) {
			return true, nil
		}
		r.last[source] = f
		if r.noting {
			r.p.mu.Lock()
			defer r.p.mu.Unlock()
			r.p.read = append(r.p.read, readForward{rec.Offset, source, f})
		}
		return false, nil
	}
	return false, nil
}
