package ann

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// vectorFile holds vectors in a scratch file, slot by slot, in the byte order of the machine. It lives as long as the
// index: what must outlive the process is in snapshots and in the caller's log. Any number of goroutines may read and
// write at the same time, each vector as the slots' rules for vectors in memory allow.
//
// Vectors are read with pread, never mapped: a bad sector is an error of one search, not a signal that ends the process.
// What is read often stays in the page cache of the system, which takes the memory that nothing else needs.
type vectorFile struct {
	file   *os.File
	dim    int
	name   string // to remove at close; empty when the file has no name any more
	end    atomic.Int64
	closed sync.Once
}

// createVectorFile makes a scratch file in dir. Where the system allows it, the name is removed at once, so that nothing
// is left of it when the process is killed.
func createVectorFile(dir string, dim int) (*vectorFile, error) {
	f, err := os.CreateTemp(dir, "vectors-*.scratch")
	if err != nil {
		return nil, fmt.Errorf("ann: the file for vectors can't be made; option Dir must name a folder that can be written to: %w", err)
	}
	v := &vectorFile{file: f, dim: dim}
	if os.Remove(f.Name()) != nil {
		v.name = f.Name()
	}
	return v, nil
}

// read sets the first dim components of dst to the vector of slot, and the others to zero.
func (v *vectorFile) read(slot uint32, dst []float32) error {
	clear(dst[v.dim:])
	if _, err := v.file.ReadAt(bytesOf(dst[:v.dim]), v.offset(slot)); err != nil {
		return fmt.Errorf("ann: a vector can't be read from the file of vectors; build the index anew, and check the disk: %w", err)
	}
	return nil
}

// write stores the first dim components of src as the vector of slot. The file grows as slots come into use.
func (v *vectorFile) write(slot uint32, src []float32) error {
	at := v.offset(slot)
	if _, err := v.file.WriteAt(bytesOf(src[:v.dim]), at); err != nil {
		return fmt.Errorf("ann: a vector can't be written to the file of vectors; nothing is applied: %w", err)
	}
	for end := at + int64(4*v.dim); ; {
		old := v.end.Load()
		if old >= end || v.end.CompareAndSwap(old, end) {
			return nil
		}
	}
}

func (v *vectorFile) offset(slot uint32) int64 { return int64(slot) * int64(4*v.dim) }

// close ends the use of the file and removes it. It may be called again.
func (v *vectorFile) close() (err error) {
	v.closed.Do(func() {
		err = v.file.Close()
		if v.name != "" {
			err = os.Remove(v.name)
		}
	})
	return err
}

// bytesOf returns the memory of x.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
