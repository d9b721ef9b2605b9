package pq

// assembly runs the scan of the named implementation of package kernel; it reports false when there is none.
func assembly(name string, a *scanArgs) bool {
	switch name {
	case "avx512":
		scanAVX512(a)
	case "avx2":
		scanAVX2(a)
	default:
		return false
	}
	return true
}

// In both, blocks and quads are at least 1.

//go:noescape
func scanAVX512(a *scanArgs)

//go:noescape
func scanAVX2(a *scanArgs)

// tableSums runs the first step of Table.Set, when the named implementation has it in assembly.
func tableSums(name string, a *tableArgs) bool {
	if name != "avx512" && name != "avx2" {
		return false
	}
	tableSumsAVX2(a)
	return true
}

// tableBytes runs the second.
func tableBytes(a *tableArgs) { tableBytesAVX2(a) }

//go:noescape
func tableSumsAVX2(a *tableArgs)

//go:noescape
func tableBytesAVX2(a *tableArgs)
