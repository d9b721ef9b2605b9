package ann

// The memory of an index lies outside the Go heap (see arena.go), so nobody may look at it once it is given back. Close
// gives it back when no reader is left. Why none can come later: enter takes a reader and then looks whether the index is
// closed; Close sets that and then looks for readers. Whoever comes second sees the other. Changes and background work
// hold no reader all the time, but Close waits for them first: changes look at closed under the write lock, which Close
// takes to set it, and workers are counted.

// enter returns a pinned reader for a caller of the index, or ErrClosed. walks says that it will follow links. The caller
// calls leave when it is done.
func (ix *Index) enter(walks bool) (*reader, error) {
	r := ix.readers.acquire(walks)
	if ix.closed.Load() {
		ix.leave(r)
		return nil, ErrClosed
	}
	if len(r.full) == 0 {
		r.full = ix.slots.vectors.scratch()
	}
	r.err = nil
	return r, nil
}

// leave ends the use of a reader, and wakes those that wait for it: workers, and Close.
func (ix *Index) leave(r *reader) {
	ix.readers.release(r)
	if ix.parked.Load() {
		ix.kick()
	}
	if ix.closed.Load() {
		select {
		case ix.left <- struct{}{}:
		default: // Close has one to take already
		}
	}
}

// Close stops the background work, waits for the job at hand and for the calls that run, and gives the memory back. It
// must not be called from a function that the index calls: a Filter, or the function of Each. Calls that come later
// return ErrClosed; Close may be called again. An index that nobody can reach any more is closed by the garbage
// collector, some time.
func (ix *Index) Close() error {
	ix.write.Lock()
	ix.closed.Store(true)
	ix.write.Unlock()
	ix.maintainer.stop()
	ix.closing.Lock() // a second Close waits for the first
	defer ix.closing.Unlock()
	for ix.readers.busy() {
		<-ix.left
	}
	return ix.release()
}

// release gives back what no reader can reach any more. Addresses are forgotten first, so that a use after this, which is
// a mistake in this package, is a panic with a trace and not a fault.
func (ix *Index) release() error {
	for _, slab := range ix.slots.slabs() {
		slab.Forget()
	}
	if ix.graph != nil {
		ix.graph.rows.Forget()
		ix.graph.upper.Forget()
	}
	return ix.resources.release()
}

// resources are what an index has outside the Go heap. They stand apart from it, since what its cleanup refers to must
// not keep it alive.
type resources struct {
	arena arena
	file  *vectorFile
}

// release may be called again.
func (r *resources) release() error {
	r.arena.free()
	if r.file != nil {
		return r.file.close()
	}
	return nil
}
