package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
)

// keyedReader reads a partition of events.keyed for its owner, without repeated forwards.
type keyedReader struct {
	p      *Partition
	reader *Reader
	err    error
	next   int64
	last   map[origin]forward // of each partition of events.raw
	noting bool               // what it reads is decided
}

// ReadRaw implements [broker.Log]. The first reader is that of what is decided. Another one finds repeated forwards if it begins at
// 0, as an audit does: it has to have read what was forwarded before.
func (p *Partition) ReadRaw(from int64) broker.Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &keyedReader{p: p, next: from, last: map[origin]forward{}}
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
					buf = append(buf, f.Records[i])
				}
			}
		}
	}
	return buf, nil
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
