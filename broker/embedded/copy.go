package embedded

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// OpenCopy opens the copy that a node keeps of a log that is elsewhere, and makes it if the folder is empty. kind names what the
// log is on, id is the log's identity. It fails if the folder belongs to another log or to none that is elsewhere.
func OpenCopy(dir, kind string, id freshet.LogID, opts Options) (s *State, err error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("open the copy of the log: %w", err)
	}
	s = newState(dir, opts)
	s.id = id
	defer func() {
		if err != nil {
			s, err = nil, errors.Join(err, s.releaseState())
		}
	}()
	dfs := s.opts.FS
	if s.lock, err = lockFolder(dfs, dir); err != nil {
		return s, err
	}
	if err := checkCopy(dfs, dir, kind, id, opts.Partitions); err != nil {
		return s, err
	}
	return s, s.openState(dfs.PathJoin(dir, stateFolder))
}

// checkCopy holds a folder to the log that it is to be a copy of, and begins it if it is empty.
func checkCopy(dfs disk.FS, dir, kind string, id freshet.LogID, partitions int) error {
	f, err := readFormat(dfs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := checkEmpty(dfs, dir); err != nil {
			return err
		}
		return writeFormat(dfs, dir, folderFile{Format: FolderFormat, Log: wire.LogIDString(id), Partitions: partitions, Copy: kind})
	}
	switch {
	case err != nil:
		return err
	case f.Copy == "":
		return fmt.Errorf("the data folder %s holds a log of its own; name an empty folder for the copy of the log on %s, or leave `broker` out of the configuration", dir, kind)
	case f.Copy != kind || f.Log != wire.LogIDString(id) || f.Partitions != partitions:
		return fmt.Errorf("the data folder %s is a copy of log %s on %s with %d partitions, the configuration leads to log %s on %s with %d; "+
			"name another folder, or empty this one: all that it holds comes from the log", dir, f.Log, f.Copy, f.Partitions, wire.LogIDString(id), kind, partitions)
	}
	return nil
}

// CloseCopy ends what OpenCopy began. It is idempotent.
func (l *State) CloseCopy() error {
	l.Stopping()
	if l.end() {
		return nil
	}
	return errors.Join(l.settle(func() error { return nil }), l.releaseState())
}
