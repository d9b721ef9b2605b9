package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// OpenCopy opens the copy that a node keeps of a log that is elsewhere, and makes it if the folder is empty. kind names what the
// log is on, of is the log's identity. It fails if the folder belongs to another log or to none that is elsewhere.
//
// The copy has an identity of its own: the order of vector.sync in it is not that of any other copy.
func OpenCopy(dir, kind string, of freshet.LogID, opts Options) (s *State, err error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("open the copy of the log: %w", err)
	}
	s = newState(dir, opts)
	defer func() {
		if err != nil {
			s, err = nil, errors.Join(err, s.releaseState())
		}
	}()
	dfs := s.opts.FS
	if s.lock, err = lockFolder(dfs, dir); err != nil {
		return s, err
	}
	if err = forgetCopy(dfs, dir, kind, opts.Former); err != nil {
		return s, err
	}
	if s.id, err = identifyCopy(dfs, dir, kind, of, opts.Partitions); err != nil {
		return s, err
	}
	return s, s.openState(dfs.PathJoin(dir, stateFolder))
}

// identifyCopy holds a folder to the log that it is to be a copy of, begins it if it is empty, and returns the copy's identity.
func identifyCopy(dfs disk.FS, dir, kind string, of freshet.LogID, partitions int) (id freshet.LogID, err error) {
	f, err := readFormat(dfs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := checkEmpty(dfs, dir); err != nil {
			return id, err
		}
		if id, err = NewID(); err != nil {
			return id, err
		}
		return id, writeFormat(dfs, dir, folderFile{Format: FolderFormat, Log: wire.LogIDString(id), Partitions: partitions, Copy: kind, Of: wire.LogIDString(of)})
	}
	switch {
	case err != nil:
		return id, err
	case f.Copy == "":
		return id, fmt.Errorf("the data folder %s holds a log of its own; name an empty folder for the copy of the log on %s, or leave `broker` out of the configuration", dir, kind)
	case f.Copy != kind || f.Of != wire.LogIDString(of) || f.Partitions != partitions:
		return id, fmt.Errorf("the data folder %s is a copy of log %s on %s with %d partitions, the configuration leads to log %s on %s with %d; "+
			"name another folder, or empty this one: all that it holds comes from the log", dir, f.Of, f.Copy, f.Partitions, wire.LogIDString(of), kind, partitions)
	}
	return wire.ParseLogID(f.Log)
}

// forgetCopy empties a folder that holds the copy of what a log was before it was laid out anew. FORMAT goes last: what is left after
// a crash is forgotten by the next start.
func forgetCopy(dfs disk.FS, dir, kind string, former []freshet.LogID) error {
	f, err := readFormat(dfs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || f.Copy != kind || !slices.ContainsFunc(former, func(id freshet.LogID) bool { return wire.LogIDString(id) == f.Of }) {
		return err
	}
	names, err := dfs.List(dir)
	if err != nil {
		return fmt.Errorf("forget the copy of what the log was: %w", err)
	}
	for _, name := range names {
		if name != "LOCK" && name != "FORMAT" {
			if err := dfs.RemoveAll(dfs.PathJoin(dir, name)); err != nil {
				return fmt.Errorf("forget the copy of what the log was: %w", err)
			}
		}
	}
	return dfs.Remove(dfs.PathJoin(dir, "FORMAT"))
}

// CloseCopy ends what OpenCopy began. It is idempotent.
func (l *State) CloseCopy() error {
	l.Stopping()
	if l.end() {
		return nil
	}
	return errors.Join(l.settle(func() error { return nil }), l.releaseState())
}
