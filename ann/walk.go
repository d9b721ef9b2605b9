package ann

import (
	"slices"
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// candidate is a slot and its distance to what is searched for.
type candidate struct {
	dist float32
	slot uint32 // in a pool with the top bit set once its links were followed
}

const expanded = 1 << 31 // slots are below maxSlots

// scratch is the memory of one walk.
type scratch struct {
	query   []float32    // the vector searched for, in its stored form
	target  kernel.Query // what a walk compares with
	batch   batch
	visited bitset
	pool    pool
	aside   []candidate // heap, nearest first, of nodes that may not be returned but lead on
	results topK
	cands   []candidate
	link    linkScratch
	repair  repairScratch
	scanned bitset // slots of the fresh buffer that the search has scored
	scanKey func(key uint64) bool
	admission
}

// pool holds the nearest candidates that may be returned, sorted by distance, at most ef of them.
type pool struct {
	list []candidate
	ef   int
	next int // before it everything is expanded
}

func (p *pool) reset(ef int) { p.list, p.ef, p.next = p.list[:0], ef, 0 }

func (p *pool) full() bool { return len(p.list) >= p.ef }

// bound returns the distance that a candidate must be under to get into a full pool.
func (p *pool) bound() float32 { return p.list[len(p.list)-1].dist }

// insert adds c, and drops the farthest when the pool is full.
func (p *pool) insert(c candidate) {
	lo, hi := 0, len(p.list)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); p.list[mid].dist <= c.dist {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if !p.full() {
		p.list = append(p.list, candidate{})
	}
	if lo == len(p.list) {
		return
	}
	copy(p.list[lo+1:], p.list[lo:])
	p.list[lo] = c
	p.next = min(p.next, lo)
}

// nearest returns the place of the nearest candidate that is not expanded, or -1.
func (p *pool) nearest() int {
	for ; p.next < len(p.list); p.next++ {
		if p.list[p.next].slot&expanded == 0 {
			return p.next
		}
	}
	return -1
}

// admission says which nodes a walk may return.
type admission struct {
	seq    uint64 // what is visible to a search
	filter Filter // nil admits every key
	self   uint32 // the slot that is being linked, never a neighbour of itself; noSlot in a search
}

// admits reports whether slot may be returned. For a search, a node that was born after seq passes here: it is left out
// when the results are read. For linking, dead nodes must not pass: see sweep.go.
func (a *admission) admits(s *slots, slot uint32) bool {
	if slot == a.self {
		return false
	}
	if s.hasDied(slot) && (a.self != noSlot || !s.header(slot).visibleAt(a.seq)) {
		return false
	}
	return a.filter == nil || a.filter.Match(s.header(slot).key.Load())
}

// batch is a list of slots whose distances are computed together.
type batch struct {
	slots []uint32
	codes []unsafe.Pointer
	dists []float32
}

func (b *batch) reset() { b.slots, b.codes = b.slots[:0], b.codes[:0] }

func (b *batch) add(s *slots, slot uint32) {
	b.slots = append(b.slots, slot)
	b.codes = append(b.codes, s.code(slot))
}

// measure returns the distances from q to the slots of the batch, in their order.
func (b *batch) measure(set *kernel.Set, q *kernel.Query) []float32 {
	if n := len(b.codes); cap(b.dists) < n {
		b.dists = make([]float32, n, 2*n)
	} else {
		b.dists = b.dists[:n]
	}
	set.Batch(q, b.codes, b.dists)
	return b.dists
}

// descend walks greedily from the entry point down to the given level and returns the nearest node that it met. The
// level is -1 when the graph is empty.
func (g *graph) descend(r *reader, to int) (nearest candidate, level int) {
	slot, level := g.entryPoint()
	if slot == noSlot {
		return candidate{}, -1
	}
	r.batch.reset()
	r.batch.add(g.slots, slot)
	nearest = candidate{r.batch.measure(g.space.kernel, &r.target)[0], slot}
	for ; level > to; level-- {
		nearest = g.greedy(r, nearest, level)
	}
	return nearest, level
}

// greedy follows links on level as long as they lead nearer.
func (g *graph) greedy(r *reader, from candidate, level int) candidate {
	for {
		r.batch.reset()
		row, start := g.row(from.slot, level), from.slot
		for i := range row {
			link := row[i].Load()
			if link == noSlot {
				break
			}
			r.batch.add(g.slots, link)
		}
		for i, d := range r.batch.measure(g.space.kernel, &r.target) {
			if d < from.dist {
				from = candidate{d, r.batch.slots[i]}
			}
		}
		if from.slot == start {
			return from
		}
	}
}

// beam gathers in r.pool the ef nodes nearest to r.target that a admits, starting from the nodes in from, which must not
// be r.pool's. It gives up, and reports false, after budget distances.
//
// A node that a does not admit is followed like any other when it is near enough, but takes no place in the pool: so
// filters and dead nodes cost time, not recall.
func (g *graph) beam(r *reader, from []candidate, level, ef, budget int, a *admission) bool {
	r.visited.reset()
	r.visited.size(g.slots.end.Load())
	r.pool.reset(ef)
	r.aside = r.aside[:0]
	for _, c := range from {
		if r.visited.visit(c.slot) {
			g.offer(r, c, a)
		}
	}
	for budget >= 0 {
		slot, ok := r.pick()
		if !ok {
			return true
		}
		r.batch.reset()
		row := g.row(slot, level)
		for i := range row {
			link := row[i].Load()
			if link == noSlot {
				break
			}
			if r.visited.visit(link) {
				r.batch.add(g.slots, link)
			}
		}
		budget -= len(r.batch.slots)
		for i, d := range r.batch.measure(g.space.kernel, &r.target) {
			if !r.pool.full() || d < r.pool.bound() {
				g.offer(r, candidate{d, r.batch.slots[i]}, a)
			}
		}
	}
	return false
}

// offer puts c where it belongs.
func (g *graph) offer(r *reader, c candidate, a *admission) {
	if a.admits(g.slots, c.slot) {
		r.pool.insert(c)
	} else {
		r.aside = pushNearest(r.aside, c)
	}
}

// pick returns the nearest node whose links were not followed yet; none when all that are left are farther than a full
// pool.
func (r *reader) pick() (slot uint32, ok bool) {
	i := r.pool.nearest()
	if len(r.aside) > 0 {
		c := r.aside[0]
		if i < 0 && (!r.pool.full() || c.dist < r.pool.bound()) || i >= 0 && c.dist < r.pool.list[i].dist {
			r.aside = popNearest(r.aside)
			return c.slot, true
		}
	}
	if i < 0 {
		return noSlot, false
	}
	slot = r.pool.list[i].slot
	r.pool.list[i].slot |= expanded
	return slot, true
}

// gathered returns the candidates of the pool, nearest first, as a list of the reader's own.
func (r *reader) gathered() []candidate {
	r.cands = r.cands[:0]
	for _, c := range r.pool.list {
		r.cands = append(r.cands, candidate{c.dist, c.slot &^ expanded})
	}
	return r.cands
}

// sortNearest sorts by distance, and by slot where it is equal.
func sortNearest(list []candidate) {
	slices.SortFunc(list, func(a, b candidate) int {
		switch {
		case a.dist < b.dist || a.dist == b.dist && a.slot < b.slot:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
}

// pushNearest adds c to a binary heap whose first element is the nearest.
func pushNearest(heap []candidate, c candidate) []candidate {
	heap = append(heap, c)
	for i := len(heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if heap[parent].dist <= heap[i].dist {
			break
		}
		heap[parent], heap[i] = heap[i], heap[parent]
		i = parent
	}
	return heap
}

// popNearest removes the first element.
func popNearest(heap []candidate) []candidate {
	last := len(heap) - 1
	heap[0] = heap[last]
	heap = heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && heap[child+1].dist < heap[child].dist {
			child++
		}
		if heap[i].dist <= heap[child].dist {
			break
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
	return heap
}
