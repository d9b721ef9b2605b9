package ann

import (
	"slices"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// linkScratch is the memory for linking one slot.
type linkScratch struct {
	chosen    [maxLevel + 1][]candidate // neighbours by level
	selection []candidate
	left      rivals
	row       []uint32
	before    []uint32    // links of a row that is replaced
	early     []candidate // the same
	accepted  []uint32    // of linkBack
	rivals    []candidate
	node      kernel.Query // a node as what others are compared with
	batch     batch
}

// insert links slot, whose vector is in place, into the graph. The reader is pinned, walks, and stays pinned until the
// links are written: every neighbour was alive after the pin, so no sweep that could free it has begun (sweep.go).
func (g *graph) insert(r *reader, slot uint32, efConstruction int) {
	level := g.levelOf(slot, g.slots.header(slot).key.Load())
	level = g.addRows(slot, level)
	g.connect(r, slot, 0, level, efConstruction)
	g.bulk.miss()
}

// connect links slot, which has rows up to level, with its nearest nodes in both directions, from level low up.
//
// A slot that meets no live node tries again alone: then the next such one finds it, and two that meet nobody at the
// same time don't make two graphs.
func (g *graph) connect(r *reader, slot uint32, low, level, efConstruction int) {
	alone := g.tryConnect(r, slot, low, level, efConstruction)
	if alone {
		g.lonely.Lock()
		defer g.lonely.Unlock()
		alone = g.tryConnect(r, slot, low, level, efConstruction)
	}
	g.raiseEntry(slot, level, alone)
}

// tryConnect reports whether slot is alone: no live node was found.
//
// All rows of slot are complete before the first link to it is published: a walk that arrives finds its way on.
func (g *graph) tryConnect(r *reader, slot uint32, low, level, efConstruction int) (alone bool) {
	g.aim(&r.target, slot)
	for l := range r.link.chosen {
		r.link.chosen[l] = r.link.chosen[l][:0]
	}
	_, top := g.entryPoint()
	near, at := g.descend(r, min(level, top))
	from := append(r.cands[:0], near)
	for l := at; l >= low; l-- {
		g.beam(r, from, l, nearest(efConstruction), noBudget, &admission{self: slot})
		if l == 0 {
			g.spread.observe(r.pool.Dists(), g.nodes.Load())
		}
		if found := r.gathered(); len(found) > 0 {
			from = found
			r.link.chosen[l] = append(r.link.chosen[l], g.chooseLinks(r, found, g.width(l))...)
		}
	}
	if low == 0 && len(r.link.chosen[0]) == 0 {
		return true
	}
	for l := low; l <= level; l++ {
		g.writeRow(r, slot, l)
	}
	for l := low; l <= level; l++ {
		g.linkBack(r, slot, l)
	}
	return false
}

// width returns how many links a new node chooses on level. A node of an index that only grows gets about as many again
// from those that come after it. Where nodes come and go the newest, which have none of these yet, are as many as any
// others, and are found as well with half as many links more: DESIGN.md.
func (g *graph) width(level int) int {
	if level == 0 && g.gone.Load()*renewed > g.nodes.Load() {
		return g.m + g.m/2
	}
	return g.m
}

const renewed = 8 // an index counts as one where nodes come and go when an eighth of them is gone

const (
	noBudget = 1 << 62
	longRow  = 24 // see rewrite
)

// writeRow stores the chosen links of slot on level. Those that are there already, to points that were linked at the same time
// and found slot first, stay as far as they are good enough.
func (g *graph) writeRow(r *reader, slot uint32, level int) {
	r.link.row = r.link.row[:0]
	for _, c := range r.link.chosen[level] {
		r.link.row = append(r.link.row, c.slot)
	}
	for _, c := range g.replaceRow(r, slot, level) {
		g.addLink(r, slot, c, level)
	}
}

// replaceRow makes a row hold r.link.row, and returns what it held.
func (g *graph) replaceRow(r *reader, slot uint32, level int) []candidate {
	mu := g.lock(slot)
	mu.Lock()
	defer mu.Unlock()
	row := g.row(slot, level)
	r.link.before = row.appendTo(r.link.before[:0])
	row.set(r.link.row)
	if len(r.link.before) == 0 {
		return nil
	}
	r.link.early = append(r.link.early[:0], g.rank(r, slot, r.link.before)...)
	return r.link.early
}

// linkBack links the chosen neighbours of slot on level to it. When all of them prefer others, the nearest one gives up
// its last link, so that slot can be found at all. It returns the neighbours that link to slot, in memory that is valid until the next call.
func (g *graph) linkBack(r *reader, slot uint32, level int) (accepted []uint32) {
	accepted = r.link.accepted[:0]
	chosen := r.link.chosen[level]
	for _, c := range chosen {
		if g.addLink(r, c.slot, candidate{c.dist, slot}, level) {
			accepted = append(accepted, c.slot)
		}
	}
	if len(accepted) == 0 && len(chosen) > 0 {
		g.forceLink(chosen[0].slot, slot, level)
		accepted = append(accepted, chosen[0].slot)
	}
	r.link.accepted = accepted
	return accepted
}

// addLink adds a link from node to c on level. A full row keeps the best of all. It reports whether node now links to c.
func (g *graph) addLink(r *reader, node uint32, c candidate, level int) bool {
	mu := g.lock(node)
	mu.Lock()
	defer mu.Unlock()
	row := g.row(node, level)
	for i := range row {
		switch row[i].Load() {
		case c.slot:
			return true
		case noSlot:
			row[i].Store(c.slot)
			return true
		}
	}
	r.link.row = row.appendTo(r.link.row[:0])
	rivals := append(g.rank(r, node, r.link.row), c)
	return g.rewrite(r, row, rivals, c.slot)
}

// rewrite makes row hold the best of rivals and reports whether slot is among them. Of a long row a quarter stays free,
// so that the next links cost no selection: that makes linking 40 % faster, at the same recall. In short rows it would
// cost too many nodes their last link. The caller holds the row's lock.
func (g *graph) rewrite(r *reader, row links, rivals []candidate, slot uint32) (kept bool) {
	sortNearest(rivals)
	r.link.row = r.link.row[:0]
	keep := len(row)
	if keep >= longRow {
		keep -= keep / 4
	}
	for _, c := range g.chooseLinks(r, rivals, keep) {
		r.link.row = append(r.link.row, c.slot)
		kept = kept || c.slot == slot
	}
	row.set(r.link.row)
	return kept
}

// forceLink makes node link to slot in place of its last link.
func (g *graph) forceLink(node, slot uint32, level int) {
	mu := g.lock(node)
	mu.Lock()
	defer mu.Unlock()
	row := g.row(node, level)
	if g.space.kernel.Find(row, slot) >= 0 {
		return
	}
	for i := range row {
		if row[i].Load() == noSlot || i == len(row)-1 {
			row[i].Store(slot)
			return
		}
	}
}

// aim makes q stand for the node of slot.
func (g *graph) aim(q *kernel.Query, slot uint32) {
	record := g.slots.record(slot)
	g.space.kernel.SetRecord(q, record, g.space.dim, g.space.linkForm())
}

// nearestOf returns the live ones of list with their distances to node, nearest first, at most limit of them. It is
// valid until the next call or walk.
func (g *graph) nearestOf(r *reader, node uint32, list []uint32, limit int) []candidate {
	l := &r.pool
	l.reset(limit)
	for _, c := range g.rank(r, node, list) {
		if c.slot != node && c.dist < l.Bound() {
			g.space.kernel.Insert(&l.Nearest, c.dist, c.slot)
		}
	}
	return r.gathered()
}

// rank returns the live ones of list with their distances to node, in the order of the list. It is valid until the next
// call.
func (g *graph) rank(r *reader, node uint32, list []uint32) []candidate {
	g.aim(&r.link.node, node)
	b := &r.link.batch
	b.reset()
	for _, s := range list {
		if !g.slots.hasDied(s) {
			b.add(g.slots, s)
		}
	}
	r.link.rivals = r.link.rivals[:0]
	for i, d := range b.measure(g.space.kernel, &r.link.node) {
		r.link.rivals = append(r.link.rivals, candidate{d, b.slots[i]})
	}
	return r.link.rivals
}

// selectLinks returns at most limit of the candidates, which are sorted by distance to a node: each that is not closer,
// by the factor alpha, to one chosen before it than to the node. So links point in different directions, and some are
// long (the heuristic of HNSW with the factor of Vamana, Subramanya et al. 2019). The result is valid until the next call.
//
// It takes the nearest candidate left, drops all that are too close to it, and so on: so distances come in batches. The
// candidates are looked at selectAtOnce at a time, since most lists are full long before their end.
func (g *graph) selectLinks(r *reader, sorted []candidate, limit int) []candidate {
	chosen := r.link.selection[:0]
	for len(sorted) > 0 && len(chosen) < limit {
		left := g.rivalsOf(r, sorted[:min(len(sorted), selectAtOnce)])
		sorted = sorted[len(left.list):]
		for _, c := range chosen {
			left = g.farFrom(r, c.slot, left)
		}
		for len(left.list) > 0 && len(chosen) < limit {
			c := left.list[0]
			chosen = append(chosen, c)
			left = g.farFrom(r, c.slot, rivals{left.list[1:], left.records[1:]})
		}
	}
	r.link.selection = chosen
	return chosen
}

const selectAtOnce = 32

// Of the links that a node chooses, one in nearShare goes to the nearest whatever the rule says, and so do more of them while there are
// fewer than half of M: see chooseLinks.
const nearShare = 8

// chooseLinks returns the links of a node on a level: those of selectLinks, and a few of the nearest that it left out. Where many points
// are near copies of one, it is nearer to each of them than any other: by the rule all link to that one alone, which can't link
// back to everybody, and most would have no link at all.
func (g *graph) chooseLinks(r *reader, sorted []candidate, limit int) []candidate {
	near := limit / nearShare
	chosen := g.selectLinks(r, sorted, limit-near)
	selected := len(chosen)
	most := min(limit, max(selected+near, g.m/2))
	for _, c := range sorted {
		if len(chosen) >= most {
			break
		}
		if !slices.Contains(chosen[:selected], c) {
			chosen = append(chosen, c)
		}
	}
	r.link.selection = chosen
	return chosen
}

// rivals are candidates for the links of a node, with their codes.
type rivals struct {
	list    []candidate
	records []kernel.Record
}

// rivalsOf returns list as rivals, in memory of the reader.
func (g *graph) rivalsOf(r *reader, list []candidate) rivals {
	l := &r.link
	l.left.list = append(l.left.list[:0], list...)
	l.left.records = l.left.records[:0]
	for _, c := range list {
		l.left.records = append(l.left.records, g.slots.record(c.slot))
	}
	return l.left
}

// farFrom returns those of left that are not closer to slot, by the factor alpha, than to the node that they are sorted
// by. It uses the memory of left.
func (g *graph) farFrom(r *reader, slot uint32, left rivals) rivals {
	if len(left.list) == 0 {
		return left
	}
	g.aim(&r.link.node, slot)
	n := 0
	for i, d := range r.link.batch.measureRecords(g.space.kernel, &r.link.node, left.records) {
		if g.alpha*d >= left.list[i].dist {
			left.list[n], left.records[n] = left.list[i], left.records[i]
			n++
		}
	}
	return rivals{left.list[:n], left.records[:n]}
}
