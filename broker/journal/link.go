package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Linked is a segment of a journal that has a second name.
type Linked struct {
	Name  string // of the file
	Bytes int64  // of it belong to the journal; what stands behind was not acknowledged when it was linked
}

// Link gives the segments a second name in a folder of the same file system, so that they outlive their removal from the
// journal, and returns them, oldest first, with the offset behind the last record of them. Where files can't be linked
// they are copied. Segments that have a name there already, from a call before, keep it, also if the journal has
// them no longer; the one that is being written gets its name only with all true.
func (j *Journal) Link(dir string, all bool) (linked []Linked, end int64, err error) {
	j.mu.Lock()
	segments := append([]*segment(nil), j.segments...)
	end = j.end.Load()
	var last int64
	if n := len(segments); n > 0 {
		last = segments[n-1].bytes
	}
	j.mu.Unlock()
	for i, s := range segments {
		newest := i == len(segments)-1
		if newest && !all {
			break
		}
		path := j.fs.PathJoin(dir, j.fs.PathBase(s.path))
		if err := vfs.LinkOrCopy(j.fs, s.path, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, 0, fmt.Errorf("link segment: %w", err)
		}
	}
	there, err := listSegments(j.fs, dir)
	if err != nil {
		return nil, 0, err
	}
	for i, s := range there {
		l := Linked{Name: j.fs.PathBase(s.path), Bytes: last}
		if i < len(there)-1 || !all {
			info, err := j.fs.Stat(s.path)
			if err != nil {
				return nil, 0, fmt.Errorf("link segment: %w", err)
			}
			l.Bytes = info.Size()
		}
		linked = append(linked, l)
	}
	return linked, end, nil
}
