package journal_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// syncTimer measures the data syncs of a file system.
type syncTimer struct {
	vfs.FS
	mu   sync.Mutex
	took []time.Duration
}

func (s *syncTimer) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return &timedFile{f, s}, err
}

type timedFile struct {
	vfs.File
	timer *syncTimer
}

func (f *timedFile) SyncData() error {
	start := time.Now()
	err := f.File.SyncData()
	f.timer.mu.Lock()
	f.timer.took = append(f.timer.took, time.Since(start))
	f.timer.mu.Unlock()
	return err
}

func quantiles(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	if n := len(took); n > 0 {
		b.ReportMetric(float64(took[n/2].Microseconds()), what+"-p50-µs")
		b.ReportMetric(float64(took[n*99/100].Microseconds()), what+"-p99-µs")
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend appends records of 200 bytes on the real file system, in a temporary folder
// (TMPDIR says where). One operation is one record. Cores is the share of one processor that
// everything took, the appenders' encoding included.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ appenders, batch int }{
		{1, 1}, {64, 1}, {1, 100}, {16, 100}, {1, 1000}, {16, 1000}, {64, 1000},
	} {
		b.Run(fmt.Sprintf("appenders=%d/batch=%d", c.appenders, c.batch), func(b *testing.B) {
			benchmarkAppend(b, c.appenders, c.batch)
		})
	}
}

func benchmarkAppend(b *testing.B, appenders, batch int) {
	timer := &syncTimer{FS: vfs.Default}
	folder := b.TempDir()
	j, _, err := journal.Open(disk.New(timer, nil), folder, 0, journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	value := make([]byte, 180)
	key := []byte("sixteen bytes id")
	latencies := make([][]time.Duration, appenders)
	var next atomic.Int64
	b.ResetTimer()
	cpu, start := cpuTime(), time.Now()
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			var records journal.Batch
			for next.Add(int64(batch)) <= int64(b.N+batch-1) {
				records.Reset()
				for range batch {
					records.Add(int32(a), key, value)
				}
				began := time.Now()
				if _, err := j.Append(context.Background(), &records); err != nil {
					b.Error(err)
					return
				}
				latencies[a] = append(latencies[a], time.Since(began))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	b.StopTimer()
	b.ReportMetric((cpuTime()-cpu).Seconds()/took.Seconds(), "cores")
	b.ReportMetric(float64(j.End())/took.Seconds(), "records/s")
	b.ReportMetric(float64(j.Written())/1e6/took.Seconds(), "MB/s")
	quantiles(b, "append", slices.Concat(latencies...))
	quantiles(b, "sync", timer.took)
}

// BenchmarkRead reads a journal of records of 200 bytes from its start, from the page cache.
func BenchmarkRead(b *testing.B) {
	for _, batch := range []int{1, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			j := open(b, vfs.NewMem(), 0, journal.Options{})
			var records journal.Batch
			for range batch {
				records.Add(1, []byte("sixteen bytes id"), make([]byte, 180))
			}
			for j.End() < 50_000 {
				if _, err := j.Append(context.Background(), &records); err != nil {
					b.Fatal(err)
				}
			}
			r := j.ReadFrom(0)
			defer func() { r.Close() }()
			var recs []journal.Record
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += len(recs) {
				if r.Offset() >= j.End() {
					r.Close()
					r = j.ReadFrom(0)
				}
				var err error
				if recs, err = r.Next(context.Background(), recs[:0], 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
