package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/broker/journal"
)

// gate holds every data sync back until it is opened.
type gate chan struct{}

func (g gate) String() string { return "gate" }

func (g gate) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileSyncData {
		<-g
	}
	return nil
}

// appending starts an Append and returns where its outcome will be.
func appending(j *journal.Journal, ctx context.Context, values ...string) chan error {
	c := make(chan error, 1)
	go func() {
		_, err := j.Append(ctx, batchOf(values...))
		c <- err
	}()
	synctest.Wait()
	return c
}

func TestAppendWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bg := context.Background()
		g := make(gate)
		j := open(t, errorfs.Wrap(vfs.NewMem(), g), 0, journal.Options{GroupBytes: 10})
		inFlight := appending(j, bg, "in flight")
		half := appending(j, bg, "half")            // 8 bytes: the group has room
		over := appending(j, bg, "exceeds by this") // so it takes one more batch, of any size
		ctx, cancel := context.WithCancelCause(bg)
		waits := appending(j, bg, "wait")
		left := appending(j, ctx, "left while it waited")
		for _, c := range []chan error{inFlight, half, over, waits, left} {
			if len(c) != 0 {
				t.Fatalf("an append returned before its sync: %v", <-c)
			}
		}

		cause := errors.New("the producer left")
		cancel(cause)
		if err := <-left; !errors.Is(err, cause) || strings.Contains(err.Error(), "unknown") {
			t.Fatalf("append that never found room: %v, want a known outcome", err)
		}

		g <- struct{}{}
		if err := <-inFlight; err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // "half" and "over" are in flight, "wait" has joined the next group
		ctx, cancel = context.WithCancelCause(bg)
		lost := appending(j, ctx, "lost sight of")
		cancel(cause)
		if err := <-lost; !errors.Is(err, cause) || !strings.Contains(err.Error(), "outcome unknown") {
			t.Fatalf("append that left its group: %v, want an unknown outcome", err)
		}
		close(g)
		for _, c := range []chan error{half, over, waits} {
			if err := <-c; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		recs, err := readTo(j, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(values(t, recs, 0), "|")
		if got != "in flight|half|exceeds by this|wait|lost sight of" {
			t.Fatalf("the journal holds %s", got)
		}
	})
}

// Close acknowledges what is in a group and turns away what waits for room.
func TestCloseWhileAppending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bg := context.Background()
		g := make(gate)
		j := open(t, errorfs.Wrap(vfs.NewMem(), g), 0, journal.Options{GroupBytes: 1})
		inFlight := appending(j, bg, "in flight")
		grouped := appending(j, bg, "grouped")
		waits := appending(j, bg, "waits")
		reader := j.ReadFrom(1)
		defer reader.Close()
		read := make(chan error, 1)
		go func() {
			recs, err := reader.Next(bg, nil, 1)
			if err == nil && string(recs[0].Value) != "grouped" {
				err = fmt.Errorf("read %q", recs[0].Value)
			}
			read <- err
		}()
		closed := make(chan error, 1)
		go func() { closed <- j.Close() }()
		if err := <-waits; !errors.Is(err, journal.ErrClosed) {
			t.Fatalf("append without room: %v, want ErrClosed", err)
		}
		synctest.Wait()
		if len(closed) != 0 || len(read) != 0 {
			t.Fatal("Close or Next did not wait for the group in flight")
		}
		close(g)
		for _, c := range []chan error{inFlight, grouped, closed, read} {
			if err := <-c; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever the moment of Close, an append is either refused or there after reopening.
func TestCloseRace(t *testing.T) {
	for round := range 30 {
		fs := vfs.NewMem()
		j := open(t, fs, 0, journal.Options{SegmentBytes: 200, GroupBytes: 50})
		var mu sync.Mutex
		acked := map[int64]string{}
		var wg sync.WaitGroup
		started := make(chan struct{}, 1)
		for a := range 8 {
			wg.Go(func() {
				for n := 0; ; n++ {
					value := fmt.Sprint(a, "/", n)
					first, err := j.Append(context.Background(), batchOf(value))
					if errors.Is(err, journal.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					acked[first] = value
					mu.Unlock()
					if n == round {
						select {
						case started <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		<-started
		for range 2 {
			wg.Go(func() { j.Close() })
		}
		wg.Wait()
		j = open(t, fs, 0, journal.Options{})
		recs, err := readTo(j, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got := values(t, recs, 0)
		if len(got) != len(acked) {
			t.Fatalf("round %d: %d acknowledged, %d there", round, len(acked), len(got))
		}
		for at, want := range acked {
			if got[at] != want {
				t.Fatalf("round %d: %q at %d, acknowledged was %q", round, got[at], at, want)
			}
		}
	}
}
