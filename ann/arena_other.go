//go:build !(linux || darwin || freebsd || netbsd || openbsd) || race

package ann

func mapMemory(uintptr, bool) []byte { return nil }

func unmapMemory([]byte) {}
