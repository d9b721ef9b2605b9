package ann

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// A slot is the place of one stored vector. Slot 0 is never used: in links and tables 0 means none.
//
// Every change of the index has a sequence number, and a slot is visible to a reader that is pinned at sequence s when
// born <= s < died. This alone makes batches atomic and snapshots consistent: see readers.go and DESIGN.md.

const (
	noSlot   = 0
	forever  = math.MaxUint64 // died of a live slot, born of a free one
	maxSlots = 1 << 31
)

// state says where a slot is in its life. It only ever moves along the arrows:
//
//	free → pending → linking → linked → retired → free
//	          └───────────── dropped ────────────────┘
type state uint32

const (
	free    state = iota // not in use
	pending              // in the fresh buffer
	linking              // in the fresh buffer while a worker links it
	linked               // in the graph
	retired              // dead, its neighbours repaired; links to it may remain until the next sweep
	dropped              // died before it was linked
)

// slotHeader is what is known about a slot besides its vector and links.
type slotHeader struct {
	key   atomic.Uint64
	born  atomic.Uint64 // first sequence that sees it
	died  atomic.Uint64 // first sequence that does not
	prev  atomic.Uint32 // slot of the key's version before this one; older readers follow it
	place atomic.Uint32 // state, highest level of its links, and first row above the lowest level, or noRow
}

// Bits of a header's place: 3 of the state, 4 of the level, the others of the row.
const (
	stateMask  = 1<<3 - 1
	levelShift = 3
	levelMask  = 1<<4 - 1
	upperShift = 7
	maxUpper   = 1 << (32 - upperShift) // rows above the lowest level
)

func (h *slotHeader) is(s state) bool { return state(h.place.Load()&stateMask) == s }
func (h *slotHeader) level() int      { return int(h.place.Load() >> levelShift & levelMask) }
func (h *slotHeader) upper() uint32   { return h.place.Load() >> upperShift }

// set moves h to a state, whatever it was in.
func (h *slotHeader) set(s state) {
	for old := h.place.Load(); !h.place.CompareAndSwap(old, old&^stateMask|uint32(s)); {
		old = h.place.Load()
	}
}

// move moves h from one state to another, and reports false when it is in another.
func (h *slotHeader) move(from, to state) bool {
	for old := h.place.Load(); state(old&stateMask) == from; old = h.place.Load() {
		if h.place.CompareAndSwap(old, old&^stateMask|uint32(to)) {
			return true
		}
	}
	return false
}

// setRows says which rows h has above the lowest level.
func (h *slotHeader) setRows(level int, upper uint32) {
	for old := h.place.Load(); !h.place.CompareAndSwap(old, old&stateMask|uint32(level)<<levelShift|upper<<upperShift); {
		old = h.place.Load()
	}
}

func (h *slotHeader) alive() bool { return h.died.Load() == forever }

// visibleAt reports whether a reader pinned at seq sees the slot. It reads died before born: a slot that is used again
// meanwhile gets its new died first and its new born, which is above seq, last; in the other order the old born and the
// new died could be taken for a live point.
func (h *slotHeader) visibleAt(seq uint64) bool {
	died := h.died.Load()
	return seq < died && h.born.Load() <= seq
}

// slots holds the vectors and their headers, and knows which slots are free and which are in the fresh buffer.
type slots struct {
	coded   bool // vectors have codes
	headers slab // of slotHeader
	vectors vectors
	codes   slab          // of the codes of kernel records
	heads   slab          // of kernel.Head
	dead    slab          // of atomic.Uint64: a bit for every slot that died, as a walk looks at it
	buffer  bitmap        // the slots that are in no graph: the fresh buffer, and all points of a flat index
	end     atomic.Uint32 // slots below it are in use or free, those from it on have no memory yet

	mu       sync.Mutex // guards free and every change of buffer
	free     []uint32
	buffered atomic.Int64 // live points in buffer
}

// init prepares for vectors, with codes or without.
func (s *slots) init(opt Options, set *kernel.Set, coded bool, a *arena) {
	s.coded = coded
	for _, slab := range s.slabs() {
		slab.arena = a
	}
	s.codes.Stride = uintptr(kernel.CodeSize(opt.Dim))
	s.heads.Stride = unsafe.Sizeof(kernel.Head{})
	s.dead.Stride = 8
	s.headers.Stride = unsafe.Sizeof(slotHeader{})
	s.vectors.init(opt, set, s.records())
	s.buffer.init(a)
	s.end.Store(1)
}

func (s *slots) header(slot uint32) *slotHeader {
	return (*slotHeader)(s.headers.at(slot))
}

// record returns the codes of slot. They may be read while the slot is visible to a pinned reader, or is
// linked in the graph that a pinned reader walks.
func (s *slots) record(slot uint32) kernel.Record { return s.records().At(slot) }

func (s *slots) records() kernel.Records {
	return kernel.Records{Codes: &s.codes.Table, Heads: &s.heads.Table}
}

// hasDied reports whether slot, which is in use, is dead by the newest sequence or the one being written. It saves a look at the header.
func (s *slots) hasDied(slot uint32) bool {
	return (*atomic.Uint64)(s.dead.at(slot>>6)).Load()&(1<<(slot&63)) != 0
}

// allocate returns a slot that nobody refers to. The caller knows that it fits.
func (s *slots) allocate() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	slot := s.end.Load()
	s.headers.grow(slot)
	s.vectors.grow(slot)
	s.dead.grow(slot >> 6)
	if s.coded {
		s.codes.grow(slot)
		s.heads.grow(slot)
	}
	s.buffer.grow(slot)
	s.header(slot).born.Store(forever)
	s.end.Store(slot + 1)
	return slot
}

// release gives a slot back. The caller knows that no reader can reach it.
func (s *slots) release(slot uint32) {
	h := s.header(slot)
	h.born.Store(forever)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer.clear(slot)
	h.set(free)
	s.free = append(s.free, slot)
}

// publish makes slot, whose vector is in place, part of the fresh buffer and visible from sequence seq on. prev is the
// slot of the version before it, or noSlot.
func (s *slots) publish(slot uint32, key uint64, prev uint32, seq uint64) {
	h := s.header(slot)
	h.key.Store(key)
	h.prev.Store(prev)
	h.set(pending)
	h.died.Store(forever)
	(*atomic.Uint64)(s.dead.at(slot >> 6)).And(^(uint64(1) << (slot & 63)))
	h.born.Store(seq) // last: see visibleAt
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer.set(slot)
	s.buffered.Add(1)
}

// kill makes slot invisible from sequence seq on.
func (s *slots) kill(slot uint32, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header(slot).died.Store(seq)
	(*atomic.Uint64)(s.dead.at(slot >> 6)).Or(1 << (slot & 63))
	if s.buffer.has(slot) {
		s.buffered.Add(-1)
	}
}

// leaveBuffer takes slot, whose links are published, out of the fresh buffer.
func (s *slots) leaveBuffer(slot uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.header(slot).alive() {
		s.buffered.Add(-1)
	}
	s.buffer.clear(slot)
}

// fits reports whether n more slots can be allocated.
func (s *slots) fits(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n <= len(s.free)+int(maxSlots-s.end.Load())
}

// freeCount returns the number of slots that wait to be used again.
func (s *slots) freeCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.free)
}

// bytes returns the memory of all slots.
func (s *slots) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.end.Load()
	words, summary := end>>6+1, end>>12+1
	return s.headers.bytes(end) + s.vectors.memory.bytes(end) + s.codes.bytes(end) + s.heads.bytes(end) + s.dead.bytes(words) +
		s.buffer.words.bytes(words) + s.buffer.summary.bytes(summary) + int64(cap(s.free))*4
}

// slabs returns all slabs.
func (s *slots) slabs() []*slab {
	return []*slab{&s.headers, &s.vectors.memory, &s.codes, &s.heads, &s.dead, &s.buffer.words, &s.buffer.summary}
}
