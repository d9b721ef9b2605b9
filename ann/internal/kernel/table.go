package kernel

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// Table is an array of records of one size that grows by chunks: the first holds 1<<FirstChunkBits records, and each
// later one as many as all before it. So a record keeps its address for ever, and growth never copies. One goroutine at a
// time may call SetChunk; At, and the kernels, may be called by any number meanwhile for records that were published to
// them.
type Table struct {
	Stride uintptr // bytes of a record
	chunks [MaxChunks]atomic.Pointer[byte]
	// biased has the address that record 0 would have if a chunk went on below its first record: record i is at
	// biased[chunk of i] + i × Stride, which saves the kernels a subtraction. The chunks keep the memory alive.
	biased [MaxChunks]uintptr
}

// Layout of a Table.
const (
	FirstChunkBits = 3
	MaxChunks      = 32 - FirstChunkBits + 1
)

// ChunkOf returns the chunk that holds record i.
func ChunkOf(i uint32) int { return bits.Len32(i >> FirstChunkBits) }

// ChunkStart returns the number of the first record of a chunk.
func ChunkStart(chunk int) uint32 {
	if chunk == 0 {
		return 0
	}
	return 1 << (FirstChunkBits + chunk - 1)
}

// ChunkLen returns the number of records of a chunk.
func ChunkLen(chunk int) uint32 {
	if chunk == 0 {
		return 1 << FirstChunkBits
	}
	return ChunkStart(chunk)
}

// HasChunk reports whether the memory of a chunk was set.
func (t *Table) HasChunk(chunk int) bool { return t.chunks[chunk].Load() != nil }

// SetChunk gives a chunk its memory: ChunkLen records, and behind them as much as the kernels read over.
func (t *Table) SetChunk(chunk int, memory unsafe.Pointer) {
	t.biased[chunk] = uintptr(memory) - uintptr(ChunkStart(chunk))*t.Stride
	t.chunks[chunk].Store((*byte)(memory))
}

// Forget takes the memory of all chunks out of use.
func (t *Table) Forget() {
	for i := range t.chunks {
		t.chunks[i].Store(nil)
		t.biased[i] = 0
	}
}

// At returns the address of record i, whose chunk must have its memory.
func (t *Table) At(i uint32) unsafe.Pointer {
	chunk := ChunkOf(i)
	return unsafe.Add(unsafe.Pointer(t.chunks[chunk].Load()), uintptr(i-ChunkStart(chunk))*t.Stride)
}
