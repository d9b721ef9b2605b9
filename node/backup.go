package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	store "github.com/freshet-io/freshet/store/embedded"
	"github.com/freshet-io/freshet/wire"
)

// Backup writes a backup of the data folder to w while everything goes on. All that was acknowledged before it began is in
// it. One is written at a time.
func (n *Node) Backup(ctx context.Context, w io.Writer, o backup.Options) (*backup.Manifest, error) {
	m, err := writeBackup(ctx, w, n.log, n.catalog, n.opts.Version, n.now(), o)
	if errors.Is(err, broker.ErrPinned) {
		return nil, &freshet.Error{Code: freshet.CodeUnavailable, Message: "a backup is being written already; try again when it is done"}
	}
	return m, err
}

// writeBackup writes a picture of a data folder whose log is open.
func writeBackup(ctx context.Context, w io.Writer, log *broker.Log, catalog *control.Catalog, version string, now time.Time, o backup.Options) (m *backup.Manifest, err error) {
	pin, err := log.Pin(func(dir string) ([]string, error) {
		names, err := store.LinkSnapshots(log.FS(), log.Dir(), log.FS().PathJoin(dir, "index"))
		for i := range names {
			names[i] = "index/" + names[i]
		}
		return names, err
	}, func() int { return len(catalog.All()) }) // an event is accepted once its collection exists
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pin.Release()) }()
	info := backup.Info{Log: wire.LogIDString(log.ID()), Epoch: catalog.EpochOf(0, pin.RawEnd), RawEnd: pin.RawEnd, At: now.UTC(), Version: version}
	files := make([]backup.Source, len(pin.Files))
	for i, f := range pin.Files {
		files[i] = backup.Source{Path: f.Path, Bytes: f.Bytes, Open: func() (io.ReadCloser, error) {
			return log.FS().Open(log.FS().PathJoin(pin.Dir, f.Path), vfs.SequentialReadsOption)
		}}
	}
	return backup.Write(ctx, w, info, files, o)
}

// BackupFolder writes a backup of a data folder that no process has open.
func BackupFolder(ctx context.Context, dfs disk.FS, dir string, w io.Writer, version string, o backup.Options) (m *backup.Manifest, err error) {
	log, catalog, err := openFolder(dfs, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return writeBackup(ctx, w, log, catalog, version, time.Now(), o)
}

// openFolder opens the log and the catalog of a data folder that is there already.
func openFolder(dfs disk.FS, dir string) (*broker.Log, *control.Catalog, error) {
	if _, err := dfs.Stat(dfs.PathJoin(dir, "FORMAT")); err != nil {
		return nil, nil, fmt.Errorf("%s is no data folder of freshet: %w", dir, err)
	}
	return openWith(dfs, dir, broker.Options{FS: dfs})
}

func openWith(dfs disk.FS, dir string, o broker.Options) (*broker.Log, *control.Catalog, error) {
	log, err := broker.Open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	catalog, err := control.Open(log)
	if err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	return log, catalog, nil
}

// Restored says what a restore has made.
type Restored struct {
	Manifest *backup.Manifest
	Epoch    control.Epoch
}

// Restore makes a data folder of a backup: unpack writes its files into a folder. The data folder must be empty, or have
// nothing but what a restore that was interrupted has left. It begins a new epoch, so that what is made from now on
// counts more than all that was made after the backup, of which this folder knows nothing. Whatever the moment
// at which it is interrupted, the folder is either restored or refused by a start.
func Restore(dfs disk.FS, dir string, now time.Time, unpack func(backup.Folder) (*backup.Manifest, error)) (r *Restored, err error) {
	if err := dfs.MakeDir(dir, disk.RestoreDir); err != nil {
		return nil, err
	}
	lock, err := dfs.Lock(dfs.PathJoin(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w (%v)", dir, broker.ErrLocked, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := clearForRestore(dfs, dir); err != nil {
		return nil, err
	}
	tmp := dfs.PathJoin(dir, broker.Restoring)
	if err := dfs.MakeDir(tmp, disk.RestoreDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clearForRestore(dfs, dir))
		}
	}()
	m, err := unpack(backup.Folder{FS: dfs, Dir: tmp, File: disk.RestoreFile, Entry: disk.RestoreDir})
	if err != nil {
		return nil, err
	}
	epoch, err := beginEpoch(dfs, tmp, m.Info.RawEnd, now)
	if err != nil {
		return nil, fmt.Errorf("the backup is whole, but what it holds can't be opened: %w", err)
	}
	return &Restored{m, epoch}, moveRestored(dfs, dir)
}

// beginEpoch opens a restored folder, which checks that its parts agree, and begins an epoch in it.
func beginEpoch(dfs disk.FS, dir string, end int64, now time.Time) (control.Epoch, error) {
	log, catalog, err := openFolder(dfs, dir)
	if err != nil {
		return control.Epoch{}, err
	}
	if log.RawEnd() != end {
		err = fmt.Errorf("events.raw ends at offset %d, the backup says %d", log.RawEnd(), end)
	}
	if err == nil {
		err = catalog.CheckEpoch(now)
	}
	var id freshet.LogID
	var epoch control.Epoch
	if err == nil {
		id, err = raise(log, catalog, now, control.EpochRestored, &epoch)
	}
	if err = errors.Join(err, log.Close()); err != nil {
		return epoch, err
	}
	return epoch, broker.Rename(dfs, dir, id, 0)
}

// parts of a data folder; FORMAT makes it one, so it is moved last and removed first.
var parts = []string{"journal", "state", "index"}

func moveRestored(dfs disk.FS, dir string) error {
	tmp := dfs.PathJoin(dir, broker.Restoring)
	for _, name := range parts {
		if err := dfs.Rename(dfs.PathJoin(tmp, name), dfs.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	if err := dfs.SyncDir(dir, disk.RestoreDir); err != nil {
		return err
	}
	if err := dfs.Rename(dfs.PathJoin(tmp, "FORMAT"), dfs.PathJoin(dir, "FORMAT")); err != nil {
		return err
	}
	return dfs.SyncDir(dir, disk.RestoreDir) // the next start removes what is left
}

// clearForRestore removes what an interrupted restore has left, and refuses a folder with anything else in it.
func clearForRestore(dfs disk.FS, dir string) error {
	names, err := dfs.List(dir)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, name := range names {
		has[name] = true
	}
	if has["FORMAT"] {
		return fmt.Errorf("%s is a data folder already; restore into an empty or new one, and take its place then", dir)
	}
	for _, name := range names {
		switch {
		case name == "LOCK" || name == broker.Restoring || name == "lost+found":
		case has[broker.Restoring] && (name == "journal" || name == "state" || name == "index"):
			if err := dfs.RemoveAll(dfs.PathJoin(dir, name)); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is not empty, it holds %q; restore into an empty or new folder", dir, name)
		}
	}
	if err := dfs.SyncDir(dir, disk.RestoreDir); err != nil { // what tells that they may go, goes last
		return err
	}
	if err := dfs.RemoveAll(dfs.PathJoin(dir, broker.Restoring)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
