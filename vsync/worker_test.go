package vsync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/vsync"
)

// store is a store that does what the test says with each batch.
type store struct {
	freshet.Store
	drop  func(freshet.Shard)
	apply func(ctx context.Context, changes []freshet.Change) ([]freshet.Applied, error)
}

func (s store) Apply(ctx context.Context, changes []freshet.Change) ([]freshet.Applied, error) {
	return s.apply(ctx, changes)
}

func (s store) Drop(_ context.Context, name freshet.Shard) error {
	s.drop(name)
	return nil
}

// journal notes what happens, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	if got := j.read(); !slices.Equal(got, want) {
		t.Errorf("happened:\n%q\nwant:\n%q", got, want)
	}
}

func names(changes []freshet.Change) string {
	out := ""
	for _, c := range changes {
		out += c.Key.Entity
	}
	return out
}

// batch has a change per letter.
func batch(entities string, through int64) vsync.Batch {
	b := vsync.Batch{Marks: []vsync.Mark{{Through: through}}}
	for _, e := range entities {
		b.Changes = append(b.Changes, freshet.Change{Key: freshet.Key{Entity: string(e)}})
	}
	return b
}

func allNew(changes []freshet.Change) []freshet.Applied {
	results := make([]freshet.Applied, len(changes))
	for i := range results {
		results[i] = freshet.AppliedNew
	}
	return results
}

// run starts a worker; stop ends it and waits.
func run(t *testing.T, j *journal, apply func(context.Context, []freshet.Change) ([]freshet.Applied, error)) (w *vsync.Worker, stop func()) {
	w = vsync.NewWorker(store{apply: apply, drop: func(s freshet.Shard) { j.note("drop %s", s.Collection) }}, func(b vsync.Batch) { j.note("decided %s %d", names(b.Changes), b.Marks[len(b.Marks)-1].Through) }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return w, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returns %v", err)
		}
	}
}

func deliver(t *testing.T, w *vsync.Worker, batches ...vsync.Batch) {
	t.Helper()
	for _, b := range batches {
		if err := w.Deliver(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBatchIsDecidedAfterItIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			j.note("apply %s", names(c))
			time.Sleep(time.Millisecond)
			j.note("applied %s", names(c))
			results := allNew(c)
			results[0] = freshet.AppliedSuperseded
			return results, nil
		})
		deliver(t, w, batch("ab", 5))
		synctest.Wait()
		j.want(t, "apply ab")
		time.Sleep(time.Second)
		j.want(t, "apply ab", "applied ab", "decided ab 5")
		if s := &w.Stats; s.Applied.Load() != 1 || s.Superseded.Load() != 1 || s.Batches.Load() != 1 || s.ApplyNs.Load() != int64(time.Millisecond) {
			t.Errorf("stats: %d applied, %d superseded, %d batches, %d ns", s.Applied.Load(), s.Superseded.Load(), s.Batches.Load(), s.ApplyNs.Load())
		}
		stop()
	})
}

// A store that is down gets the same batch again, ever later but at most every five seconds,
// and nothing behind it overtakes.
func TestFailingStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 14
		var j journal
		var times []time.Time
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			j.note("apply %s", names(c))
			if times = append(times, time.Now()); len(times) <= failures {
				return nil, errors.New("down")
			}
			return allNew(c), nil
		})
		deliver(t, w, batch("a", 1))
		synctest.Wait()
		deliver(t, w, batch("b", 2), batch("c", 3))
		if !w.Stats.Paused.Load() {
			t.Error("the worker does not say that it is paused")
		}
		time.Sleep(time.Minute)
		want := slices.Repeat([]string{"apply a"}, failures+1)
		j.want(t, append(want, "decided a 1", "apply bc", "decided bc 3")...)
		if w.Stats.Paused.Load() {
			t.Error("the worker says that it is paused still")
		}
		stop()
		longest := 10 * time.Millisecond
		for i := range failures {
			wait := times[i+1].Sub(times[i])
			if wait < longest/2 || wait > longest {
				t.Errorf("wait %d is %v, want %v to %v", i+1, wait, longest/2, longest)
			}
			longest = min(2*longest, 5*time.Second)
		}
	})
}

// What waits while the store works is joined, in order, and decided with one call.
func TestWaitingBatchesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		gate := make(chan struct{})
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			j.note("apply %s", names(c))
			<-gate
			return allNew(c), nil
		})
		deliver(t, w, batch("a", 1))
		synctest.Wait()
		// The delivered slice has room behind it that is not the worker's.
		second := batch("bcXY", 3)
		room := second.Changes
		second.Changes = second.Changes[:2]
		deliver(t, w, second, batch("", 4), batch("b", 6), batch("d", 7))
		gate <- struct{}{}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		j.want(t, "apply a", "decided a 1", "apply bcbd", "decided bcbd 7")
		if names(room) != "bcXY" {
			t.Errorf("the delivered slice became %q", names(room))
		}
		stop()
	})
}

// A batch that drops something is not joined to those before it: its drop comes behind their changes and before its own.
func TestDropsKeepTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		gate := make(chan struct{})
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			j.note("apply %s", names(c))
			<-gate
			return allNew(c), nil
		})
		dropping := func(entities string, through int64) vsync.Batch {
			b := batch(entities, through)
			b.Drops = []freshet.Shard{{Collection: "x"}}
			return b
		}
		deliver(t, w, batch("a", 1))
		synctest.Wait()
		deliver(t, w, batch("b", 2), dropping("c", 3), batch("d", 4), dropping("", 5), dropping("e", 6))
		close(gate)
		synctest.Wait()
		j.want(t, "apply a", "decided a 1", "apply b", "decided b 2", "drop x", "apply cd", "decided cd 4", "drop x", "apply ", "decided  5", "drop x", "apply e", "decided e 6")
		stop()
	})
}

// A joined batch stays near its limit.
func TestJoinedBatchesHaveALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		gate := make(chan struct{})
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			j.note("apply %d", len(c))
			<-gate
			return allNew(c), nil
		})
		deliver(t, w, vsync.Batch{Marks: []vsync.Mark{{Through: 1}}})
		synctest.Wait()
		for i := range 5 {
			deliver(t, w, vsync.Batch{Changes: make([]freshet.Change, 3000), Marks: []vsync.Mark{{Through: int64(i + 2)}}})
		}
		close(gate)
		synctest.Wait()
		j.want(t, "apply 0", "decided  1", "apply 9000", "decided  4", "apply 6000", "decided  6")
		stop()
	})
}

func TestDeliverWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		gate := make(chan struct{})
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			<-gate
			return allNew(c), nil
		})
		delivered := make(chan int, 1000)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() {
			for i := 0; ; i++ {
				if err := w.Deliver(ctx, batch("a", int64(i))); err != nil {
					ended <- err
					return
				}
				delivered <- i
			}
		}()
		synctest.Wait()
		n := len(delivered)
		if n < 2 || n > 100 {
			t.Errorf("%d batches were taken while the store hangs", n)
		}
		gate <- struct{}{}
		synctest.Wait()
		if len(delivered) <= n {
			t.Error("the store goes on, and nothing more was taken")
		}
		why := errors.New("stopping")
		cancel(why)
		if err := <-ended; !errors.Is(err, why) {
			t.Errorf("Deliver returns %v", err)
		}
		close(gate)
		stop()
	})
}

// The end of the context ends the worker whatever it waits for; what was not applied is not
// decided.
func TestContextEndsTheWorker(t *testing.T) {
	for name, apply := range map[string]func(context.Context, []freshet.Change) ([]freshet.Applied, error){
		"idle": nil,
		"in a hanging store": func(ctx context.Context, _ []freshet.Change) ([]freshet.Applied, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"between retries": func(context.Context, []freshet.Change) ([]freshet.Applied, error) {
			return nil, errors.New("down")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				w, stop := run(t, &j, apply)
				if apply != nil {
					deliver(t, w, batch("a", 1))
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				begin := time.Now()
				stop()
				if took := time.Since(begin); took != 0 {
					t.Errorf("it took %v", took)
				}
				j.want(t)
			})
		})
	}
}

// Whatever fails in between, the store gets all changes in order and decided only rises.
func TestOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batches = 300
		var j journal
		var applied []string
		calls := 0
		w, stop := run(t, &j, func(_ context.Context, c []freshet.Change) ([]freshet.Applied, error) {
			if calls++; calls%3 == 0 {
				return nil, errors.New("down")
			}
			time.Sleep(time.Duration(calls%5) * time.Millisecond)
			for i := range c {
				applied = append(applied, c[i].Key.Entity)
			}
			return allNew(c), nil
		})
		for i := range batches {
			deliver(t, w, vsync.Batch{Changes: []freshet.Change{{Key: freshet.Key{Entity: strconv.Itoa(i)}}}, Marks: []vsync.Mark{{Through: int64(i)}}})
			time.Sleep(time.Duration(i%4) * time.Millisecond)
		}
		time.Sleep(time.Hour)
		stop()
		if len(applied) != batches {
			t.Fatalf("%d of %d changes were applied", len(applied), batches)
		}
		for i, e := range applied {
			if e != strconv.Itoa(i) {
				t.Fatalf("change %d was applied as number %d", i, i)
			}
		}
		lines, last := j.read(), -1
		if len(lines) == batches {
			t.Error("no batch was joined with another one")
		}
		for _, line := range lines {
			_, through, _ := strings.Cut(strings.TrimPrefix(line, "decided "), " ")
			if n, err := strconv.Atoi(through); err != nil || n <= last {
				t.Errorf("%q after offset %d", line, last)
			} else {
				last = n
			}
		}
		if last != batches-1 {
			t.Errorf("decided up to %d at last", last)
		}
	})
}
