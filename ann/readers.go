package ann

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// reader is one goroutine's right to look at the index at one sequence, with the scratch memory that it needs. Searches,
// workers and snapshots hold one each while they run.
//
// What a pin at sequence s protects:
//   - A slot that is visible at s is not used again, so its vector may be read without a lock.
//   - While a walking reader is pinned at s, no slot that was alive at s is taken out of the graph (its neighbours are
//     not repaired), so a walk finds the state of s; and no slot at all that was in the graph at s is used again, so a
//     walk that has stumbled on a dead one reads sound memory.
type reader struct {
	busy  atomic.Bool
	walks atomic.Bool
	pin   atomic.Uint64 // sequence, or 0 when idle
	seq   uint64        // the same, for the holder
	full  []float32     // scratch of vectors.read
	err   error         // why a vector could not be read, the last time
	// byCodes says that a scan collects a shortlist in pool.
	byCodes bool
	scratch
	lists listScratch
	_     [cacheLine]byte // keeps the words of two readers apart
}

// readers is the set of all readers of an index. It grows to the largest number held at once.
type readers struct {
	committed *atomic.Uint64
	mu        sync.Mutex // guards growth of all
	all       atomic.Pointer[[]*reader]
}

// acquire returns a reader pinned at the newest sequence. walks says that it will follow links.
func (rs *readers) acquire(walks bool) *reader {
	r := rs.claim()
	r.walks.Store(walks)
	rs.repin(r)
	return r
}

// repin moves r to the newest sequence. The sequence is read again after the pin is set: when it has not moved, anyone
// who computes the oldest pin either sees this one or computed it from a sequence that is not newer.
func (rs *readers) repin(r *reader) {
	for {
		seq := rs.committed.Load()
		r.pin.Store(seq)
		if rs.committed.Load() == seq {
			r.seq = seq
			return
		}
	}
}

// claim returns an idle reader. It starts at a random place, so that goroutines rarely meet.
func (rs *readers) claim() *reader {
	if p := rs.all.Load(); p != nil {
		all := *p
		for i, at := 0, rand.IntN(len(all)); i < len(all); i++ {
			if r := all[at]; !r.busy.Load() && r.busy.CompareAndSwap(false, true) {
				return r
			}
			if at++; at == len(all) {
				at = 0
			}
		}
	}
	r := &reader{}
	r.busy.Store(true)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var grown []*reader
	if p := rs.all.Load(); p != nil {
		grown = append(grown, *p...)
	}
	grown = append(grown, r)
	rs.all.Store(&grown)
	return r
}

// release ends the use of r.
func (rs *readers) release(r *reader) {
	r.pin.Store(0)
	r.busy.Store(false)
}

// oldest returns the lowest sequence that a reader is pinned at, or the newest sequence when there is none. With
// walkersOnly it leaves out readers that follow no links.
func (rs *readers) oldest(walkersOnly bool) uint64 {
	low := rs.committed.Load()
	p := rs.all.Load()
	if p == nil {
		return low
	}
	for _, r := range *p {
		if pin := r.pin.Load(); pin != 0 && pin < low && (!walkersOnly || r.walks.Load()) {
			low = pin
		}
	}
	return low
}

// busy reports whether anybody holds a reader.
func (rs *readers) busy() bool {
	p := rs.all.Load()
	return p != nil && slices.ContainsFunc(*p, func(r *reader) bool { return r.busy.Load() })
}
