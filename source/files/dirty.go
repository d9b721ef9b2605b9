package files

import (
	"slices"
	"strings"
	"time"
)

// Limits of settling: a path is looked at once nothing has happened to it for quietFor, and
// holdAtMost after its first event at the latest.
const (
	quietFor   = 50 * time.Millisecond
	holdAtMost = 500 * time.Millisecond
	// maxDirty is how many paths may wait; if there are more, the folder is scanned instead.
	maxDirty = 1 << 16
)

// touched is a path to which something has happened.
type touched struct {
	path   string
	folder bool // a watched folder of that path was removed or renamed
}

// dirty is the paths that have not settled yet. It knows no clock: the caller says what time
// it is.
type dirty struct {
	marks map[string]mark
	lost  bool // events were lost: only a scan finds what has changed
}

type mark struct {
	first, last time.Time
	folder      bool
}

func (m mark) due() time.Time {
	quiet, limit := m.last.Add(quietFor), m.first.Add(holdAtMost)
	if limit.Before(quiet) {
		return limit
	}
	return quiet
}

// touch notes an event.
func (d *dirty) touch(path string, folder bool, now time.Time) {
	m, ok := d.marks[path]
	if !ok {
		if len(d.marks) >= maxDirty {
			d.lose()
			return
		}
		m.first = now
	}
	m.last = now
	m.folder = m.folder || folder
	if d.marks == nil {
		d.marks = map[string]mark{}
	}
	d.marks[path] = m
}

// lose notes that events were lost. What waits is dropped: the scan finds that too.
func (d *dirty) lose() { d.marks, d.lost = nil, true }

// take removes and returns the paths that have settled, in order, and says when the next one
// will have; the zero time when none waits. An event that is noted later is due later.
func (d *dirty) take(now time.Time) (settled []touched, next time.Time) {
	for path, m := range d.marks {
		switch due := m.due(); {
		case !due.After(now):
			settled = append(settled, touched{path, m.folder})
			delete(d.marks, path)
		case next.IsZero() || due.Before(next):
			next = due
		}
	}
	slices.SortFunc(settled, func(a, b touched) int { return strings.Compare(a.path, b.path) })
	return settled, next
}
