package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/disk"
)

// Verified says what Verify has read, and what is wrong with it.
type Verified struct {
	Segments int
	Bytes    int64
	Records  int64
	Damage   []Damage
}

// Damage is what is wrong with a segment.
type Damage struct {
	Segment string
	Detail  string
}

// Verify reads every frame of the journal in dir and checks its checksum and its place. It changes nothing; the journal may
// be open, and be written to meanwhile. A torn frame at the end of the newest segment is none of the damage.
func Verify(ctx context.Context, dfs disk.FS, dir string) (v Verified, err error) {
	segments, err := listSegments(dfs, dir)
	if err != nil {
		return v, err
	}
	for i, s := range segments {
		next := int64(-1)
		if i+1 < len(segments) {
			next = segments[i+1].base
		}
		bytes, records, bad, err := s.verify(ctx, dfs, next)
		if errors.Is(err, fs.ErrNotExist) {
			continue // retention has removed it
		}
		if err != nil {
			return v, fmt.Errorf("verify segment %s: %w", s.path, err)
		}
		v.Segments++
		v.Bytes += bytes
		v.Records += records
		if bad != "" {
			v.Damage = append(v.Damage, Damage{dfs.PathBase(s.path), bad})
		}
	}
	return v, nil
}

// verify reads the frames of a segment up to the offset at which the next one begins, -1 when there is none.
func (s *segment) verify(ctx context.Context, dfs disk.FS, next int64) (read, records int64, bad string, err error) {
	f, err := dfs.Open(s.path, vfs.SequentialReadsOption)
	if err != nil {
		return 0, 0, "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, "", err
	}
	sc := frameScanner{r: f, unread: info.Size()}
	end := s.base
	for next < 0 || end < next {
		if ctx.Err() != nil {
			return read, records, "", context.Cause(ctx)
		}
		pos := info.Size() - sc.left()
		h, err := sc.next()
		switch {
		case errors.Is(err, io.EOF) && next < 0:
			return read, records, "", nil
		case errors.Is(err, io.EOF):
			return read, records, fmt.Sprintf("it ends at offset %d, the next segment begins at %d", end, next), nil
		case err != nil && sc.failed != nil:
			return read, records, "", sc.failed
		case err != nil && next < 0:
			if _, jerr := s.judge(&sc, pos, end, err); jerr != nil {
				return read, records, jerr.Error(), nil
			}
			return read, records, "", nil // torn
		case err != nil:
			return read, records, fmt.Sprintf("byte %d: %v", pos, err), nil
		case h.first != end:
			return read, records, fmt.Sprintf("byte %d: the frame says offset %d, expected %d", pos, h.first, end), nil
		}
		end = h.end()
		read += h.size()
		records += int64(h.count)
	}
	return read, records, "", nil
}
