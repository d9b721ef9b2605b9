package journal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// TestLink: linked segments are a journal of their own, up to what was durable; what is appended meanwhile stays out, and
// a torn frame behind it too.
func TestLink(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	open := func(dir string) *journal.Journal {
		t.Helper()
		j, torn, err := journal.Open(fs, dir, 0, journal.Options{SegmentBytes: 500})
		if err != nil || torn > 0 {
			t.Fatal(torn, err)
		}
		t.Cleanup(func() { j.Close() })
		return j
	}
	j := open("journal")
	add := func(n int) {
		t.Helper()
		for range n {
			var b journal.Batch
			b.Add(0, nil, []byte(strings.Repeat("x", 60)))
			if _, err := j.Append(context.Background(), &b); err != nil {
				t.Fatal(err)
			}
		}
	}
	for round, n := range []int{0, 3, 20, 1} {
		add(n)
		dir := fmt.Sprint("copy", round)
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, _, err := j.Link(dir, false); err != nil {
			t.Fatal(err)
		}
		add(9) // a segment ends between the two
		linked, end, err := j.Link(dir, true)
		if err != nil || end != j.End() {
			t.Fatal(end, err)
		}
		add(2)
		if len(linked) < 2 {
			t.Fatalf("%d segments are linked", len(linked))
		}
		// What is behind the durable bytes does not belong to it.
		last := linked[len(linked)-1]
		raw, err := fs.ReadFile(fs.PathJoin(dir, last.Name))
		if err != nil {
			t.Fatal(err)
		}
		if err := fs.Remove(fs.PathJoin(dir, last.Name)); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create(fs.PathJoin(dir, last.Name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(raw[:last.Bytes]); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got := open(dir).End(); got != end {
			t.Errorf("round %d: the copy ends at %d, the journal ended at %d", round, got, end)
		}
		if round == 1 { // also right after a start, when no segment is being written
			j.Close()
			j = open("journal")
		}
	}
}
