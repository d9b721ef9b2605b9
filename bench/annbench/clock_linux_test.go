package annbench

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// processors returns how many processors each thread of the process may use, the fewest and the most.
func processors(t *testing.T) (fewest, most int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	fewest = 1 << 20
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		var set unix.CPUSet
		if unix.SchedGetaffinity(tid, &set) == nil { // a thread may have ended
			fewest, most = min(fewest, set.Count()), max(most, set.Count())
		}
	}
	return fewest, most
}

func TestPinBindsAllThreadsAndLetsThemGo(t *testing.T) {
	before, _ := processors(t)
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !allowed.IsSet(cpu) {
		cpu++
	}
	undo, err := pin(cpu)
	if err != nil {
		t.Fatal(err)
	}
	if _, most := processors(t); most != 1 {
		t.Errorf("a thread may use %d processors", most)
	}
	undo()
	if fewest, _ := processors(t); fewest != before {
		t.Errorf("afterwards a thread may use %d processors, before %d", fewest, before)
	}
	if _, err := pin(1 << 9); err == nil {
		t.Error("pinned to a processor that is not there")
	}
}

func TestClocksMove(t *testing.T) {
	start, sum := cpuSeconds(), 0
	for i := 0; cpuSeconds()-start < 0.01; i++ {
		sum += i
	}
	if residentBytes() < 1<<20 || sum < 0 {
		t.Errorf("%d bytes resident", residentBytes())
	}
}
