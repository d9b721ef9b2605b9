package ann

import (
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

const cacheLine = 64

// slab is an array of records of one size without pointers, so that the garbage collector never looks inside. It grows
// as its table says: an index of ten points stays small. One goroutine at a time may call grow; at may be called by any
// number meanwhile, for records that were published to them.
type slab struct {
	kernel.Table
	arena *arena // where its memory comes from
}

// grow makes record i usable. New records are zero. Kernels may read a little beyond the last.
func (s *slab) grow(i uint32) {
	chunk := kernel.ChunkOf(i)
	if s.HasChunk(chunk) {
		return
	}
	s.SetChunk(chunk, s.arena.alloc(uintptr(kernel.ChunkLen(chunk))*s.Stride))
}

// bytes returns the memory that the slab takes when the records below end have been used: of a mapping that is what was
// touched.
func (s *slab) bytes(end uint32) (n int64) {
	for chunk := 0; chunk < kernel.MaxChunks && s.HasChunk(chunk); chunk++ {
		start, records := kernel.ChunkStart(chunk), kernel.ChunkLen(chunk)
		if uintptr(records)*s.Stride >= minMapping {
			records = min(records, max(end, start)-start)
		}
		n += int64(records) * int64(s.Stride)
	}
	return n
}

// at returns the address of record i, which must have been grown to.
func (s *slab) at(i uint32) unsafe.Pointer { return s.At(i) }

// bitmap is a set of slots that readers scan without locks. Its summary has a bit per word, so that a scan costs little
// when few slots are set. Writers hold the lock of the owner.
type bitmap struct {
	words   slab // of atomic.Uint64; word i holds slots 64i to 64i+63
	summary slab // of atomic.Uint64; word i holds words 64i to 64i+63
}

func (b *bitmap) init(a *arena) {
	b.words.Stride, b.summary.Stride = 8, 8
	b.words.arena, b.summary.arena = a, a
}

// grow makes slot usable.
func (b *bitmap) grow(slot uint32) {
	b.words.grow(slot >> 6)
	b.summary.grow(slot >> 12)
}

func (b *bitmap) word(i uint32) *atomic.Uint64        { return (*atomic.Uint64)(b.words.at(i)) }
func (b *bitmap) summaryWord(i uint32) *atomic.Uint64 { return (*atomic.Uint64)(b.summary.at(i)) }
func (b *bitmap) has(slot uint32) bool                { return b.word(slot>>6).Load()&(1<<(slot&63)) != 0 }

// set adds slot. The summary follows the word, so that a reader that finds the one misses the other only when it could
// have come before both.
func (b *bitmap) set(slot uint32) {
	b.word(slot >> 6).Or(1 << (slot & 63))
	b.summaryWord(slot >> 12).Or(1 << (slot >> 6 & 63))
}

// clear removes slot.
func (b *bitmap) clear(slot uint32) {
	w := b.word(slot >> 6)
	w.And(^(uint64(1) << (slot & 63)))
	if w.Load() == 0 {
		b.summaryWord(slot >> 12).And(^(uint64(1) << (slot >> 6 & 63)))
	}
}

// next returns the first slot of the set at or after from and below limit.
func (b *bitmap) next(from, limit uint32) (slot uint32, ok bool) {
	for w := from >> 6; w<<6 < limit; {
		group := b.summaryWord(w>>6).Load() >> (w & 63)
		if group == 0 {
			w = (w>>6 + 1) << 6
			continue
		}
		w += uint32(bits.TrailingZeros64(group))
		word := b.word(w).Load()
		if w == from>>6 {
			word &= ^uint64(0) << (from & 63)
		}
		if word != 0 {
			slot = w<<6 + uint32(bits.TrailingZeros64(word))
			return slot, slot < limit
		}
		w++
	}
	return 0, false
}
