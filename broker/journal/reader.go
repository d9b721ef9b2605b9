package journal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reader reads the records of a journal in order of offset. It is for one goroutine.
type Reader struct {
	j    *Journal
	next int64 // the offset to return next

	seg  *segment
	end  int64 // offset where seg is known to end; the segment being written grows
	file vfs.File
	pos  int64 // byte in seg of the frame that begins at frameAt
	at   int64 // offset of the frame at pos
	buf  []byte
}

// ReadFrom returns a reader whose first record is the one at offset, or the first behind it.
func (j *Journal) ReadFrom(offset int64) *Reader { return &Reader{j: j, next: offset} }

// Offset is the offset of the next record.
func (r *Reader) Offset() int64 { return r.next }

// Next returns the following records, at least one: it blocks until there is one and then
// takes whole frames until it has maxBytes or nothing more is durable. The records are valid
// until the next call. ErrClosed when the journal is closed; any other error is sticky
// damage, and says where.
func (r *Reader) Next(ctx context.Context, dst []Record, maxBytes int) ([]Record, error) {
	if err := r.j.wait(ctx, r.next); err != nil {
		return dst, err
	}
	r.buf = r.buf[:0]
	start := len(dst)
	for r.next < r.j.End() && (len(dst) == start || len(r.buf) < maxBytes) {
		var err error
		if dst, err = r.frame(dst); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// Close releases the reader's file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file, r.seg = nil, nil
	return f.Close()
}

// frame appends the records from r.next on of the frame that holds it.
func (r *Reader) frame(dst []Record) ([]Record, error) {
	for {
		if err := r.position(); err != nil {
			return dst, err
		}
		h, body, err := r.read()
		if err != nil {
			return dst, fmt.Errorf("journal segment %s is damaged at byte %d: %w", r.seg.path, r.pos, err)
		}
		if h.first != r.at {
			return dst, fmt.Errorf("journal segment %s is damaged at byte %d: the frame says offset %d, expected %d",
				r.seg.path, r.pos, h.first, r.at)
		}
		r.pos += int64(headerBytes + h.bodyLen)
		r.at = h.end()
		if h.end() <= r.next {
			continue // before the reader's start
		}
		at := len(dst)
		if dst, err = decodeRecords(dst, h, body); err != nil {
			return dst, fmt.Errorf("journal segment %s: %w", r.seg.path, err)
		}
		if skip := int(r.next - h.first); skip > 0 {
			dst = append(dst[:at], dst[at+skip:]...)
		}
		r.next = h.end()
		return dst, nil
	}
}

// position makes sure that r.seg, r.pos and r.at name the next frame to read.
func (r *Reader) position() error {
	if r.seg != nil && r.at < r.end {
		return nil
	}
	seg, end, err := r.j.segmentOf(r.next)
	if err != nil {
		return err
	}
	if seg == r.seg {
		r.end = end
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	f, err := r.j.fs.Open(seg.path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	from := seg.seek(r.next)
	r.seg, r.end, r.file, r.pos, r.at = seg, end, f, from.pos, from.offset
	return nil
}

// read reads the frame at r.pos to the end of r.buf, so that all frames of one Next stay
// valid together.
func (r *Reader) read() (frameHeader, []byte, error) {
	start := len(r.buf)
	if err := r.readAt(headerBytes, r.pos); err != nil {
		return frameHeader{}, nil, err
	}
	h, err := parseHeader(r.buf[start:])
	if err != nil {
		return h, nil, err
	}
	if err := r.readAt(h.bodyLen, r.pos+headerBytes); err != nil {
		return h, nil, err
	}
	return parseFrame(r.buf[start:])
}

func (r *Reader) readAt(n int, pos int64) error {
	start := len(r.buf)
	if cap(r.buf)-start < n {
		// A new buffer: records of this Next that were read already alias the old one.
		grown := make([]byte, start, 2*(start+n))
		copy(grown, r.buf)
		r.buf = grown
	}
	r.buf = r.buf[:start+n]
	if _, err := r.file.ReadAt(r.buf[start:], pos); err != nil {
		if errors.Is(err, io.EOF) {
			return errShort
		}
		return err
	}
	return nil
}
