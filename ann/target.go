package ann

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
)

// A search that names a recall instead of an effort gets the effort from a table, which is measured in the background, on
// the index as it is: some of its points are searched for with one effort after the other, and the answers are compared
// with exact ones. Nothing is measured before such a search comes; until there is a table, it is answered exactly.

// efforts are the values of Ef that are tried.
var efforts = [...]int{10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896, 1280, 1792, 2560}

const (
	measuredQueries = 100
	measuredK       = 10
	measuredEnough  = 0.9995 // recall from which more effort is not tried
	measuredGrowth  = 1.5    // a table is old when there are so many times more points, or fewer, or changes
)

// effortTable says which recall@measuredK the efforts have reached.
type effortTable struct {
	recalls   []float64 // of the first of efforts
	points    int       // of the index then
	upserts   uint64
	trainings uint64
}

// targets is the part of an index that knows efforts.
type targets struct {
	wanted atomic.Bool // a search has named a recall
	table  atomic.Pointer[effortTable]
}

// aim returns opt with the effort for the recall that it names.
func (ix *Index) aim(opt SearchOptions, k int) (SearchOptions, error) {
	if !(opt.Recall >= 0 && opt.Recall < 1) {
		return opt, fmt.Errorf("ann: search option Recall is %v: it must be from 0 to below 1; Exact finds all", opt.Recall)
	}
	if opt.Recall == 0 || opt.Exact || ix.structure == nil {
		return opt, nil
	}
	t := ix.targets.table.Load()
	if t == nil || t.old(ix) {
		if !ix.targets.wanted.Swap(true) || t == nil {
			ix.kick()
		}
	}
	if t == nil {
		opt.Exact = true
		return opt, nil
	}
	ef, ok := t.effort(opt.Recall)
	opt.Ef, opt.Probes, opt.Exact = min(MaxEf, ef*max(measuredK, k)/measuredK), 0, !ok
	return opt, nil
}

// effort returns the smallest effort that reaches a recall, between two that were tried if need be. It is careful: what was
// measured counts as less by its standard error. It reports false when no effort does.
func (t *effortTable) effort(recall float64) (ef int, ok bool) {
	last, lastEf := 0.0, 1
	for i, got := range t.recalls {
		sure := got - math.Sqrt(got*(1-got)/(measuredQueries*measuredK))
		if sure >= recall {
			share := (recall - last) / max(sure-last, 1e-9)
			return lastEf + int(math.Ceil(share*float64(efforts[i]-lastEf))), true
		}
		last, lastEf = max(last, sure), efforts[i]
	}
	return 0, false
}

// old reports whether the index has changed much since.
func (t *effortTable) old(ix *Index) bool {
	n, then := float64(ix.Len()), float64(t.points)
	return n > measuredGrowth*then || n*measuredGrowth < then || t.trainings != ix.trainings.Load() ||
		float64(ix.upserts.Load()-t.upserts) > measuredGrowth*then
}

// measureDue reports whether to measure now: not while many points wait in the buffer, which is scanned exactly.
func (ix *Index) measureDue() bool {
	if ix.structure == nil || !ix.targets.wanted.Load() {
		return false
	}
	points := ix.Len()
	if points == 0 || int(ix.slots.buffered.Load()) > points/10 && points > ix.opt.FlatBelow {
		return false
	}
	t := ix.targets.table.Load()
	return t == nil || t.old(ix)
}

// measure makes a new table. It gives up when the index is closed.
func (ix *Index) measure() {
	t := &effortTable{points: ix.Len(), upserts: ix.upserts.Load(), trainings: ix.trainings.Load()}
	keys, queries := ix.someVectors(measuredQueries)
	truth := make([][]Result, len(queries))
	var err error
	for i, q := range queries {
		if truth[i], err = ix.others(q, keys[i], SearchOptions{Exact: true, unseen: true}, nil); err != nil {
			return
		}
	}
	var res []Result
	for _, ef := range efforts {
		hits, wanted := 0, 0
		for i, q := range queries {
			if res, err = ix.others(q, keys[i], SearchOptions{Ef: ef, unseen: true}, res[:0]); err != nil {
				return
			}
			hits, wanted = hits+common(res, truth[i]), wanted+len(truth[i])
		}
		recall := 1.0
		if wanted > 0 {
			recall = float64(hits) / float64(wanted)
		}
		t.recalls = append(t.recalls, recall)
		if recall >= measuredEnough {
			break
		}
	}
	ix.targets.table.Store(t)
}

// someVectors returns up to n points, spread evenly.
func (ix *Index) someVectors(n int) (keys []uint64, vectors [][]float32) {
	r := ix.readers.acquire(false)
	defer ix.leave(r)
	full := ix.slots.vectors.scratch()
	step := float64(ix.Len()) / float64(n)
	seen, at := 0, 0.0
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end && len(keys) < n; slot++ {
		h := ix.slots.header(slot)
		if !h.visibleAt(r.seq) {
			continue
		}
		if seen++; float64(seen) <= at {
			continue
		}
		v, err := ix.slots.vectors.read(slot, full)
		if err != nil {
			continue
		}
		at += step
		keys = append(keys, h.key.Load())
		vectors = append(vectors, append([]float32(nil), v[:ix.opt.Dim]...))
	}
	return keys, vectors
}

// others searches for the measuredK points nearest to q other than its own key.
func (ix *Index) others(q []float32, key uint64, opt SearchOptions, dst []Result) ([]Result, error) {
	runtime.Gosched() // others go first
	dst, err := ix.Search(q, measuredK+1, opt, dst)
	keep := dst[:0]
	for _, r := range dst {
		if r.Key != key && len(keep) < measuredK {
			keep = append(keep, r)
		}
	}
	return keep, err
}

// common returns how many keys of b are in a.
func common(a, b []Result) (n int) {
	for _, x := range b {
		for _, y := range a {
			if x.Key == y.Key {
				n++
				break
			}
		}
	}
	return n
}

// startMeasuringLocked starts a measurement when one is due.
func (m *maintainer) startMeasuringLocked() {
	if m.measuring || m.stopped || !m.ix.measureDue() {
		return
	}
	m.measuring = true
	go m.aside(&m.measuring, m.ix.measure)
}

// aside runs a job that takes long in a goroutine of its own, and clears running after it.
func (m *maintainer) aside(running *bool, job func()) {
	if m.ix.opt.LowPriority {
		if loweredThreads.Add(1) <= maxLowered {
			lowerPriority()
		}
		defer loweredThreads.Add(-1)
	}
	job()
	m.mu.Lock()
	defer m.mu.Unlock()
	*running = false
	if m.progress != nil {
		close(m.progress)
		m.progress = nil
	}
	m.startLocked()
}
