package node_test

import (
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// budget is a disk in memory that takes so many bytes. What fits of a write is written, as on a real one; without room no file
// or link is made. What loses its last name gives its bytes back.
type budget struct {
	vfs.FS
	mu     sync.Mutex
	room   int64
	inodes map[string]*inode
	failed map[string]int // operations that found no room, by kind and what the file is
}

type inode struct {
	bytes int64
	links int
}

func newBudget(room int64) *budget {
	return &budget{FS: vfs.NewMem(), room: room, inodes: map[string]*inode{}, failed: map[string]int{}}
}

// leave sets how much room there is.
func (b *budget) leave(room int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room = room
}

// take returns how many of n bytes there is room for.
func (b *budget) take(name string, n int64) int64 {
	got := max(0, min(n, b.room))
	if got < n {
		kind := name[strings.LastIndexByte(name, '/')+1:]
		if i := strings.LastIndexByte(kind, '.'); i >= 0 {
			kind = kind[i:]
		}
		b.failed[strings.TrimRight(kind, "0123456789-")]++
	}
	b.room -= got
	return got
}

func (b *budget) dropLocked(name string) {
	i := b.inodes[name]
	if i == nil {
		return
	}
	delete(b.inodes, name)
	if i.links--; i.links == 0 {
		b.room += i.bytes
	}
}

const entryBytes = 16 // that an entry of a folder takes

// enter calls f, which makes an entry, if there is room.
func (b *budget) enter(name string, f func() error) (*inode, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room < entryBytes {
		b.take(name, entryBytes)
		return nil, syscall.ENOSPC
	}
	if err := f(); err != nil {
		return nil, err
	}
	b.dropLocked(name)
	i := &inode{bytes: b.take(name, entryBytes), links: 1}
	b.inodes[name] = i
	return i, nil
}

func (b *budget) Create(name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	i, err := b.enter(name, func() error { f, err = b.FS.Create(name, c); return err })
	if err != nil {
		return nil, err
	}
	return &budgetFile{File: f, b: b, i: i, name: name}, nil
}

func (b *budget) Link(oldname, newname string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room <= 0 {
		b.take(newname, 1)
		return syscall.ENOSPC
	}
	if err := b.FS.Link(oldname, newname); err != nil {
		return err
	}
	if i := b.inodes[oldname]; i != nil {
		i.links++
		b.inodes[newname] = i
	}
	return nil
}

func (b *budget) Rename(oldname, newname string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.FS.Rename(oldname, newname); err != nil {
		return err
	}
	b.dropLocked(newname)
	if i := b.inodes[oldname]; i != nil {
		delete(b.inodes, oldname)
		b.inodes[newname] = i
	}
	return nil
}

func (b *budget) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := b.Rename(oldname, newname); err != nil {
		return nil, err
	}
	f, err := b.FS.OpenReadWrite(newname, c)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return &budgetFile{File: f, b: b, i: b.inodes[newname], name: newname}, nil
}

func (b *budget) Remove(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.FS.Remove(name); err != nil {
		return err
	}
	b.dropLocked(name)
	return nil
}

func (b *budget) RemoveAll(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.FS.RemoveAll(name); err != nil {
		return err
	}
	for path := range b.inodes {
		if path == name || strings.HasPrefix(path, name+"/") {
			b.dropLocked(path)
		}
	}
	return nil
}

func (b *budget) GetDiskUsage(string) (vfs.DiskUsage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: uint64(max(0, b.room)), TotalBytes: 1 << 40}, nil
}

// budgetFile is a file that is written from its beginning.
type budgetFile struct {
	vfs.File
	b    *budget
	i    *inode
	name string
	pos  int64
}

func (f *budgetFile) Write(p []byte) (int, error) {
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	grows := max(0, f.pos+int64(len(p))-f.i.bytes)
	got := f.b.take(f.name, grows)
	f.i.bytes += got
	n, err := f.File.Write(p[:int64(len(p))-(grows-got)])
	f.pos += int64(n)
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}
