package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/broker/journal"
)

// fullDisk is a file system that takes a number of bytes more, then has no space; what fits of
// a write is written, as a real one does. It also scribbles over the buffer after a write, as
// vfs.File allows.
type fullDisk struct {
	vfs.FS
	room atomic.Int64
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &fullFile{f, d}, err
}

type fullFile struct {
	vfs.File
	disk *fullDisk
}

func (f *fullFile) Write(p []byte) (int, error) {
	fits := max(0, min(int64(len(p)), f.disk.room.Load()))
	f.disk.room.Add(-fits)
	n, err := f.File.Write(p[:fits])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	for i := range p {
		//lint:ignore SA1023 vfs.File.Write may modify its argument, so nobody may rely on it
		p[i] = 0xEE
	}
	return n, err
}

func TestDiskFull(t *testing.T) {
	mem := vfs.NewMem()
	for fits := range int64(200) { // at every byte of a frame and of its successors
		fs := &fullDisk{FS: mem}
		fs.room.Store(1 << 40)
		mem.RemoveAll("data")
		j := open(t, fs, 0, journal.Options{SegmentBytes: 150})
		mustAppend(t, j, "0", "1")
		fs.room.Store(fits)
		var want []string
		full := false
		for n := 2; n < 8; n++ {
			first, err := j.Append(context.Background(), batchOf(fmt.Sprint(n)))
			if err == nil {
				if first != int64(2+len(want)) {
					t.Fatalf("%d bytes fit: offset %d after %d records", fits, first, 2+len(want))
				}
				want = append(want, fmt.Sprint(n))
			} else if full = true; !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("%d bytes fit: %v, want ENOSPC", fits, err)
			}
		}
		if !full {
			t.Fatalf("%d bytes fit, and so did everything", fits)
		}
		fs.room.Store(1 << 40) // someone made room
		mustAppend(t, j, "again")
		want = append([]string{"0", "1"}, append(want, "again")...)
		wantValues(t, j, 0, want...)
		j.Close()
		wantValues(t, open(t, fs, 0, journal.Options{}), 0, want...)
	}
}

// Each operation of the writer fails for a while: appenders are told, nothing of theirs is
// ever read, and the next append goes on at the offset where the last good one ended.
func TestFailedOperations(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []errorfs.OpKind
		fails bool
	}{
		{"write", []errorfs.OpKind{errorfs.OpFileWrite}, true},
		{"sync", []errorfs.OpKind{errorfs.OpFileSyncData}, true},
		{"write and create", []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpCreate}, true},
		{"sync and create", []errorfs.OpKind{errorfs.OpFileSyncData, errorfs.OpCreate}, true},
		{"sync and folder", []errorfs.OpKind{errorfs.OpFileSyncData, errorfs.OpOpenDir}, true},
		{"sync and folder sync", []errorfs.OpKind{errorfs.OpFileSyncData, errorfs.OpFileSync}, true},
		{"create", []errorfs.OpKind{errorfs.OpCreate}, false}, // no new segment is needed
		{"close", []errorfs.OpKind{errorfs.OpFileClose}, false},
	} {
		for _, segmentBytes := range []int64{1, 1 << 20} {
			fails := c.fails || segmentBytes == 1 && c.name == "create"
			faults := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
				if slices.Contains(c.kinds, op.Kind) {
					return errorfs.ErrInjected
				}
				return nil
			})}
			fs := errorfs.Wrap(vfs.NewMem(), faults)
			j := open(t, fs, 0, journal.Options{SegmentBytes: segmentBytes})
			mustAppend(t, j, "0", "1")
			want := []string{"0", "1"}
			for round := range 3 {
				faults.On()
				for n := range 2 {
					value := fmt.Sprintf("%d/%d", round, n)
					_, err := j.Append(context.Background(), batchOf(value))
					if failed := errors.Is(err, errorfs.ErrInjected); failed != fails || err != nil && !failed {
						t.Fatalf("%s, segments of %d: Append: %v", c.name, segmentBytes, err)
					}
					if err == nil {
						want = append(want, value)
					}
				}
				faults.Off()
				wantValues(t, j, 0, want...)
				value := fmt.Sprintf("%d after", round)
				if first := mustAppend(t, j, value); first != int64(len(want)) {
					t.Fatalf("%s: offset %d after %d records", c.name, first, len(want))
				}
				want = append(want, value)
			}
			wantValues(t, j, 0, want...)
			j.Close()
			wantValues(t, open(t, fs, 0, journal.Options{}), 0, want...)
		}
	}
}

// A frame whose sync failed is not taken up by the next Open, since a new segment has already
// taken its offset: on the disk it may never have arrived.
func TestFailedSyncIsSuperseded(t *testing.T) {
	faults := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			return syscall.EIO
		}
		return nil
	})}
	fs := errorfs.Wrap(vfs.NewMem(), faults)
	j := open(t, fs, 0, journal.Options{})
	mustAppend(t, j, "0")
	faults.On()
	if _, err := j.Append(context.Background(), batchOf("failed")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Append: %v, want EIO", err)
	}
	faults.Off()
	j = open(t, fs, 0, journal.Options{}) // as after a kill
	wantValues(t, j, 0, "0")
}

func TestConcurrentFaults(t *testing.T) {
	var ops atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpMkdirAll && ops.Add(1)%7 == 0 {
			return errorfs.ErrInjected
		}
		return nil
	}))
	j, err := (*journal.Journal)(nil), error(nil)
	for j == nil || err != nil { // making the folder fails at times too
		j, err = tryOpen(fs)
	}
	defer j.Close()
	var mu sync.Mutex
	acked, failed := map[int64]string{}, 0
	var wg sync.WaitGroup
	for a := range 8 {
		wg.Go(func() {
			for n := range 100 {
				value := fmt.Sprint(a, "/", n)
				first, err := j.Append(context.Background(), batchOf(value))
				mu.Lock()
				if err == nil {
					acked[first] = value
				} else {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == 0 {
		t.Fatal("no append failed")
	}
	recs, err := readTo(j, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	got := values(t, recs, 0)
	if len(got) != len(acked) || len(acked)+failed != 800 {
		t.Fatalf("%d acknowledged, %d failed, %d read", len(acked), failed, len(got))
	}
	for at, v := range acked {
		if got[at] != v {
			t.Fatalf("%q at %d, acknowledged was %q", got[at], at, v)
		}
	}
}
