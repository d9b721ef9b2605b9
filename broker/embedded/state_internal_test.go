package embedded

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
)

// What a close on a full disk has given up may get its turn later: it must not meet a Pebble that is closed, which panics.
func TestWhatWasGivenUpGoesOn(t *testing.T) {
	full := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})}
	mem := vfs.NewMem()
	o := Options{FS: disk.New(errorfs.Wrap(mem, full), nil), Partitions: 1, CacheBytes: 1 << 20, Patience: 20 * time.Millisecond}
	l, err := Open("/data", o)
	if err != nil {
		t.Fatal(err)
	}
	tx := l.State.Begin()
	if err := errors.Join(tx.Put(freshet.TopicControl, []byte("k"), []byte("v")), tx.CommitDurable(disk.ControlRecord)); err != nil {
		t.Fatal(err)
	}
	full.On()
	if _, err := l.db.AsyncFlush(); err != nil {
		t.Fatal(err)
	}
	<-l.patience.Filled()
	l.mu.Lock() // as by a commit that is under way
	if err := l.Close(); !isFull(err) {
		t.Errorf("Close: %v, want disk_full", err)
	}
	time.Sleep(100 * time.Millisecond) // Pebble would be closed by now
	l.mu.Unlock()
	time.Sleep(100 * time.Millisecond) // what was given up gets its turn

	o.FS = disk.New(mem, nil)
	again, err := Open("/data", o)
	if err != nil {
		t.Fatalf("there is room, and the folder can't be opened: %v", err)
	}
	if r, ok, err := again.Latest(freshet.TopicControl, []byte("k"), nil); !ok || err != nil || string(r.Value) != "v" {
		t.Errorf("what was durable is %q, %v, %v", r.Value, ok, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func isFull(err error) bool {
	e, ok := errors.AsType[*freshet.Error](err)
	return ok && e.Code == freshet.CodeDiskFull
}
