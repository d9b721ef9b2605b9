package ann

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// An arena is the memory of an index. Large pieces come straight from the system, outside the Go heap: so gigabytes of
// vectors neither count when the garbage collector sets its pace, which would let as much garbage pile up beside them, nor
// are they marked or scavenged; and they can have large pages. Small pieces, where a page each would be a waste, come
// from the heap, as does everything where the system has no such memory, or refuses it.
//
// Memory from the system must be given back by hand: see lifetime.go. Under the race detector, which does not watch such
// memory, all pieces come from the heap.
type arena struct {
	mu       sync.Mutex
	mappings [][]byte
}

// Sizes of pieces, in bytes.
const (
	minMapping   = 1 << 16 // smaller ones come from the heap
	minLarge     = 1 << 24 // smaller ones don't ask for large pages, one of which would be too large a part
	largePage    = 1 << 21
	kernelMargin = cacheLine + kernel.Overread
)

// liveMappings counts the mappings of all indexes: systems allow a process so many (65,530 on Linux), and a program with
// thousands of indexes must leave some to the Go runtime, which ends without.
var liveMappings atomic.Int64

const maxMappings = 20_000

// alloc returns size bytes of zeros that begin at a cache line and may be read kernel.Overread bytes beyond.
func (a *arena) alloc(size uintptr) unsafe.Pointer {
	if size >= minMapping {
		if memory := a.mapped(size); memory != nil {
			return alignedIn(memory, pageOf(size))
		}
	}
	return alignedIn(make([]byte, size+kernelMargin), cacheLine)
}

// mapped returns memory from the system, or nil when there is none.
func (a *arena) mapped(size uintptr) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if liveMappings.Add(1) <= maxMappings {
		if memory := mapMemory(size, size >= minLarge); memory != nil {
			a.mappings = append(a.mappings, memory)
			return memory
		}
	}
	liveMappings.Add(-1)
	return nil
}

// pageOf returns the alignment of a mapping of size bytes: a large page where it has such.
func pageOf(size uintptr) uintptr {
	if size >= minLarge {
		return largePage
	}
	return cacheLine
}

// alignedIn returns the first address in memory that is a multiple of align.
func alignedIn(memory []byte, align uintptr) unsafe.Pointer {
	base := unsafe.Pointer(unsafe.SliceData(memory))
	if rest := uintptr(base) % align; rest != 0 {
		base = unsafe.Add(base, align-rest)
	}
	return base
}

// free gives all mappings back. Nobody may look at them any more.
func (a *arena) free() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, memory := range a.mappings {
		unmapMemory(memory)
		liveMappings.Add(-1)
	}
	a.mappings = nil
}
