package disk

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// IsFull reports whether an error says that the disk, or what its user may have of it, is full.
func IsFull(err error) bool {
	return vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT)
}

// How often an operation is tried again while the disk is full.
const (
	firstPause = 10 * time.Millisecond
	mostPause  = 500 * time.Millisecond
)

// Patience is for a writer that takes a failed write for its end, as Pebble does: in its folder a write that finds the
// disk full waits until there is room, and goes on where it was. Reading, removing and all that is outside
// of the folder never waits. It costs a lock that is free per operation.
//
// A failed sync is not tried again: what it would have written may be gone from memory, and a second one would succeed
// without it. The file systems that can fill up as late as that are few, since most reserve room when they are written to.
//
// All methods are safe for concurrent use.
type Patience struct {
	dir     string
	waiting atomic.Int32

	mu    sync.Mutex // guards what follows
	began chan struct{}
	limit time.Duration // 0: none
	since time.Time     // when limit was set

	// gate is held for reading by each operation that changes something, and for writing by End.
	gate  sync.RWMutex
	ended chan struct{}
	locks map[*patientLock]struct{} // guarded by mu
}

// NewPatience returns the patience of a folder.
func NewPatience(dir string) *Patience {
	return &Patience{dir: dir, began: make(chan struct{}), ended: make(chan struct{}), locks: map[*patientLock]struct{}{}}
}

// FS returns fs with patience.
func (p *Patience) FS(fs vfs.FS) vfs.FS { return patientFS{fs, p} }

// Full reports whether somebody waits for room.
func (p *Patience) Full() bool { return p.waiting.Load() > 0 }

// Filled is closed as soon as somebody waits.
func (p *Patience) Filled() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.began
}

// Limit sets how long one may wait from now on, 0 for ever. Whoever has waited longer calls [Patience.End].
func (p *Patience) Limit(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.since = d, time.Now()
}

// End gives up. From its return on nothing in the folder is changed, as if the process had been killed, and its locks are
// free: who wants to change something waits for ever, for an error would be an end that is worse.
func (p *Patience) End() {
	p.gate.Lock()
	defer p.gate.Unlock()
	if p.Over() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.locks {
		delete(p.locks, l)
		_ = l.c.Close() // there is nobody to tell, and the process ends
	}
	close(p.ended) // last: who waits for it may take the locks at once
}

// Ended is closed by [Patience.End].
func (p *Patience) Ended() <-chan struct{} { return p.ended }

// Over reports whether that is so.
func (p *Patience) Over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// do calls attempt until it finds room.
func (p *Patience) do(attempt func() error) error {
	err := p.try(attempt)
	if !IsFull(err) {
		return err
	}
	begun := time.Now()
	p.begin()
	defer p.done()
	for pause := firstPause; IsFull(err); pause = min(2*pause, mostPause) {
		if p.exhausted(begun) {
			p.End()
		}
		time.Sleep(pause)
		err = p.try(attempt)
	}
	return err
}

func (p *Patience) try(attempt func() error) error {
	p.gate.RLock()
	if p.Over() {
		p.gate.RUnlock()
		select {}
	}
	defer p.gate.RUnlock()
	return attempt()
}

func (p *Patience) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting.Add(1) == 1 {
		close(p.began)
	}
}

func (p *Patience) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting.Add(-1) == 0 {
		p.began = make(chan struct{})
	}
}

// exhausted reports whether one who has waited since begun may not wait any longer.
func (p *Patience) exhausted(begun time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.After(begun) {
		begun = p.since
	}
	return p.limit > 0 && time.Since(begun) >= p.limit
}

// has reports whether a name is in the folder.
func (p *Patience) has(name string) bool {
	rest, ok := strings.CutPrefix(name, p.dir)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == os.PathSeparator)
}

// patientFS is a file system with patience.
type patientFS struct {
	vfs.FS
	p *Patience
}

// Unwrap implements vfs.FS.
func (fs patientFS) Unwrap() vfs.FS { return fs.FS }

// change calls f, which changes something at name.
func (fs patientFS) change(name string, f func() error) error {
	if !fs.p.has(name) {
		return f()
	}
	return fs.p.do(f)
}

// open calls f, which opens the file at name for writing.
func (fs patientFS) open(name string, f func() (vfs.File, error)) (file vfs.File, err error) {
	err = fs.change(name, func() error { file, err = f(); return err })
	if err != nil || !fs.p.has(name) {
		return file, err
	}
	return &patientFile{file, fs.p}, nil
}

// Create implements vfs.FS.
func (fs patientFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open(name, func() (vfs.File, error) { return fs.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (fs patientFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.open(name, func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite implements vfs.FS. It may be tried again: either the file has its new name, or it has the old one.
func (fs patientFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open(newname, func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir implements vfs.FS.
func (fs patientFS) OpenDir(name string) (vfs.File, error) {
	return fs.open(name, func() (vfs.File, error) { return fs.FS.OpenDir(name) })
}

// Link implements vfs.FS.
func (fs patientFS) Link(oldname, newname string) error {
	return fs.change(newname, func() error { return fs.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (fs patientFS) Rename(oldname, newname string) error {
	return fs.change(newname, func() error { return fs.FS.Rename(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (fs patientFS) MkdirAll(dir string, perm os.FileMode) error {
	return fs.change(dir, func() error { return fs.FS.MkdirAll(dir, perm) })
}

// Remove implements vfs.FS.
func (fs patientFS) Remove(name string) error {
	return fs.change(name, func() error { return fs.FS.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (fs patientFS) RemoveAll(name string) error {
	return fs.change(name, func() error { return fs.FS.RemoveAll(name) })
}

// Lock implements vfs.FS.
func (fs patientFS) Lock(name string) (io.Closer, error) {
	l := &patientLock{p: fs.p}
	err := fs.change(name, func() (err error) {
		fs.p.mu.Lock()
		defer fs.p.mu.Unlock()
		if l.c, err = fs.FS.Lock(name); err == nil {
			fs.p.locks[l] = struct{}{} // before End can look for it
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// patientLock is a lock that End sets free.
type patientLock struct {
	p *Patience
	c io.Closer
}

// Close implements io.Closer.
func (l *patientLock) Close() error {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if _, held := l.p.locks[l]; !held {
		return nil // it is another's by now
	}
	delete(l.p.locks, l)
	return l.c.Close()
}

// patientFile is a file of a folder with patience.
type patientFile struct {
	vfs.File
	p *Patience
}

// Write implements vfs.File. What fits is written, and the rest when there is room. The file below must leave p as it is.
func (f *patientFile) Write(p []byte) (n int, err error) {
	err = f.p.do(func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *patientFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.p.do(func() error {
		m, err := f.File.WriteAt(p[n:], at+int64(n))
		n += m
		return err
	})
	return n, err
}

// Preallocate implements vfs.File. It only makes writing faster.
func (f *patientFile) Preallocate(offset, length int64) error {
	return f.p.try(func() error { return f.File.Preallocate(offset, length) })
}

// Sync implements vfs.File.
func (f *patientFile) Sync() error { return f.p.try(f.File.Sync) }

// SyncData implements vfs.File.
func (f *patientFile) SyncData() error { return f.p.try(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *patientFile) SyncTo(length int64) (full bool, err error) {
	err = f.p.try(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}
