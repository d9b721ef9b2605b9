package journal

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// keepFrame is how many times Options.GroupBytes of frame memory a group may keep for the
// next one; the memory of a rare huge batch is let go.
const keepFrame = 2

// group is what one frame will hold: the frame's bytes, header room included. While it is the
// open group, frame and count are guarded by Journal.mu; then they are the writer's alone.
// Waiters only ever look at first and err, after done.
type group struct {
	frame []byte
	count int
	taken chan struct{} // closed when the writer has taken it: another group is open
	done  chan struct{} // closed when the outcome is known
	first int64         // set before done is closed
	err   error         // set before done is closed
}

// newGroup returns an empty group that uses the memory of a finished one's frame.
func newGroup(frame []byte) *group {
	if cap(frame) < headerBytes {
		frame = make([]byte, headerBytes, 4096)
	}
	return &group{frame: frame[:headerBytes], taken: make(chan struct{}), done: make(chan struct{})}
}

// join puts the records of b into the open group and returns it with b's place in it. It
// waits while the group has reached its limit; nothing was appended if it returns an error.
func (j *Journal) join(ctx context.Context, b *Batch) (g *group, at int, err error) {
	for {
		if ctx.Err() != nil {
			return nil, 0, fmt.Errorf("append to journal: %w", context.Cause(ctx))
		}
		j.mu.Lock()
		if j.closed {
			j.mu.Unlock()
			return nil, 0, ErrClosed
		}
		g = j.group
		if len(g.frame)-headerBytes < j.opts.GroupBytes {
			at = g.count
			g.frame = append(g.frame, b.body...)
			g.count += b.count
			j.mu.Unlock()
			select {
			case j.filled <- struct{}{}:
			default: // the writer has been told and will look
			}
			return g, at, nil
		}
		j.mu.Unlock()
		select {
		case <-g.taken:
		case <-j.closing:
		case <-ctx.Done():
		}
	}
}

// take swaps the open group for spare and returns it; nil when it is empty.
func (j *Journal) take(spare *group) (g *group, closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.group.count == 0 {
		return nil, j.closed
	}
	g, j.group = j.group, spare
	close(g.taken)
	return g, j.closed
}

// write is the writer goroutine: one group commit after another until Close.
func (j *Journal) write() {
	defer close(j.done)
	spare := newGroup(nil)
	for {
		g, closed := j.take(spare)
		if g == nil {
			if closed {
				return // nobody joins a group once closed is set
			}
			select {
			case <-j.filled:
			case <-j.closing:
			}
			continue
		}
		g.first = j.end.Load()
		g.err = j.commit(g)
		if g.err == nil {
			j.publish(g.first + int64(g.count))
		}
		close(g.done)
		if cap(g.frame) > keepFrame*j.opts.GroupBytes+headerBytes {
			g.frame = nil
		}
		spare = newGroup(g.frame)
	}
}

// commit makes one frame durable.
func (j *Journal) commit(g *group) error {
	if j.file == nil || j.pos >= j.segmentBytes.Load() {
		if err := j.roll(g.first); err != nil {
			return fmt.Errorf("begin journal segment: %w", err)
		}
	}
	putHeader(g.frame, g.first, g.count, j.opts.Now().UnixMilli())
	if err := j.writeFrame(g.frame); err != nil {
		// Nothing is known of the file any more: after a failed sync the page cache may hold
		// what the disk doesn't. A new segment takes the offset over at once, so that what the
		// failed frame left lies beyond the new base and is ignored, now and at the next Open.
		// If that fails too, the file is nil and the next commit tries again.
		_ = j.roll(g.first)
		return err
	}
	j.seg.note(g.first, j.pos)
	j.pos += int64(len(g.frame))
	j.written.Add(int64(len(g.frame)))
	return nil
}

func (j *Journal) writeFrame(frame []byte) error {
	if _, err := j.file.Write(frame); err != nil {
		return fmt.Errorf("write journal segment %s: %w", j.seg.path, err)
	}
	if err := j.fs.SyncData(j.file, disk.JournalFrame); err != nil {
		return fmt.Errorf("sync journal segment %s: %w", j.seg.path, err)
	}
	return nil
}

// roll closes the current segment and begins one at offset base. On an error there is no
// current segment.
func (j *Journal) roll(base int64) error {
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
	// Nothing is preallocated: on ext4 it makes no commit faster, writing zeros ahead makes them
	// slower (the disk's bandwidth is what limits), and every segment that ends early, as at
	// each restart, would keep blocks that no one uses.
	j.file, j.seg, j.pos = f, seg, 0

	j.mu.Lock()
	defer j.mu.Unlock()
	// A segment at the same base is one without any acknowledged record: Create replaced it.
	if n := len(j.segments); n > 0 && j.segments[n-1].base == base {
		j.segments = j.segments[:n-1]
	}
	j.segments = append(j.segments, seg)
	return nil
}
