package ann

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// groups are the nodes of a graph divided by nearness, for bulk. The centres never change; members are added. They are hints:
// a slot among them may be dead, hold another point by now, or be in two groups.
type groups struct {
	made    int            // nodes that they were made of
	centres []kernel.Panel // records are numbered by group
	missed  atomic.Int64   // nodes that were linked one by one since, and are in no group

	mu      sync.Mutex // guards the fields below
	added   int        // since they were made
	members [][]uint32
}

// Sizes of groups.
const (
	groupSize  = 128  // nodes of a group, about
	groupsMost = 2048 // groups, at most: each point is compared with all centres
	groupTrain = 32   // nodes per group that centres are means of
	groupChunk = 256  // nodes that are placed together
	groupMiss  = 32   // one in so many nodes may be in no group
)

// makeGroups divides the nodes of the graph by means, after one round from nodes all over the slots. It returns nil when no node is alive. The reader is pinned, and walks.
func (g *graph) makeGroups(s *bulkScratch) *groups {
	var nodes []uint32
	for slot, end := uint32(1), g.slots.end.Load(); slot < end; slot++ {
		if g.isCandidate(slot) {
			nodes = append(nodes, slot)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	count := min(groupsMost, max(1, len(nodes)/groupSize))
	at := &groups{made: len(nodes), members: make([][]uint32, count)}
	at.centres = g.panelsOf(g.meansOf(s, g.spreadOut(nodes, count), g.spreadOut(nodes, groupTrain*count)))
	for part := range slices.Chunk(nodes, groupChunk) {
		g.place(s, at.centres, part, 1)
		for i, slot := range part {
			group := s.near[i][0]
			at.members[group] = append(at.members[group], slot)
		}
	}
	return at
}

// isCandidate reports whether slot may become a neighbour. For the holder of a pinned reader that walks, such a slot keeps its
// vector until that is released: see admission.admits. One that another worker is linking may be linked to before it has its own
// links: a walk that arrives there has other ways on, since no walk begins there.
func (g *graph) isCandidate(slot uint32) bool {
	h := g.slots.header(slot)
	return !g.slots.hasDied(slot) && (h.is(linked) || h.is(linking) && g.rows.HasChunk(kernel.ChunkOf(slot)))
}

// spreadOut returns n of nodes, or all, evenly spaced.
func (g *graph) spreadOut(nodes []uint32, n int) []uint32 {
	n = min(n, len(nodes))
	list := make([]uint32, n)
	for i := range list {
		list[i] = nodes[i*len(nodes)/n]
	}
	return list
}

// meansOf returns the means of the nodes of sample that are nearest to each of seeds, padded.
func (g *graph) meansOf(s *bulkScratch, seeds, sample []uint32) [][]float32 {
	padded := kernel.Pad(g.space.dim)
	means, sums := make([][]float32, len(seeds)), make([][]float32, len(seeds))
	for i, slot := range seeds {
		means[i], sums[i] = make([]float32, padded), make([]float32, padded)
		g.space.kernel.Decode(means[i], g.slots.record(slot), g.space.dim)
	}
	centres, sizes := g.panelsOf(means), make([]int, len(seeds))
	v := make([]float32, padded)
	for part := range slices.Chunk(sample, groupChunk) {
		g.place(s, centres, part, 1)
		for i, slot := range part {
			group := s.near[i][0]
			sizes[group]++
			g.space.kernel.Decode(v, g.slots.record(slot), g.space.dim)
			for j, x := range v {
				sums[group][j] += x
			}
		}
	}
	for i, n := range sizes {
		if n > 0 {
			for j, x := range sums[i] {
				means[i][j] = x / float32(n)
			}
		}
	}
	return means
}

// panelsOf returns panels of vectors, padded, by their numbers.
func (g *graph) panelsOf(vectors [][]float32) []kernel.Panel {
	k, dim := g.space.kernel, g.space.dim
	panels := make([]kernel.Panel, 0, len(vectors)/kernel.PanelSize+1)
	for i, v := range vectors {
		if i%kernel.PanelSize == 0 {
			panels = append(panels, kernel.Panel{})
			panels[len(panels)-1].Reset(dim)
		}
		r := kernel.NewRecord(dim)
		r.Encode(v[:dim])
		k.Add(&panels[len(panels)-1], uint32(i), r)
	}
	return panels
}

// place sets s.near to the n centres, or all, that are nearest to each of slots, the nearest first.
func (g *graph) place(s *bulkScratch, centres []kernel.Panel, slots []uint32, n int) {
	s.begin(g, slots, kernel.Euclidean(2), n)
	for i := range centres {
		s.ask(g.space.kernel, &centres[i], n)
	}
	for i := range slots {
		near, _ := s.sorted(g.space.kernel, i, n, n)
		s.near[i] = s.near[i][:0]
		for _, o := range near[:min(n, len(near))] {
			s.near[i] = append(s.near[i], o.slot())
		}
	}
}

// appendTo returns list with the members of a group.
func (a *groups) appendTo(list []uint32, group int) []uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(list, a.members[group]...)
}

// add adds members to groups.
func (a *groups) add(members [][]uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for group, slots := range members {
		a.members[group] = append(a.members[group], slots...)
		a.added += len(slots)
	}
}

// stale reports whether as many members were added as there were at first, or too many nodes are in no group.
func (a *groups) stale() bool {
	if a.missed.Load()*groupMiss > int64(a.made) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.added > a.made
}
