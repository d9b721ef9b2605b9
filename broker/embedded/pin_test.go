package embedded_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
)

// What events rely on and is made between the picture of the state and that of the journal is in the state of the picture:
// else the picture would have the events without it.
func TestPinHasWhatItsEventsRelyOn(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	calls, made := 0, 0
	p, err := l.Pin(func(string) ([]string, error) { return nil, nil }, func() int {
		if calls++; calls == 2 { // the first picture is complete
			put(t, l, "late")
			made++
			var b journal.Batch
			b.Add(0, nil, []byte("{}"))
			if _, err := l.AppendRaw(context.Background(), &b); err != nil {
				t.Fatal(err)
			}
		}
		return made
	})
	if err != nil {
		t.Fatal(err)
	}
	picture := openPicture(t, p)
	if _, ok, err := picture.Latest(freshet.TopicControl, []byte("late"), nil); !ok || err != nil || picture.RawEnd() != 1 {
		t.Errorf("events.raw ends at %d; what its event relies on is there: %v, %v", picture.RawEnd(), ok, err)
	}
}

// A log whose first start was cut short when Pebble had a MANIFEST and no write-ahead log yet can be pinned before it has
// flushed anything.
func TestPinAfterAFirstStartWasCutShort(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, embedded.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "state", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("the write-ahead logs are %q, %v", logs, err)
	}
	for _, name := range logs {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, embedded.Options{})
	put(t, l, "x")
	p, err := l.Pin(func(string) ([]string, error) { return nil, nil }, func() int { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := openPicture(t, p).Latest(freshet.TopicControl, []byte("x"), nil); !ok || err != nil {
		t.Errorf("the record is there: %v, %v", ok, err)
	}
}

// openPicture releases a pin and opens a copy of what was pinned.
func openPicture(t *testing.T, p *embedded.Pin) *embedded.Log {
	t.Helper()
	dir := t.TempDir()
	for _, f := range p.Files {
		copyPart(t, filepath.Join(p.Dir, f.Path), filepath.Join(dir, f.Path), f.Bytes)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, embedded.Options{})
}

func put(t *testing.T, l *embedded.Log, key string) {
	t.Helper()
	tx := l.Begin()
	if err := tx.Put(freshet.TopicControl, []byte(key), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// copyPart copies the beginning of a file.
func copyPart(t *testing.T, from, to string, n int64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, n))
	if err == nil {
		err = os.WriteFile(to, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
