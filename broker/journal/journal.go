package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// MaxAppendBytes is the largest batch that one Append takes, in bytes of the format.
const MaxAppendBytes = 64 << 20

// MaxGroupBytes is the largest Options.GroupBytes: a group exceeds its limit by at most one
// batch, and has to fit in a frame.
const MaxGroupBytes = maxBodyBytes - MaxAppendBytes

var (
	// ErrClosed is returned by a journal that has been closed.
	ErrClosed = errors.New("journal is closed")
	// ErrNotRetained is returned when reading from an offset before the journal's first.
	ErrNotRetained = errors.New("offset is older than the first one in the journal")
)

// Options are the settings of a journal. The zero value means the defaults.
type Options struct {
	// SegmentBytes is the size at which a new segment is begun; a segment exceeds it by at
	// most one frame. Default 128 MiB.
	SegmentBytes int64
	// GroupBytes is how much waits for the next group commit before Append blocks, exceeded
	// by at most one batch. Default 8 MiB, at most MaxGroupBytes.
	GroupBytes int
	// Now gives the time of appends. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 128 << 20
	}
	if o.GroupBytes == 0 {
		o.GroupBytes = 8 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Validate names the first field that has an impossible value.
func (o Options) Validate() error {
	if o.SegmentBytes < 0 {
		return fmt.Errorf("SegmentBytes: %d is negative; give a size in bytes, or 0 for the default", o.SegmentBytes)
	}
	if o.GroupBytes < 0 || o.GroupBytes > MaxGroupBytes {
		return fmt.Errorf("GroupBytes: %d is not in 0 to %d; give a size in bytes, or 0 for the default",
			o.GroupBytes, MaxGroupBytes)
	}
	return nil
}

// Journal is an open journal. All methods are safe for concurrent use.
//
// Appenders put their encoded records into the open group and wait; one goroutine takes the
// group, writes it as one frame, syncs, publishes the new end and wakes them. While it syncs,
// the next group fills. So the cost of a sync is shared by all who wait, and there is one
// frame in flight at a time, which recovery relies on.
type Journal struct {
	fs   disk.FS
	dir  string
	opts Options

	end     atomic.Int64 // offset behind the last durable record; stored under mu
	written atomic.Int64 // bytes of frames written since Open

	segmentBytes atomic.Int64 // see SetSegmentBytes

	mu       sync.Mutex // guards the four below
	group    *group     // the open group
	segments []*segment // oldest first; the last is being written if file is open
	grown    chan struct{}
	closed   bool

	cutting sync.Mutex    // held by Cut
	filled  chan struct{} // wakes the writer: the group is not empty any more
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has stopped
	once    sync.Once     // Close
	err     error         // of Close

	// Owned by the writer goroutine, and by Close once done is closed.
	file vfs.File // nil: the next frame needs a new segment
	seg  *segment
	pos  int64
}

// Open opens the journal in dir, making the folder if needed, and finds its end. first is
// the offset that an empty journal starts with. torn is how many bytes of a frame that never
// was acknowledged a crash left at the end. A whole frame that was not acknowledged because
// the process died first is kept: its records are there as if they had been.
//
// The caller sees to it that one process at a time has a folder open.
func Open(fs disk.FS, dir string, first int64, opts Options) (j *Journal, torn int64, err error) {
	if err := opts.Validate(); err != nil {
		return nil, 0, fmt.Errorf("open journal: %w", err)
	}
	if first < 0 {
		return nil, 0, fmt.Errorf("open journal: first offset %d is negative; offsets start at 0", first)
	}
	if err := fs.MakeDir(dir, disk.JournalDir); err != nil {
		return nil, 0, fmt.Errorf("make journal folder: %w", err)
	}
	j = &Journal{fs: fs, dir: dir, opts: opts.withDefaults(), group: newGroup(nil), grown: make(chan struct{}),
		filled: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	if j.segments, err = listSegments(fs, dir); err != nil {
		return nil, 0, err
	}
	end := first
	if n := len(j.segments); n > 0 {
		if end, torn, err = j.segments[n-1].recoverEnd(fs); err != nil {
			return nil, 0, fmt.Errorf("open journal: %w", err)
		}
	}
	j.end.Store(end)
	j.segmentBytes.Store(j.opts.SegmentBytes)
	go j.write()
	return j, torn, nil
}

// Append makes the records of b durable and returns the offset of the first; the others
// follow it without gaps. It blocks for a group commit, and before that while too much waits
// for one. When ctx ends during the commit the records may or may not become durable, and the
// error says so; after any other error they will not be read, unless the disk refused the new
// segment too and the process ended before it could be begun. b is the caller's again when
// Append returns.
func (j *Journal) Append(ctx context.Context, b *Batch) (first int64, err error) {
	if b.Len() == 0 {
		return 0, errors.New("append to journal: the batch is empty")
	}
	if b.Bytes() > MaxAppendBytes {
		return 0, fmt.Errorf("append to journal: the batch has %d bytes, at most %d are allowed; split it",
			b.Bytes(), MaxAppendBytes)
	}
	g, at, err := j.join(ctx, b)
	if err != nil {
		return 0, err
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("append to journal, outcome unknown: %w", context.Cause(ctx))
	}
	if g.err != nil {
		return 0, g.err
	}
	return g.first + int64(at), nil
}

// SetSegmentBytes replaces Options.SegmentBytes; it counts from the next frame on.
func (j *Journal) SetSegmentBytes(n int64) {
	j.segmentBytes.Store(Options{SegmentBytes: n}.withDefaults().SegmentBytes)
}

// publish makes records up to end readable and wakes the readers.
func (j *Journal) publish(end int64) {
	j.mu.Lock()
	j.end.Store(end)
	j.seg.bytes = j.pos
	close(j.grown)
	j.grown = make(chan struct{})
	j.mu.Unlock()
}

// End is the offset behind the last durable record.
func (j *Journal) End() int64 { return j.end.Load() }

// First is the offset of the oldest record, or the end when there is none.
func (j *Journal) First() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return j.end.Load()
	}
	return j.segments[0].base
}

// Written is the number of bytes written since Open, framing included.
func (j *Journal) Written() int64 { return j.written.Load() }

// Close acknowledges what waits in the group, stops the writer and closes its file. An Append
// that still waits for room gets ErrClosed; a reader first gets what is left. Calls after the
// first wait for it and return the same.
func (j *Journal) Close() error {
	j.once.Do(func() {
		j.mu.Lock()
		j.closed = true
		j.mu.Unlock()
		close(j.closing)
		<-j.done
		if j.file != nil {
			j.err = j.file.Close()
		}
	})
	return j.err
}

// wait blocks until records beyond offset exist; ErrClosed when they never will.
func (j *Journal) wait(ctx context.Context, offset int64) error {
	for {
		j.mu.Lock()
		grown := j.grown
		j.mu.Unlock()
		if j.end.Load() > offset {
			return nil
		}
		select {
		case <-grown:
		case <-j.done: // the last publish came before
			if j.end.Load() > offset {
				return nil
			}
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// segmentOf returns the segment that holds offset and the offset where it ends.
func (j *Journal) segmentOf(offset int64) (*segment, int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	end := j.end.Load()
	for i := len(j.segments) - 1; i >= 0; i-- {
		if j.segments[i].base <= offset {
			return j.segments[i], end, nil
		}
		end = j.segments[i].base
	}
	return nil, 0, notRetained(offset, end)
}

func notRetained(offset, first int64) error {
	return fmt.Errorf("read journal from offset %d, its first is %d: %w", offset, first, ErrNotRetained)
}
