package ann

// islands finds those of the points that are linked at once to which no walk leads. One by one, a point has a link from a node
// that was there before; of many at once all may have links from each other only.
type islands struct {
	place   map[uint32]int // of each point
	from    []uint32       // by place: a node from elsewhere that links to the point, or noSlot
	reached []bool
	queue   []int
	row     []uint32
}

// reset begins anew with slots.
func (f *islands) reset(slots []uint32) {
	if f.place == nil {
		f.place = make(map[uint32]int, bulkMost)
	}
	clear(f.place)
	f.from, f.reached = f.from[:0], f.reached[:0]
	for i, slot := range slots {
		f.place[slot] = i
		f.from, f.reached = append(f.from, noSlot), append(f.reached, false)
	}
}

// join links points that no walk comes to, one of each island by a walk of its own. Links that were made and given up meanwhile
// don't count.
func (f *islands) join(g *graph, r *reader, slots []uint32, efConstruction int) {
	for i, slot := range slots {
		if from := f.from[i]; from != noSlot && g.space.kernel.Find(g.row(from, 0), slot) >= 0 {
			f.reach(g, slots, i)
		}
	}
	for i, slot := range slots {
		if !f.reached[i] {
			g.connect(r, slot, 0, 0, efConstruction)
			f.reach(g, slots, i)
		}
	}
}

// reach takes account of a walk to place i: it comes to all that links lead to from there.
func (f *islands) reach(g *graph, slots []uint32, i int) {
	f.visit(i)
	for len(f.queue) > 0 {
		last := len(f.queue) - 1
		at := f.queue[last]
		f.queue = f.queue[:last]
		f.row = g.row(slots[at], 0).appendTo(f.row[:0])
		for _, slot := range f.row {
			if j, ok := f.place[slot]; ok {
				f.visit(j)
			}
		}
	}
}

func (f *islands) visit(i int) {
	if !f.reached[i] {
		f.reached[i] = true
		f.queue = append(f.queue, i)
	}
}
