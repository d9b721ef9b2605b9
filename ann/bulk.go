package ann

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// bulk links many points of a graph at once. The walk that links a single point waits for memory most of the time. Here points
// that are near each other are compared with the same nodes, which are in the cache meanwhile: nodes are divided into groups of near
// ones, and a point is compared with all nodes of the groups nearest to it, and with the points that are linked with it and belong
// there. It finds about what a walk would have found. All else is the same: what is chosen of that, the links, the levels above.
type bulk struct {
	at      atomic.Pointer[groups]
	making  sync.Mutex   // held by who makes groups
	waiting atomic.Int64 // points that were linked while many waited, since groups were made last

	mu   sync.Mutex // guards idle
	idle []*bulkScratch
}

// Sizes of bulk linking.
const (
	bulkLeast  = 64   // points that are linked at once, at least
	bulkMost   = 2048 // and at most
	bulkShare  = 8    // of the nodes: groups of fewer would say little about so many
	bulkBuffer = 2    // of the fresh buffer, so that changes that wait for room go on
	bulkWorth  = 16   // one in so many nodes must have waited for groups to be worth making
	bulkProbe  = 32   // groups that a point is compared with
	bulkFirst  = 64   // candidates that are sorted first: most rows are full after 32 of them, see selectLinks
	bulkRoom   = 2    // times as many are gathered before the farthest are dropped
	bulkAhead  = 4    // nodes before its turn the codes of one are asked for
	bulkYield  = 16   // groups between two looks whether others want the processor
)

// size returns how many of the points that wait may be linked at once, 0 when they are to be linked one by one.
func (b *bulk) size(g *graph, waiting, buffer int) int {
	nodes := int(g.nodes.Load())
	n := min(waiting, nodes/bulkShare, bulkMost, buffer/bulkBuffer)
	if n < bulkLeast {
		return 0
	}
	if at := b.at.Load(); at == nil || at.stale() {
		if (waiting+int(b.waiting.Load()))*bulkWorth < nodes {
			return 0
		}
	}
	return n
}

// rest gives up what is kept for the next points.
func (b *bulk) rest() {
	b.at.Store(nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = nil
}

// groupsOf returns groups of the nodes, nil when none is alive. It makes them when there are none; stale ones will do while another
// worker makes others.
func (b *bulk) groupsOf(g *graph, s *bulkScratch) *groups {
	at := b.at.Load()
	switch {
	case at == nil:
		b.making.Lock()
	case !at.stale() || !b.making.TryLock():
		return at
	}
	defer b.making.Unlock()
	if at = b.at.Load(); at == nil || at.stale() {
		b.waiting.Store(0)
		at = g.makeGroups(s)
		b.at.Store(at)
	}
	return at
}

// miss takes account of a node that was linked by itself.
func (b *bulk) miss() {
	if at := b.at.Load(); at != nil {
		at.missed.Add(1)
	}
}

// bulkScratch is the memory of linking many points.
type bulkScratch struct {
	queries []kernel.Query
	seekers []kernel.Seeker
	near    [][]uint32 // groups by point, nearest first
	askers  [][]uint32 // points by group
	own     [][]uint32 // points that are linked at once, by group
	mine    bitset     // of these points
	list    []uint32
	asking  []*kernel.Seeker
	panel   kernel.Panel
	order   []order
	far     []order
	dists   []float32
	chosen  []candidate // neighbours of all points
	ends    []int       // of those of each
	islands islands
}

func (b *bulk) acquire() *bulkScratch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.idle); n > 0 {
		s := b.idle[n-1]
		b.idle = b.idle[:n-1]
		return s
	}
	return &bulkScratch{}
}

func (b *bulk) release(s *bulkScratch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = append(b.idle, s)
}

// insertMany links slots, whose vectors are in place, as insert does each. Points that are linked at the same time find each other:
// they are in the groups before they look for neighbours, so of two batches the later one finds all points of the other.
func (g *graph) insertMany(r *reader, slots []uint32, efConstruction int) {
	s := g.bulk.acquire()
	defer g.bulk.release(s)
	at := g.bulk.groupsOf(g, s)
	if at == nil {
		for _, slot := range slots {
			g.insert(r, slot, efConstruction)
		}
		return
	}
	g.join(s, at, slots)
	for _, slot := range slots {
		g.addRows(slot, g.levelOf(slot, g.slots.header(slot).key.Load()))
	}
	s.begin(g, slots, g.space.linkForm(), efConstruction)
	g.compare(s, at, slots, 0, 1, efConstruction) // what is near says what is far
	for i := range slots {
		g.space.kernel.Keep(&s.seekers[i], efConstruction)
	}
	g.compare(s, at, slots, 1, bulkProbe, efConstruction)
	g.chooseAll(r, s, slots, efConstruction)
	s.each(r, slots, func(_ int, slot uint32) { g.writeRow(r, slot, 0) })
	s.islands.reset(slots)
	s.each(r, slots, func(i int, slot uint32) {
		for _, from := range g.linkBack(r, slot, 0) {
			if g.slots.header(from).is(linked) {
				s.islands.from[i] = from
			}
		}
	})
	s.islands.join(g, r, slots, efConstruction)
	for i, slot := range slots {
		level := g.slots.header(slot).level()
		switch {
		case s.start(i) == s.ends[i]: // nobody near is alive
			g.connect(r, slot, 0, level, efConstruction)
		case level > 0:
			g.connect(r, slot, 1, level, efConstruction)
		}
	}
	if now := g.bulk.at.Load(); now != nil && now != at { // made meanwhile
		g.join(s, now, slots)
	}
}

// join makes slots members of their groups.
func (g *graph) join(s *bulkScratch, at *groups, slots []uint32) {
	g.place(s, at.centres, slots, bulkProbe)
	s.own = emptied(s.own, len(at.members))
	s.mine.reset()
	s.mine.size(g.slots.end.Load())
	for i, slot := range slots {
		home := s.near[i][0]
		s.own[home] = append(s.own[home], slot)
		s.mine.visit(slot)
	}
	at.add(s.own)
}

// compare compares each of slots with the nodes of its groups from..to.
func (g *graph) compare(s *bulkScratch, at *groups, slots []uint32, from, to, keep int) {
	s.askers = emptied(s.askers, len(at.members))
	for i := range slots {
		near := s.near[i]
		for _, group := range near[min(from, len(near)):min(to, len(near))] {
			s.askers[group] = append(s.askers[group], uint32(i))
		}
	}
	for group, askers := range s.askers {
		if group%bulkYield == 0 {
			runtime.Gosched()
		}
		if len(askers) == 0 {
			continue
		}
		s.list = slices.DeleteFunc(at.appendTo(s.list[:0], group), func(slot uint32) bool { return s.mine.has(slot) || !g.isCandidate(slot) })
		s.list = append(s.list, s.own[group]...)
		g.show(s, s.list, askers, keep)
	}
}

// show shows nodes to the seekers of points, given by their places.
func (g *graph) show(s *bulkScratch, nodes, points []uint32, keep int) {
	s.asking = s.asking[:0]
	for _, i := range points {
		s.asking = append(s.asking, &s.seekers[i])
	}
	for part := range slices.Chunk(nodes, kernel.PanelSize) {
		s.panel.Reset(g.space.dim)
		for i, slot := range part {
			if i+bulkAhead < len(part) {
				g.space.kernel.Fetch(g.slots.record(part[i+bulkAhead]).Codes, kernel.CodeSize(g.space.dim))
			}
			g.space.kernel.Add(&s.panel, slot, g.slots.record(slot))
		}
		s.ask(g.space.kernel, &s.panel, keep)
	}
}

// chooseAll chooses the neighbours of slots on the lowest level.
func (g *graph) chooseAll(r *reader, s *bulkScratch, slots []uint32, efConstruction int) {
	s.chosen, s.ends = s.chosen[:0], s.ends[:0]
	for i, slot := range slots {
		near, far := s.sorted(g.space.kernel, i, bulkFirst, efConstruction)
		r.cands = appendCandidates(r.cands[:0], near, slot)
		g.observe(s, r.cands)
		chosen := g.chooseLinks(r, r.cands, g.width(0))
		if len(chosen) < g.width(0) && len(far) > 0 {
			slices.Sort(far)
			r.cands = appendCandidates(r.cands, far, slot)
			chosen = g.chooseLinks(r, r.cands, g.width(0))
		}
		s.chosen = append(s.chosen, chosen...)
		s.ends = append(s.ends, len(s.chosen))
	}
}

// observe takes account of the distances of the nearest ones of a point.
func (g *graph) observe(s *bulkScratch, nearest []candidate) {
	s.dists = s.dists[:0]
	for _, c := range nearest[:min(len(nearest), spreadRank)] {
		s.dists = append(s.dists, c.dist)
	}
	g.spread.observe(s.dists, g.nodes.Load())
}

// appendCandidates returns list with those of found, which are sorted, that are not slot, each once.
func appendCandidates(list []candidate, found []order, slot uint32) []candidate {
	for i, o := range found {
		if c := o.slot(); c != slot && (i == 0 || o != found[i-1]) {
			list = append(list, candidate{o.dist(), c})
		}
	}
	return list
}

func (s *bulkScratch) start(i int) int {
	if i == 0 {
		return 0
	}
	return s.ends[i-1]
}

// each calls f for each of slots that has neighbours, with these in the link scratch of r.
func (s *bulkScratch) each(r *reader, slots []uint32, f func(i int, slot uint32)) {
	for i, slot := range slots {
		if chosen := s.chosen[s.start(i):s.ends[i]]; len(chosen) > 0 {
			r.link.chosen[0] = append(r.link.chosen[0][:0], chosen...)
			f(i, slot)
		}
	}
}

// begin makes the seekers seek for slots, about keep of each; all of them ask.
func (s *bulkScratch) begin(g *graph, slots []uint32, form kernel.Form, keep int) {
	for len(s.queries) < len(slots) {
		s.queries, s.near = append(s.queries, kernel.Query{}), append(s.near, nil)
	}
	for len(s.seekers) < len(slots) {
		s.seekers = append(s.seekers, kernel.Seeker{})
	}
	s.asking = s.asking[:0]
	for i, slot := range slots {
		record := g.slots.record(slot)
		g.space.kernel.SetRecord(&s.queries[i], record, g.space.dim, form)
		s.seekers[i].Begin(&s.queries[i], bulkRoom*keep)
		s.asking = append(s.asking, &s.seekers[i])
	}
}

// ask shows a panel to all that ask.
func (s *bulkScratch) ask(k *kernel.Set, p *kernel.Panel, keep int) {
	for _, seeker := range s.asking {
		if seeker.Full() {
			k.Keep(seeker, keep)
		}
	}
	k.Ask(s.asking, p)
}

// sorted returns the nearest of what seeker i found, at least first of them, in order, and the others up to about keep, in none.
func (s *bulkScratch) sorted(k *kernel.Set, i, first, keep int) (near, far []order) {
	seeker := &s.seekers[i]
	k.Keep(seeker, keep)
	dists, slots := seeker.Found()
	bound := k.Within(seeker, first)
	near, s.far = s.order[:0], s.far[:0]
	for at, d := range dists {
		if o := orderOf(d, slots[at]); d < bound {
			near = append(near, o)
		} else {
			s.far = append(s.far, o)
		}
	}
	s.order = near
	slices.Sort(near)
	return near, s.far
}

// emptied returns lists made empty, n of them.
func emptied(lists [][]uint32, n int) [][]uint32 {
	for len(lists) < n {
		lists = append(lists, nil)
	}
	for i := range lists[:n] {
		lists[i] = lists[i][:0]
	}
	return lists[:n]
}

// order is a candidate as a number: they sort by distance, then by slot.
type order uint64

func orderOf(d float32, slot uint32) order {
	bits := math.Float32bits(d)
	if bits>>31 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 31
	}
	return order(bits)<<32 | order(slot)
}

func (o order) slot() uint32 { return uint32(o) }

func (o order) dist() float32 {
	bits := uint32(o >> 32)
	if bits>>31 != 0 {
		bits &^= 1 << 31
	} else {
		bits = ^bits
	}
	return math.Float32frombits(bits)
}
