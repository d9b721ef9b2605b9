package ann

import (
	"math"
	"sync/atomic"
)

// A walk that ends at its ef-th nearest node looks too far where points are dense around the query, and not far enough where
// they are sparse: what counts is how much farther than the k-th nearest it has looked (Al-Jazzazi et al., "Distance Adaptive
// Beam Search for Provably Accurate Graph-Based Nearest Neighbor Search", 2025). So ef stands for a distance: the one at
// which the ef-th nearest of an average query is, compared with the k-th. Distances grow as a power of the rank, and the graph
// knows the exponent from the walks that link its points. The same recall takes a quarter less work so (DESIGN.md).
const (
	anchorMin   = 10   // rank of the node that the horizon is measured by, at least: the distances of nearer ones vary much
	horizonRoom = 4    // a walk keeps at most so many times ef nodes
	horizonSure = 4    // standard deviations of rounding by which the horizon is beyond the anchor, or else it is the ef-th node
	spreadOver  = 1024 // walks that the exponent is a mean over, or as many as there are nodes if that is more
	// spreadRank is the rank that the exponent is learned at. Farther out it depends on how many points there are: an index
	// that has lost half of its points would look less far than one built of those that are left.
	spreadRank  = 4 * anchorMin
	spreadNodes = 10 // times the rank, the least that it is learned among
	spreadMax   = 4
)

// spread is how distances grow, a mean over walks: the logarithm of the ratio of two distances ÷ that of the ratio of
// their ranks. Zero means unknown.
type spread struct {
	bits  atomic.Uint32
	walks atomic.Uint32 // that the mean is over, as far as they count
}

func (s *spread) mean() float32 { return math.Float32frombits(s.bits.Load()) }

// set makes mean the mean over as many walks as count; what is no such mean counts as unknown.
func (s *spread) set(mean float32) {
	walks := uint32(math.MaxInt32)
	if !(mean > 0 && mean <= spreadMax) {
		mean, walks = 0, 0
	}
	s.bits.Store(math.Float32bits(mean))
	s.walks.Store(walks)
}

// observe takes account of a walk that did not end before its ef-th nearest node, in a graph of so many; dists are in order.
// Of workers that observe at the same time one may win: a walk more or less does not matter.
func (s *spread) observe(dists []float32, nodes int64) {
	n := min(len(dists), spreadRank)
	if n < 2*anchorMin || nodes < int64(spreadNodes*n) || dists[anchorMin-1] <= 0 {
		return
	}
	x := math.Log(float64(dists[n-1]/dists[anchorMin-1])) / math.Log(float64(n)/anchorMin)
	// The last walks alone would say how distances grow where points came last.
	walks := min(int64(s.walks.Load())+1, max(spreadOver, nodes))
	s.walks.Store(uint32(walks))
	mean := float64(s.mean())
	s.bits.Store(math.Float32bits(float32(mean + (min(x, spreadMax)-mean)/float64(walks))))
}

// horizon says where a walk ends: at its ef-th nearest node, or when factor is not 0, at factor times the distance of its
// anchor-th nearest node.
type horizon struct {
	ef     int
	anchor int
	factor float32
}

// nearest is the horizon of a walk that gathers ef nodes.
func nearest(ef int) horizon { return horizon{ef: ef} }

// horizonOf returns the horizon of a search for k points with ef candidates. The inner product has none but the ef-th
// node: its distances have no zero to compare with.
func (g *graph) horizonOf(k, ef int) horizon {
	h := nearest(ef)
	s := float64(g.spread.mean())
	if h.anchor = max(k, anchorMin); ef >= h.anchor && s > 0 && g.space.metric != InnerProduct {
		h.factor = float32(math.Pow(float64(ef)/float64(h.anchor), s))
	}
	return h
}

// room returns how many nodes a walk keeps at most.
func (h horizon) room() int {
	if h.factor == 0 {
		return h.ef
	}
	return horizonRoom * h.ef
}

// bound returns the distance that a node must be below to be of use to the walk of r: +Inf while it knows too few.
func (h horizon) bound(r *reader, s *slots) float32 {
	if h.factor == 0 || r.pool.Len() < h.anchor {
		return r.pool.Bound()
	}
	dists := r.pool.Dists()
	anchor := dists[h.anchor-1]
	far := h.factor * anchor
	slot := r.pool.Slots()[h.anchor-1] &^ expanded
	if far-anchor < horizonSure*r.target.Deviation(s.record(slot).Head) { // near duplicates: rounding decides
		if len(dists) < h.ef {
			return float32(math.Inf(1))
		}
		far = dists[h.ef-1]
	}
	return min(far, r.pool.Bound())
}
