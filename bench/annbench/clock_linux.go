package annbench

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cpuSeconds returns the processor time of this process, all threads.
func cpuSeconds() float64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(fmt.Sprintf("annbench: clock_gettime: %v", err)) // the clock exists on every Linux
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

// pinThread binds the calling thread to one processor; a negative one changes nothing.
func pinThread(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("annbench: pin to processor %d: %w", cpu, err)
	}
	return nil
}

// preemptions returns how often the calling thread had its processor taken away.
func preemptions() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return u.Nivcsw
}
