package bench

import (
	"math"
	"slices"
	"time"
)

// quantile is the value at q of durations, by nearest rank, in milliseconds to a microsecond.
func quantile(values []time.Duration, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	v := sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1+b2i(q == 0))]
	return float64(v.Microseconds()) / 1000
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }
