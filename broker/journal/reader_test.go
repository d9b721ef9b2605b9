package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/broker/journal"
)

// numbered returns "from" … "to-1" as values.
func numbered(from, to int) (out []string) {
	for ; from < to; from++ {
		out = append(out, fmt.Sprint(from))
	}
	return out
}

func TestReadFromAnyOffset(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, fs, 0, journal.Options{SegmentBytes: 300})
	for n, size := 0, 1; n < 60; n, size = n+size, size%7+1 {
		mustAppend(t, j, numbered(n, n+size)...)
	}
	end := int(j.End())
	for _, j := range []*journal.Journal{j, open(t, fs, 0, journal.Options{})} {
		for from := range end + 1 {
			for _, maxBytes := range []int{0, 150, 1 << 20} {
				recs, err := readTo(j, int64(from), maxBytes)
				if err != nil {
					t.Fatal(err)
				}
				if got := values(t, recs, int64(from)); !slices.Equal(got, numbered(from, end)) {
					t.Fatalf("from %d by %d: %q", from, maxBytes, got)
				}
			}
		}
	}
	for _, from := range []int64{-1, -1 << 60} {
		if _, err := j.ReadFrom(from).Next(context.Background(), nil, 1); !errors.Is(err, journal.ErrNotRetained) {
			t.Errorf("from %d: error %v, want ErrNotRetained", from, err)
		}
	}
}

// All records of one Next are valid together, whatever buffers it took, and dst is kept.
func TestNextKeepsRecordsTogether(t *testing.T) {
	j := open(t, vfs.NewMem(), 0, journal.Options{SegmentBytes: 5000})
	var want []string
	for i := range 200 {
		want = append(want, strings.Repeat(fmt.Sprint(i, " "), i))
		mustAppend(t, j, want[i])
	}
	r := j.ReadFrom(0)
	defer r.Close()
	sentinel := journal.Record{Offset: -7}
	for range 2 { // the second time with the buffer of the first
		recs, err := r.Next(context.Background(), []journal.Record{sentinel}, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if recs[0].Offset != -7 || !slices.Equal(values(t, recs[1:], 0), want) {
			t.Fatal("the records of one Next differ from what was appended")
		}
		r.Close()
		r = j.ReadFrom(0)
	}
	recs, err := r.Next(context.Background(), nil, 300)
	if err != nil || len(recs) >= 200 || len(recs) < 2 {
		t.Fatalf("Next with 300 bytes: %d records, %v", len(recs), err)
	}
}

func TestNextBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := open(t, vfs.NewMem(), 0, journal.Options{})
		r := j.ReadFrom(2)
		defer r.Close()
		type result struct {
			recs []journal.Record
			err  error
		}
		next := func(ctx context.Context) chan result {
			c := make(chan result, 1)
			go func() {
				recs, err := r.Next(ctx, nil, 1<<20)
				c <- result{recs, err}
			}()
			synctest.Wait()
			return c
		}
		blocked := func(c chan result, what string) {
			t.Helper()
			synctest.Wait()
			if len(c) != 0 {
				t.Fatalf("Next did not wait: %s", what)
			}
		}

		c := next(context.Background())
		blocked(c, "the journal is empty")
		mustAppend(t, j, "0", "1")
		blocked(c, "its offset is not there yet")
		mustAppend(t, j, "2")
		if got := <-c; got.err != nil || len(got.recs) != 1 || string(got.recs[0].Value) != "2" {
			t.Fatalf("Next woken by an append: %v", got)
		}

		ctx, cancel := context.WithCancelCause(context.Background())
		c = next(ctx)
		blocked(c, "nothing was appended")
		cause := errors.New("the reader has enough")
		cancel(cause)
		if got := <-c; !errors.Is(got.err, cause) {
			t.Fatalf("Next of an ended context: %v", got.err)
		}

		c = next(context.Background())
		blocked(c, "the journal is open")
		j.Close()
		if got := <-c; !errors.Is(got.err, journal.ErrClosed) {
			t.Fatalf("Next of a closed journal: %v", got.err)
		}
		if _, err := j.ReadFrom(0).Next(ctx, nil, 1); !errors.Is(err, cause) {
			t.Fatalf("Next with records there, but an ended context: %v", err)
		}
	})
}

func TestReaderDrainsClosedJournal(t *testing.T) {
	j := open(t, vfs.NewMem(), 0, journal.Options{})
	mustAppend(t, j, "a", "b")
	mustAppend(t, j, "c")
	j.Close()
	r := j.ReadFrom(1)
	defer r.Close()
	for _, want := range []string{"b", "c"} {
		recs, err := r.Next(context.Background(), nil, 1)
		if err != nil || len(recs) != 1 || string(recs[0].Value) != want {
			t.Fatalf("after Close: %v, %v; want %s", recs, err, want)
		}
	}
	if _, err := r.Next(context.Background(), nil, 1); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("at the end: %v, want ErrClosed", err)
	}
	if _, err := j.Append(context.Background(), batchOf("d")); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("Append: %v, want ErrClosed", err)
	}
}

// Readers that follow the writer over many segments see everything once and in order.
func TestReadersFollowWriter(t *testing.T) {
	const records = 3000
	j := open(t, vfs.NewMem(), 0, journal.Options{SegmentBytes: 2000})
	done := make(chan error)
	const readers = 4
	for i := range readers {
		go func() {
			r := j.ReadFrom(int64(i))
			defer r.Close()
			done <- follow(r, i, records)
		}()
	}
	for n, size := 0, 0; n < records; n += size {
		size = min(1+n%13, records-n)
		mustAppend(t, j, numbered(n, n+size)...)
	}
	for range readers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func follow(r *journal.Reader, next, end int) error {
	var recs []journal.Record
	for next < end {
		var err error
		if recs, err = r.Next(context.Background(), recs[:0], 100); err != nil {
			return err
		}
		for _, rec := range recs {
			if rec.Offset != int64(next) || string(rec.Value) != fmt.Sprint(next) {
				return fmt.Errorf("record %d is %q, expected %d", rec.Offset, rec.Value, next)
			}
			next++
		}
		if r.Offset() != int64(next) {
			return fmt.Errorf("Offset is %d after record %d", r.Offset(), next-1)
		}
	}
	return nil
}

// BytesFrom falls from what was written to nothing, also in a journal opened anew.
func TestBytesFrom(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, fs, 0, journal.Options{SegmentBytes: 100})
	for n := range 20 {
		mustAppend(t, j, fmt.Sprint(n))
	}
	written := j.Written()
	for _, j := range []*journal.Journal{j, open(t, fs, 0, journal.Options{})} {
		if got := j.BytesFrom(0); got != written {
			t.Errorf("BytesFrom(0) = %d, %d were written", got, written)
		}
		last := written
		for n := range int64(21) {
			got := j.BytesFrom(n)
			if got > last || (got == 0) != (n == 20) {
				t.Errorf("BytesFrom(%d) = %d after %d", n, got, last)
			}
			last = got
		}
	}
}
