package journal

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SegmentInfo describes a segment whose records are all durable: another one has been begun behind it.
type SegmentInfo struct {
	First, End int64 // offsets of its records: First to End-1
	Bytes      int64
	// Until is when the segment behind it was begun: no record of this one is newer.
	Until time.Time
}

// Segments returns the segments that Cut may remove, oldest first: all but the one that is written.
func (j *Journal) Segments() ([]SegmentInfo, error) {
	j.mu.Lock()
	segments := append([]*segment(nil), j.segments...)
	j.mu.Unlock()
	var out []SegmentInfo
	for i := range len(segments) - 1 {
		s, next := segments[i], segments[i+1]
		info, err := j.fs.Stat(s.path)
		if err != nil {
			return nil, fmt.Errorf("stat segment: %w", err)
		}
		until, err := j.begun(next)
		if err != nil {
			return nil, err
		}
		if until.IsZero() {
			break // nothing stands in the last one yet
		}
		out = append(out, SegmentInfo{First: s.base, End: next.base, Bytes: info.Size(), Until: until})
	}
	return out, nil
}

// begun is the time of a segment's first frame, zero when it has none yet.
func (j *Journal) begun(s *segment) (time.Time, error) {
	if ms := s.begun.Load(); ms != 0 {
		return time.UnixMilli(ms), nil
	}
	if s.base >= j.End() {
		return time.Time{}, nil
	}
	f, err := j.fs.Open(s.path, vfs.RandomReadsOption)
	if err != nil {
		return time.Time{}, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	var head [headerBytes]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return time.Time{}, fmt.Errorf("read segment %s: %w", s.path, err)
	}
	h, err := parseHeader(head[:])
	if err != nil {
		return time.Time{}, fmt.Errorf("segment %s: %w", s.path, err)
	}
	s.begun.Store(h.time)
	return time.UnixMilli(h.time), nil
}

// Cut removes the segments whose records all lie below an offset, oldest first, and returns
// how many bytes they had. The one that is written stays. Who reads in one of them reads it to its end; reading
// from an offset below the new First fails with ErrNotRetained. It may be called again after an error.
//
// The removal is not made durable: a segment that a power cut brings back is cut again.
func (j *Journal) Cut(below int64) (freed int64, err error) {
	j.cutting.Lock()
	defer j.cutting.Unlock()
	for {
		j.mu.Lock()
		if len(j.segments) < 2 || j.segments[1].base > below || j.segments[1].base > j.end.Load() {
			j.mu.Unlock()
			return freed, nil
		}
		s := j.segments[0]
		j.segments = append([]*segment(nil), j.segments[1:]...)
		j.mu.Unlock()
		info, err := j.fs.Stat(s.path)
		if err == nil {
			err = j.fs.Remove(s.path)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			j.mu.Lock()
			j.segments = append([]*segment{s}, j.segments...)
			j.mu.Unlock()
			return freed, fmt.Errorf("remove segment: %w", err)
		}
		if err == nil {
			freed += info.Size()
		}
	}
}
