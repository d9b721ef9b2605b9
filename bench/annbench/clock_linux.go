package annbench

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cpuSeconds returns the processor time of this process, all threads.
func cpuSeconds() float64 { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// threadSeconds returns the processor time of the calling thread.
func threadSeconds() float64 { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

func clock(id int32) float64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(fmt.Sprintf("annbench: clock_gettime(%d): %v", id, err)) // the clocks exist on every Linux
	}
	return float64(ts.Nano()) / 1e9
}

// residentBytes returns the resident memory of this process.
func residentBytes() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// pin binds all threads of this process, and so those that they start, to one processor, or with a negative one to the
// processors that it had; it returns a function that undoes it.
func pin(cpu int) (undo func(), err error) {
	if cpu < 0 {
		return func() {}, nil
	}
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("annbench: affinity: %w", err)
	}
	if !before.IsSet(cpu) {
		return nil, fmt.Errorf("annbench: processor %d is not there for this process", cpu)
	}
	one.Set(cpu)
	if err := pinThreads(&one); err != nil {
		return nil, err
	}
	return func() { _ = pinThreads(&before) }, nil
}

// pinThreads sets the processors of every thread of the process. Threads may start and end meanwhile: it looks again until
// a look finds none that is new.
func pinThreads(set *unix.CPUSet) error {
	for done := map[int]bool{}; ; {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("annbench: threads: %w", err)
		}
		fresh := 0
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil || done[tid] {
				continue
			}
			done[tid] = true
			fresh++
			if err := unix.SchedSetaffinity(tid, set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("annbench: pin thread %d: %w", tid, err)
			}
		}
		if fresh == 0 {
			return nil
		}
	}
}
