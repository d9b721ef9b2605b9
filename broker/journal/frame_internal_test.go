package journal

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/disk"
)

// frameOf is a whole frame with the records of b.
func frameOf(b *Batch, first int64) []byte {
	frame := append(make([]byte, headerBytes), b.body...)
	putHeader(frame, first, b.count, 1_700_000_000_000)
	return frame
}

func seedFrames() [][]byte {
	var plain, rich Batch
	plain.Add(0, nil, nil)
	rich.Add(-1, []byte("key"), bytes.Repeat([]byte("v"), 300), Header{"name", []byte("value")}, Header{})
	rich.Add(math.MaxInt32, []byte("FRJ1"), []byte("FRJ1"))
	return [][]byte{frameOf(&plain, 0), frameOf(&rich, 1<<40), frameOf(&rich, math.MaxInt64-2), []byte(magic), {}}
}

// Whatever the bytes, parsing ends in a frame that is what its header says or in an error.
func FuzzParseFrame(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame)
		f.Add(append(frame, "behind it"...))
		f.Add(frame[:len(frame)*2/3])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := parseFrame(b)
		var unreadable *unreadableError
		if err != nil && !errors.As(err, &unreadable) {
			if wholeFrame(append([]byte{0}, b...), 0) == 1 {
				t.Fatalf("a frame that is not whole (%v) was found", err)
			}
			return
		}
		if int(h.size()) > len(b) || len(body) != h.bodyLen {
			t.Fatalf("body of %d bytes and frame of %d, from %d bytes", len(body), h.size(), len(b))
		}
		if err != nil {
			return
		}
		if h.count <= 0 || h.first < 0 || h.end() <= h.first {
			t.Fatalf("impossible header was accepted: %+v", h)
		}
		again := bytes.Clone(b[:h.size()])
		putHeader(again, h.first, h.count, h.time)
		if !bytes.Equal(again, b[:h.size()]) {
			t.Fatalf("header %+v written again differs:\n%x\n%x", h, again[:headerBytes], b[:headerBytes])
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err == nil && (h.bodyLen < 0 || h.bodyLen > maxBodyBytes || h.count < 0 || h.size() < headerBytes) {
			t.Fatalf("impossible header was accepted: %+v", h)
		}
	})
}

// Whatever the bytes, decoding never panics, never reaches outside the body, and leaves dst
// alone when it fails; what it accepts is what a Batch of the same records would have written,
// but for integers written longer than need be.
func FuzzDecodeRecords(f *testing.F) {
	for _, frame := range seedFrames() {
		if h, body, err := parseFrame(frame); err == nil {
			f.Add(h.count, body)
			f.Add(h.count+1, body)
			f.Add(h.count, append(body, 0))
			f.Add(h.count, body[:len(body)-1])
		}
	}
	f.Add(1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0})       // a partition beyond 32 bits
	f.Add(1, []byte{0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}) // endless headers
	f.Fuzz(func(t *testing.T, count int, body []byte) {
		if count < 0 || count > 1<<20 {
			return
		}
		before := []Record{{Offset: -7}}
		got, err := decodeRecords(before, frameHeader{count: count, first: 10, time: 5}, body)
		if err != nil {
			if len(got) != 1 || got[0].Offset != -7 {
				t.Fatalf("dst changed by a failed decode: %v", got)
			}
			return
		}
		var b Batch
		for i, r := range got[1:] {
			if r.Offset != 10+int64(i) || r.Time != 5 {
				t.Fatalf("record %d has offset %d, time %d", i, r.Offset, r.Time)
			}
			b.Add(r.Partition, r.Key, r.Value, r.Headers...)
		}
		if b.count != count || len(b.body) > len(body) {
			t.Fatalf("%d records in %d bytes, decoded from %d in %d", b.count, len(b.body), count, len(body))
		}
		again, err := decodeRecords(before, frameHeader{count: count, first: 10, time: 5}, b.body)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("encoded and decoded again: %v\n%v\n%v", err, again, got)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		count int
		body  []byte
	}{
		{"nothing there", 1, nil},
		{"a record missing", 2, []byte{0, 0, 0, 0}},
		{"bytes left", 1, []byte{0, 0, 0, 0, 0}},
		{"partition beyond 32 bits", 1, []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0, 0, 0}},
		{"integer beyond 64 bits", 1, append(bytes.Repeat([]byte{0xff}, 11), 0, 0, 0, 0)},
		{"key too long", 1, []byte{0, 3, 'k', 0, 0}},
		{"key of almost 2^64", 1, []byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0}},
		{"header without value", 1, []byte{0, 0, 0, 1, 1, 'n'}},
		{"more headers than bytes", 1, []byte{0, 0, 0, 9, 0, 0}},
	} {
		if got, err := decodeRecords(nil, frameHeader{count: c.count}, c.body); err == nil {
			t.Errorf("%s: decoded as %v", c.name, got)
		}
	}
}

// However often a segment has to be begun anew at one offset, it is one segment.
func TestFailuresDoNotPileUp(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite {
			return errorfs.ErrInjected
		}
		return nil
	}))
	j, _, err := Open(disk.New(fs, nil), "journal", 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var b Batch
	b.Add(0, nil, nil)
	for range 10 {
		if _, err := j.Append(context.Background(), &b); err == nil {
			t.Fatal("the write did not fail")
		}
	}
	if n := len(j.segments); n != 1 {
		t.Errorf("%d segments after 10 failed appends, want 1", n)
	}
}

// The group's memory is used again while those who waited for the last group still read its
// outcome; a rare huge batch does not stay.
func TestGroupMemory(t *testing.T) {
	old := newGroup(nil)
	old.frame = append(old.frame, "records"...)
	old.count, old.first = 1, 42
	next := newGroup(old.frame)
	if &next.frame[0] != &old.frame[0] || len(next.frame) != headerBytes || next.count != 0 {
		t.Errorf("the frame's memory was not taken over empty")
	}
	if old.first != 42 || old.done == next.done || old.taken == next.taken {
		t.Errorf("the finished group changed")
	}
	if g := newGroup(make([]byte, 1)); len(g.frame) != headerBytes {
		t.Errorf("a frame without room for a header was taken over")
	}
}

func TestSegmentIndex(t *testing.T) {
	s := &segment{base: 100, index: []place{{100, 0}}}
	s.note(100, 0)
	for i := range int64(40) {
		s.note(110+10*i, (i+1)*indexEvery/4)
	}
	s.note(105, 100*indexEvery) // out of order: a reader that is behind
	for _, c := range []struct{ offset, want, pos int64 }{
		{100, 100, 0}, {139, 100, 0}, {140, 140, indexEvery}, {179, 140, indexEvery}, {180, 180, 2 * indexEvery},
		{1 << 50, 500, 10 * indexEvery}, {99, 100, 0},
	} {
		if got := s.seek(c.offset); got != (place{c.want, c.pos}) {
			t.Errorf("seek(%d) = %+v, want %+v", c.offset, got, place{c.want, c.pos})
		}
	}
}
