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
	reader partitionReader
	err    error
	next   int64
	behind int64              // the last record that was read
	last   map[origin]forward // of each partition of events.raw
	noting bool               // what it reads is decided
	folded bool               // what it reads is folded into the audit base
}

// partitionReader is a [Reader] of one partition, or a [Subscription].
type partitionReader interface {
	Read(context.Context) ([]Fetched, error)
	Close()
}

// ReadRaw implements [broker.Log]. It finds repeated forwards if it begins at 0, for it reads what was forwarded before, or where the audit
// base ends, which knows that.
func (p *Partition) ReadRaw(from int64) broker.Reader { return p.readAs("", from, p.ScanTable) }

// ReadRawAs implements [broker.Log].
func (p *Partition) ReadRawAs(m broker.Member, from int64) broker.Reader {
	return p.readAs(m.Group, from, p.ScanTable)
}

// readAs reads for a group; base is where what the audit base knows is read.
func (p *Partition) readAs(group string, from int64, base scanTable) broker.Reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &keyedReader{p: p, next: from, behind: from, last: map[origin]forward{}, noting: group == processGroup, folded: group == baseGroup}
	switch {
	case r.noting:
		r.last = p.decided
	case from > 0:
		r.err = readForwards(base, broker.TableBase, r.last)
	}
	if r.folded {
		p.folding = nil
	}
	if r.err != nil {
		return r
	}
	r.reader, r.err = p.openAt(freshet.Position{Topic: p.RawTopic(), Partition: p.number, Offset: from}, r.noting)
	return r
}

// openAt reads from a position on: with the reader of all that is decided here, or with one of its own.
func (p *Partition) openAt(at freshet.Position, shared bool) (partitionReader, error) {
	if shared {
		s, err := p.reader.Subscribe(at)
		if err != nil {
			return nil, err // and no interface that holds a nil
		}
		return s, nil
	}
	reader, err := p.client.NewReader(at)
	if err != nil {
		return nil, err
	}
	return reader, nil
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
			r.next = f.Next
			for i := range f.Records {
				again, err := r.repeats(&f.Records[i])
				if err != nil {
					return buf, err
				}
				if !again {
					buf, r.behind = append(buf, f.Records[i]), f.Records[i].Offset+1
				}
			}
			// Where nothing more is to be read, what stands behind the last record (marks of transactions, repeated forwards) does not count.
			if end := f.End; r.noting && f.Next < end {
				r.p.end.Store(end)
			} else if r.noting {
				r.p.end.Store(r.behind)
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
		r.p.mu.Lock()
		defer r.p.mu.Unlock()
		switch {
		case r.noting:
			r.p.read = append(r.p.read, readForward{rec.Offset, source, f})
		case r.folded:
			r.p.folding = append(r.p.folding, readForward{rec.Offset, source, f})
		}
		return false, nil
	}
	return false, nil
}
