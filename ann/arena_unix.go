//go:build (linux || darwin || freebsd || netbsd || openbsd) && !race

package ann

import "golang.org/x/sys/unix"

// mapMemory returns at least size bytes of zeros, with room to align them and for kernels to read over, or nil. Pages take
// memory when they are first touched.
func mapMemory(size uintptr, large bool) []byte {
	size += kernelMargin
	if large {
		size += largePage
	}
	memory, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapFlags)
	if err != nil {
		return nil
	}
	if large {
		adviseLarge(memory)
	}
	return memory
}

func unmapMemory(memory []byte) { _ = unix.Munmap(memory) } // fails only for what is no mapping
