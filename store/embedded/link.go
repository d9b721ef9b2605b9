package embedded

import (
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// LinkSnapshots gives the snapshots of a data folder a second name in a folder dir of the same file system, and returns the
// names. What they were derived from is durable: a copy of the log that is begun later has it. A store may be open there.
func LinkSnapshots(dfs disk.FS, data, dir string) (names []string, err error) {
	if err := dfs.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	from := dfs.PathJoin(data, indexFolder)
	list, err := dfs.List(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		if _, number, ok := parseName(name); (!ok || number == 0) && name != positionsFile {
			continue
		}
		switch err := vfs.LinkOrCopy(dfs, dfs.PathJoin(from, name), dfs.PathJoin(dir, name)); {
		case errors.Is(err, fs.ErrNotExist): // a newer one has taken its place meanwhile
		case err != nil:
			return nil, err
		default:
			names = append(names, name)
		}
	}
	return names, nil
}
