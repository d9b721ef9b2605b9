// Package quality measures what a vector index finds. A Watch keeps recent queries of real searches with their exact
// answers, which it brings up to date with every change of the index, so that comparing them with what the index finds
// costs a search each and no scan. A Tuner turns such measurements into the width of searches.
//
// The package starts no goroutines and reads no clock; who uses it decides when to measure. It does not touch the index
// but through the functions that it is given.
package quality

import (
	"math"
	"slices"

	"github.com/freshet-io/freshet/ann"
)

const (
	// K is how many neighbours a query's recall is measured with.
	K = 10
	// kept is how many exact neighbours a query has after a scan. So many deletes among them, less K, can be borne before
	// the next scan.
	kept = 32
)

// Watch is queries and their exact nearest neighbours. It is for one goroutine at a time.
type Watch struct {
	metric  ann.Metric
	queries []query
	next    int // place of the next query when all are taken
	size    int
}

// query is one of them.
type query struct {
	vector []float32 // under cosine of length 1
	// near are the exact nearest, best first: all points whose score is at least horizon, and at least K unless the
	// index has fewer.
	near    []ann.Result
	horizon float32
	stale   bool // near has to be found by a scan
}

// NewWatch returns a watch of up to size queries.
func NewWatch(metric ann.Metric, size int) *Watch { return &Watch{metric: metric, size: size} }

// Len is the number of queries.
func (w *Watch) Len() int { return len(w.queries) }

// Offer adds a query, in the place of the oldest when there are enough. The vector is copied.
func (w *Watch) Offer(vector []float32) {
	q := query{vector: slices.Clone(vector), stale: true}
	if w.metric == ann.Cosine {
		normalise(q.vector)
	}
	if len(w.queries) < w.size {
		w.queries = append(w.queries, q)
		return
	}
	w.queries[w.next] = q
	w.next = (w.next + 1) % w.size
}

// Changed brings the answers up to date: key has this vector now, as the index stores it, or with nil none. It costs a
// distance per query.
func (w *Watch) Changed(key uint64, vector []float32) {
	for i := range w.queries {
		q := &w.queries[i]
		if q.stale {
			continue
		}
		at := slices.IndexFunc(q.near, func(r ann.Result) bool { return r.Key == key })
		if at >= 0 {
			q.near = slices.Delete(q.near, at, at+1)
		}
		if vector != nil {
			q.insert(ann.Result{Key: key, Score: Score(w.metric, q.vector, vector)})
		}
		if len(q.near) < K && q.horizon > lowest {
			q.stale = true // there may be others beyond the horizon
		}
	}
}

// lowest is the horizon of a query whose list has every point.
var lowest = float32(math.Inf(-1))

func (q *query) insert(r ann.Result) {
	if r.Score < q.horizon {
		return
	}
	at, _ := slices.BinarySearchFunc(q.near, r, compare)
	q.near = slices.Insert(q.near, at, r)
	if len(q.near) > 2*kept { // the farthest are not needed
		q.near = q.near[:kept]
		q.horizon = q.near[kept-1].Score
	}
}

// compare orders results best first.
func compare(a, b ann.Result) int {
	switch {
	case a.Score > b.Score:
		return -1
	case a.Score < b.Score:
		return 1
	case a.Key < b.Key:
		return -1
	case a.Key > b.Key:
		return 1
	}
	return 0
}

// Forget makes all answers unknown: more has changed than was told.
func (w *Watch) Forget() {
	for i := range w.queries {
		w.queries[i].stale = true
	}
}

// Holds reports whether a point that query i missed is still what the exact answer has: vector is its own by now. Where
// it is not, a change has not been told yet, and the answer is found anew.
func (w *Watch) Holds(i int, missed ann.Result, vector []float32, found bool) bool {
	q := &w.queries[i]
	if found {
		score := Score(w.metric, q.vector, vector)
		found = score >= missed.Score-tie(missed.Score) && score <= missed.Score+tie(missed.Score)
	}
	q.stale = q.stale || !found
	return found
}

// Search finds the k nearest of a query.
type Search func(vector []float32, k int) ([]ann.Result, error)

// Sample is the recall of one query.
type Sample struct {
	Recall float64      // share of the K nearest that were found
	Missed []ann.Result // the others, with their scores
}

// Measure compares what search finds for query i with the exact answer, which exact finds where it is not known; scanned
// says that it had to. ok is false when there is nothing to compare, or the two are of different moments: something
// better was found than the exact answer has.
func (w *Watch) Measure(i int, search, exact Search) (s Sample, scanned, ok bool, err error) {
	q := &w.queries[i]
	if q.stale {
		near, err := exact(q.vector, kept)
		if err != nil {
			return s, true, false, err
		}
		q.near, q.horizon, q.stale, scanned = append(q.near[:0], near...), lowest, false, true
		slices.SortFunc(q.near, compare)
		if len(q.near) == kept {
			q.horizon = q.near[kept-1].Score
		}
	}
	if len(q.near) < K {
		return s, scanned, false, nil
	}
	found, err := search(q.vector, K)
	if err != nil {
		return s, scanned, false, err
	}
	limit := q.near[K-1].Score
	right := 0
	for _, r := range found {
		if r.Score >= limit-tie(limit) {
			right++ // one of the nearest, or as near as the last of them
		}
		if r.Score > limit+tie(limit) && !slices.ContainsFunc(q.near, func(n ann.Result) bool { return n.Key == r.Key }) {
			q.stale = true // a change that was not told, or not yet
			return s, scanned, false, nil
		}
	}
	for _, n := range q.near[:K] {
		if !slices.ContainsFunc(found, func(r ann.Result) bool { return r.Key == n.Key }) {
			s.Missed = append(s.Missed, n)
		}
	}
	s.Recall = float64(min(right, K)) / K
	return s, scanned, true, nil
}

// tie is how much two scores may differ by rounding alone.
func tie(score float32) float32 { return 1e-5 * max(1, float32(math.Abs(float64(score)))) }

// Score is the similarity of an index's results, up to rounding. Under cosine both vectors have length 1.
func Score(m ann.Metric, a, b []float32) float32 {
	if m == ann.L2 {
		return float32(1 / (1 + math.Sqrt(float64(squares(a, b)))))
	}
	return dot(a, b)
}

func normalise(v []float32) {
	if n := math.Sqrt(float64(dot(v, v))); n > 0 {
		for i := range v {
			v[i] = float32(float64(v[i]) / n)
		}
	}
}

// dot has four sums, so that a processor need not wait for one addition before the next.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for len(a) >= 4 {
		x, y := a[:4:4], b[:4:4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

func squares(a, b []float32) float32 {
	var s0, s1 float32
	b = b[:len(a)]
	for len(a) >= 2 {
		x, y := a[0]-b[0], a[1]-b[1]
		s0 += x * x
		s1 += y * y
		a, b = a[2:], b[2:]
	}
	if len(a) > 0 {
		s0 += (a[0] - b[0]) * (a[0] - b[0])
	}
	return s0 + s1
}
