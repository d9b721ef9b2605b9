//go:build !linux

package annbench

import "time"

// Other systems have no common clock of processor time, memory or affinity: there the wall clock stands in, memory is not
// reported, and nothing is pinned.

var started = time.Now()

func cpuSeconds() float64  { return time.Since(started).Seconds() }
func residentBytes() int64 { return 0 }

func pin(int) (undo func(), err error) { return func() {}, nil }
func pinThread(int) error              { return nil }
func preemptions() int64               { return 0 }
