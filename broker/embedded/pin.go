package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// pinFolder is the folder below the data folder in which a picture of it is held. It outlives the process only
// after a crash, and is removed at the next start.
const pinFolder = "pinned"

// Restoring is the folder below the data folder in which a restore gathers what it reads. As long as it is there and FORMAT
// is not, the restore is not finished, and nothing takes what is there for a data folder.
const Restoring = "restoring"

// ErrPinned means that the log is pinned already.
var ErrPinned = errors.New("a backup is being written already")

// Pin is a picture of the log's files, in a folder of its own: journal, state and FORMAT as they were at one instant, or
// rather so that the state is not ahead of the journal. It costs links and a copy of what Pebble has in its write-ahead
// log; while it is held the disk space of the files is not freed. Release ends it.
type Pin struct {
	// Dir has the form of a data folder.
	Dir string
	// Files are the files of the picture, by their path below Dir with slashes, in the order in which they are to be
	// read: of the last segment of the journal only the beginning belongs to it.
	Files []PinnedFile
	// RawEnd is the offset behind the last record of events.raw in it.
	RawEnd int64
	l      *Log
}

// PinnedFile is a file of a picture.
type PinnedFile struct {
	Path  string
	Bytes int64
}

// Pin makes a picture of the log's files. Whatever was acknowledged before is in it. first is called before the state is
// looked at, and may put more files into the folder: what they are derived from is in the state then; it returns their
// paths. made is how much there is of that in the state which events rely on that come after it: when that rises between the
// picture of the state and that of the journal, the picture is made anew. One pin is held at a time, else the error is [ErrPinned].
func (l *Log) Pin(first func(dir string) ([]string, error), made func() int) (p *Pin, err error) {
	if !l.pinned.CompareAndSwap(false, true) {
		return nil, ErrPinned
	}
	defer l.PinRaw()()
	p = &Pin{Dir: l.opts.FS.PathJoin(l.dir, pinFolder), l: l}
	defer func() {
		if err != nil {
			p, err = nil, errors.Join(fmt.Errorf("pin the log: %w", l.named(err)), p.Release())
		}
	}()
	for {
		before := made()
		if err := l.sweep(pinFolder); err != nil {
			return p, err
		}
		p.Files = nil
		if err := p.take(first); err != nil || made() == before {
			return p, err
		}
	}
}

// take makes the picture.
func (p *Pin) take(first func(dir string) ([]string, error)) error {
	l, dfs := p.l, p.l.opts.FS
	if err := l.Room(); err != nil {
		return err
	}
	raw := dfs.PathJoin(p.Dir, "journal")
	if err := dfs.MkdirAll(raw, 0o755); err != nil {
		return err
	}
	if err := vfs.LinkOrCopy(dfs, dfs.PathJoin(l.dir, "FORMAT"), dfs.PathJoin(p.Dir, "FORMAT")); err != nil {
		return err
	}
	more, err := first(p.Dir)
	if err != nil {
		return err
	}
	// What the state still refers to must not be cut off the journal meanwhile, and the state must not get ahead of it:
	// so the segments come before, and those that are new since, and the end of the last, behind.
	if _, _, err := l.journal.Link(raw, false); err != nil {
		return err
	}
	if err := l.patiently(func() error { return l.checkpoint(dfs.PathJoin(p.Dir, stateFolder)) }); err != nil {
		return fmt.Errorf("checkpoint of the state: %w", err)
	}
	segments, end, err := l.journal.Link(raw, true)
	if err != nil {
		return err
	}
	p.RawEnd = end
	if err := p.add("FORMAT"); err != nil {
		return err
	}
	for _, s := range segments {
		p.Files = append(p.Files, PinnedFile{"journal/" + s.Name, s.Bytes})
	}
	names, err := dfs.List(dfs.PathJoin(p.Dir, stateFolder))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.add(stateFolder + "/" + name); err != nil {
			return err
		}
	}
	for _, path := range more {
		if err := p.add(path); err != nil {
			return err
		}
	}
	return nil
}

// checkpoint makes a picture of the state. When Pebble finds no write-ahead log at an open, for its first start was cut short
// there, it writes no MANIFEST before it flushes something, and that of a checkpoint is empty, so that nothing can open it.
func (l *Log) checkpoint(dir string) error {
	for flushed := false; ; flushed = true {
		if err := l.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
			return err
		}
		whole, err := hasManifest(l.opts.FS, dir)
		if whole || err != nil {
			return err
		}
		if flushed {
			return errors.New("its MANIFEST is empty")
		}
		if err := errors.Join(l.db.Flush(), l.opts.FS.RemoveAll(dir)); err != nil {
			return err
		}
	}
}

// hasManifest reports whether the MANIFEST in a folder says anything.
func hasManifest(dfs disk.FS, dir string) (bool, error) {
	names, err := dfs.List(dir)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "MANIFEST-") {
			continue
		}
		if info, err := dfs.Stat(dfs.PathJoin(dir, name)); err != nil || info.Size() > 0 {
			return true, err
		}
	}
	return false, nil
}

// add notes a whole file of the picture.
func (p *Pin) add(path string) error {
	info, err := p.l.opts.FS.Stat(p.l.opts.FS.PathJoin(p.Dir, path))
	if err != nil {
		return err
	}
	p.Files = append(p.Files, PinnedFile{path, info.Size()})
	return nil
}

// Release removes the picture.
func (p *Pin) Release() error {
	err := p.l.sweep(pinFolder)
	p.l.pinned.Store(false)
	return err
}

// sweep removes a folder below the data folder that a backup or a restore has left.
func (l *Log) sweep(name string) error {
	dir := l.opts.FS.PathJoin(l.dir, name)
	if _, err := l.opts.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := l.opts.FS.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what a backup or a restore has left: %w", err)
	}
	return nil
}
