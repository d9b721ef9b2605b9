package ann

// A walk ranks by codes, which are a little off, so the nearest by codes are scored by their stored vectors. How many
// depends on the query: a node is passed over once its distance by codes is so far beyond that of the worst result that
// rounding can hardly make up for it. Among near duplicates codes tell nothing, and all that may be nearer are scored.
const (
	rerankFactor = 1.5 // nodes to score for each of k, at least; a shortlist of a scan is as long
	rerankMin    = 30  // nodes to score, at least
	rerankReach  = 4   // how many standard deviations of a distance by codes are beyond hope
	rerankBeyond = 2   // the same, once as many are scored
	rerankAhead  = 4   // vectors whose memory is asked for before their turn
)

// rerank scores the nodes of r.pool, the nearest first.
func (ix *Index) rerank(r *reader) {
	list := r.gathered()
	left := shortlistLen(r.results.k)
	for i := range min(rerankAhead, len(list)) {
		ix.slots.vectors.fetch(list[i].slot)
	}
	for i, c := range list {
		reach := float32(rerankReach)
		if left <= 0 {
			reach = rerankBeyond
		}
		if ix.hopeless(r, c, reach) {
			return
		}
		if next := i + rerankAhead; next < len(list) {
			ix.slots.vectors.fetch(list[next].slot)
		}
		if !r.scanned.visit(c.slot) {
			continue
		}
		if h := ix.slots.header(c.slot); h.visibleAt(r.seq) {
			ix.offer(r, c.slot, h.key.Load())
			left--
		}
	}
}

// hopeless reports whether c is so far, more than reach standard deviations, that neither it nor anything farther is
// among the best.
func (ix *Index) hopeless(r *reader, c candidate, reach float32) bool {
	if len(r.results.heap) < r.results.k {
		return false
	}
	reach *= r.target.Deviation(ix.slots.record(c.slot).Head)
	return c.dist-reach > ix.space.distance(r.results.heap[0].Score)
}
