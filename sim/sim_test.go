package sim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet/sim"
)

// Seeds of a test, and of a short one or one under the race detector.
const (
	seeds      = 1000
	seedsShort = 50
)

// Environment variables: the one repeats a seed, the other runs so many, from a random one on, until one fails.
const (
	seedVariable  = "FRESHET_SIM_SEED"
	seedsVariable = "FRESHET_SIM_SEEDS"
)

// gcPercent suits many short lives with little live memory.
const gcPercent = 400

func TestMain(m *testing.M) {
	debug.SetGCPercent(gcPercent)
	os.Exit(m.Run())
}

// chosen returns the seeds to run, and after how many failures to stop.
func chosen(t *testing.T) (first, n uint64, failures int) {
	if seed, ok := number(t, seedVariable); ok {
		return seed, 1, 1
	}
	if n, ok := number(t, seedsVariable); ok {
		first = rand.Uint64() >> 16
		t.Logf("seeds from %d on", first)
		return first, n, 1
	}
	if testing.Short() || raceEnabled {
		return 0, seedsShort, 5
	}
	return 0, seeds, 5
}

func number(t *testing.T, variable string) (n uint64, ok bool) {
	v, ok := os.LookupEnv(variable)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n, true
}

// each runs seeds on all cores until run returns false.
func each(first, n uint64, run func(seed uint64) bool) {
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				if !run(first + i) {
					next.Store(n)
				}
			}
		})
	}
	wg.Wait()
}

// Whatever the moment of the crash: nothing acknowledged is lost, and nothing counts twice.
func TestCrash(t *testing.T) {
	first, n, failures := chosen(t)
	var mu sync.Mutex
	var total sim.Report
	failed := 0
	each(first, n, func(seed uint64) bool {
		r, err := sim.Run(seed, sim.Options{})
		mu.Lock()
		defer mu.Unlock()
		total.Add(r)
		if err != nil {
			failed++
			t.Errorf("%v\nrepeat with: %s=%d go test ./sim -run TestCrash -count=100", err, seedVariable, seed)
		}
		return failed < failures
	})
	t.Logf("%d seeds: %+v", n, total)
	if first == 0 && n == seeds && failed == 0 {
		if problem := tame(total); problem != "" {
			t.Errorf("the simulation has grown too tame to prove anything: %s", problem)
		}
	}
}

// tame says what happens too seldom in all seeds together.
func tame(r sim.Report) string {
	for _, c := range []struct {
		what  string
		n, at int
	}{
		{"records", r.Records, 40 * seeds}, {"cuts", r.Cut, seeds}, {"cuts while a node came up", r.CutOpening, seeds / 4},
		{"records kept though never acknowledged", r.Kept, seeds / 2}, {"events lost before their acknowledgement", r.Lost, seeds / 2},
		{"torn frames", r.Torn, seeds / 50}, {"repeated events", r.Repeated, 3 * seeds}, {"dead letters", r.Dead, 4 * seeds},
		{"entities", r.Entities, 20 * seeds}, {"snapshots", r.Snapshots, seeds}, {"collections made on the way", r.Made, seeds},
		{"cuts of old events", r.Cuts, seeds / 10}, {"forgotten deletions", r.Forgotten, seeds / 10},
		{"dead letters replayed", r.Replayed, seeds / 10}, {"dead letters dropped", r.Dropped, seeds / 5},
		{"expired entities", r.Expired, seeds}, {"entities dropped", r.Emptied, 3 * seeds},
		{"unanswered requests", r.Unanswered, 2 * seeds}, {"late requests", r.Late, seeds / 2},
		{"backups", r.Backups, seeds / 2}, {"restores", r.Restores, seeds / 8}, {"restores interrupted", r.RestoresCut, seeds / 20},
		{"events that restores took away", r.Undone, 2 * seeds},
	} {
		if c.n < c.at {
			return fmt.Sprintf("%d %s, at least %d are wanted", c.n, c.what, c.at)
		}
	}
	return ""
}
