package ann_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// benchSet is a data set with the true neighbours of its queries. It is made once per run.
type benchSet struct {
	name          string
	base, queries [][]float32
	truth         [][]uint64
}

var glove, easy, hard = sync.OnceValue(gloveSet), sync.OnceValue(func() benchSet { return syntheticSet("easy", 32) }),
	sync.OnceValue(func() benchSet { return syntheticSet("hard", 96) })

func gloveSet() benchSet {
	b := &testing.B{}
	dir := filepath.Join(sharedDir(b), "data", "glove_50d")
	return benchSet{"glove_50d", readFvecs(b, filepath.Join(dir, "base.fvecs")), readFvecs(b, filepath.Join(dir, "query.fvecs")),
		keysOf(readIvecs(b, filepath.Join(dir, "gt_cosine_100.ivecs")))}
}

func syntheticSet(name string, intrinsic int) benchSet {
	const n, dim = 50000, 256
	m := newMixture(77, dim, intrinsic, 1000)
	s := benchSet{name: name, base: m.vectors(n), queries: m.vectors(500)}
	oracle, err := ann.New(ann.Options{Dim: dim, Kind: ann.Flat})
	if err != nil {
		panic(err)
	}
	b := &testing.B{}
	fill(b, oracle, s.base)
	s.truth = exactTruth(b, oracle, s.queries, 10, nil)
	return s
}

// threadSeconds returns the processor time of the calling thread: on a busy machine it is steadier than the clock.
func threadSeconds() float64 {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD of Linux
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

var built = map[string]*ann.Index{} // benchmarks run one after the other

func benchIndex(b *testing.B, s benchSet, opt ann.Options) *ann.Index {
	b.Helper()
	opt.Dim, opt.Workers = len(s.base[0]), 2
	name := fmt.Sprintf("%s %+v", s.name, opt)
	if ix := built[name]; ix != nil {
		return ix
	}
	ix, err := ann.New(opt)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, ix, s.base)
	built[name] = ix
	return ix
}

// BenchmarkSearch draws the curve of recall and queries per second of processor time.
func BenchmarkSearch(b *testing.B) {
	for _, set := range []func() benchSet{glove, easy, hard} {
		s := set()
		for _, ef := range []int{10, 20, 40, 80, 160, 320} {
			b.Run(fmt.Sprintf("%s/ef%d", s.name, ef), func(b *testing.B) {
				ix := benchIndex(b, s, ann.Options{})
				runSearches(b, ix, s, ann.SearchOptions{Ef: ef})
			})
		}
		b.Run(s.name+"/exact", func(b *testing.B) {
			runSearches(b, benchIndex(b, s, ann.Options{Kind: ann.Flat}), s, ann.SearchOptions{})
		})
	}
}

// BenchmarkKinds draws the same curve for the kinds that divide points among lists.
func BenchmarkKinds(b *testing.B) {
	for _, set := range []func() benchSet{glove, easy, hard} {
		s := set()
		for _, kind := range inverted {
			for _, ef := range []int{10, 20, 40, 80, 160, 320} {
				b.Run(fmt.Sprintf("%s/%s/ef%d", s.name, kind, ef), func(b *testing.B) {
					ix := benchIndex(b, s, ann.Options{Kind: kind})
					runSearches(b, ix, s, ann.SearchOptions{Ef: ef})
					b.ReportMetric(float64(ix.Stats().Bytes)/float64(len(s.base)), "bytes/point")
				})
			}
		}
	}
}

func runSearches(b *testing.B, ix *ann.Index, s benchSet, opt ann.SearchOptions) {
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dst := make([]ann.Result, 0, 10)
	b.ResetTimer()
	start := threadSeconds()
	n := 0
	for b.Loop() {
		if _, err := ix.Search(s.queries[n%len(s.queries)], 10, opt, dst); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if used := threadSeconds() - start; used > 0 {
		b.ReportMetric(float64(n)/used, "queries/cpu-s")
	}
	b.ReportMetric(recall(b, ix, s.queries, s.truth, 10, opt), "recall@10")
}

// BenchmarkBuild links all points of a set.
func BenchmarkBuild(b *testing.B) {
	for _, set := range []func() benchSet{glove, easy, hard} {
		s := set()
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				ix, err := ann.New(ann.Options{Dim: len(s.base[0]), Workers: 1})
				if err != nil {
					b.Fatal(err)
				}
				var before, after syscall.Rusage
				syscall.Getrusage(syscall.RUSAGE_SELF, &before)
				fill(b, ix, s.base)
				syscall.Getrusage(syscall.RUSAGE_SELF, &after)
				used := float64(after.Utime.Nano()-before.Utime.Nano()) / 1e9
				b.ReportMetric(float64(len(s.base))/used, "points/cpu-s")
				b.ReportMetric(float64(ix.Stats().Bytes)/float64(len(s.base)), "bytes/point")
				ix.Close()
			}
		})
	}
}
