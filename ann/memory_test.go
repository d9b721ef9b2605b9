package ann_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ann"
)

// TestMemory prints what an index takes per vector, by its own count and by the growth of the process, and what the
// garbage collector costs while it is filled and searched. FRESHET_MEMORY_POINTS makes it larger, FRESHET_MEMORY_FORM
// picks one of float32, float16, int8 and hnsw_disk.
func TestMemory(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("fills large indexes")
	}
	n := 20_000
	if s := os.Getenv("FRESHET_MEMORY_POINTS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	const dim = 256
	aims := map[string]int64{"float32": 1500, "float16": 1000, "int8": 500, "hnsw_disk": 500} // of a small index, with slack
	for _, opt := range forms(t, ann.Options{Dim: dim, FlatBelow: -1, EfConstruction: 40}) {
		name := opt.Precision.String()
		if opt.Kind == ann.HNSWDisk {
			name = opt.Kind.String()
		}
		if only := os.Getenv("FRESHET_MEMORY_FORM"); only != "" && only != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			mix := newMixture(77, dim, 24, 100)
			queries := mix.vectors(50)
			debug.FreeOSMemory()
			before, start := resident(t), readCollector()
			ix := newIndex(t, opt)
			batch := make([]ann.Op, 0, 1000)
			for key := range n {
				batch = append(batch, ann.Op{Key: uint64(key), Vector: mix.vector()})
				if len(batch) == cap(batch) || key == n-1 {
					if err := ix.Apply(batch); err != nil {
						t.Fatal(err)
					}
					batch = batch[:0]
				}
			}
			flush(t, ix)
			filled := readCollector()
			var res []ann.Result
			searches, began := 0, time.Now()
			for ; searches < 20*len(queries); searches++ {
				var err error
				if res, err = ix.Search(queries[searches%len(queries)], 10, ann.SearchOptions{}, res[:0]); err != nil {
					t.Fatal(err)
				}
			}
			took := time.Since(began)
			debug.FreeOSMemory()
			perVector := ix.Stats().Bytes / int64(n)
			t.Logf("%d bytes per vector by Stats, %d by the process; garbage collection %.2f %% of the processors while filling, longest pause at most %v, %d cycles; %.0f searches/s",
				perVector, (resident(t)-before)/int64(n), 100*filled.share(start), filled.longest(start), filled.cycles-start.cycles, float64(searches)/took.Seconds())
			if perVector > aims[name] {
				t.Errorf("%d bytes per vector, want at most %d", perVector, aims[name])
			}
			runtime.KeepAlive(ix)
		})
	}
}

// resident returns the memory that the process has.
func resident(t *testing.T) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("the memory of the process can't be read here: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	t.Skip("the system does not say how much memory the process has")
	return 0
}

// collector is what the garbage collector has done so far.
type collector struct {
	gc, busy float64 // seconds of processors, and those that were not idle
	cycles   uint64
	pauses   metrics.Float64Histogram
}

func readCollector() collector {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/idle:cpu-seconds"}, {Name: "/gc/cycles/total:gc-cycles"}, {Name: "/sched/pauses/total/gc:seconds"}}
	runtime.GC() // the classes are brought up to date by a cycle
	metrics.Read(s)
	return collector{s[0].Value.Float64(), s[1].Value.Float64() - s[2].Value.Float64(), s[3].Value.Uint64(), *s[4].Value.Float64Histogram()}
}

func (c collector) share(before collector) float64 {
	return (c.gc - before.gc) / (c.busy - before.busy)
}

// longest returns the upper bound of the longest pauses since before.
func (c collector) longest(before collector) time.Duration {
	for i := len(c.pauses.Counts) - 1; i >= 0; i-- {
		if c.pauses.Counts[i] > before.pauses.Counts[i] {
			return time.Duration(c.pauses.Buckets[i+1] * float64(time.Second))
		}
	}
	return 0
}
