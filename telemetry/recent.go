// Package telemetry is what freshet shows of itself beside its metrics: figures of the recent
// past.
package telemetry

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Recent keeps the last values of a duration that fall into a period, for quantiles. The zero
// value is not usable; see NewRecent. It is safe for concurrent use.
type Recent struct {
	mu     sync.Mutex // guards what follows
	period time.Duration
	values []sample // ring
	next   int
}

type sample struct {
	at    time.Time
	value time.Duration
}

// NewRecent keeps at most n values, the last ones, that are no older than period. n is 1 at
// least.
func NewRecent(n int, period time.Duration) *Recent {
	return &Recent{period: period, values: make([]sample, 0, max(1, n))}
}

// Add notes a value.
func (r *Recent) Add(v time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := sample{time.Now(), v}
	if len(r.values) < cap(r.values) {
		r.values = append(r.values, s)
		return
	}
	r.values[r.next] = s
	r.next = (r.next + 1) % len(r.values)
}

// Quantiles returns the value at each q in [0, 1], nearest rank; ok is false when there are
// no recent values.
func (r *Recent) Quantiles(qs ...float64) (out []time.Duration, ok bool) {
	since := time.Now().Add(-r.period)
	r.mu.Lock()
	sorted := make([]time.Duration, 0, len(r.values))
	for _, s := range r.values {
		if !s.at.Before(since) {
			sorted = append(sorted, s.value)
		}
	}
	r.mu.Unlock()
	if len(sorted) == 0 {
		return nil, false
	}
	slices.Sort(sorted)
	for _, q := range qs {
		out = append(out, sorted[rank(q, len(sorted))])
	}
	return out, true
}

// rank is the place of the nearest rank of q among n sorted values: the first one that at
// least q·n values do not exceed.
func rank(q float64, n int) int {
	const rounding = 1e-9 // 0.07 * 100 is a little more than 7
	return max(0, min(n, int(math.Ceil(q*float64(n)-rounding)))-1)
}
