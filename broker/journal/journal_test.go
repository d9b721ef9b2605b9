package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

const dir = "data/journal"

// open opens a journal on fs and closes it at the end of the test.
func open(t testing.TB, fs vfs.FS, first int64, opts journal.Options) *journal.Journal {
	t.Helper()
	j, _, err := journal.Open(disk.New(fs, nil), dir, first, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func batchOf(values ...string) *journal.Batch {
	var b journal.Batch
	for _, v := range values {
		b.Add(0, nil, []byte(v))
	}
	return &b
}

func mustAppend(t testing.TB, j *journal.Journal, values ...string) int64 {
	t.Helper()
	first, err := j.Append(context.Background(), batchOf(values...))
	if err != nil {
		t.Fatalf("Append(%.40q): %v", values, err)
	}
	return first
}

// readTo returns copies of the records from offset from up to j.End(), and the first error.
func readTo(j *journal.Journal, from int64, maxBytes int) (out []journal.Record, err error) {
	r := j.ReadFrom(from)
	defer r.Close()
	var recs []journal.Record
	for r.Offset() < j.End() {
		if recs, err = r.Next(context.Background(), recs[:0], maxBytes); err != nil {
			return out, err
		}
		for _, rec := range recs {
			out = append(out, clone(rec))
		}
	}
	return out, nil
}

func clone(r journal.Record) journal.Record {
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	r.Headers = slices.Clone(r.Headers)
	for i := range r.Headers {
		r.Headers[i].Value = slices.Clone(r.Headers[i].Value)
	}
	return r
}

// values checks that recs are dense from offset from, and returns their values.
func values(t testing.TB, recs []journal.Record, from int64) []string {
	t.Helper()
	out := make([]string, len(recs))
	for i, r := range recs {
		if r.Offset != from+int64(i) {
			t.Fatalf("record %d has offset %d, want %d", i, r.Offset, from+int64(i))
		}
		out[i] = string(r.Value)
	}
	return out
}

func wantValues(t testing.TB, j *journal.Journal, from int64, want ...string) {
	t.Helper()
	recs, err := readTo(j, from, 1<<20)
	if err != nil {
		t.Fatalf("read from %d: %v", from, err)
	}
	if got := values(t, recs, from); !slices.Equal(got, want) {
		t.Fatalf("read from %d: got %.60q, want %.60q", from, got, want)
	}
}

// segments lists the names of the segment files.
func segments(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestRoundTrip(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	fs := vfs.NewMem()
	j := open(t, fs, 0, journal.Options{Now: func() time.Time { return now }})
	want := []journal.Record{
		{Partition: 0, Key: []byte("k"), Value: []byte("v")},
		{Partition: 7, Key: []byte{}, Value: []byte("no key")},
		{Partition: math.MaxInt32, Key: []byte("no value"), Value: []byte{}},
		{Partition: -1, Key: []byte{}, Value: []byte{}},
		{Partition: 1, Key: []byte("a\x00b"), Value: []byte(strings.Repeat("long", 5000)), Headers: []journal.Header{
			{Name: "trace", Value: []byte("t1")}, {Name: "", Value: []byte{}}, {Name: "trace", Value: []byte("FRJ1")}}},
	}
	var b journal.Batch
	for i := range want {
		w := &want[i]
		b.Add(w.Partition, w.Key, w.Value, w.Headers...)
		w.Offset, w.Time = int64(i), now.UnixMilli()
	}
	if b.Len() != len(want) {
		t.Fatalf("Len = %d, want %d", b.Len(), len(want))
	}
	if first, err := j.Append(context.Background(), &b); err != nil || first != 0 {
		t.Fatalf("Append = %d, %v; want 0", first, err)
	}
	for range 2 {
		got, err := readTo(j, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
			t.Fatalf("got\n%#v\nwant\n%#v", got, want)
		}
		j.Close()
		j = open(t, fs, 0, journal.Options{})
	}
}

func TestBatchReset(t *testing.T) {
	j := open(t, vfs.NewMem(), 0, journal.Options{})
	b := batchOf("one", "two")
	b.Reset()
	if b.Len() != 0 || b.Bytes() != 0 {
		t.Fatalf("after Reset: Len %d, Bytes %d", b.Len(), b.Bytes())
	}
	b.Add(0, nil, []byte("three"))
	if _, err := j.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	wantValues(t, j, 0, "three")
}

func TestAppendRefuses(t *testing.T) {
	j := open(t, vfs.NewMem(), 0, journal.Options{})
	var big journal.Batch
	big.Add(0, nil, make([]byte, journal.MaxAppendBytes))
	ended, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("the caller left")
	cancel(cause)
	for _, c := range []struct {
		name string
		ctx  context.Context
		b    *journal.Batch
		want string
	}{
		{"empty", context.Background(), &journal.Batch{}, "empty"},
		{"too big", context.Background(), &big, "split it"},
		{"ended context", ended, batchOf("x"), cause.Error()},
	} {
		if _, err := j.Append(c.ctx, c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if j.End() != 0 || j.Written() != 0 {
		t.Errorf("End %d, Written %d after refused appends", j.End(), j.Written())
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want, file string
		first            int64
		opts             journal.Options
	}{
		{name: "segment size", want: "SegmentBytes: -1", opts: journal.Options{SegmentBytes: -1}},
		{name: "group size", want: "GroupBytes: -1", opts: journal.Options{GroupBytes: -1}},
		{name: "huge group", want: "GroupBytes: 201326593", opts: journal.Options{GroupBytes: journal.MaxGroupBytes + 1}},
		{name: "first", want: "first offset -1", first: -1},
		{name: "no number", want: `"x.seg"`, file: "x.seg"},
		{name: "negative", want: `"-0000000000000000001.seg"`, file: "-0000000000000000001.seg"},
		{name: "short name", want: `"7.seg"`, file: "7.seg"},
	} {
		mem := vfs.NewMem()
		mem.MkdirAll(dir, 0o755)
		if c.file != "" {
			f, err := mem.Create(mem.PathJoin(dir, c.file), vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		if _, _, err := journal.Open(disk.New(mem, nil), dir, c.first, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %s", c.name, err, c.want)
		}
	}
}

// Sixteen appenders at once: offsets are dense, every acknowledged batch is contiguous and
// whole, and those of one appender ascend.
func TestConcurrentAppend(t *testing.T) {
	const appenders, appends = 16, 60
	fs := vfs.NewMem()
	j := open(t, fs, 100, journal.Options{SegmentBytes: 4 << 10, GroupBytes: 1 << 10})
	type ack struct {
		first int64
		vals  []string
	}
	acks := make([][]ack, appenders)
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			for n := range appends {
				var vals []string
				for i := range 1 + (a+n)%5 {
					vals = append(vals, fmt.Sprintf("%d/%d/%d", a, n, i))
				}
				first, err := j.Append(context.Background(), batchOf(vals...))
				if err != nil {
					t.Error(err)
					return
				}
				if end := j.End(); end < first+int64(len(vals)) {
					t.Errorf("acknowledged up to %d, but End is %d", first+int64(len(vals)), end)
				}
				acks[a] = append(acks[a], ack{first, vals})
			}
		})
	}
	wg.Wait()
	check := func(j *journal.Journal) {
		recs, err := readTo(j, 100, 300)
		if err != nil {
			t.Fatal(err)
		}
		got := values(t, recs, 100)
		total := 0
		for _, list := range acks {
			last := int64(-1)
			for _, k := range list {
				if k.first <= last {
					t.Fatalf("an appender got offset %d after %d", k.first, last)
				}
				last = k.first
				if have := got[k.first-100:][:len(k.vals)]; !slices.Equal(have, k.vals) {
					t.Fatalf("at %d: %q, acknowledged was %q", k.first, have, k.vals)
				}
				total += len(k.vals)
			}
		}
		if total != len(got) || j.End() != 100+int64(total) || j.First() != 100 {
			t.Fatalf("%d records acknowledged, %d read, First %d, End %d", total, len(got), j.First(), j.End())
		}
	}
	check(j)
	if n := len(segments(t, fs)); n < 3 {
		t.Errorf("%d segments: the test wants several", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, fs, 0, journal.Options{}))
}

func TestSegmentRoll(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, fs, 5, journal.Options{SegmentBytes: 100})
	if got := len(segments(t, fs)); got != 0 {
		t.Fatalf("%d segments before the first append", got)
	}
	var want []string
	for i := range 6 {
		want = append(want, fmt.Sprintf("value %d", i))
		if first := mustAppend(t, j, want[i]); first != int64(5+i) {
			t.Fatalf("append %d at offset %d", i, first)
		}
	}
	// A frame here is 51 bytes, so two fill a segment.
	names := []string{"00000000000000000005.seg", "00000000000000000007.seg", "00000000000000000009.seg"}
	if got := segments(t, fs); !slices.Equal(got, names) {
		t.Fatalf("segments %q, want %q", got, names)
	}
	if j.Written() != 6*51 {
		t.Errorf("Written = %d, want %d", j.Written(), 6*51)
	}
	wantValues(t, j, 5, want...)
	j.Close()

	// A reopened journal begins a new segment, and its folder's order is the log's.
	j = open(t, fs, 99, journal.Options{})
	if j.End() != 11 || j.First() != 5 {
		t.Fatalf("reopened: First %d, End %d; want 5, 11", j.First(), j.End())
	}
	mustAppend(t, j, "after")
	if got := segments(t, fs); !slices.Equal(got, append(names, "00000000000000000011.seg")) {
		t.Fatalf("segments after reopening: %q", got)
	}
	wantValues(t, j, 5, append(want, "after")...)
}

// tryOpen opens a journal of small segments on a file system that may fail.
func tryOpen(fs vfs.FS) (*journal.Journal, error) {
	j, _, err := journal.Open(disk.New(fs, nil), dir, 0, journal.Options{SegmentBytes: 300})
	return j, err
}
