package ann

import (
	"context"
	"slices"
	"time"
)

// waitForRoom waits until the buffer takes another batch.
func (ix *Index) waitForRoom() error {
	limit := int64(ix.opt.BufferSize + max(0, ix.opt.FlatBelow))
	for ix.structure != nil && !ix.boundless.Load() && ix.slots.buffered.Load() >= limit {
		m := &ix.maintainer
		m.mu.Lock()
		m.startLocked()
		done := m.waitLocked()
		m.mu.Unlock()
		if ix.closed.Load() {
			return ErrClosed
		}
		if ix.slots.buffered.Load() >= limit {
			<-done
		}
	}
	return nil
}

// SetBackPressure says whether Apply waits while the buffer is full, as it does from the start. A program that fills an
// index before it serves can do without: then it serves sooner, and searches scan more until the buffer is small.
func (ix *Index) SetBackPressure(on bool) { ix.boundless.Store(!on) }

// waitLocked returns a channel that is closed after the next job.
func (m *maintainer) waitLocked() <-chan struct{} {
	if m.progress == nil {
		m.progress = make(chan struct{})
	}
	return m.progress
}

// flushPoll bounds how long Flush sleeps before it looks again for work that waited for a reader.
const flushPoll = 2 * time.Millisecond

// Flush waits until everything that was applied before the call is in the graph and the graph is repaired around what
// was deleted. In an index that is an exact list (kind Flat, or not above FlatBelow points) it only waits for the
// removal of dead points. It returns the error of ctx when that ends first.
func (ix *Index) Flush(ctx context.Context) error {
	m := &ix.maintainer
	timer := time.NewTimer(flushPoll)
	defer timer.Stop()
	all, last := false, uint64(0) // all jobs that matter are begun, and last is the number of the last
	for seq := ix.committed.Load(); ; {
		m.mu.Lock()
		if m.stopped {
			m.mu.Unlock()
			return ErrClosed
		}
		m.startLocked()
		if !all && m.begunLocked(seq) {
			all, last = true, m.begun
		}
		ended := all && !slices.ContainsFunc(m.active, func(n uint64) bool { return n <= last })
		done := m.waitLocked()
		m.mu.Unlock()
		if ended {
			return nil
		}
		timer.Reset(flushPoll)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
		case <-timer.C:
		}
	}
}

// begunLocked reports whether every job for what happened up to seq was begun.
func (m *maintainer) begunLocked(seq uint64) bool {
	s := &m.ix.slots
	if m.dead.len() > 0 && s.header(m.dead.first()).died.Load() <= seq {
		return false
	}
	for slot, end := uint32(0), s.end.Load(); m.draining.Load(); slot++ {
		next, ok := s.buffer.next(slot, end)
		if !ok {
			break
		}
		if h := s.header(next); h.is(pending) && h.alive() && h.born.Load() <= seq {
			return false
		}
		slot = next
	}
	return !m.training
}

// stop ends the background work, and waits for the jobs at hand.
func (m *maintainer) stop() {
	for {
		m.mu.Lock()
		m.stopped = true
		running := m.running
		if m.training || m.measuring {
			running++
		}
		done := m.waitLocked()
		if running == 0 && m.progress != nil {
			close(m.progress)
			m.progress = nil
		}
		m.mu.Unlock()
		if running == 0 {
			return
		}
		<-done
	}
}
