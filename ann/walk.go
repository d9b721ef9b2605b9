package ann

import (
	"slices"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// candidate is a slot and its distance to what is searched for.
type candidate struct {
	dist float32
	slot uint32
}

const expanded = 1 << 31 // slots are below maxSlots

// scratch is the memory of one walk.
type scratch struct {
	query   []float32     // the vector searched for, in its stored form
	target  kernel.Query  // what a walk compares with
	steps   []kernel.Step // stepsAtHand of them, or none yet
	batch   batch
	visited bitset
	pool    pool
	aside   []candidate // heap, nearest first, of nodes that may not be returned but lead on
	listing listing
	results topK
	cands   []candidate
	link    linkScratch
	repair  repairScratch
	scanned bitset // slots of the fresh buffer that the search has scored
	scanKey func(key uint64) bool
	keys    []uint64 // of a filter, looked up together
	admission
}

// pool holds the nearest candidates that may be returned, at most ef of them. A slot has its top bit set once its links
// were followed.
type pool struct {
	kernel.Nearest
	next int // before it everything is expanded
}

func (p *pool) reset(ef int) {
	p.Nearest.Reset(ef)
	p.next = 0
}

// nearest returns the place of the nearest candidate that is not expanded, or -1.
func (p *pool) nearest() int {
	slots := p.Slots()
	for ; p.next < len(slots); p.next++ {
		if slots[p.next]&expanded == 0 {
			return p.next
		}
	}
	return -1
}

// admission says which nodes a walk may return.
type admission struct {
	seq    uint64  // what is visible to a search
	filter Filter  // nil admits every key
	share  float64 // of the points that match
	self   uint32  // the slot that is being linked, never a neighbour of itself; noSlot in a search
}

// misled reports whether far fewer of the nodes that a walk has seen match than of all points: those that match are far
// from here, and a walk is the wrong way to find them.
func (a *admission) misled(seen, matching int) bool {
	return seen >= misledAfter && float64(matching) < misledShare*a.share*float64(seen)
}

const (
	misledAfter = 512
	misledShare = 0.2
)

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
	slots   []uint32
	records []kernel.Record
	dists   []float32
}

func (b *batch) reset() { b.slots, b.records = b.slots[:0], b.records[:0] }

func (b *batch) add(s *slots, slot uint32) {
	b.slots = append(b.slots, slot)
	b.records = append(b.records, s.record(slot))
}

// measure returns the distances from q to the slots of the batch, in their order.
func (b *batch) measure(set *kernel.Set, q *kernel.Query) []float32 {
	return b.measureRecords(set, q, b.records)
}

// measureRecords returns the distances from q to records, in the memory of the batch.
func (b *batch) measureRecords(set *kernel.Set, q *kernel.Query, records []kernel.Record) []float32 {
	if n := len(records); cap(b.dists) < n {
		b.dists = make([]float32, n, 2*n)
	} else {
		b.dists = b.dists[:n]
	}
	set.Batch(q, records, b.dists)
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

// beam gathers in r.pool the nodes nearest to r.target that a admits, as far as the horizon, starting from the nodes in
// from, which must not be r.pool's. It gives up, and reports false, after budget distances.
//
// A node that a does not admit is followed like any other when it is near enough, but takes no place in the pool: so
// filters and dead nodes cost time, not recall.
func (g *graph) beam(r *reader, from []candidate, level int, h horizon, budget int, a *admission) bool {
	end := g.slots.end.Load()
	r.visited.reset()
	r.visited.size(end)
	r.visited.words[0] |= 1 << noSlot // links to it end a row
	r.makeSteps()
	for i := range r.steps {
		r.steps[i].Aim(&r.target, g.slots.records())
		r.steps[i].Visit(r.visited.words, end)
	}
	r.pool.reset(h.room())
	r.aside = r.aside[:0]
	for _, c := range from {
		if r.visited.visit(c.slot) {
			g.offer(r, c, level, a)
		}
	}
	k := g.space.kernel
	var ruling, measuring *kernel.Step
	for turn := 0; ; turn++ {
		var gathering *kernel.Step
		bound := h.bound(r, g.slots)
		if budget >= 0 {
			if slot, ok := g.pick(r, level, bound); ok {
				gathering = &r.steps[turn%stepsAtHand]
				row := g.row(slot, level)
				n := k.Gather(gathering, row, r.visited.room(len(row)))
				r.visited.took(n)
				budget -= n
			}
		}
		k.Rule(ruling, gathering, bound)
		if measuring != nil {
			slots, dists := k.Measure(measuring, bound)
			for i, d := range dists {
				if d < r.pool.Bound() {
					g.offer(r, candidate{d, slots[i]}, level, a)
				}
			}
		}
		if gathering == nil && ruling == nil && measuring == nil {
			return budget >= 0
		}
		if a.filter != nil && a.misled(len(r.visited.added), r.pool.Len()) && bound > maxDistance {
			return false
		}
		measuring, ruling = ruling, gathering
	}
}

// makeSteps makes the steps of r, once: a short list needs none.
func (r *reader) makeSteps() {
	if r.steps == nil {
		r.steps = make([]kernel.Step, stepsAtHand)
	}
}

// stepsAtHand is how many nodes a walk expands at the same time, each at another part of its step: while one waits for
// memory, the others go on. The second and third nearest are almost always followed anyway.
const stepsAtHand = 3

// offer puts c where it belongs.
func (g *graph) offer(r *reader, c candidate, level int, a *admission) {
	if a.admits(g.slots, c.slot) {
		place := g.space.kernel.Insert(&r.pool.Nearest, c.dist, c.slot)
		if r.pool.next = min(r.pool.next, place); level == 0 && place < r.pool.next+stepsAtHand {
			g.fetchRow(c.slot)
		}
	} else {
		r.aside = pushNearest(r.aside, c)
	}
}

// pick returns the nearest node whose links were not followed yet; none when all that are left are beyond bound.
func (g *graph) pick(r *reader, level int, bound float32) (slot uint32, ok bool) {
	i := r.pool.nearest()
	if i >= 0 && r.pool.Dists()[i] > bound {
		i = -1
	}
	if len(r.aside) > 0 {
		c := r.aside[0]
		if i < 0 && c.dist < bound || i >= 0 && c.dist < r.pool.Dists()[i] {
			r.aside = popNearest(r.aside)
			return c.slot, true
		}
	}
	if i < 0 {
		return noSlot, false
	}
	slots := r.pool.Slots()
	slot = slots[i]
	slots[i] |= expanded
	if i += stepsAtHand; level == 0 && i < len(slots) {
		g.fetchRow(slots[i] &^ expanded)
	}
	return slot, true
}

// fetchRow asks for the memory of the links of slot on level 0, which are followed soon.
func (g *graph) fetchRow(slot uint32) {
	g.space.kernel.Fetch(g.rows.at(slot), 4*g.m0)
}

// gathered returns the candidates of the pool, nearest first, as a list of the reader's own.
func (r *reader) gathered() []candidate {
	r.cands = r.cands[:0]
	dists := r.pool.Dists()
	for i, slot := range r.pool.Slots() {
		r.cands = append(r.cands, candidate{dists[i], slot &^ expanded})
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
