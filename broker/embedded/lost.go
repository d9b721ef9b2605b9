package embedded

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

const journalFolder = "journal"

// NewJournal is the folder in which [BeginJournal] makes a journal, for Options.Journal.
const NewJournal = "journal-new"

// BeginJournal makes an empty journal beside the one of a data folder that no process has open, for one that is lost: it goes on
// behind the records that the state knows of. [TakeJournal] puts it in its place. It may be called again.
func BeginJournal(dfs disk.FS, dir string) (first int64, err error) {
	l := &Log{State: newState(dir, Options{FS: dfs})}
	defer func() { err = errors.Join(err, l.release()) }()
	if l.lock, err = lockFolder(dfs, dir); err != nil {
		return 0, err
	}
	if err := errors.Join(l.sweep(NewJournal), l.openState(dfs.PathJoin(dir, stateFolder))); err != nil {
		return 0, err
	}
	if first, _, err = l.knownEnd(); err != nil {
		return 0, err
	}
	return first, journal.Create(dfs, dfs.PathJoin(dir, NewJournal), first)
}

// TakeJournal puts the journal of [BeginJournal] in the place of the old one, which is kept under the name that it returns,
// "" when there was none.
func TakeJournal(dfs disk.FS, dir string) (kept string, err error) {
	for n := 1; ; n++ {
		kept = fmt.Sprintf("journal-lost-%d", n)
		if _, err := dfs.Stat(dfs.PathJoin(dir, kept)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	err = dfs.Rename(dfs.PathJoin(dir, journalFolder), dfs.PathJoin(dir, kept))
	if errors.Is(err, fs.ErrNotExist) {
		kept, err = "", nil
	}
	if err == nil {
		err = dfs.Rename(dfs.PathJoin(dir, NewJournal), dfs.PathJoin(dir, journalFolder))
	}
	if err != nil {
		return "", fmt.Errorf("put the new journal in its place: %w", err)
	}
	return kept, dfs.SyncDir(dir, disk.FolderDir)
}
