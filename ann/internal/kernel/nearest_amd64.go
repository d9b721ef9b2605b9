package kernel

// longList is the length from which on a binary search finds the place in a list sooner.
const longList = 512

func insert512(l *Nearest, d float32, slot uint32) int {
	if l.n > longList {
		return insertGo(l, d, slot)
	}
	place := insertAVX512(&l.dists[0], &l.slots[0], l.n, d, slot)
	l.n = min(l.n+1, l.limit)
	return place
}

//go:noescape
func insertAVX512(dists *float32, slots *uint32, n int, d float32, slot uint32) int
