// Package disk is the file system that freshet writes to: Pebble's vfs.FS, with a name for
// every place where freshet itself asks for durability. The names let a test take one of
// those requests out and prove that something is lost without it.
//
// It decides nothing about what is written; formats belong to the packages that own them.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Site names one place in the code that makes something durable.
type Site string

// The sites. Each is reached in ordinary operation, and the crash simulation fails when any
// one of them does nothing.
const (
	JournalFrame    Site = "journal.frame"     // the frame of a group commit, before it is acknowledged
	JournalDir      Site = "journal.dir"       // the entries of the journal's folder and of a new segment, before its first frame
	FolderFormat    Site = "folder.format"     // the bytes of the folder's format file
	FolderDir       Site = "folder.dir"        // its entry, before anything else is written
	ControlRecord   Site = "control.record"    // a control record, before its effect can be seen
	StateSnapshot   Site = "state.snapshot"    // the tables, before a snapshot that covers them is kept
	SnapshotFile    Site = "snapshot.file"     // the bytes of a snapshot, before it gets its name
	SnapshotDir     Site = "snapshot.dir"      // its name, before the older one is removed
	SourceFilesDone Site = "source.files.done" // what the files source has sent
	FeedState       Site = "feed.state"        // the tables, before others are told of a change
	RestoreFile     Site = "restore.file"      // the bytes of a file that is restored from a backup
	RestoreDir      Site = "restore.dir"       // its entry, and those of the folders that are moved to their place
	BackupFile      Site = "backup.file"       // the bytes of a backup, before it gets its name
	BackupDir       Site = "backup.dir"        // its name
	DeadDropped     Site = "dead.dropped"      // dead letters that were dropped are gone
	RetentionState  Site = "retention.state"   // the tables, before the events that they were derived from are cut off
)

// Sites lists every site, for tests that take each out in turn.
func Sites() []Site {
	return []Site{JournalFrame, JournalDir, FolderFormat, FolderDir, ControlRecord,
		StateSnapshot, SnapshotFile, SnapshotDir, SourceFilesDone, FeedState,
		RestoreFile, RestoreDir, BackupFile, BackupDir, DeadDropped, RetentionState}
}

// FS is a file system whose durable steps are named. The zero value is not usable; use [OS]
// or [New]. It is safe for concurrent use if the underlying file system is.
type FS struct {
	vfs.FS
	skip func(Site) bool
}

// OS is the file system of the operating system.
func OS() FS { return FS{FS: vfs.Default} }

// New wraps fs. Where skip is not nil and returns true for a site, the syncs of that site do
// nothing: only tests want that.
func New(fs vfs.FS, skip func(Site) bool) FS { return FS{FS: fs, skip: skip} }

// Skipped reports whether a test has taken the site out.
func (fs FS) Skipped(site Site) bool { return fs.skip != nil && fs.skip(site) }

// SyncData makes what was written to f durable, including the size needed to read it back.
func (fs FS) SyncData(f vfs.File, site Site) error {
	if fs.Skipped(site) {
		return nil
	}
	return f.SyncData()
}

// SyncDir makes the entries of a folder durable.
func (fs FS) SyncDir(dir string, site Site) error {
	if fs.Skipped(site) {
		return nil
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open folder %s to sync it: %w", dir, err)
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return d.Close()
}

// MakeDir makes a folder and those above it that are missing, and makes its entry durable, also
// when the folder is there already: a process that was killed may have left it without. So may
// the folder above a missing one; the ones above that were durable before it was made.
func (fs FS) MakeDir(dir string, site Site) error {
	parent := fs.PathDir(dir)
	_, err := fs.Stat(dir)
	missing := errors.Is(err, os.ErrNotExist)
	if missing && parent != dir {
		if err := fs.MakeDir(parent, site); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder %s: %w", dir, err)
	}
	err = fs.SyncDir(parent, site)
	if !missing && (errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EROFS)) {
		return nil // a place where no process like this one has made the folder
	}
	return err
}

// Replace writes a file so that after a crash either the old or the new content is there,
// whole: temporary name, sync, rename, sync of the folder. write gets the file's bytes sink.
func (fs FS) Replace(path string, data, entry Site, write func(io.Writer) error) error {
	tmp := path + ".tmp"
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", tmp, err)
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fs.SyncData(f, data); err != nil {
		f.Close()
		return fmt.Errorf("sync %s: %w", tmp, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", tmp, err)
	}
	if err := fs.Rename(tmp, path); err != nil {
		return fmt.Errorf("rename %s: %w", tmp, err)
	}
	return fs.SyncDir(fs.PathDir(path), entry)
}

// ReadFile returns the content of a file.
func (fs FS) ReadFile(path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
