package ann

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

const maxDistance = math.MaxFloat32

// partition divides the points of an index among lists: each is in the one whose centroid is nearest by Euclidean
// distance. What training made (centroids and codes) never changes; another training makes another partition.
type partition struct {
	ix        *Index
	centroids *cluster.Centroids
	near      *Index // kind IVFHNSW: the centroids by number, to find the nearest to a point; else nil
	toward    *Index // the same under the index's metric, to find those to look at; may be near
	codes     listCodes
	lists     []list
	places    places
	trained   int // points when it was trained
	drift
}

func newPartition(ix *Index, centroids *cluster.Centroids, codes listCodes, points int) (*partition, error) {
	p := &partition{ix: ix, centroids: centroids, codes: codes, trained: points, lists: make([]list, centroids.Len())}
	if ix.opt.Kind != IVFHNSW {
		return p, nil
	}
	var err error
	if p.near, err = p.centroidGraph(L2); err != nil {
		return nil, err
	}
	p.toward = p.near
	if ix.opt.Metric == InnerProduct {
		p.toward, err = p.centroidGraph(InnerProduct)
	}
	return p, err
}

// centroidGraph returns an index of the centroids by their numbers. The garbage collector closes it, after the last
// search.
func (p *partition) centroidGraph(m Metric) (*Index, error) {
	ix, err := New(Options{Dim: p.ix.opt.Dim, Metric: m, FlatBelow: -1, Workers: p.ix.opt.Workers, Seed: p.ix.opt.Seed,
		LowPriority: p.ix.opt.LowPriority})
	if err != nil {
		return nil, err
	}
	for i := range p.centroids.Len() {
		if p.ix.closed.Load() {
			return nil, errors.Join(ErrClosed, ix.Close())
		}
		if err := ix.Apply([]Op{{uint64(i), p.centroids.Vectors.Row(i)[:p.ix.opt.Dim]}}); err != nil {
			return nil, err
		}
	}
	return ix, ix.Flush(context.Background())
}

// centroid returns the centre of a list, padded.
func (p *partition) centroid(list int) []float32 { return p.centroids.Vectors.Row(list) }

// assignEf is the effort of finding the list of a point in a graph of centroids.
const assignEf = 32

// nearest returns the list for a vector, padded, and the squared distance to its centroid.
func (p *partition) nearest(s *listScratch, v []float32) (list int, dist float32) {
	sp := &p.ix.space
	if p.near != nil {
		var err error
		if s.ranked, err = p.near.Search(v[:sp.dim], 1, SearchOptions{Ef: assignEf}, s.ranked[:0]); err == nil && len(s.ranked) > 0 {
			list = int(s.ranked[0].Key)
			return list, sp.kernel.L2(v, p.centroid(list))
		}
	}
	sp.kernel.SetVector(&s.coarse, v[:sp.dim], kernel.Euclidean(2))
	return p.centroids.Nearest(&s.coarse, &s.all)
}

// rank sets s.probes to the n lists to look at for a query, padded, the most promising first. Under the inner product
// these are the ones with the largest product, else the nearest.
func (p *partition) rank(s *listScratch, q []float32, n int) {
	s.probes = s.probes[:0]
	sp := &p.ix.space
	if p.toward != nil && n < len(p.lists)/2 {
		var err error
		if s.ranked, err = p.toward.Search(q[:sp.dim], n, SearchOptions{Ef: n + n/2}, s.ranked[:0]); err == nil {
			for _, r := range s.ranked {
				s.probes = append(s.probes, candidate{slot: uint32(r.Key)})
			}
			return
		}
	}
	form := kernel.Euclidean(2)
	if sp.metric == InnerProduct {
		form = kernel.InnerProduct
	}
	sp.kernel.SetVector(&s.coarse, q[:sp.dim], form)
	s.closest.reset(n)
	bound := s.closest.bound()
	for i, d := range p.centroids.Distances(&s.coarse, &s.all) {
		if d < bound {
			s.closest.push(candidate{d, uint32(i)})
			bound = s.closest.bound()
		}
	}
	s.probes = append(s.probes, s.closest.list...)
	sortNearest(s.probes)
}

// entry is a slot on its way into a list.
type entry struct {
	slot uint32
	list int
	dist float32
	bias float32
	code []byte
}

// prepare works out where a vector, padded, belongs and its code, which is written to e.code.
func (p *partition) prepare(s *listScratch, e *entry, v []float32) {
	e.list, e.dist = p.nearest(s, v)
	p.encode(s, e, v)
}

func (p *partition) encode(s *listScratch, e *entry, v []float32) {
	if n := p.codes.size(); cap(e.code) < n {
		e.code = make([]byte, n)
	} else {
		e.code = e.code[:n]
	}
	e.bias = p.codes.encode(s, e.code, v, e.list)
}

// add puts a prepared entry into its list.
func (p *partition) add(e *entry) {
	p.lists[e.list].add(p.codes, e.slot, e.code, e.bias)
	p.places.set(e.slot, e.list)
}

// insert finds the list of slot, whose vector is in place, and adds it.
func (p *partition) insert(r *reader, slot uint32) {
	if len(r.full) == 0 {
		r.full = p.ix.slots.vectors.scratch()
	}
	v, err := p.ix.slots.vectors.read(slot, r.full)
	if err != nil {
		return // vectors of these kinds are in memory: see Options.Validate
	}
	e := entry{slot: slot, code: r.lists.code}
	p.prepare(&r.lists, &e, v)
	r.lists.code = e.code
	p.add(&e)
	p.drift.note(p, e.dist)
}

// remove takes slot out of its list, if it is in one.
func (p *partition) remove(slot uint32) {
	if list, ok := p.places.get(slot); ok {
		p.lists[list].remove(p.codes, slot)
		p.places.clear(slot)
	}
}

func (p *partition) bytes() int64 {
	n := p.centroids.Bytes() + p.codes.bytes() + p.places.bytes()
	for i := range p.lists {
		n += p.lists[i].bytes()
	}
	for _, ix := range []*Index{p.near, p.toward} {
		if ix != nil {
			n += ix.Stats().Bytes
		}
	}
	return n
}

// imbalance is the mean size of the list that a point is in, relative to the mean size of a list: 1 when all are equal. A
// scan of a list looks at that many times more points than in equal lists.
func (p *partition) imbalance() float64 {
	sum, squares := 0.0, 0.0
	for i := range p.lists {
		n := float64(p.lists[i].len())
		sum, squares = sum+n, squares+n*n
	}
	if sum == 0 {
		return 1
	}
	return squares * float64(len(p.lists)) / (sum * sum)
}

// drift tells whether the points that come fit what was trained.
type drift struct {
	mu      sync.Mutex
	usual   float64 // mean squared distance to the centroids when the partition was filled
	balance float64 // imbalance then
	noted   int     // points since the last look
	sum     float64 // of their squared distances
	away    bool    // the points have drifted away
}

const (
	driftWindow  = 4   // a look after a quarter of the points that were trained with
	driftMinimum = 256 // and so many at least
	driftError   = 1.3 // times the mean squared distance
	driftBalance = 2.0 // times the imbalance
)

// begin sets what is usual, once the partition is filled.
func (d *drift) begin(p *partition, meanError float64) {
	balance := p.imbalance()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.usual, d.balance, d.noted, d.sum = meanError, balance, 0, 0
}

// note takes the squared distance of a new point into account.
func (d *drift) note(p *partition, dist float32) {
	d.mu.Lock()
	d.noted++
	d.sum += float64(dist)
	look := d.noted >= max(driftMinimum, p.trained/driftWindow)
	d.mu.Unlock()
	if !look {
		return
	}
	balance := p.imbalance()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.noted == 0 {
		return // another goroutine has looked meanwhile
	}
	d.away = d.away || d.balance > 0 && (d.sum/float64(d.noted) > driftError*d.usual || balance > driftBalance*d.balance)
	d.noted, d.sum = 0, 0
}

func (d *drift) usualError() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.usual
}

func (d *drift) drifted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.away
}
