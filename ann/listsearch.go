package ann

import (
	"math/bits"

	"github.com/freshet-io/freshet/ann/internal/pq"
)

// search looks at the lists whose centroids are nearest to the query, keeps the best by code, and scores them by their
// vectors. Lists beyond the planned number follow while fewer than wanted were found: a search for many goes on to as many
// lists as it takes.
func (iv *inverted) search(r *reader, p searchPlan, f Filter) bool {
	part := iv.current.Load() // after the buffer was scanned
	s := &r.lists
	want := min(part.codes.rerank(r.results.k, p.ef), max(1, p.matches))
	part.codes.aim(r)
	part.rank(s, r.query, p.probes)
	s.best.reset(want)
	done := 0
	for _, c := range s.probes {
		part.scan(r, int(c.slot), f)
		done++
	}
	if need := min(r.results.k, p.matches) - len(r.results.heap); len(s.best.list) < need {
		iv.searchOn(r, part, done, need, f)
	}
	sortNearest(s.best.list)
	for _, c := range s.best.list {
		if !r.scanned.visit(c.slot) {
			continue
		}
		if h := iv.ix.slots.header(c.slot); h.visibleAt(r.seq) {
			iv.ix.offer(r, c.slot, h.key.Load())
		}
	}
	return true
}

// searchOn looks at more lists, twice as many each time, until enough was found. It begins anew, since the ranking of more
// lists may begin with others.
func (iv *inverted) searchOn(r *reader, part *partition, done, need int, f Filter) {
	s := &r.lists
	limit := s.best.limit
	for len(s.best.list) < need && done < len(part.lists) {
		done = min(len(part.lists), 2*done+1)
		s.best.reset(limit)
		if done == len(part.lists) { // none may be left out, whatever their distance
			for list := range part.lists {
				part.scan(r, list, f)
			}
			return
		}
		part.rank(s, r.query, done)
		for _, c := range s.probes {
			part.scan(r, int(c.slot), f)
		}
	}
}

// scan offers the entries of a list that may be returned to the best.
func (p *partition) scan(r *reader, list int, f Filter) {
	run := p.lists[list].run.Load()
	if run == nil {
		return
	}
	n := int(run.n.Load())
	if n == 0 {
		return
	}
	s, slots := &r.lists, &p.ix.slots
	s.size(n)
	bound := s.best.bound()
	p.codes.scan(r, run, n, list, bound)
	for b, mask := range s.below[:blocksOf(n)] {
		if left := n - b*pq.Block; left < pq.Block {
			mask &= 1<<left - 1
		}
		for ; mask != 0; mask &= mask - 1 {
			i := b*pq.Block + bits.TrailingZeros32(mask)
			if s.dists[i] >= bound {
				continue
			}
			slot := run.slots[i].Load()
			if slot == noSlot || slots.hasDied(slot) && !slots.header(slot).visibleAt(r.seq) {
				continue
			}
			if f != nil && !f.Match(slots.header(slot).key.Load()) {
				continue
			}
			s.best.push(candidate{s.dists[i], slot})
			bound = s.best.bound()
		}
	}
}
