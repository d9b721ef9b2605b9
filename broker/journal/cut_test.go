package journal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/broker/journal"
)

// tens is a journal with ten records, each in a segment of its own, a second apart.
func tens(t *testing.T, fs vfs.FS) *journal.Journal {
	t.Helper()
	now := time.UnixMilli(1_000_000)
	j := open(t, fs, 0, journal.Options{SegmentBytes: 1, Now: func() time.Time { now = now.Add(time.Second); return now }})
	for i := range 10 {
		mustAppend(t, j, fmt.Sprint(i))
	}
	return j
}

func TestSegmentsOfAJournal(t *testing.T) {
	fs := vfs.NewMem()
	for round := range 2 {
		var j *journal.Journal
		if round == 0 {
			j = tens(t, fs)
		} else {
			j = open(t, fs, 0, journal.Options{}) // the times are read anew
		}
		list, err := j.Segments()
		if err != nil || len(list) != 9 {
			t.Fatalf("%d segments, %v", len(list), err)
		}
		for i, s := range list {
			// The segment behind it was begun with record i+1, two seconds after the clock's start for i = 0.
			if s.First != int64(i) || s.End != int64(i+1) || s.Bytes == 0 || s.Until.UnixMilli() != 1_000_000+int64(i+2)*1000 {
				t.Errorf("segment %d is %+v", i, s)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCut(t *testing.T) {
	fs := vfs.NewMem()
	j := tens(t, fs)
	behind := j.ReadFrom(2)
	defer behind.Close()
	if got, err := behind.Next(context.Background(), nil, 1); err != nil || string(got[0].Value) != "2" {
		t.Fatal(got, err)
	}
	early := j.ReadFrom(1)
	for _, c := range []struct{ below, first int64 }{{0, 0}, {1, 1}, {4, 4}, {3, 4}, {100, 9}} {
		if _, err := j.Cut(c.below); err != nil || j.First() != c.first {
			t.Fatalf("cut below %d: the first is %d, want %d; %v", c.below, j.First(), c.first, err)
		}
	}
	if _, err := early.Next(context.Background(), nil, 1); !errors.Is(err, journal.ErrNotRetained) {
		t.Errorf("reading what is gone: %v", err)
	}
	if _, err := behind.Next(context.Background(), nil, 1); !errors.Is(err, journal.ErrNotRetained) {
		t.Errorf("going on to what is gone: %v", err)
	}
	wantValues(t, j, 9, "9")
	mustAppend(t, j, "10")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, fs, 0, journal.Options{})
	if j.First() != 9 || j.End() != 11 || len(segments(t, fs)) != 2 {
		t.Errorf("opened again it has %d to %d in %d segments", j.First(), j.End(), len(segments(t, fs)))
	}
	wantValues(t, j, 9, "9", "10")
}

// The segment that is written is never cut, also when it is the only one and when it is empty.
func TestCutKeepsTheLast(t *testing.T) {
	j := open(t, vfs.NewMem(), 7, journal.Options{})
	if freed, err := j.Cut(100); freed != 0 || err != nil || j.First() != 7 {
		t.Errorf("an empty journal: %d, %v, first %d", freed, err, j.First())
	}
	mustAppend(t, j, "a")
	if freed, err := j.Cut(100); freed != 0 || err != nil || j.First() != 7 {
		t.Errorf("one segment: %d, %v, first %d", freed, err, j.First())
	}
	wantValues(t, j, 7, "a")
}

// What can't be removed is still there, and is cut the next time.
func TestCutFails(t *testing.T) {
	boom := errors.New("boom")
	fail := 0
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRemove {
			if fail--; fail == 0 {
				return boom
			}
		}
		return nil
	}))
	j := tens(t, fs)
	fail = 3
	if freed, err := j.Cut(6); !errors.Is(err, boom) || freed == 0 || j.First() != 2 {
		t.Fatalf("freed %d, %v, first %d", freed, err, j.First())
	}
	wantValues(t, j, 2, "2", "3", "4", "5", "6", "7", "8", "9")
	if _, err := j.Cut(6); err != nil || j.First() != 6 {
		t.Errorf("the second time: %v, first %d", err, j.First())
	}
}
