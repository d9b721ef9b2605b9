package process

import (
	"context"

	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
)

// rawReader hands out records of events.raw in order, those below an end at a time. Offsets need not be dense.
type rawReader struct {
	reader broker.Reader
	buf    []journal.Record
	rest   []journal.Record // of buf, not handed out yet
}

// below returns the next records with offsets below end, at most so many; none when there are no more. They are valid until the call
// after. It waits while the log does not say that the end is reached.
func (r *rawReader) below(ctx context.Context, end int64, most int) ([]journal.Record, error) {
	for {
		n := 0
		for n < len(r.rest) && n < most && r.rest[n].Offset < end {
			n++
		}
		if n > 0 || len(r.rest) > 0 || r.reader.Offset() >= end {
			out := r.rest[:n]
			r.rest = r.rest[n:]
			return out, nil
		}
		var err error
		if r.buf, err = r.reader.Next(ctx, r.buf[:0], readBytes); err != nil {
			return nil, err
		}
		r.rest = r.buf
	}
}

// close ends the reader.
func (r *rawReader) close() { _ = r.reader.Close() }
