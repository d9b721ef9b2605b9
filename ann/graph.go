package ann

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// graph is a hierarchical navigable small world (Malkov and Yashunin, 2016): every linked slot has a row of links on
// level 0, and one slot in M has rows on higher levels too, which a walk uses to get near its goal.
//
// Walks read rows without locks. A row is changed under its lock by storing single links; a walk may see a mixture of
// old and new, each of which leads to a slot that it may read, since slots are not used again before all links to them
// are gone and all walks that could have seen those have ended (sweep.go).
type graph struct {
	slots *slots
	space *space
	m, m0 int     // links of a row above level 0, and on it
	alpha float32 // see selectLinks
	seed  uint64

	rows   slab          // of [m0]atomic.Uint32, by slot; the first noSlot ends a row
	upper  slab          // of upperRow followed by [m]atomic.Uint32, by row number
	entry  atomic.Uint64 // level<<32 | slot of the node where walks begin; 0 when the graph is empty
	nodes  atomic.Int64  // slots in state linked or retired
	gone   atomic.Int64  // nodes that were removed since the start
	spread spread        // how distances grow, for horizons
	bulk   bulk          // links many points at once

	mu        sync.Mutex // guards growth, upperFree, upperEnd and changes of entry
	upperFree []uint32
	upperEnd  uint32

	locks  [rowLocks]sync.Mutex // of rows, by slot
	lonely sync.Mutex           // held while a slot that met no live node is connected
}

const (
	rowLocks = 64
	noRow    = 0
	maxLevel = 12
)

// upperRow heads a row above level 0.
type upperRow struct {
	owner atomic.Uint32 // slot
	next  atomic.Uint32 // row of the owner one level higher
}

// links is a row: it ends at the first noSlot, or at its length.
type links []atomic.Uint32

func newGraph(s *slots, sp *space, opt Options) *graph {
	g := &graph{slots: s, space: sp, m: opt.M, m0: 2 * opt.M, alpha: opt.Alpha, seed: opt.Seed, upperEnd: 1}
	g.rows.arena, g.upper.arena = s.headers.arena, s.headers.arena
	g.rows.Stride = uintptr(g.m0) * 4
	g.upper.Stride = unsafe.Sizeof(upperRow{}) + uintptr(g.m)*4
	return g
}

func (g *graph) lock(slot uint32) *sync.Mutex { return &g.locks[slot%rowLocks] }

func (g *graph) upperRow(row uint32) *upperRow { return (*upperRow)(g.upper.at(row)) }

// row returns the links of slot on level, which is not above the slot's own.
func (g *graph) row(slot uint32, level int) links {
	if level == 0 {
		return unsafe.Slice((*atomic.Uint32)(g.rows.at(slot)), g.m0)
	}
	row := g.slots.header(slot).upper()
	for ; level > 1 && row != noRow; level-- {
		row = g.upperRow(row).next.Load()
	}
	if row == noRow {
		return nil
	}
	return unsafe.Slice((*atomic.Uint32)(unsafe.Add(g.upper.at(row), unsafe.Sizeof(upperRow{}))), g.m)
}

// set makes the row hold exactly these slots. The caller holds the row's lock.
func (l links) set(to []uint32) {
	for i := range l {
		link := uint32(noSlot)
		if i < len(to) {
			link = to[i]
		}
		if l[i].Load() != link {
			l[i].Store(link)
		} else if link == noSlot {
			return // the rest is empty already
		}
	}
}

// appendTo returns dst with all links of the row.
func (l links) appendTo(dst []uint32) []uint32 {
	for i := range l {
		link := l[i].Load()
		if link == noSlot {
			break
		}
		dst = append(dst, link)
	}
	return dst
}

// levelOf draws the highest level of a slot that holds key: level l with probability (1-1/m)/m^l.
func (g *graph) levelOf(slot uint32, key uint64) int {
	h := hashKey(hashKey(g.seed^key) ^ uint64(slot) ^ 0x9e3779b97f4a7c15)
	u := (float64(h>>11) + 1) / (1 << 53) // in (0, 1]
	return min(int(-math.Log(u)/math.Log(float64(g.m))), maxLevel)
}

// addRows gives slot empty rows on the levels up to level, or, when there are no more rows, on the lowest level only. It
// returns the level that the slot has.
func (g *graph) addRows(slot uint32, level int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.upperFree)+int(maxUpper-g.upperEnd) < level {
		level = 0
	}
	g.rows.grow(slot)
	g.empty(slot)
	h := g.slots.header(slot)
	above := uint32(noRow)
	for range level {
		row := g.upperEnd
		if n := len(g.upperFree); n > 0 {
			row, g.upperFree = g.upperFree[n-1], g.upperFree[:n-1]
		} else {
			g.upper.grow(row)
			g.upperEnd++
		}
		u := g.upperRow(row)
		u.owner.Store(slot)
		u.next.Store(above)
		above = row
	}
	h.setRows(level, above)
	for l := 1; l <= level; l++ {
		g.row(slot, l).set(nil)
	}
	g.nodes.Add(1)
	return level
}

// empty makes the row of slot on the lowest level hold nothing.
func (g *graph) empty(slot uint32) {
	mu := g.lock(slot) // a worker that knows slot as a member of a group may be linking to it already
	mu.Lock()
	defer mu.Unlock()
	g.row(slot, 0).set(nil)
}

// dropRows frees the rows of slot, to which no link is left and no walk is on its way.
func (g *graph) dropRows(slot uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.empty(slot)
	h := g.slots.header(slot)
	for row := h.upper(); row != noRow; {
		u := g.upperRow(row)
		g.upperFree = append(g.upperFree, row)
		u.owner.Store(noSlot)
		row = u.next.Load()
	}
	h.setRows(0, noRow)
	g.nodes.Add(-1)
	g.gone.Add(1)
}

// entryPoint returns the node where walks begin and its level.
func (g *graph) entryPoint() (slot uint32, level int) {
	e := g.entry.Load()
	return uint32(e), int(e >> 32)
}

// raiseEntry makes slot the entry point when the graph has none, when the present one is dead and slot is what is left,
// or when slot has a higher level.
func (g *graph) raiseEntry(slot uint32, level int, alone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, top := g.entryPoint()
	if now == noSlot || level > top || alone && !g.slots.header(now).alive() {
		g.entry.Store(uint64(level)<<32 | uint64(slot))
	}
}

// replaceEntry chooses another entry point when it is slot: the live node with the highest level. It reports whether
// slot is the entry point no more.
func (g *graph) replaceEntry(slot uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now, _ := g.entryPoint(); now != slot {
		return true
	}
	best, top := uint32(noSlot), -1
	consider := func(s uint32) {
		if h := g.slots.header(s); s != slot && h.is(linked) && h.alive() && h.level() > top {
			best, top = s, h.level()
		}
	}
	for row := uint32(1); row < g.upperEnd; row++ {
		if owner := g.upperRow(row).owner.Load(); owner != noSlot {
			consider(owner)
		}
	}
	for s, end := uint32(1), g.slots.end.Load(); best == noSlot && s < end; s++ {
		consider(s)
	}
	if best == noSlot {
		return false
	}
	g.entry.Store(uint64(top)<<32 | uint64(best))
	return true
}

// bytes returns the memory of the rows.
func (g *graph) bytes() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rows.bytes(g.slots.end.Load()) + g.upper.bytes(g.upperEnd)
}

// bitset is a set of slots of one goroutine. visit adds; reset forgets what was added, at the cost of that.
type bitset struct {
	words []uint64
	added []uint32
}

// size makes room for the slots below end.
func (b *bitset) size(end uint32) {
	if need := int(end+63) / 64; need > len(b.words) {
		b.words = append(b.words, make([]uint64, need-len(b.words))...)
	}
}

// visit adds slot and reports whether it is new. Slots beyond the size, which were made after the walk began, count as
// visited: nobody at this reader's sequence can see them.
func (b *bitset) visit(slot uint32) bool {
	w, bit := slot>>6, uint64(1)<<(slot&63)
	if int(w) >= len(b.words) || b.words[w]&bit != 0 {
		return false
	}
	b.words[w] |= bit
	b.added = append(b.added, slot)
	return true
}

// has reports whether slot is in the set.
func (b *bitset) has(slot uint32) bool {
	w := slot >> 6
	return int(w) < len(b.words) && b.words[w]&(1<<(slot&63)) != 0
}

// room returns memory for n slots that someone else adds to the set; took says how many of them were added.
func (b *bitset) room(n int) []uint32 {
	b.added = slices.Grow(b.added, n)
	return b.added[len(b.added):cap(b.added)]
}

func (b *bitset) took(n int) { b.added = b.added[:len(b.added)+n] }

func (b *bitset) reset() {
	for _, slot := range b.added {
		b.words[slot>>6] = 0
	}
	b.added = b.added[:0]
}
