package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/process"
)

// RaiseEpoch begins a new epoch in a data folder that no process has open: it accepts the folder as it is, though FORMAT and
// state are of different histories, and gives events.raw another number of partitions, if that is not 0. What it has is kept;
// the log gets a new identity. When it is interrupted a start refuses the folder, and it is to be repeated.
func RaiseEpoch(dfs disk.FS, dir string, partitions int, now time.Time) (epoch control.Epoch, err error) {
	if err := (broker.Options{Partitions: partitions}).Validate(); err != nil {
		return epoch, err
	}
	log, catalog, err := openFolder(dfs, dir)
	if err != nil {
		return epoch, err
	}
	id, err := raise(log, catalog, now, control.EpochRaised, &epoch)
	if err = errors.Join(err, log.Close()); err != nil {
		return epoch, fmt.Errorf("raise epoch: %w", err)
	}
	return epoch, broker.Rename(dfs, dir, id, partitions)
}

// RaiseWithoutJournal is RaiseEpoch for a folder whose journal is lost, damaged or too short: the tables are taken for the truth, and
// events.raw goes on, empty, behind what they know of. Events that were accepted and not yet decided are lost. kept is the
// name under which what is left of the old journal is kept, "" when there was nothing.
func RaiseWithoutJournal(dfs disk.FS, dir string, now time.Time) (epoch control.Epoch, kept string, err error) {
	if _, err := dfs.Stat(dfs.PathJoin(dir, "FORMAT")); err != nil {
		return epoch, "", fmt.Errorf("%s is no data folder of freshet: %w", dir, err)
	}
	if _, err := broker.BeginJournal(dfs, dir); err != nil {
		return epoch, "", fmt.Errorf("begin a new journal: %w", err)
	}
	log, catalog, err := openWith(dfs, dir, broker.Options{FS: dfs, Journal: broker.NewJournal})
	if err != nil {
		return epoch, "", err
	}
	var id freshet.LogID
	if err = process.Adopt(log); err == nil {
		id, err = raise(log, catalog, now, control.EpochRaised, &epoch)
	}
	if err = errors.Join(err, log.Close()); err != nil {
		return epoch, "", fmt.Errorf("raise epoch: %w", err)
	}
	// From here on a start is refused until FORMAT names the new epoch.
	if kept, err = broker.TakeJournal(dfs, dir); err != nil {
		return epoch, kept, err
	}
	return epoch, kept, broker.Rename(dfs, dir, id, 0)
}

// raise records a new epoch that begins behind everything that an open log has, and returns the identity that the folder is
// to get once the log is closed.
func raise(log *broker.Log, catalog *control.Catalog, now time.Time, reason string, epoch *control.Epoch) (id freshet.LogID, err error) {
	if id, err = broker.NewID(); err != nil {
		return id, err
	}
	changes, err := log.End(freshet.TopicSync)
	if err != nil {
		return id, err
	}
	*epoch, err = catalog.RaiseEpoch(id, log.RawEnd(), changes, now, reason)
	return id, err
}

// Epochs returns the epochs of a data folder that no process has open, oldest first.
func Epochs(dfs disk.FS, dir string) (all []control.Epoch, err error) {
	log, catalog, err := openFolder(dfs, dir)
	if err != nil {
		return nil, err
	}
	return catalog.Epochs(), log.Close()
}
