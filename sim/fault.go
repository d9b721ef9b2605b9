package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
)

// fault is a time in which operations of the file system fail: so many of those that it is about.
type fault struct {
	err   error
	about func(operation) bool
	left  int
}

// How many operations fail at a time, at most.
const (
	fullMost   = 6
	brokenMost = 3
)

// fail begins a fault: the disk is full, or what is written to the journal or to snapshots does not get through. A broken disk
// below the state is the end of the process, and its power is cut often enough.
func (o *outlet) fail(rng *rand.Rand) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if rng.IntN(2) == 0 {
		o.fault = fault{syscall.ENOSPC, func(op operation) bool { return op.room }, 1 + rng.IntN(fullMost)}
		return
	}
	synced := rng.IntN(3) > 0
	o.fault = fault{syscall.EIO, func(op operation) bool {
		return (op.sync || op.room && !synced) && (strings.Contains(op.path, "/journal") || strings.Contains(op.path, "/index"))
	}, 1 + rng.IntN(brokenMost)}
}

// calm ends a fault.
func (o *outlet) calm() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault.left = 0
}

// failures is how many operations have failed.
func (o *outlet) failures() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// refuseLocked is the error of an operation that fails.
func (o *outlet) refuseLocked(op operation) error {
	if o.fault.left == 0 || !o.fault.about(op) {
		return nil
	}
	o.fault.left--
	o.failed++
	return &fs.PathError{Op: "change", Path: op.path, Err: o.fault.err}
}

// tolerable says whether an error is one that a fault of the disk explains.
func (l *life) tolerable(err error) bool {
	return l.outlet.failures() > 0 && (isCode(err, freshet.CodeDiskFull) || errors.Is(err, syscall.EIO) || disk.IsFull(err))
}

// recover ends the faults of a life: everything goes on.
func (l *life) recover(ctx context.Context, w *writer) error {
	l.outlet.calm()
	if l.outlet.failures() == 0 || !l.outlet.on() {
		return nil
	}
	for l.node.Log().DiskFull() && ctx.Err() == nil { // who waits looks now and then
		time.Sleep(time.Millisecond)
	}
	if err := w.send(ctx, l.model.submit(w.compose()), true); err != nil {
		return fmt.Errorf("after a fault of the disk: %w", err)
	}
	return nil
}
