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
			queries := mix.vectors(500)
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
			debug.FreeOSMemory()
			perVector := ix.Stats().Bytes / int64(n)
			t.Logf("%d bytes per vector by Stats, %d by the process", perVector, (resident(t)-before)/int64(n))
			t.Logf("filling: garbage collection %s", filled.since(start))
			var res []ann.Result
			for i := range n / 20 { // one replacement in five calls
				var err error
				if i%5 == 0 {
					err = ix.Apply([]ann.Op{{Key: uint64(i), Vector: queries[i%len(queries)]}})
				} else {
					res, err = ix.Search(queries[i%len(queries)], 10, ann.SearchOptions{}, res[:0])
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("serving: garbage collection %s", readCollector().since(filled))
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

// since describes what happened after before. A pause counts as long as its class at most; on a busy machine it holds the
// time in which the system ran something else.
func (c collector) since(before collector) string {
	longest, long, all := 0.0, uint64(0), uint64(0)
	for i, n := range c.pauses.Counts {
		n -= before.pauses.Counts[i]
		if all += n; n > 0 {
			longest = c.pauses.Buckets[i+1]
			if longest > 1e-3 {
				long += n
			}
		}
	}
	return fmt.Sprintf("%.2f %% of the processors, %d cycles, %d pauses, %d of them above a millisecond, the longest %v at most",
		100*(c.gc-before.gc)/(c.busy-before.busy), c.cycles-before.cycles, all, long, time.Duration(longest*float64(time.Second)))
}
