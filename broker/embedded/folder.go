package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// FolderFormat is the format of data folders that this version writes and reads.
const FolderFormat = 1

// ErrLocked means that another process owns the data folder.
var ErrLocked = errors.New("the data folder is in use by another process")

// folderFile is the content of FORMAT.
type folderFile struct {
	Format     int    `json:"format"`
	Log        string `json:"log"`
	Partitions int    `json:"partitions"` // of events.raw
}

// lockFolder makes the folder if needed and takes its lock.
func lockFolder(dfs disk.FS, dir string) (io.Closer, error) {
	if _, err := dfs.Stat(dfs.PathJoin(dir, "FORMAT")); errors.Is(err, fs.ErrNotExist) {
		// Nothing below the folder is durable before its own entry is; once it has a FORMAT it is.
		if err := dfs.MakeDir(dir, disk.FolderDir); err != nil {
			return nil, fmt.Errorf("make data folder: %w", err)
		}
	}
	lock, err := dfs.Lock(dfs.PathJoin(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w (%v); stop that process, or talk to it with --server", dir, ErrLocked, err)
	}
	return lock, nil
}

// identify reads the folder's identity, and gives it one if it is empty.
func identify(dfs disk.FS, dir string, partitions int) (id freshet.LogID, err error) {
	path := dfs.PathJoin(dir, "FORMAT")
	raw, err := dfs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newFolder(dfs, dir, path, partitions)
	}
	if err != nil {
		return id, fmt.Errorf("read %s: %w", path, err)
	}
	var f folderFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return id, fmt.Errorf("%s is damaged (%w); restore it from a backup", path, err)
	}
	if f.Format != FolderFormat {
		return id, fmt.Errorf("%s: the data folder has format %d, this version reads format %d; "+
			"use the version of freshet that wrote it, or a newer one", dir, f.Format, FolderFormat)
	}
	if f.Partitions != partitions {
		return id, fmt.Errorf("partitions: the data folder %s was made with %d, the configuration says %d; "+
			"the number can't change, set it back", dir, f.Partitions, partitions)
	}
	return wire.ParseLogID(f.Log)
}

// newFolder gives an empty folder its identity. A folder with other things in it is refused:
// most likely --data names the wrong place, or FORMAT was lost.
func newFolder(dfs disk.FS, dir, path string, partitions int) (id freshet.LogID, err error) {
	names, err := dfs.List(dir)
	if err != nil {
		return id, fmt.Errorf("list data folder: %w", err)
	}
	for _, name := range names {
		if name != "LOCK" && name != "FORMAT.tmp" {
			return id, fmt.Errorf("%s has no FORMAT file but holds %q: it is no data folder of freshet; "+
				"name an empty or new folder", dir, name)
		}
	}
	if _, err := rand.Read(id[:]); err != nil {
		return id, fmt.Errorf("make log id: %w", err)
	}
	err = dfs.Replace(path, disk.FolderFormat, disk.FolderDir, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(folderFile{Format: FolderFormat, Log: wire.LogIDString(id), Partitions: partitions})
	})
	return id, err
}
