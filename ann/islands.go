package ann

// islands are the points that are linked at once, joined by the links that lead to them. One by one, a point has a link from
// a node that was there before; of many at once all may have links from each other only, and no walk would ever come there.
type islands struct {
	place  map[uint32]int // of each point
	parent []int          // of a place in a forest: an island is a tree
	ashore []bool         // of a root: a link leads to the island from elsewhere
}

// reset begins anew with slots, each an island of its own.
func (f *islands) reset(slots []uint32) {
	if f.place == nil {
		f.place = make(map[uint32]int, bulkMost)
	}
	clear(f.place)
	f.parent, f.ashore = f.parent[:0], f.ashore[:0]
	for i, slot := range slots {
		f.place[slot] = i
		f.parent, f.ashore = append(f.parent, i), append(f.ashore, false)
	}
}

func (f *islands) root(i int) int {
	for f.parent[i] != i {
		f.parent[i] = f.parent[f.parent[i]]
		i = f.parent[i]
	}
	return i
}

// join takes account of a link from a node to place i. found says that walks find the node if it is none of the points.
func (f *islands) join(i int, from uint32, found bool) {
	to := f.root(i)
	if j, ok := f.place[from]; ok {
		j = f.root(j)
		f.parent[j] = to
		f.ashore[to] = f.ashore[to] || f.ashore[j]
	} else if found {
		f.ashore[to] = true
	}
}

// apart returns a place of each island that no link leads to.
func (f *islands) apart() (places []int) {
	for i := range f.parent {
		if f.parent[i] == i && !f.ashore[i] {
			places = append(places, i)
		}
	}
	return places
}
