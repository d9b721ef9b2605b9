package disk_test

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// tight is a file system with room for so many bytes. Without any it makes no file.
type tight struct {
	vfs.FS
	room atomic.Int64
	sync error // of every sync
}

func (t *tight) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if t.room.Load() == 0 {
		return nil, syscall.EDQUOT
	}
	f, err := t.FS.Create(name, c)
	return &tightFile{f, t}, err
}

type tightFile struct {
	vfs.File
	t *tight
}

func (f *tightFile) Write(p []byte) (int, error) {
	fits := min(int64(len(p)), f.t.room.Load())
	f.t.room.Add(-fits)
	n, err := f.File.Write(p[:fits])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *tightFile) Sync() error { return f.t.sync }

func newTight(t *testing.T, room int64) (*tight, *disk.Patience, vfs.FS) {
	fs := &tight{FS: vfs.NewMem()}
	fs.room.Store(room)
	if err := errors.Join(fs.MkdirAll("/in", 0o755), fs.MkdirAll("/inside", 0o755)); err != nil {
		t.Fatal(err)
	}
	p := disk.NewPatience("/in")
	return fs, p, p.FS(fs)
}

// wait waits for a channel that is closed soon.
func wait[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing happens", what)
	}
	return v
}

func TestPatientWriteGoesOnWhereItWas(t *testing.T) {
	under, p, fs := newTight(t, 5)
	f, err := fs.Create("/in/a", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		n, err := f.Write([]byte("0123456789"))
		done <- result{n, err}
	}()
	wait(t, "the disk is full", p.Filled())
	if !p.Full() {
		t.Error("somebody waits, and Full says no")
	}
	if _, err := fs.Create("/inside/b", vfs.WriteCategoryUnspecified); !disk.IsFull(err) {
		t.Errorf("outside of the folder: %v, want that the disk is full", err)
	}
	under.room.Store(2)
	time.Sleep(30 * time.Millisecond)
	select {
	case r := <-done:
		t.Fatalf("there is not enough room, and the write returns %+v", r)
	default:
	}
	under.room.Store(100)
	if r := wait(t, "there is room", done); r.n != 10 || r.err != nil {
		t.Errorf("the write returns %+v", r)
	}
	if p.Full() {
		t.Error("nobody waits, and Full says yes")
	}
	var got bytes.Buffer
	back, err := fs.Open("/in/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&got, back); err != nil || got.String() != "0123456789" {
		t.Errorf("the file holds %q, %v", got.String(), err)
	}
}

func TestPatientCreate(t *testing.T) {
	under, p, fs := newTight(t, 0)
	done := make(chan error)
	go func() {
		_, err := fs.Create("/in/a", vfs.WriteCategoryUnspecified)
		done <- err
	}()
	wait(t, "the disk is full", p.Filled())
	under.room.Store(1)
	if err := wait(t, "there is room", done); err != nil {
		t.Error(err)
	}
}

// A failed sync must be heard of: what it was about may be lost.
func TestFailedSyncIsNotRepeated(t *testing.T) {
	under, p, fs := newTight(t, 100)
	under.sync = syscall.ENOSPC
	f, err := fs.Create("/in/a", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !disk.IsFull(err) || p.Full() {
		t.Errorf("Sync: %v, somebody waits: %v", err, p.Full())
	}
}

// When the patience is at its end nothing is changed any more, whoever gets room, and another may have the lock.
func TestEndOfPatience(t *testing.T) {
	under, p, fs := newTight(t, 0)
	under.room.Store(2)
	if _, err := fs.Lock("/in/LOCK"); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create("/in/a", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = f.Write([]byte("0123456789")) }() // it waits for ever
	wait(t, "the disk is full", p.Filled())
	p.Limit(30 * time.Millisecond)
	wait(t, "the limit is reached", p.Ended())
	under.room.Store(100)
	go func() { _ = fs.Remove("/in/a") }() // likewise
	time.Sleep(600 * time.Millisecond)     // longer than between two attempts
	if info, err := under.Stat("/in/a"); err != nil || info.Size() != 2 {
		t.Errorf("after the end: %v, %v; want the 2 bytes that had room before", info, err)
	}
	again := disk.NewPatience("/in")
	l, err := again.FS(under).Lock("/in/LOCK")
	if err != nil {
		t.Fatalf("the lock is not free: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
