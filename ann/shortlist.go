package ann

import "github.com/freshet-io/freshet/ann/internal/kernel"

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

// codeBatch is how many points of a scan are ranked together. While some are, the memory of the next is asked for.
const codeBatch = 64

// listing is a scan by codes under way.
type listing struct {
	slots [2][codeBatch]uint32 // of the batch that is gathered, and of the one at hand
	n     int                  // gathered so far
	turn  int
	step  *kernel.Step // the batch at hand
}

// shortlistLen is how many of the nearest by codes are scored for k results.
func shortlistLen(k int) int { return max(rerankMin, int(rerankFactor*float64(k))) }

// listByCodes makes the next scan collect a shortlist, when a scan of so many points is to be made by codes.
func (ix *Index) listByCodes(r *reader, points int, exact bool) {
	n := shortlistFactor * shortlistLen(r.results.k)
	if points >= longScan {
		n = longFactor * shortlistLen(r.results.k)
	}
	r.byCodes = !exact && ix.structure != nil && ix.slots.coded && points >= codeScanMin*n
	if !r.byCodes {
		return
	}
	r.pool.reset(n)
	r.makeSteps()
	for i := range r.listing.slots {
		r.steps[i].Aim(&r.target, ix.slots.records())
	}
}

// take takes slot, which the reader may read, to the results or to the shortlist.
func (ix *Index) take(r *reader, slot uint32, key uint64) {
	if !r.byCodes {
		ix.offer(r, slot, key)
		return
	}
	l := &r.listing
	l.slots[l.turn%2][l.n] = slot
	if l.n++; l.n == codeBatch {
		ix.rankBatch(r)
	}
}

// rankBatch takes the batch at hand to the shortlist, and then has the one that was gathered at hand.
func (ix *Index) rankBatch(r *reader) {
	l, k, bound := &r.listing, ix.space.kernel, r.pool.Bound()
	var next *kernel.Step
	if l.n > 0 {
		next = &r.steps[l.turn%2]
		next.Take(l.slots[l.turn%2][:l.n])
	}
	k.Rule(l.step, next, bound)
	if l.step != nil {
		slots, dists := k.Measure(l.step, bound)
		for i, d := range dists {
			if d < r.pool.Bound() {
				k.Insert(&r.pool.Nearest, d, slots[i])
			}
		}
	}
	l.step, l.n, l.turn = next, 0, l.turn+1
}

// scoreShortlist ends a scan by codes: it scores the shortlist.
func (ix *Index) scoreShortlist(r *reader) {
	if !r.byCodes {
		return
	}
	for l := &r.listing; l.n > 0 || l.step != nil; {
		ix.rankBatch(r)
	}
	dists := r.pool.Dists()
	for i, slot := range r.pool.Slots() {
		if ix.hopeless(r, candidate{dists[i], slot}, rerankReach) {
			break
		}
		ix.offer(r, slot, ix.slots.header(slot).key.Load())
	}
	r.byCodes = false
}
