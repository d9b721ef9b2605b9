//go:build !race

package ann

import "golang.org/x/sys/unix"

// mapFlags keep the system from setting aside, for a slab that doubles, what it may never use.
const mapFlags = unix.MAP_NORESERVE

// adviseLarge asks for large pages: a walk touches a page per node, and a gigabyte in pages of four kilobytes is more
// than processors keep the addresses of.
func adviseLarge(memory []byte) { _ = unix.Madvise(memory, unix.MADV_HUGEPAGE) } // a kernel without them says so
