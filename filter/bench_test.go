//go:build unix

package filter_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-io/freshet/filter"
)

// benchDoc is metadata of five fields: two unique strings (an id and a time to the
// microsecond), a price, and two of few values.
func benchDoc(r *rand.Rand, i int) []byte {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i)*time.Second + time.Duration(r.IntN(1e6))*time.Microsecond)
	return fmt.Appendf(nil, `{"sku":"sku-%07x","brand":"brand-%d","price":%d.%02d,"in_stock":%v,"seen":"%s"}`,
		r.IntN(1<<28), r.IntN(1000), r.IntN(500), r.IntN(100), r.IntN(3) > 0, at.Format(time.RFC3339Nano))
}

func benchDocs(n int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	docs := make([][]byte, n)
	for i := range docs {
		docs[i] = benchDoc(r, i)
	}
	return docs
}

// cpuTime is the processor time of this process so far: on a machine that others
// use too it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSet adds n new documents to an empty index.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			docs := benchDocs(n)
			start := cpuTime()
			for b.Loop() {
				x := filter.NewIndex()
				for i, m := range docs {
					if err := x.Set(uint32(i), m); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
			b.ReportMetric(float64(n)*float64(b.N)/(cpuTime()-start).Seconds(), "docs/cpu-s")
		})
	}
}

// million is an index of a million documents that the benchmarks share.
var million = sync.OnceValue(func() *filter.Index {
	x := filter.NewIndex()
	for i, m := range benchDocs(1_000_000) {
		if err := x.Set(uint32(i), m); err != nil {
			panic(err)
		}
	}
	return x
})

// BenchmarkReplace gives documents of a full index other metadata: all of it, or
// one field.
func BenchmarkReplace(b *testing.B) {
	x := million()
	r := rand.New(rand.NewPCG(3, 4))
	b.Run("all", func(b *testing.B) {
		other := benchDocs(200_000)
		for i := 0; b.Loop(); i++ {
			if err := x.Set(uint32(r.IntN(1_000_000)), other[i%len(other)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("none", func(b *testing.B) {
		same := benchDoc(r, 5)
		for b.Loop() {
			if err := x.Set(5, same); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEval answers filters over a million documents.
func BenchmarkEval(b *testing.B) {
	x := million()
	for _, c := range []struct{ name, filter string }{
		{"eq_0.1%", `{"eq":{"brand":"brand-7"}}`},
		{"eq_67%", `{"eq":{"in_stock":true}}`},
		{"in_10", `{"in":{"brand":["brand-1","brand-2","brand-3","brand-4","brand-5","brand-6","brand-7","brand-8","brand-9","brand-10"]}}`},
		{"range_price_1%", `{"range":{"price":{"gte":100,"lt":105}}}`},
		{"range_price_50%", `{"range":{"price":{"lt":250}}}`},
		{"range_time_1%", `{"range":{"seen":{"gte":"2026-01-02T00:00:00Z","lt":"2026-01-02T02:46:40Z"}}}`},
		{"range_time_50%", `{"range":{"seen":{"lt":"2026-01-06T18:53:20Z"}}}`},
		{"prefix_1/16", `{"prefix":{"sku":"sku-a"}}`},
		{"and_eq_eq", `{"and":[{"eq":{"brand":"brand-7"}},{"eq":{"in_stock":true}}]}`},
		{"and_eq_range50%", `{"and":[{"range":{"price":{"lt":250}}},{"eq":{"brand":"brand-7"}}]}`},
		{"and_eq_time50%", `{"and":[{"range":{"seen":{"lt":"2026-01-06T18:53:20Z"}}},{"eq":{"brand":"brand-7"}}]}`},
		{"not_eq", `{"not":{"eq":{"brand":"brand-7"}}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := mustParse(b, c.filter)
			n := x.Eval(e).GetCardinality()
			for b.Loop() {
				x.Eval(e)
			}
			b.ReportMetric(float64(n), "docs")
		})
	}
}

// BenchmarkEach recomputes the digests of a million documents.
func BenchmarkEach(b *testing.B) {
	x := million()
	for b.Loop() {
		for range x.Each {
		}
	}
}

// BenchmarkDigest computes a digest from metadata.
func BenchmarkDigest(b *testing.B) {
	d := filter.NewDigester()
	m := benchDocs(1000)
	for i := 0; b.Loop(); i++ {
		if _, err := d.Digest(m[i%len(m)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory reports the heap that an index takes for each document.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{10, 1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			docs := benchDocs(n)
			copies := max(1, 1000/n)
			var perDoc, claimed float64
			for b.Loop() {
				before := heap()
				all := make([]*filter.Index, copies)
				for c := range all {
					all[c] = filter.NewIndex()
					for i, m := range docs {
						if err := all[c].Set(uint32(i), m); err != nil {
							b.Fatal(err)
						}
					}
				}
				perDoc = float64(heap()-before) / float64(n*copies)
				claimed = float64(all[0].Stats().Bytes) / float64(n)
			}
			b.ReportMetric(perDoc, "heap-B/doc")
			b.ReportMetric(claimed, "stats-B/doc")
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
