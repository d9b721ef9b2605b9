package ann

// A scan that is not asked to be exact can rank by codes first, as walks do, and score the best of them only. That reads
// a quarter of the memory, and of a file of vectors it reads what a walk would.

// codeScanMin is how many times longer than its shortlist a scan must be to be made by codes: below it scoring everything
// costs as little.
const codeScanMin = 2

// shortlistFactor is how many times more a scan lists than a walk scores at most: the matches of a filter may be far from
// the query and all about as far, and then codes tell little about their order. How many are scored depends on how sure
// the codes are. A long scan can list more: that takes little of its time.
const (
	shortlistFactor = 3
	longFactor      = 10
	longScan        = 2000 // points
)

// codeBatch is how many distances of a scan are computed together.
const codeBatch = 64

// shortlistLen is how many of the nearest by codes are scored for k results.
func shortlistLen(k int) int { return max(rerankMin, int(rerankFactor*float64(k))) }

// listByCodes makes the next scan collect a shortlist, when a scan of so many points is to be made by codes.
func (ix *Index) listByCodes(r *reader, points int, exact bool) {
	n := shortlistFactor * shortlistLen(r.results.k)
	if points >= longScan {
		n = longFactor * shortlistLen(r.results.k)
	}
	r.byCodes = !exact && ix.structure != nil && ix.slots.coded && points >= codeScanMin*n
	if r.byCodes {
		r.pool.reset(n)
		r.batch.reset()
	}
}

// take takes slot, which the reader may read, to the results or to the shortlist.
func (ix *Index) take(r *reader, slot uint32, key uint64) {
	if !r.byCodes {
		ix.offer(r, slot, key)
		return
	}
	if r.batch.add(&ix.slots, slot); len(r.batch.slots) == codeBatch {
		ix.rankBatch(r)
	}
}

// rankBatch takes the slots of the batch to the shortlist.
func (ix *Index) rankBatch(r *reader) {
	for i, d := range r.batch.measure(ix.space.kernel, &r.target) {
		if d < r.pool.Bound() {
			ix.space.kernel.Insert(&r.pool.Nearest, d, r.batch.slots[i])
		}
	}
	r.batch.reset()
}

// scoreShortlist ends a scan by codes: it scores the shortlist.
func (ix *Index) scoreShortlist(r *reader) {
	if !r.byCodes {
		return
	}
	ix.rankBatch(r)
	dists := r.pool.Dists()
	for i, slot := range r.pool.Slots() {
		if ix.hopeless(r, candidate{dists[i], slot}, rerankReach) {
			break
		}
		ix.offer(r, slot, ix.slots.header(slot).key.Load())
	}
	r.byCodes = false
}
