package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
)

// tick is the unit of times in /proc: 100 a second, on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuOf is the processor time that all threads of a process have used, of the user and of the system.
func cpuOf(t testing.TB, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:]) // from the third on: the name may have spaces
	var user, system int64
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		t.Fatalf("/proc/%d/stat: %v", pid, err)
	}
	return time.Duration(user+system) * tick
}
