package annbench

import (
	"math"
	"runtime"
	"runtime/metrics"
)

// GCResult is what the garbage collector took.
type GCResult struct {
	Share    float64 `json:"cpu_share"` // of the processor time that was used, in [0, 1]
	PauseMax float64 `json:"pause_max_us"`
	Cycles   uint64  `json:"cycles"`
	HeapMB   float64 `json:"heap_mb"`
}

// gcState is totals of the collector.
type gcState struct {
	gc, total float64 // processor seconds
	cycles    uint64
	heap      uint64
	pauses    []uint64 // counts of a histogram
	bounds    []float64
}

func readGC() gcState {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/user:cpu-seconds"},
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/sched/pauses/total/gc:seconds"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	h := s[3].Value.Float64Histogram()
	return gcState{gc: s[0].Value.Float64(), total: cpuSeconds(), cycles: s[2].Value.Uint64(), heap: s[4].Value.Uint64(),
		pauses: append([]uint64(nil), h.Counts...), bounds: h.Buckets}
}

// minus returns what happened between an earlier state and s.
func (s gcState) minus(earlier gcState) gcState {
	s.gc, s.total, s.cycles = s.gc-earlier.gc, s.total-earlier.total, s.cycles-earlier.cycles
	for i := range s.pauses {
		s.pauses[i] -= earlier.pauses[i]
	}
	return s
}

func (s gcState) plus(other gcState) gcState {
	other.gc, other.total, other.cycles = s.gc+other.gc, s.total+other.total, s.cycles+other.cycles
	for i := range s.pauses {
		other.pauses[i] += s.pauses[i]
	}
	return other
}

func (s gcState) since(earlier gcState) GCResult { return s.minus(earlier).result() }

func (s gcState) result() GCResult {
	r := GCResult{Cycles: s.cycles, HeapMB: float64(s.heap) / (1 << 20)}
	if s.total > 0 {
		r.Share = s.gc / s.total
	}
	for i, n := range s.pauses {
		if n == 0 {
			continue
		}
		bound := s.bounds[i+1] // a pause lies below the upper bound of its bucket
		if math.IsInf(bound, 1) {
			bound = s.bounds[i]
		}
		r.PauseMax = max(r.PauseMax, bound*1e6)
	}
	return r
}

// Collect runs the collector, so that a phase which gave it no reason to run has cycles to judge.
func Collect(times int) GCResult {
	before := readGC()
	for range times {
		runtime.GC()
	}
	return readGC().since(before)
}
