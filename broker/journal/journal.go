package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// MaxAppendBytes is the largest batch that one Append takes, in bytes of the format.
const MaxAppendBytes = 64 << 20

// ErrClosed is returned by a journal that has been closed.
var ErrClosed = errors.New("journal is closed")

// Options are the settings of a journal. The zero value means the defaults.
type Options struct {
	// SegmentBytes is the size at which a new segment is begun. Default 128 MiB.
	SegmentBytes int64
	// GroupBytes is how much waits for the next group commit before Append blocks.
	// Default 8 MiB.
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
	if o.GroupBytes < 0 {
		return fmt.Errorf("GroupBytes: %d is negative; give a size in bytes, or 0 for the default", o.GroupBytes)
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

	end     atomic.Int64 // offset behind the last durable record
	written atomic.Int64 // bytes of frames written since Open

	mu       sync.Mutex // guards all below
	cond     *sync.Cond // signals: group taken, group filled, closing
	group    *group     // the open group
	segments []*segment // oldest first; the last is being written if file is open
	grown    chan struct{}
	closed   bool

	done chan struct{} // closed when the writer has stopped

	// Owned by the writer goroutine.
	file  vfs.File
	seg   *segment
	pos   int64
	ready bool // false: the next frame needs a new segment
}

// group is what one frame will hold: the frame's bytes, header room included.
type group struct {
	frame []byte
	count int
	done  chan struct{}
	first int64 // set before done is closed
	err   error // set before done is closed
}

func newGroup() *group {
	return &group{frame: make([]byte, headerBytes, 4096), done: make(chan struct{})}
}

// Open opens the journal in dir, making the folder if needed, and finds its end. first is
// the offset that an empty journal starts with. torn is how many bytes of a frame that never
// was acknowledged a crash left at the end.
func Open(fs disk.FS, dir string, first int64, opts Options) (j *Journal, torn int64, err error) {
	if err := opts.Validate(); err != nil {
		return nil, 0, fmt.Errorf("open journal: %w", err)
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, 0, fmt.Errorf("make journal folder: %w", err)
	}
	j = &Journal{fs: fs, dir: dir, opts: opts.withDefaults(), group: newGroup(),
		grown: make(chan struct{}), done: make(chan struct{})}
	j.cond = sync.NewCond(&j.mu)
	if j.segments, err = listSegments(fs, dir); err != nil {
		return nil, 0, err
	}
	end := first
	if n := len(j.segments); n > 0 {
		if end, torn, err = j.segments[n-1].recoverEnd(fs); err != nil {
			return nil, 0, err
		}
	}
	j.end.Store(end)
	go j.write()
	return j, torn, nil
}

// Append makes the records of b durable and returns the offset of the first; the others
// follow it without gaps. It blocks for a group commit, and before that while too much waits
// for one. When ctx ends first the records may or may not become durable. b is the caller's
// again when Append returns.
func (j *Journal) Append(ctx context.Context, b *Batch) (first int64, err error) {
	if b.Len() == 0 {
		return 0, errors.New("append to journal: the batch is empty")
	}
	if b.Bytes() > MaxAppendBytes {
		return 0, fmt.Errorf("append to journal: the batch has %d bytes, at most %d are allowed; split it",
			b.Bytes(), MaxAppendBytes)
	}
	j.mu.Lock()
	for !j.closed && len(j.group.frame) > headerBytes && len(j.group.frame)+b.Bytes() > j.opts.GroupBytes {
		j.cond.Wait()
	}
	if j.closed {
		j.mu.Unlock()
		return 0, ErrClosed
	}
	g := j.group
	at := g.count
	g.frame = append(g.frame, b.body...)
	g.count += b.count
	j.cond.Broadcast()
	j.mu.Unlock()

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

// write is the writer goroutine: one group commit after another until Close.
func (j *Journal) write() {
	defer close(j.done)
	spare := newGroup()
	for {
		j.mu.Lock()
		for j.group.count == 0 && !j.closed {
			j.cond.Wait()
		}
		g := j.group
		if g.count == 0 {
			j.mu.Unlock()
			return
		}
		j.group = spare
		j.cond.Broadcast()
		j.mu.Unlock()

		g.first = j.end.Load()
		g.err = j.commit(g)
		if g.err == nil {
			j.publish(g.first + int64(g.count))
		}
		close(g.done)
		// The frame's memory serves a later group; its other fields belong to the waiters.
		spare = &group{frame: g.frame[:headerBytes], done: make(chan struct{})}
	}
}

// commit writes and syncs one frame. After a failure the next frame goes to a new segment:
// what the failed one left behind lies beyond that segment's base and is ignored.
func (j *Journal) commit(g *group) error {
	if !j.ready || j.pos >= j.opts.SegmentBytes {
		if err := j.roll(g.first); err != nil {
			return fmt.Errorf("begin journal segment: %w", err)
		}
	}
	putHeader(g.frame, g.first, g.count, j.opts.Now().UnixMilli())
	if _, err := j.file.Write(g.frame); err != nil {
		j.ready = false
		return fmt.Errorf("write journal: %w", err)
	}
	if err := j.fs.SyncData(j.file, disk.JournalFrame); err != nil {
		j.ready = false
		return fmt.Errorf("sync journal: %w", err)
	}
	j.seg.note(g.first, j.pos)
	j.pos += int64(len(g.frame))
	j.written.Add(int64(len(g.frame)))
	return nil
}

// roll closes the current segment and begins one at offset base.
func (j *Journal) roll(base int64) error {
	j.ready = false
	if j.file != nil {
		j.file.Close() // every acknowledged byte of it is synced already
		j.file = nil
	}
	seg := newSegment(j.fs, j.dir, base)
	f, err := j.fs.Create(seg.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := j.fs.SyncDir(j.dir, disk.JournalDir); err != nil {
		f.Close()
		return err
	}
	// Preallocation only saves metadata writes; where it is not possible nothing is lost.
	_ = f.Preallocate(0, j.opts.SegmentBytes)
	j.file, j.seg, j.pos, j.ready = f, seg, 0, true

	j.mu.Lock()
	defer j.mu.Unlock()
	// A segment at the same base is one without any acknowledged record: Create replaced it.
	if n := len(j.segments); n > 0 && j.segments[n-1].base == base {
		j.segments = j.segments[:n-1]
	}
	j.segments = append(j.segments, seg)
	return nil
}

// publish makes records up to end readable and wakes the readers.
func (j *Journal) publish(end int64) {
	j.mu.Lock()
	j.end.Store(end)
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

// Close acknowledges what waits, stops the writer and closes the files.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.done
		return nil
	}
	j.closed = true
	j.cond.Broadcast()
	close(j.grown)
	j.grown = make(chan struct{})
	j.mu.Unlock()
	<-j.done
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// wait blocks until records beyond offset exist; ErrClosed when they never will.
func (j *Journal) wait(ctx context.Context, offset int64) error {
	for {
		j.mu.Lock()
		grown, closed := j.grown, j.closed
		j.mu.Unlock()
		if j.end.Load() > offset {
			return nil
		}
		if closed {
			return ErrClosed
		}
		select {
		case <-grown:
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
	return nil, 0, fmt.Errorf("offset %d is older than the first retained one: %w", offset, io.ErrUnexpectedEOF)
}
