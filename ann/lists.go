package ann

import (
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet/ann/internal/kernel"
	"github.com/freshet-io/freshet/ann/internal/pq"
)

// list holds the slots that are nearest to one centroid, with their codes side by side. Searches read it without locks.
type list struct {
	mu    sync.Mutex // held by add and remove
	holes int        // entries of run whose slot was removed
	run   atomic.Pointer[run]
}

// run is the memory of a list. Entries are only ever added at its end: a search reads the number of them first, and what
// lies below it never changes, except that a slot that is removed becomes noSlot. Entries are never moved within a run:
// a search that has passed the one place and not yet the other would miss it. A full run is replaced by a larger one
// without holes; searches that read the old one go on, and find in it what was alive when they began.
type run struct {
	n      atomic.Int32
	slots  []atomic.Uint32 // as many as there is room
	codes  []byte
	biases []float32 // what is added to distances; nil when codes say it themselves
}

const (
	minRoom    = 8
	roomFactor = 1.25 // of a run that replaces a full one, so that an eighth of the memory is idle on average
)

// newRun returns an empty run with room for so many entries, or a little more.
func newRun(c listCodes, room int) *run {
	room = max(minRoom, room)
	r := &run{slots: make([]atomic.Uint32, room)}
	r.codes, r.biases = c.memory(room)
	return r
}

// put adds an entry. The caller holds the list's lock and knows that there is room.
func (r *run) put(c listCodes, slot uint32, code []byte, bias float32) {
	n := int(r.n.Load())
	c.put(r.codes, n, code)
	if r.biases != nil {
		r.biases[n] = bias
	}
	r.slots[n].Store(slot)
	r.n.Store(int32(n + 1))
}

// add adds slot with its code.
func (l *list) add(c listCodes, slot uint32, code []byte, bias float32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.run.Load()
	if r == nil || int(r.n.Load()) == len(r.slots) {
		r = l.grown(c, r)
		r.put(c, slot, code, bias)
		l.run.Store(r)
		return
	}
	r.put(c, slot, code, bias)
}

// grown returns a run with the entries of old and room for more.
func (l *list) grown(c listCodes, old *run) *run {
	if old == nil {
		return newRun(c, minRoom)
	}
	n := int(old.n.Load())
	r := newRun(c, int(float64(n-l.holes)*roomFactor)+minRoom)
	code := make([]byte, c.size())
	for i := range n {
		slot, bias := old.slots[i].Load(), float32(0)
		if slot == noSlot {
			continue
		}
		if old.biases != nil {
			bias = old.biases[i]
		}
		c.get(code, old.codes, i)
		r.put(c, slot, code, bias)
	}
	l.holes = 0
	return r
}

// remove makes a hole in place of slot. A list that is half holes is written anew.
func (l *list) remove(c listCodes, slot uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.run.Load()
	n := int(r.n.Load())
	for i := range n {
		if r.slots[i].Load() == slot {
			r.slots[i].Store(noSlot)
			l.holes++
			break
		}
	}
	if l.holes > minRoom && l.holes > n/2 {
		l.run.Store(l.grown(c, r))
	}
}

// len returns the number of slots.
func (l *list) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.run.Load(); r != nil {
		return int(r.n.Load()) - l.holes
	}
	return 0
}

// bytes returns the memory of the list.
func (l *list) bytes() int64 {
	if r := l.run.Load(); r != nil {
		return int64(4*len(r.slots)+len(r.codes)+4*len(r.biases)) + 96
	}
	return 32
}

// places says which list a slot is in: its number plus one, or 0. It grows like a slab, in the memory of Go, since
// partitions come and go.
type places struct {
	mu     sync.Mutex // held while it grows
	chunks [kernel.MaxChunks]atomic.Pointer[[]atomic.Uint32]
}

// of returns the place of slot, or nil when it never had one.
func (p *places) of(slot uint32) *atomic.Uint32 {
	chunk := kernel.ChunkOf(slot)
	c := p.chunks[chunk].Load()
	if c == nil {
		return nil
	}
	return &(*c)[slot-kernel.ChunkStart(chunk)]
}

// get returns the list of slot, or false.
func (p *places) get(slot uint32) (list int, ok bool) {
	at := p.of(slot)
	if at == nil {
		return 0, false
	}
	x := at.Load()
	return int(x) - 1, x != 0
}

// set notes that slot is in a list.
func (p *places) set(slot uint32, list int) {
	at := p.of(slot)
	if at == nil {
		p.grow(kernel.ChunkOf(slot))
		at = p.of(slot)
	}
	at.Store(uint32(list) + 1)
}

func (p *places) grow(chunk int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.chunks[chunk].Load() == nil {
		c := make([]atomic.Uint32, kernel.ChunkLen(chunk))
		p.chunks[chunk].Store(&c)
	}
}

// clear notes that slot is in no list.
func (p *places) clear(slot uint32) { p.of(slot).Store(0) }

func (p *places) bytes() (n int64) {
	for i := range p.chunks {
		if c := p.chunks[i].Load(); c != nil {
			n += int64(len(*c)) * 4
		}
	}
	return n
}

// blocksOf returns how many blocks of pq.Block entries hold n.
func blocksOf(n int) int { return (n + pq.Block - 1) / pq.Block }
