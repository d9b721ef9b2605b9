package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// scanBuffer is how much of a segment is read at a time when it is scanned.
const scanBuffer = 1 << 20

// recoverEnd scans the last segment and returns the offset behind its last good frame, with
// everything before that offset durable. torn is how many bytes stand behind it; zeros that a
// file system left at the end are no torn write.
//
// Only one frame is ever in flight, so a crash leaves at most one bad frame, at the end. A bad
// frame with a whole one behind it, or a whole frame that doesn't belong, is damage: an error.
func (s *segment) recoverEnd(fs disk.FS) (end, torn int64, err error) {
	f, err := fs.OpenReadWrite(s.path, vfs.WriteCategoryUnspecified, vfs.SequentialReadsOption)
	if err != nil {
		return 0, 0, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("stat segment %s: %w", s.path, err)
	}
	sc := frameScanner{r: f, unread: info.Size()}
	end = s.base
	for {
		pos := info.Size() - sc.left()
		h, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if torn, err = s.judge(&sc, pos, end, err); err != nil {
				return 0, 0, err
			}
			break
		}
		if h.first != end {
			return 0, 0, fmt.Errorf("segment %s is damaged at byte %d: the frame says offset %d, expected %d; "+
				"restore the file from a backup", s.path, pos, h.first, end)
		}
		s.note(h.first, pos)
		end = h.end()
		s.bytes = pos + h.size()
	}
	// After a kill the last frame may be whole in the page cache and not on disk. It is about
	// to be read and to be followed by a segment that relies on it, so it must not vanish.
	if end > s.base {
		if err := fs.SyncData(f, disk.JournalFrame); err != nil {
			return 0, 0, fmt.Errorf("sync recovered segment %s: %w", s.path, err)
		}
	}
	return end, torn, nil
}

// judge decides what the bad frame at pos is: a torn write, of which it returns the size, or
// damage.
func (s *segment) judge(sc *frameScanner, pos, end int64, bad error) (torn int64, err error) {
	var unreadable *unreadableError
	if errors.As(bad, &unreadable) {
		return 0, fmt.Errorf("segment %s at byte %d: %w", s.path, pos, bad)
	}
	rest, err := sc.remaining()
	if err != nil {
		return 0, fmt.Errorf("read segment %s: %w", s.path, err)
	}
	if at := wholeFrame(rest, end+1); at >= 0 {
		return 0, fmt.Errorf("segment %s is damaged at byte %d (%w), but a good frame follows at byte %d: "+
			"this is no torn write; restore the file from a backup", s.path, pos, bad, pos+int64(at))
	}
	return int64(len(bytes.TrimRight(rest, "\x00"))), nil
}

// wholeFrame finds a frame with a right checksum that begins behind the first byte of b and
// holds offsets from low on; -1 when there is none.
func wholeFrame(b []byte, low int64) int {
	for at := 1; at < len(b); at++ {
		i := bytes.Index(b[at:], []byte(magic))
		if i < 0 {
			return -1
		}
		at += i
		// The cheap test first: a record may be full of what looks like headers.
		if h, err := parseHeader(b[at:]); err != nil || h.first < low {
			continue
		}
		var unreadable *unreadableError
		if _, _, err := parseFrame(b[at:]); err == nil || errors.As(err, &unreadable) {
			return at
		}
	}
	return -1
}

// frameScanner reads frames one after another through one buffer.
type frameScanner struct {
	r      io.Reader
	unread int64 // bytes of r that are not in buf yet
	buf    []byte
	have   int   // bytes of buf that are filled
	at     int   // where the next frame begins
	failed error // r could not be read, so a bad frame means nothing; see remaining
}

// left is the number of bytes from the next frame to the end of the file.
func (s *frameScanner) left() int64 { return int64(s.have-s.at) + s.unread }

// next returns the header of the next frame, which is whole; io.EOF is the clean end.
func (s *frameScanner) next() (frameHeader, error) {
	if s.left() == 0 {
		return frameHeader{}, io.EOF
	}
	s.fill(headerBytes)
	h, err := parseHeader(s.buf[s.at:s.have])
	if err != nil {
		return h, err
	}
	s.fill(h.size())
	if h, _, err = parseFrame(s.buf[s.at:s.have]); err != nil {
		return h, err
	}
	s.at += int(h.size())
	return h, nil
}

// fill makes n bytes available at s.at, or what the file has of them.
func (s *frameScanner) fill(n int64) {
	n = min(n, s.left())
	if int64(s.have-s.at) >= n || s.failed != nil {
		return
	}
	if int64(len(s.buf)) < n {
		grown := make([]byte, max(n, min(scanBuffer, s.left())))
		s.have = copy(grown, s.buf[s.at:s.have])
		s.buf = grown
	} else {
		s.have = copy(s.buf, s.buf[s.at:s.have])
	}
	s.at = 0
	room := s.buf[s.have:]
	room = room[:min(int64(len(room)), s.unread)]
	m, err := io.ReadFull(s.r, room)
	s.have += m
	s.unread -= int64(m)
	s.failed = err
}

// remaining returns everything from the frame that next failed on to the end of the file.
func (s *frameScanner) remaining() ([]byte, error) {
	s.fill(s.left())
	return s.buf[s.at:s.have], s.failed
}
