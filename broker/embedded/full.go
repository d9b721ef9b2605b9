package embedded

import (
	"cmp"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
)

// A full disk. Pebble takes a write that fails for the end of the process, so its writes wait for room instead: package
// disk. What would pile up behind them is refused meanwhile, so that whoever wants it does not wait too.

// defaultPatience is how long a start or a stop waits for room.
const defaultPatience = 10 * time.Second

// DiskFull reports whether the disk is full, so that the state can't be written.
func (l *State) DiskFull() bool { return l.patience.Full() }

// Room returns an error with disk_full while the state can't be written.
func (l *State) Room() error {
	if l.DiskFull() {
		return l.full()
	}
	return nil
}

// Stopping says that the log will be closed soon. From now on what waits for room on a full disk gives up after a while: the state
// stays as it is, as after a crash, and every transaction is refused.
func (l *State) Stopping() { l.patience.Limit(cmp.Or(l.opts.Patience, defaultPatience)) }

// full is the error for what can't be done while the disk is full.
func (l *State) full() error {
	return &freshet.Error{Code: freshet.CodeDiskFull, Message: fmt.Sprintf("the disk of the data folder %s is full; free some space, "+
		"then everything goes on by itself; searches go on", l.dir)}
}

// gaveUp is the error of what waited until the patience was at its end.
func (l *State) gaveUp() error {
	return &freshet.Error{Code: freshet.CodeDiskFull, Message: fmt.Sprintf("the disk of the data folder %s is full, and there was no room "+
		"within %v; free some space and start again: nothing that was acknowledged is lost", l.dir, cmp.Or(l.opts.Patience, defaultPatience))}
}

// named gives an error that says that the disk is full the code that says so.
func (l *State) named(err error) error {
	if disk.IsFull(err) {
		return l.full()
	}
	return err
}

// patiently calls f, which may wait for room, and returns when it has, or when the patience is at its end; f goes on for ever then.
func (l *State) patiently(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-l.patience.Ended():
		return l.gaveUp()
	}
}
