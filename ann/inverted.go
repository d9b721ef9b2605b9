package ann

import (
	"math"
	"sync"
	"sync/atomic"
)

// inverted is the structure of the kinds IVFFlat, IVFPQ and IVFHNSW: an inverted file. Points are divided among lists by
// a partition that was trained from a sample of them; a search looks at the few lists whose centroids are nearest. Until
// there is a partition the index is an exact list.
//
// A training makes a new partition beside the one in force, fills it, and takes its place by one store. Meanwhile slots
// are added to both and removed from both. Why nothing is lost:
//
//   - A slot is added to, and removed from, the present and the next partition under a shared lock; the next one comes into
//     being, gets what the present one has, and takes over, under the exclusive one. So at the moment of the change both
//     hold the same slots.
//   - A search scans the buffer first and loads the pointer to the partition afterwards: a slot that has left the buffer
//     by then is in the partition that was present then, and in every later one.
//   - A search that still reads the old partition finds in it all that it may see: what it may see was there when it loaded
//     the pointer. Slots that are used again meanwhile are masked, since they are born after the search's pin.
type inverted struct {
	ix      *Index
	current atomic.Pointer[partition]
	size    atomic.Int64 // slots in it

	moving sync.RWMutex // held for reading while a slot is added or removed
	next   *partition   // is being filled; guarded by moving
}

func (iv *inverted) insert(r *reader, slot uint32) {
	iv.moving.RLock()
	defer iv.moving.RUnlock()
	iv.current.Load().insert(r, slot)
	if iv.next != nil {
		iv.next.insert(r, slot)
	}
	iv.size.Add(1)
}

func (iv *inverted) retire(_ *reader, slot uint32) {
	iv.moving.RLock()
	defer iv.moving.RUnlock()
	iv.current.Load().remove(slot)
	if iv.next != nil {
		iv.next.remove(slot)
	}
	iv.size.Add(-1)
}

func (iv *inverted) forget(uint32) {}

func (iv *inverted) bytes() (n int64) {
	if p := iv.current.Load(); p != nil {
		n = p.bytes()
	}
	iv.moving.RLock()
	defer iv.moving.RUnlock()
	if iv.next != nil {
		n += iv.next.bytes()
	}
	return n
}

func (iv *inverted) lists() int {
	if p := iv.current.Load(); p != nil {
		return len(p.lists)
	}
	return 0
}

func (iv *inverted) check(c *checker) {
	p, s := iv.current.Load(), &iv.ix.slots
	if p == nil {
		return
	}
	found := map[uint32]bool{}
	for i := range p.lists {
		r := p.lists[i].run.Load()
		if r == nil {
			continue
		}
		for at := range r.n.Load() {
			slot := r.slots[at].Load()
			if slot == noSlot {
				continue
			}
			if found[slot] {
				c.report(ProblemBadList, slot, "slot %d is in the lists twice", slot)
			}
			found[slot] = true
			if place, ok := p.places.get(slot); !ok || place != i {
				c.report(ProblemBadList, slot, "slot %d is in list %d, which its place does not say", slot, i)
			}
			if !s.header(slot).is(linked) {
				c.report(ProblemBadList, slot, "slot %d is in list %d, and in no state to be there", slot, i)
			}
		}
	}
	for slot, end := uint32(1), s.end.Load(); slot < end; slot++ {
		if s.header(slot).is(linked) && !found[slot] {
			c.report(ProblemBadList, slot, "slot %d is in no list", slot)
		}
	}
}

// plan chooses how many lists to look at: see SearchOptions.Probes. Under a filter the nearest matches lie farther out, but
// not as far as there are fewer: with 1/√selectivity times as many lists recall is the same or better.
func (iv *inverted) plan(p searchPlan, k int, opt SearchOptions) (searchPlan, float64) {
	part := iv.current.Load()
	points := float64(iv.size.Load())
	if part == nil || points <= 0 {
		return p, math.Inf(1)
	}
	if p.ef = opt.Ef; p.ef == 0 {
		p.ef = int(iv.ix.ef.Load())
	}
	p.ef = max(p.ef, k)
	lists := float64(len(part.lists))
	probes := float64(opt.Probes)
	if probes == 0 {
		probes = probesFor(p.ef, len(part.lists))
	}
	probes = min(lists, math.Ceil(probes/math.Sqrt(max(p.share, 1e-9))))
	p.probes = int(probes)
	cost := minProbeCost + lists*centroidCost + probes/lists*points*entryCost
	if p.share < 1 {
		offered := matchShare * float64(part.codes.rerank(k, p.ef)) / max(p.share, 1e-9)
		cost += min(offered, probes/lists*points) * matchCost
	}
	return p, cost
}

// What a search of lists costs, in distances of a scan of all points.
const (
	minProbeCost = 100
	centroidCost = 0.1
	entryCost    = 0.1
	matchCost    = 0.7 // of asking a filter: a look at the header of a slot
	matchShare   = 1.5 // entries asked about, per one that is kept and matches
)

// probesFor returns how many of so many lists to look at for ef.
func probesFor(ef, lists int) float64 {
	return max(1, math.Ceil(float64(ef)*math.Sqrt(float64(lists))/probesDivisor))
}

const probesDivisor = 64
