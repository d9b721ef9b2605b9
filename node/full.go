package node

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// diskPoll is how often the room on the disk is looked at.
	diskPoll = time.Second
	// diskCalm is for how long there must be room before the log says so.
	diskCalm = 5 * time.Second
)

// diskLow reports whether the disk has less room than it must keep, so that events are refused, and how much it has; -1
// where that is not known.
func (n *Node) diskLow() (low bool, free int64) {
	bytes, err := n.log.DiskFree()
	if err != nil {
		if !errors.Is(err, vfs.ErrUnsupported) {
			n.opts.Logger.Warn("the room on the disk is not known", "error", err)
		}
		return n.log.DiskFull(), -1
	}
	return n.log.DiskFull() || bytes < uint64(n.intake.Limits().FreeDiskBytes), int64(bytes)
}

// watchDisk says in the log when the disk has become full, and when that is over.
func (n *Node) watchDisk(ctx context.Context) error {
	tick := time.NewTicker(diskPoll)
	defer tick.Stop()
	var began, last time.Time // of a time without room; zero while there is some
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		low, free := n.diskLow()
		switch now := time.Now(); {
		case low && began.IsZero():
			n.opts.Logger.Warn("the disk is full: events are refused with 507, searches go on; free some space, then everything goes on by itself",
				"folder", n.log.Dir(), "free", free, "free_disk_bytes", n.intake.Limits().FreeDiskBytes)
			began, last = now, now
		case low:
			last = now
		case !began.IsZero() && now.Sub(last) >= diskCalm:
			n.opts.Logger.Info("the disk has room again: events are taken", "folder", n.log.Dir(), "free", free, "after", last.Sub(began).Round(time.Second))
			began = time.Time{}
		}
	}
}
