package ann

// A sweep makes retired slots free for reuse: it removes the links to them that repairs have missed, then waits for the
// walks that may have read those. Why no link to a freed slot can be left or come back:
//
//   - The swept set holds retired slots only, and a slot retires only when every walking reader, workers included, is
//     pinned at or after its death.
//   - A worker links only to nodes that it has seen alive after its pin; were such a node in the set, it would have died
//     at or before the worker's pin. So no worker adds a link to the set while the sweep runs, or later.
//   - A row is only ever changed under its lock, from what it holds and from such nodes; the sweep reads it under the
//     same lock. What it has cleaned stays clean.
//   - A walk that has read a link to the set is pinned before the sweep's end, and the slots are released only when all
//     readers are pinned at or after it.
//
// So a slot that is used again has no links to it left over, and can't find itself while it is linked.

// When to sweep: when this share of all nodes is retired, or was linked since the last sweep, and this many at least. A
// sweep looks at every row, so the shares bound its cost per point.
const (
	sweepFraction     = 1.0 / 16
	sweepMinimum      = 8
	sweepLinkFraction = 1.0 / 8
	sweepLinks        = 32
)

// slotSet is a set of slots with constant-time look-up.
type slotSet []uint64

func newSlotSet(list []uint32, end uint32) slotSet {
	set := make(slotSet, (end+63)/64)
	for _, s := range list {
		set[s>>6] |= 1 << (s & 63)
	}
	return set
}

func (s slotSet) has(slot uint32) bool {
	return int(slot>>6) < len(s) && s[slot>>6]&(1<<(slot&63)) != 0
}

// sweep removes every link to a slot of the set from the rows of all other nodes. Slots in state linking are left out:
// their rows hold live nodes only.
func (g *graph) sweep(set slotSet) {
	var scratch []uint32
	for slot, end := uint32(1), g.slots.end.Load(); slot < end; slot++ {
		if h := g.slots.header(slot); !set.has(slot) && (h.is(linked) || h.is(retired)) {
			scratch = g.sweepNode(slot, set, scratch)
		}
	}
}

// sweepNode cleans the rows of slot.
func (g *graph) sweepNode(slot uint32, set slotSet, scratch []uint32) []uint32 {
	mu := g.lock(slot)
	mu.Lock()
	defer mu.Unlock()
	for level := g.slots.header(slot).level(); level >= 0; level-- {
		row := g.row(slot, level)
		scratch = row.appendTo(scratch[:0])
		keep := scratch[:0]
		for _, s := range scratch {
			if !set.has(s) {
				keep = append(keep, s)
			}
		}
		if len(keep) < len(scratch) {
			row.set(keep)
		}
	}
	return scratch
}

// unreachable returns the live nodes that no walk on level 0 from the entry point can find. The reader is pinned and
// walks. While rows change, the answer may miss some or name too many.
func (g *graph) unreachable(r *reader) (lost []uint32) {
	entry, _ := g.entryPoint()
	if entry == noSlot {
		return nil
	}
	end := g.slots.end.Load()
	r.visited.reset()
	r.visited.size(end)
	r.visited.visit(entry)
	for i := 0; i < len(r.visited.added); i++ { // added is in the order of the visits: the queue of the search
		row := g.row(r.visited.added[i], 0)
		for j := range row {
			link := row[j].Load()
			if link == noSlot {
				break
			}
			r.visited.visit(link)
		}
	}
	for slot := uint32(1); slot < end; slot++ {
		if h := g.slots.header(slot); h.is(linked) && h.alive() && r.visited.visit(slot) {
			lost = append(lost, slot)
		}
	}
	return lost
}
