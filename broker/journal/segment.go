package journal

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

const (
	segmentSuffix = ".seg"
	// indexEvery is the distance in bytes between two entries of a segment's sparse index.
	indexEvery = 1 << 20
)

// segment is one file of the journal. Its base never changes; end and size of the segment
// being written are the journal's to publish.
type segment struct {
	base int64
	path string
	// bytes is where the last durable frame of the newest segment ends; guarded by Journal.mu.
	bytes int64
	begun atomic.Int64 // ms, the time of its first frame; 0 until it is asked for

	mu    sync.Mutex // guards index
	index []place    // ascending, sparse; the first is always {base, 0}
}

// place says that the frame starting at offset begins at byte pos.
type place struct {
	offset int64
	pos    int64
}

func newSegment(fs disk.FS, dir string, base int64) *segment {
	return &segment{
		base:  base,
		path:  fs.PathJoin(dir, fmt.Sprintf("%020d%s", base, segmentSuffix)),
		index: []place{{base, 0}},
	}
}

// note adds a frame to the sparse index if the last entry is far enough behind.
func (s *segment) note(offset, pos int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.index[len(s.index)-1]; offset > last.offset && pos >= last.pos+indexEvery {
		s.index = append(s.index, place{offset, pos})
	}
}

// seek returns the closest known frame start at or before offset.
func (s *segment) seek(offset int64) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].offset > offset })
	if i == 0 {
		return s.index[0]
	}
	return s.index[i-1]
}

// Create makes an empty journal in a folder that has none, whose first record will get an offset.
func Create(fs disk.FS, dir string, first int64) error {
	if err := fs.MakeDir(dir, disk.JournalDir); err != nil {
		return fmt.Errorf("make journal folder: %w", err)
	}
	f, err := fs.Create(newSegment(fs, dir, first).path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("begin journal: %w", err)
	}
	return errors.Join(f.Close(), fs.SyncDir(dir, disk.JournalDir))
}

// listSegments returns the segments of a folder, oldest first.
func listSegments(fs disk.FS, dir string) ([]*segment, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal folder: %w", err)
	}
	var segs []*segment
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		if !ok {
			continue
		}
		base, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || base < 0 {
			return nil, fmt.Errorf("journal folder holds %q, which is no segment name", name)
		}
		seg := newSegment(fs, dir, base)
		if fs.PathBase(seg.path) != name {
			return nil, fmt.Errorf("journal folder holds %q, which is no segment name: it would be %q",
				name, fs.PathBase(seg.path))
		}
		segs = append(segs, seg)
	}
	sort.Slice(segs, func(i, k int) bool { return segs[i].base < segs[k].base })
	return segs, nil
}
