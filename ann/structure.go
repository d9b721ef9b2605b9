package ann

import "math"

// structure finds neighbours among the slots that have left the fresh buffer: the graph of an index of kind HNSW, the
// lists of an inverted-file kind. An index of kind Flat has none. What is the same for all kinds (versions, batches, the
// buffer, the reuse of slots) is not its business: it gets a slot when a worker takes it out of the buffer, loses it when
// the slot is dead and every walk that may see it is over, and may return dead slots, which are masked by their headers.
//
// Its methods are called once per search or job, never per distance.
type structure interface {
	// plan returns p with how to search in it, and what that would cost in distances of a scan. The cost is infinite when
	// the structure is empty.
	plan(p searchPlan, k int, opt SearchOptions) (_ searchPlan, cost float64)
	// search pushes what it finds to r.results, which hold the points of the buffer already; r.scanned names those.
	// It reports false when it gave up. r is pinned and walks.
	search(r *reader, p searchPlan, f Filter) (complete bool)
	// insert takes over slot, in state linking. r is pinned and walks. When it returns, every search that begins to look
	// at the structure finds the slot.
	insert(r *reader, slot uint32)
	// retire removes slot, which is dead for every walking reader. Slots of a structure that sweeps may be met by walks
	// until the next sweep.
	retire(r *reader, slot uint32)
	// forget frees what is kept for slot, which nobody can meet any more.
	forget(slot uint32)
	// bytes returns the memory of the structure.
	bytes() int64
	// check reports broken invariants. Nothing changes meanwhile.
	check(c *checker)
}

// hnsw is the structure of an index of kind HNSW.
type hnsw struct {
	*graph
	ix *Index
}

// What a filter does to ef: see hnsw.plan.
const (
	filterSpare = 0.3
	filterFewer = 0.38
)

func (h hnsw) plan(p searchPlan, k int, opt SearchOptions) (searchPlan, float64) {
	if h.nodes.Load() == 0 {
		return p, math.Inf(1)
	}
	if p.ef = opt.Ef; p.ef == 0 {
		p.ef = int(h.ix.ef.Load())
	}
	// Under a filter the walk must go 1/selectivity as far out to fill its pool, and the farther out, the surer it has found
	// what is near: recall stays with fewer candidates, but for a few more than k.
	least := float64(k) * (1 + filterSpare*(1-p.share))
	p.ef = int(math.Ceil(max(least, float64(p.ef)*math.Pow(p.share, filterFewer))))
	return p, max(minWalkCost, float64(p.ef*walkPerEf)/max(p.share, 1e-9))
}

func (h hnsw) search(r *reader, p searchPlan, f Filter) bool { return h.ix.walkGraph(r, p, f) }
func (h hnsw) insert(r *reader, slot uint32)                 { h.graph.insert(r, slot, h.ix.opt.EfConstruction) }
func (h hnsw) retire(r *reader, slot uint32)                 { h.graph.repair(r, slot) }
func (h hnsw) forget(slot uint32)                            { h.graph.dropRows(slot) }
func (h hnsw) check(c *checker)                              { c.graph() }
