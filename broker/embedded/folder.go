package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

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
	// Copy names the kind of log that the folder has a copy of, "kafka"; empty where the folder is the log.
	Copy string `json:"copy,omitempty"`
	Of   string `json:"of,omitempty"` // the identity of the log that it is a copy of
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

// identify reads the folder's identity and number of partitions, and gives it both if it is empty. partitions may be 0:
// those that it has.
func identify(dfs disk.FS, dir string, partitions int) (id freshet.LogID, has int, err error) {
	f, err := readFormat(dfs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if partitions == 0 {
			partitions = DefaultPartitions
		}
		id, err = newFolder(dfs, dir, partitions)
		return id, partitions, err
	}
	if err != nil {
		return id, 0, err
	}
	if f.Copy != "" {
		return id, 0, fmt.Errorf("the data folder %s is a copy of a log on %s; name the brokers of that log in the configuration, or another data folder", dir, f.Copy)
	}
	if partitions != 0 && f.Partitions != partitions {
		return id, 0, fmt.Errorf("partitions: the data folder %s was made with %d, the configuration says %d; "+
			"set it back, or change it with `freshet epoch raise --data %s --partitions %d`", dir, f.Partitions, partitions, dir, partitions)
	}
	id, err = wire.ParseLogID(f.Log)
	return id, f.Partitions, err
}

// readFormat reads FORMAT. The error is fs.ErrNotExist where there is none.
func readFormat(dfs disk.FS, dir string) (f folderFile, err error) {
	path := dfs.PathJoin(dir, "FORMAT")
	raw, err := dfs.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("%s is damaged (%w); restore it from a backup", path, err)
	}
	if f.Format != FolderFormat {
		return f, fmt.Errorf("%s: the data folder has format %d, this version reads format %d; "+
			"use the version of freshet that wrote it, or a newer one", dir, f.Format, FolderFormat)
	}
	return f, nil
}

// NewID returns a random identity of a log.
func NewID() (id freshet.LogID, err error) {
	if _, err = rand.Read(id[:]); err != nil {
		return id, fmt.Errorf("make log id: %w", err)
	}
	return id, nil
}

// Rename gives the data folder of a log that is not open another identity, and another number of partitions, if that is not
// 0. Who does it records an epoch first.
func Rename(dfs disk.FS, dir string, id freshet.LogID, partitions int) error {
	f, err := readFormat(dfs, dir)
	if err != nil {
		return err
	}
	f.Log = wire.LogIDString(id)
	if partitions != 0 {
		f.Partitions = partitions
	}
	return writeFormat(dfs, dir, f)
}

func writeFormat(dfs disk.FS, dir string, f folderFile) error {
	return dfs.Replace(dfs.PathJoin(dir, "FORMAT"), disk.FolderFormat, disk.FolderDir, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(f)
	})
}

// newFolder gives an empty folder its identity. A folder with other things in it is refused:
// most likely --data names the wrong place, or FORMAT was lost.
func newFolder(dfs disk.FS, dir string, partitions int) (id freshet.LogID, err error) {
	if err := checkEmpty(dfs, dir); err != nil {
		return id, err
	}
	if id, err = NewID(); err != nil {
		return id, err
	}
	return id, writeFormat(dfs, dir, folderFile{Format: FolderFormat, Log: wire.LogIDString(id), Partitions: partitions})
}

// checkEmpty refuses a folder that holds anything.
func checkEmpty(dfs disk.FS, dir string) error {
	names, err := dfs.List(dir)
	if err != nil {
		return fmt.Errorf("list data folder: %w", err)
	}
	if slices.Contains(names, Restoring) {
		return fmt.Errorf("%s holds a restore that was interrupted; run `freshet restore` again, or name another folder", dir)
	}
	for _, name := range names {
		if name != "LOCK" && name != "FORMAT.tmp" {
			return fmt.Errorf("%s has no FORMAT file but holds %q: it is no data folder of freshet; "+
				"name an empty or new folder", dir, name)
		}
	}
	return nil
}
