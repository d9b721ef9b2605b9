package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

const (
	segmentSuffix = ".seg"
	// indexEvery is the distance in bytes between two entries of a segment's sparse index.
	indexEvery = 1 << 20
	// scanBuffer is how much of a segment is read at a time when it is scanned.
	scanBuffer = 1 << 20
)

// segment is one file of the journal. Its base never changes; end and size of the segment
// being written are the journal's to publish.
type segment struct {
	base int64
	path string

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
		segs = append(segs, newSegment(fs, dir, base))
	}
	sort.Slice(segs, func(i, k int) bool { return segs[i].base < segs[k].base })
	return segs, nil
}

// recoverEnd scans the last segment and returns the offset behind its last good frame. A bad
// frame with a good one behind it can't come from a crash, because only one frame is ever in
// flight: that is damage, and an error.
func (s *segment) recoverEnd(fs disk.FS) (end int64, torn int64, err error) {
	f, err := fs.Open(s.path, vfs.SequentialReadsOption)
	if err != nil {
		return 0, 0, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	end = s.base
	var pos int64
	sc := frameScanner{r: f}
	for {
		h, _, err := sc.next()
		if errors.Is(err, io.EOF) {
			return end, 0, nil
		}
		if err == nil && h.first != end {
			err = fmt.Errorf("frame says offset %d, expected %d", h.first, end)
		}
		if err != nil {
			rest, rerr := sc.remaining()
			if rerr != nil {
				return 0, 0, fmt.Errorf("read segment %s: %w", s.path, rerr)
			}
			if at := goodFrame(rest, end); at >= 0 {
				return 0, 0, fmt.Errorf("segment %s is damaged at byte %d (%w), but a good frame follows at byte %d: "+
					"this is no torn write; restore the file from a backup", s.path, pos, err, pos+int64(at))
			}
			return end, int64(len(bytes.TrimRight(rest, "\x00"))), nil
		}
		s.note(h.first, pos)
		pos += int64(headerBytes + h.bodyLen)
		end = h.end()
	}
}

// goodFrame finds a whole frame with a right checksum that begins behind the first byte of b
// and holds offsets from min on; -1 when there is none.
func goodFrame(b []byte, min int64) int {
	for at := 1; ; at++ {
		i := bytes.Index(b[at:], []byte(magic))
		if i < 0 {
			return -1
		}
		at += i
		if h, _, err := parseFrame(b[at:]); err == nil && h.first >= min {
			return at
		}
	}
}

// frameScanner reads frames one after another through one buffer.
type frameScanner struct {
	r    io.Reader
	buf  []byte
	have int // bytes of buf that are filled
	at   int // where the next frame begins
	eof  bool
}

// next returns the next frame; io.EOF is the clean end. The body is valid until the next call.
func (s *frameScanner) next() (frameHeader, []byte, error) {
	if err := s.fill(headerBytes); err != nil {
		return frameHeader{}, nil, err
	}
	if s.have == s.at {
		return frameHeader{}, nil, io.EOF
	}
	h, err := parseHeader(s.buf[s.at:s.have])
	if err != nil {
		return h, nil, err
	}
	if err := s.fill(headerBytes + h.bodyLen); err != nil {
		return h, nil, err
	}
	h, body, err := parseFrame(s.buf[s.at:s.have])
	if err != nil {
		return h, nil, err
	}
	s.at += headerBytes + h.bodyLen
	return h, body, nil
}

// fill makes n bytes available at s.at if the file has them.
func (s *frameScanner) fill(n int) error {
	if s.have-s.at >= n || s.eof {
		return nil
	}
	if cap(s.buf) < n || s.buf == nil {
		grown := make([]byte, max(n, scanBuffer))
		s.have = copy(grown, s.buf[s.at:s.have])
		s.buf, s.at = grown, 0
	} else if s.at > 0 {
		s.have = copy(s.buf, s.buf[s.at:s.have])
		s.at = 0
	}
	for s.have < n {
		m, err := s.r.Read(s.buf[s.have:])
		s.have += m
		if errors.Is(err, io.EOF) {
			s.eof = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remaining returns everything from the frame that next failed on to the end of the file.
func (s *frameScanner) remaining() ([]byte, error) {
	rest := append([]byte(nil), s.buf[s.at:s.have]...)
	if s.eof {
		return rest, nil
	}
	more, err := io.ReadAll(s.r)
	return append(rest, more...), err
}
