package journal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// keepRead is how much buffer a reader keeps between calls of Next at least; what a rare huge
// frame needed beyond it, and beyond what maxBytes asks for, is let go.
const keepRead = 16 << 20

// statAbove is the frame size from which on a reader asks whether the file is that long before
// it makes room for a frame on the word of an unverified header.
const statAbove = 1 << 20

// Reader reads the records of a journal in order of offset. It is for one goroutine, and goes
// on working on a closed journal until it has read everything.
type Reader struct {
	j    *Journal
	next int64 // the offset to return next

	seg  *segment
	end  int64 // offset where seg is known to end; the segment being written grows
	file vfs.File
	pos  int64 // byte in seg of the next frame to look at
	at   int64 // offset of the frame at pos, never beyond next
	head [headerBytes]byte
	buf  []byte // the frames of this Next; full ones before it are kept alive by the records
}

// ReadFrom returns a reader whose first record is the one at offset. Next fails with
// ErrNotRetained when offset lies before First.
func (j *Journal) ReadFrom(offset int64) *Reader { return &Reader{j: j, next: offset} }

// Offset is the offset of the next record.
func (r *Reader) Offset() int64 { return r.next }

// Next appends the following records to dst, at least one: it blocks until there is one and
// then takes whole frames until it has read maxBytes of them or nothing more is durable. What
// the records point to is valid until the next call. ErrClosed when the journal is closed and
// everything has been read; the cause of ctx when it has ended. Damage is named by segment and
// byte; Next does not go past it, and fails again when called again. With an error no records
// are returned and Offset stays.
func (r *Reader) Next(ctx context.Context, dst []Record, maxBytes int) ([]Record, error) {
	if ctx.Err() != nil {
		return dst, context.Cause(ctx)
	}
	if err := r.j.wait(ctx, r.next); err != nil {
		return dst, err
	}
	r.buf = r.buf[:0]
	if cap(r.buf) > keepRead && cap(r.buf)/4 > maxBytes {
		r.buf = nil
	}
	start := len(dst)
	for size := 0; r.next < r.j.End() && (len(dst) == start || size < maxBytes); {
		records, n, err := r.frame(dst)
		if err != nil && len(dst) > start {
			break // what was read is good, and the next call meets the error again
		}
		if err != nil {
			return dst, err
		}
		dst = records
		size += n
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

// frame appends the records from r.next on of the frame that holds it, and returns the size of
// that frame. On an error dst is as before, and so is the reader's place.
func (r *Reader) frame(dst []Record) ([]Record, int, error) {
	for {
		if err := r.position(); err != nil {
			return dst, 0, err
		}
		h, err := r.header()
		if err != nil {
			return dst, 0, r.damaged(err)
		}
		wanted := h.end() > r.next
		if wanted {
			if dst, err = r.records(dst, h); err != nil {
				return dst, 0, r.damaged(err)
			}
			r.next = h.end()
		}
		r.seg.note(h.first, r.pos)
		r.pos += h.size()
		r.at = h.end()
		if wanted {
			return dst, int(h.size()), nil
		}
	}
}

func (r *Reader) damaged(err error) error {
	return fmt.Errorf("journal segment %s is damaged at byte %d: %w", r.seg.path, r.pos, err)
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
		return fmt.Errorf("close segment: %w", err)
	}
	f, err := r.j.fs.Open(seg.path, vfs.SequentialReadsOption)
	if first := r.j.First(); err != nil && r.next < first { // it was cut off just now
		return notRetained(r.next, first)
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	from := seg.seek(r.next)
	r.seg, r.end, r.file, r.pos, r.at = seg, end, f, from.pos, from.offset
	return nil
}

// header reads the header of the frame at r.pos. It has not been verified by a checksum: a
// frame that is skipped is only known to fit between its neighbours.
func (r *Reader) header() (frameHeader, error) {
	if err := r.readAt(r.head[:], r.pos); err != nil {
		return frameHeader{}, err
	}
	h, err := parseHeader(r.head[:])
	if err == nil && (h.first != r.at || h.end() > r.end) {
		err = fmt.Errorf("the frame says offsets %d to %d, expected %d to at most %d", h.first, h.end(), r.at, r.end)
	}
	return h, err
}

// records reads and checks the frame whose header is in r.head and appends its records from
// r.next on.
func (r *Reader) records(dst []Record, h frameHeader) ([]Record, error) {
	if h.size() > statAbove {
		if info, err := r.file.Stat(); err != nil {
			return dst, err
		} else if r.pos+h.size() > info.Size() {
			return dst, errShort
		}
	}
	frame := r.grab(int(h.size()))
	copy(frame, r.head[:])
	if err := r.readAt(frame[headerBytes:], r.pos+headerBytes); err != nil {
		return dst, err
	}
	h, body, err := parseFrame(frame)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	if dst, err = decodeRecords(dst, h, body); err != nil {
		return dst, err
	}
	if skip := int(r.next - h.first); skip > 0 {
		dst = append(dst[:start], dst[start+skip:]...)
	}
	return dst, nil
}

// grab returns n bytes that stay valid until the next call of Next.
func (r *Reader) grab(n int) []byte {
	start := len(r.buf)
	if cap(r.buf)-start < n {
		start = 0
		r.buf = make([]byte, 0, max(n, 2*cap(r.buf)))
	}
	r.buf = r.buf[:start+n]
	return r.buf[start:]
}

// readAt fills b. It never reads what the writer has not published, so it can't meet half a
// frame.
func (r *Reader) readAt(b []byte, pos int64) error {
	_, err := r.file.ReadAt(b, pos)
	if errors.Is(err, io.EOF) {
		return errShort
	}
	return err
}
