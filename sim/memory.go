package sim

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memory is the file system of a process, in memory. Every operation that changes something
// passes the outlet. When the process has been killed it goes on on a copy, and changes nothing
// of the disk any more.
//
// Pebble relies on one thing that a MemFS does not give: that the entry of a file that was
// synced is on the disk before one that is made later in the same folder, as on file systems
// with a journal. It makes a marker that names a MANIFEST after the sync of that MANIFEST, and
// syncs the folder after both. Our own code relies on no such thing, so it is granted to
// markers alone.
type memory struct {
	*vfs.MemFS // for what changes nothing: paths and disk usage
	o          *outlet
}

const markerPrefix = "marker."

// now is the file system that the process is on.
func (m memory) now() *vfs.MemFS {
	if m.o.afterlife != nil {
		return m.o.afterlife
	}
	return m.MemFS
}

// look calls f, which changes nothing.
func look[T any](m memory, f func(fs *vfs.MemFS) (T, error)) (T, error) {
	m.o.gate.RLock()
	defer m.o.gate.RUnlock()
	return f(m.now())
}

// change calls f, which changes something at path.
func change[T any](m memory, path string, f func(fs *vfs.MemFS) (T, error)) (T, error) {
	m.o.before(operation{path: path})
	return look(m, f)
}

func (m memory) alter(path string, f func(fs *vfs.MemFS) error) error {
	_, err := change(m, path, func(fs *vfs.MemFS) (struct{}, error) { return struct{}{}, f(fs) })
	return err
}

// wrap wraps what fs gave.
func (m memory) wrap(fs *vfs.MemFS, path string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{m: m, path: path, f: f, fs: fs}, nil
}

// Create implements vfs.FS.
func (m memory) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return change(m, name, func(fs *vfs.MemFS) (vfs.File, error) {
		if strings.HasPrefix(fs.PathBase(name), markerPrefix) {
			dir, err := fs.OpenDir(fs.PathDir(name))
			if err != nil {
				return nil, err
			}
			if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
				return nil, err
			}
		}
		f, err := fs.Create(name, c)
		return m.wrap(fs, name, f, err)
	})
}

// Link implements vfs.FS.
func (m memory) Link(oldname, newname string) error {
	return m.alter(newname, func(fs *vfs.MemFS) error { return fs.Link(oldname, newname) })
}

// Open implements vfs.FS.
func (m memory) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return look(m, func(fs *vfs.MemFS) (vfs.File, error) {
		f, err := fs.Open(name, opts...)
		return m.wrap(fs, name, f, err)
	})
}

// OpenReadWrite implements vfs.FS.
func (m memory) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return change(m, name, func(fs *vfs.MemFS) (vfs.File, error) {
		f, err := fs.OpenReadWrite(name, c, opts...)
		return m.wrap(fs, name, f, err)
	})
}

// OpenDir implements vfs.FS.
func (m memory) OpenDir(name string) (vfs.File, error) {
	return look(m, func(fs *vfs.MemFS) (vfs.File, error) {
		f, err := fs.OpenDir(name)
		return m.wrap(fs, name, f, err)
	})
}

// Remove implements vfs.FS.
func (m memory) Remove(name string) error {
	return m.alter(name, func(fs *vfs.MemFS) error { return fs.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (m memory) RemoveAll(name string) error {
	return m.alter(name, func(fs *vfs.MemFS) error { return fs.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (m memory) Rename(oldname, newname string) error {
	return m.alter(newname, func(fs *vfs.MemFS) error { return fs.Rename(oldname, newname) })
}

// ReuseForWrite implements vfs.FS.
func (m memory) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return change(m, newname, func(fs *vfs.MemFS) (vfs.File, error) {
		f, err := fs.ReuseForWrite(oldname, newname, c)
		return m.wrap(fs, newname, f, err)
	})
}

// MkdirAll implements vfs.FS.
func (m memory) MkdirAll(dir string, perm os.FileMode) error {
	return m.alter(dir, func(fs *vfs.MemFS) error { return fs.MkdirAll(dir, perm) })
}

// Lock implements vfs.FS.
func (m memory) Lock(name string) (io.Closer, error) {
	return change(m, name, func(fs *vfs.MemFS) (io.Closer, error) { return fs.Lock(name) })
}

// List implements vfs.FS.
func (m memory) List(dir string) ([]string, error) {
	return look(m, func(fs *vfs.MemFS) ([]string, error) { return fs.List(dir) })
}

// Stat implements vfs.FS.
func (m memory) Stat(name string) (vfs.FileInfo, error) {
	return look(m, func(fs *vfs.MemFS) (vfs.FileInfo, error) { return fs.Stat(name) })
}
