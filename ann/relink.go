package ann

// relinkWidth is how many more candidates than for a new point are gathered to link one anew that searches miss.
const relinkWidth = 4

// Relink links points of the graph anew, each with its nearest among more candidates than when it was inserted, and
// returns how many there were. It is for points that searches should find and don't; other kinds, and points that are
// still in the buffer, are passed over. It takes the time of a few insertions each, and may run beside all else.
func (ix *Index) Relink(keys []uint64) (int, error) {
	if ix.graph == nil {
		return 0, nil
	}
	n := 0
	for _, key := range keys {
		ok, err := ix.relink(key)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

func (ix *Index) relink(key uint64) (bool, error) {
	ix.quiet.RLock()
	defer ix.quiet.RUnlock()
	r, err := ix.enter(true)
	if err != nil {
		return false, err
	}
	defer ix.leave(r)
	slot := ix.keys.findAt(key, r.seq)
	if slot == noSlot || !ix.slots.header(slot).is(linked) {
		return false, nil
	}
	ix.graph.strengthen(r, slot, min(MaxEf, relinkWidth*ix.opt.EfConstruction))
	ix.relinks.Add(1)
	return true, nil
}

// strengthen gives slot more links on the lowest level, in both directions. Those that it has stay as far as there is
// room: others may be found by them.
func (g *graph) strengthen(r *reader, slot uint32, ef int) {
	g.aim(&r.target, slot)
	near, _ := g.descend(r, 0)
	g.beam(r, append(r.cands[:0], near), 0, nearest(ef), noBudget, &admission{self: slot})
	r.link.chosen[0] = append(r.link.chosen[0][:0], g.selectLinks(r, r.gathered(), g.m)...)
	for _, c := range r.link.chosen[0] {
		g.addLink(r, slot, c, 0)
	}
	g.linkBack(r, slot, 0)
}
