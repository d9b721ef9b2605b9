package ann

import (
	"fmt"
	"slices"
	"unsafe"
)

// Filter is the set of keys that a search may return. Its methods are called while the search runs, by the goroutine of
// the search; they must not call Apply, Flush or Close of the same index.
type Filter interface {
	// Match reports whether key may be returned. It is called for many keys per search and should take constant time.
	Match(key uint64) bool
	// Count returns the number of keys that match, at least roughly: it decides between walking and scanning.
	Count() int
	// Each calls yield with every key that matches, once, until it returns false. Keys that the index doesn't have are
	// passed over.
	Each(yield func(key uint64) bool)
}

// SearchOptions says how to search. The zero value asks for the defaults.
type SearchOptions struct {
	// Ef is the number of candidates that a walk keeps for a query of average difficulty: more give better recall and take
	// longer. For hard queries it keeps up to four times as many, for easy ones fewer; under InnerProduct always Ef. Zero
	// means Options.Ef; a value below k means k. An exact search ignores it. Kinds with lists derive from it how many they
	// look at, and IVFPQ how many it scores by their vectors.
	Ef int
	// Probes is the number of lists that a search of kind IVFFlat, IVFPQ or IVFHNSW looks at: more give better recall and
	// take longer. Zero means Ef × √lists / 64, at least 1. Under a filter it is divided by the root of the share of points
	// that match. Other kinds ignore it.
	Probes int
	// Recall is the share of the true nearest that the search should find, from 0 (no target) to below 1. The index then
	// chooses Ef and Probes by what it has measured, in the background, with points of its own as queries: queries that are
	// unlike the points may need more. Until it has measured, and where no effort is enough, such searches are exact.
	Recall float64
	// Filter limits what may be returned; nil allows every key.
	Filter Filter
	// Exact compares the query with every point that may be returned.
	Exact bool

	unseen bool // the index measures itself: Stats don't count it
}

// Result is a key and the similarity of its vector to the query, higher is better: the cosine, the inner product, or
// 1/(1+d) of the Euclidean distance d. It is computed in float32 from the vectors as Vector returns them.
type Result struct {
	Key   uint64
	Score float32
}

// Search appends to dst the k points that are most similar to q, best first, equal scores by key; fewer when fewer may be
// returned. It reads one instant: the newest batch whose Apply has returned, or a later one, as a whole. A key appears
// once, and none that was deleted before the call.
//
// With kinds other than Flat the answer is approximate, unless opt.Exact is set, the points or the matches of the filter
// are so few that they are compared one by one, or fewer than k are found although more may be returned: then an
// exact scan takes over. Search allocates nothing but what dst needs to grow.
//
// With kind HNSWDisk a vector that can't be read is an error, and there are no results; small indexes, and the matches of
// a narrow filter, are ranked by codes first there, unless opt.Exact is set, which reads all vectors that may be returned.
func (ix *Index) Search(q []float32, k int, opt SearchOptions, dst []Result) ([]Result, error) {
	norm, err := ix.space.check(q)
	if err != nil {
		return dst, fmt.Errorf("ann: the query can't be searched for: %w", err)
	}
	if k < 1 || k > MaxK {
		return dst, fmt.Errorf("ann: k is %d: it must be from 1 to %d", k, MaxK)
	}
	if opt.Ef < 0 || opt.Ef > MaxEf {
		return dst, fmt.Errorf("ann: search option Ef is %d: it must be from 0 to %d", opt.Ef, MaxEf)
	}
	if opt.Probes < 0 {
		return dst, fmt.Errorf("ann: search option Probes is %d: it must not be negative", opt.Probes)
	}
	if opt, err = ix.aim(opt, k); err != nil {
		return dst, err
	}
	r, err := ix.enter(ix.structure != nil)
	if err != nil {
		return dst, err
	}
	defer ix.leave(r)
	if !opt.unseen {
		ix.searches.Add(1)
	}
	r.setQuery(ix, q, norm)
	r.results.reset(k)

	plan := ix.plan(k, opt)
	if plan.walk {
		ix.listByCodes(r, int(ix.slots.buffered.Load()), false)
		ix.scanBuffer(r, opt.Filter)
		ix.scoreShortlist(r)
		complete := ix.structure.search(r, plan, opt.Filter)
		plan.exact = !complete || len(r.results.heap) < min(k, plan.matches)
	}
	if plan.exact {
		if !opt.unseen {
			ix.exactScans.Add(1)
		}
		r.results.reset(k)
		ix.listByCodes(r, plan.matches, opt.Exact)
		ix.scan(r, plan, opt.Filter)
		ix.scoreShortlist(r)
	}
	if r.err != nil {
		return dst, r.err
	}
	return r.results.appendTo(dst), nil
}

// setQuery puts q in its stored form into the scratch of r.
func (r *reader) setQuery(ix *Index, q []float32, norm float64) {
	r.query = slices.Grow(r.query[:0], len(r.full))[:len(r.full)]
	ix.space.prepare(r.query, q, norm)
	if ix.structure != nil {
		ix.space.kernel.SetVector(&r.target, r.query[:len(q)], ix.space.searchForm())
	}
}

// searchPlan says how a search is done.
type searchPlan struct {
	walk, exact bool
	ef          int
	probes      int     // lists to look at
	matches     int     // points that may be returned, at most
	share       float64 // of the points that match
	budget      int     // distances after which a walk gives up
	byKey       bool
}

// The costs that plan compares, in distances of a walk. They were measured with 256 dimensions and 100,000 points.
const (
	scanCost    = 1   // of a point in a scan of all points: memory is read in order
	lookUpCost  = 2   // of a key of the filter: a look-up and a read at a random place
	walkPerEf   = 12  // distances per candidate of a walk
	minWalkCost = 300 // what a walk costs at least
)

// plan chooses between a walk and a scan. A walk meets about walkPerEf points per candidate that it keeps, and
// 1/selectivity times as many under a filter; a scan looks at every point that may be returned. The walk's budget is what
// the scan would cost: so a wrong guess, such as a filter whose matches are all far from the query, at most doubles the
// time.
func (ix *Index) plan(k int, opt SearchOptions) searchPlan {
	points := ix.Len()
	p := searchPlan{matches: points, share: 1, budget: noBudget}
	cost := points * scanCost
	if opt.Filter != nil {
		count := max(0, opt.Filter.Count())
		p.matches = min(points, count)
		if p.byKey = count*lookUpCost < points*scanCost; p.byKey {
			cost = count * lookUpCost
		}
		p.share = float64(p.matches) / float64(max(1, points))
		p.budget = max(minWalkCost, cost)
	}
	if ix.structure != nil && !opt.Exact {
		var walkCost float64
		p, walkCost = ix.structure.plan(p, k, opt)
		p.walk = float64(cost) > walkCost
	}
	p.exact = !p.walk
	return p
}

// scan compares the query with every point that may be returned.
func (ix *Index) scan(r *reader, p searchPlan, f Filter) {
	if p.byKey {
		r.scanKeys(ix, f)
		return
	}
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end; slot++ {
		ix.consider(r, slot, f)
	}
}

// keysAtOnce is how many keys are looked up together: the memory that the next look needs is asked for of all of them.
const keysAtOnce = 64

// scanKeys looks up every key of f. The function that f calls is made once per reader, so that it costs no memory.
func (r *reader) scanKeys(ix *Index, f Filter) {
	if r.scanKey == nil {
		r.scanKey = func(key uint64) bool {
			if r.keys = append(r.keys, key); len(r.keys) == keysAtOnce {
				ix.takeKeys(r)
			}
			return true
		}
	}
	r.keys = r.keys[:0]
	f.Each(r.scanKey)
	ix.takeKeys(r)
}

// takeKeys takes the points of r.keys that the reader sees.
func (ix *Index) takeKeys(r *reader) {
	fetch := ix.space.kernel.Fetch
	var lookUps [keysAtOnce]lookUp
	n := 0
	for _, key := range r.keys {
		if l := &lookUps[n]; ix.keys.begin(l, key) {
			fetch(unsafe.Pointer(&l.table[l.place]), 1)
			n++
		}
	}
	r.keys = r.keys[:0]
	for left := lookUps[:n]; len(left) > 0; left = left[:n] {
		n = 0
		for i := range left {
			l := &left[i]
			switch {
			case !l.holds():
				if ix.keys.next(l) {
					fetch(unsafe.Pointer(l.header), 1)
					if n < i {
						left[n] = *l
					}
					n++
				}
			case l.header.visibleAt(r.seq):
				ix.take(r, l.slot, l.key)
			default:
				if slot := ix.keys.findAt(l.key, r.seq); slot != noSlot {
					ix.take(r, slot, l.key)
				}
			}
		}
	}
}

// consider takes slot when it is visible and matches.
func (ix *Index) consider(r *reader, slot uint32, f Filter) {
	h := ix.slots.header(slot)
	if !h.visibleAt(r.seq) {
		return
	}
	key := h.key.Load()
	if f == nil || f.Match(key) {
		ix.take(r, slot, key)
	}
}

// offer scores slot, which the reader may read, and offers it to the results. A vector that can't be read fails the search.
func (ix *Index) offer(r *reader, slot uint32, key uint64) {
	v, err := ix.slots.vectors.read(slot, r.full)
	if err != nil {
		r.err = err
		return
	}
	r.results.push(Result{key, ix.space.score(r.query, v)})
}

// scanBuffer takes the points of the fresh buffer. It comes before the walk: a point that has left the buffer by then
// has its links, so the walk can find it. One that leaves in between is met twice, which r.scanned prevents.
func (ix *Index) scanBuffer(r *reader, f Filter) {
	r.scanned.reset()
	end := ix.slots.end.Load()
	r.scanned.size(end)
	for slot := uint32(0); ; slot++ {
		next, ok := ix.slots.buffer.next(slot, end)
		if !ok {
			return
		}
		slot = next
		r.scanned.visit(slot)
		ix.consider(r, slot, f)
	}
}

// walkGraph scores what a walk finds. It reports false when the walk ran out of budget.
func (ix *Index) walkGraph(r *reader, p searchPlan, f Filter) bool {
	near, level := ix.graph.descend(r, 0)
	if level < 0 {
		return true
	}
	r.cands = append(r.cands[:0], near)
	r.admission = admission{seq: r.seq, filter: f, share: p.share}
	h := ix.graph.horizonOf(r.results.k, p.ef)
	if !ix.graph.beam(r, r.cands, 0, h, p.budget, &r.admission) {
		return false
	}
	r.admission.filter = nil
	ix.rerank(r)
	return true
}
