package ann

import (
	"math"
	"runtime"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/pq"
)

// When a partition is trained anew, and from how many points.
const (
	growthFactor   = 2.5     // as many points as it was trained with
	shrinkFactor   = 1.0 / 8 // or as few
	pointsPerList  = 32      // of the sample that centroids are trained from
	sampleBytes    = 1 << 28 // of the sample, at most
	productSample  = 8192    // points that codewords and the rotation are trained from
	fillChunk      = 64      // points that are prepared, and then added, at a time
	listsPerRoot   = 4       // lists: so many times the square root of the points
	pointsOfAList  = 16      // but so many points per list at least
	pointsPerSmall = 48      // points per list under IVFHNSW, whose lists cost less to find
)

// listsFor returns the number of lists for so many points.
func listsFor(kind Kind, points int) int {
	lists := listsPerRoot * math.Sqrt(float64(points))
	if kind == IVFHNSW {
		lists = max(lists, float64(points)/pointsPerSmall)
	}
	return max(1, int(min(lists, float64(points)/pointsOfAList)))
}

// trainDue reports whether it is time to train.
func (iv *inverted) trainDue() bool {
	live := iv.ix.live.Load()
	p := iv.current.Load()
	if p == nil {
		return live > max(0, int64(iv.ix.opt.FlatBelow))
	}
	n, trained := float64(live), float64(p.trained)
	return n > growthFactor*trained+minGrowth || n < shrinkFactor*trained-minGrowth || p.drifted()
}

const minGrowth = 64

// train makes a partition for the points of now and puts it in force. One goroutine at a time may train. Searches and
// changes go on meanwhile; see inverted. It reports false when the index is closed before it is through.
func (iv *inverted) train() bool {
	sample, points := iv.sample()
	if sample.Len() == 0 {
		return true
	}
	p, err := iv.fit(sample, points)
	if err != nil || p == nil {
		return false
	}
	iv.moving.Lock()
	iv.next = p
	iv.moving.Unlock()
	meanError, ok := iv.fill(p)
	iv.moving.Lock()
	defer iv.moving.Unlock()
	iv.next = nil
	if !ok {
		return false
	}
	p.drift.begin(p, meanError)
	iv.current.Store(p)
	iv.ix.trainings.Add(1)
	return true
}

// sample returns the vectors of some points, evenly spread over the slots, and the number of all.
func (iv *inverted) sample() (m cluster.Matrix, points int) {
	ix := iv.ix
	r := ix.readers.acquire(false)
	defer ix.leave(r)
	points = ix.Len()
	row := 4 * ix.slots.vectors.padded
	want := max(pointsPerList*listsFor(ix.opt.Kind, points), productSample)
	want = min(want, sampleBytes/row, points)
	if want == 0 {
		return cluster.Matrix{}, points
	}
	m = cluster.NewMatrix(want, ix.opt.Dim)
	step, at, taken := float64(points)/float64(want), 0.0, 0
	seen := 0
	full := ix.slots.vectors.scratch()
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end && taken < want; slot++ {
		if !ix.slots.header(slot).visibleAt(r.seq) {
			continue
		}
		if seen++; float64(seen) <= at {
			continue
		}
		if v, err := ix.slots.vectors.read(slot, full); err == nil {
			copy(m.Row(taken), v)
			taken++
			at += step
		}
	}
	m.Data = m.Data[:taken*m.Stride]
	return m, points
}

// fit trains centroids and codes from a sample. It returns nil when the index is closed meanwhile.
func (iv *inverted) fit(sample cluster.Matrix, points int) (*partition, error) {
	ix := iv.ix
	stop := func() bool {
		runtime.Gosched() // searches and changes go first
		return ix.closed.Load()
	}
	centroids := cluster.Train(sample, cluster.Options{Groups: listsFor(ix.opt.Kind, points), Seed: ix.opt.Seed,
		Kernel: ix.space.kernel, Stop: stop})
	if centroids == nil {
		return nil, nil
	}
	var codes listCodes = newByteCodes(&ix.space)
	if ix.opt.Kind == IVFPQ {
		q := pq.Train(iv.residuals(sample, centroids), pq.Options{Seed: ix.opt.Seed, Kernel: ix.space.kernel, Stop: stop})
		if q == nil {
			return nil, nil
		}
		codes = newProductCodes(&ix.space, q, centroids.Vectors)
	}
	return newPartition(ix, centroids, codes, points)
}

// residuals returns what some vectors of the sample are apart from their centroids.
func (iv *inverted) residuals(sample cluster.Matrix, centroids *cluster.Centroids) cluster.Matrix {
	p := partition{ix: iv.ix, centroids: centroids}
	var s listScratch
	n := sample.Len()
	m := cluster.NewMatrix(min(n, productSample), sample.Dim)
	for i := range m.Len() {
		v, to := sample.Row(i*n/m.Len()), m.Row(i)
		list, _ := p.nearest(&s, v)
		for j, x := range centroids.Vectors.Row(list) {
			to[j] = v[j] - x
		}
	}
	return m
}

// fill gives next everything that the partition in force holds; it returns the mean squared distance to the centroids.
func (iv *inverted) fill(next *partition) (meanError float64, ok bool) {
	ix := iv.ix
	if iv.current.Load() == nil {
		return iv.errorOf(next), true // the buffer is drained into it
	}
	chunk := make([]entry, fillChunk)
	var scratch listScratch
	full := ix.slots.vectors.scratch()
	sum, n := 0.0, 0
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end; {
		if ix.closed.Load() {
			return 0, false
		}
		var ready []entry
		ready, slot = iv.prepareChunk(next, chunk, &scratch, full, slot, end)
		for i := range ready {
			sum, n = sum+float64(ready[i].dist), n+1
		}
		iv.addChunk(next, ready, &scratch, full)
		runtime.Gosched()
	}
	return sum / float64(max(1, n)), true
}

// prepareChunk works out where the next slots of the partition in force belong. It holds no lock, so a slot may be retired
// meanwhile; the reader is pinned and walks, so those that are visible to it keep their vectors. The others, which are
// dead, are left to addChunk: older searches may still see them.
func (iv *inverted) prepareChunk(next *partition, chunk []entry, s *listScratch, full []float32, slot, end uint32) ([]entry, uint32) {
	ix, now := iv.ix, iv.current.Load()
	r := ix.readers.acquire(true)
	defer ix.leave(r)
	n := 0
	for ; n < len(chunk) && slot < end; slot++ {
		if _, ok := now.places.get(slot); !ok {
			continue
		}
		e := &chunk[n]
		e.slot, e.list = slot, -1
		n++
		if !ix.slots.header(slot).visibleAt(r.seq) {
			continue
		}
		if v, err := ix.slots.vectors.read(slot, full); err == nil {
			next.prepare(s, e, v)
		}
	}
	return chunk[:n], slot
}

// addChunk adds those of the entries that are still in the partition in force and not in next. Such a slot has not been
// retired since it was prepared: had it been used again, it would have been added to both.
func (iv *inverted) addChunk(next *partition, ready []entry, s *listScratch, full []float32) {
	ix, now := iv.ix, iv.current.Load()
	iv.moving.Lock()
	defer iv.moving.Unlock()
	for i := range ready {
		e := &ready[i]
		if _, ok := now.places.get(e.slot); !ok {
			continue
		}
		if _, ok := next.places.get(e.slot); ok {
			continue
		}
		if e.list < 0 { // dead, and not retired yet
			v, err := ix.slots.vectors.read(e.slot, full)
			if err != nil {
				continue
			}
			next.prepare(s, e, v)
		}
		next.add(e)
	}
}

// errorOf estimates the mean squared distance of points to the centroids of p.
func (iv *inverted) errorOf(p *partition) float64 {
	const points = 1000
	ix := iv.ix
	r := ix.readers.acquire(false)
	defer ix.leave(r)
	var s listScratch
	full := ix.slots.vectors.scratch()
	sum, n := 0.0, 0
	end := ix.slots.end.Load()
	for slot := uint32(1); slot < end && n < points; slot += max(1, end/points) {
		if !ix.slots.header(slot).visibleAt(r.seq) {
			continue
		}
		if v, err := ix.slots.vectors.read(slot, full); err == nil {
			_, dist := p.nearest(&s, v)
			sum, n = sum+float64(dist), n+1
		}
	}
	return sum / float64(max(1, n))
}

// startTrainingLocked starts a training when one is due. It has a goroutine of its own: points are linked meanwhile.
func (m *maintainer) startTrainingLocked() {
	iv := m.ix.inverted
	if iv == nil || m.training || m.stopped || !iv.trainDue() {
		return
	}
	m.training = true
	go m.aside(&m.training, func() {
		if iv.train() {
			m.draining.Store(iv.current.Load() != nil)
		}
	})
}
