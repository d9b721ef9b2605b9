package sim

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is a file or folder of a process. It moves to the copy of the disk with its process.
type file struct {
	m    memory
	path string

	mu  sync.Mutex // guards what follows
	f   vfs.File
	fs  *vfs.MemFS // that f is on
	pos int64      // of the next Read or Write
}

// use calls do with the file where the process is now. A file that has lost its name stays
// where it was, which only matters to a process that nobody listens to.
func (f *file) use(do func(vfs.File) error) error {
	f.m.o.gate.RLock()
	defer f.m.o.gate.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.m.now(); now != f.fs {
		f.move(now)
	}
	return do(f.f)
}

func (f *file) move(now *vfs.MemFS) {
	f.fs = now
	info, err := now.Stat(f.path)
	if err != nil {
		return
	}
	open := func() (vfs.File, error) { return now.OpenReadWrite(f.path, vfs.WriteCategoryUnspecified) }
	if info.IsDir() {
		open = func() (vfs.File, error) { return now.OpenDir(f.path) }
	}
	if moved, err := open(); err == nil {
		f.f.Close()
		f.f = moved
	}
}

// alter is use for what changes the file or makes it durable.
func (f *file) alter(sync bool, do func(vfs.File) error) error {
	f.m.o.before(operation{f.path, sync})
	return f.use(do)
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (n int, err error) {
	err = f.alter(false, func(on vfs.File) error {
		if f.fs == f.m.MemFS {
			n, err = on.Write(p)
		} else {
			n, err = on.WriteAt(p, f.pos) // it has not been there from the beginning
		}
		f.pos += int64(n)
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.alter(false, func(on vfs.File) error { n, err = on.WriteAt(p, at); return err })
	return n, err
}

// Read implements vfs.File.
func (f *file) Read(p []byte) (n int, err error) {
	err = f.use(func(on vfs.File) error {
		n, err = on.ReadAt(p, f.pos)
		f.pos += int64(n)
		if n > 0 {
			err = nil // the end comes with the next call
		}
		return err
	})
	return n, err
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, at int64) (n int, err error) {
	err = f.use(func(on vfs.File) error { n, err = on.ReadAt(p, at); return err })
	return n, err
}

// Stat implements vfs.File.
func (f *file) Stat() (info vfs.FileInfo, err error) {
	err = f.use(func(on vfs.File) error { info, err = on.Stat(); return err })
	return info, err
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.alter(true, vfs.File.Sync) }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.alter(true, vfs.File.SyncData) }

// SyncTo implements vfs.File. It promises nothing.
func (f *file) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// Close implements vfs.File.
func (f *file) Close() error { return f.use(vfs.File.Close) }

// Preallocate implements vfs.File.
func (f *file) Preallocate(int64, int64) error { return nil }

// Prefetch implements vfs.File.
func (f *file) Prefetch(int64, int64) error { return nil }

// Fd implements vfs.File.
func (f *file) Fd() uintptr { return vfs.InvalidFd }
