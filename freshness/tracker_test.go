package freshness_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/freshness"
)

const (
	topic      = "events.raw"
	partitions = 4
	end        = 100 // offset behind the last record
)

var log = freshet.LogID{1, 2, 3, 4, 5, 6, 7, 8}

func tracker(decided int64) *freshness.Tracker {
	return freshness.NewTracker(log, topic, partitions, decided, func() int64 { return end })
}

// token is of the given last offsets, by partition; negative ones are left out.
func token(last ...int64) freshet.Token {
	t := freshet.Token{Log: log}
	for p, offset := range last {
		if offset >= 0 {
			t.Spans = append(t.Spans, freshet.Span{Topic: topic, Partition: int32(p), First: 0, Last: offset})
		}
	}
	return t
}

func TestDecidedPositionsAreNotWaitedFor(t *testing.T) {
	tr := tracker(50)
	ended, cancel := context.WithCancel(t.Context())
	cancel() // so that waiting would fail
	for _, tok := range []freshet.Token{{}, token(50), token(0), token(-1, 3, 50, 7), tr.Applied()} {
		if err := tr.Wait(ended, tok); err != nil {
			t.Errorf("%+v: %v", tok, err)
		}
	}
	if err := tr.Wait(ended, token(51)); err == nil {
		t.Error("position 51 counts as decided")
	}
}

func TestTokensOfNowhereAreRefused(t *testing.T) {
	tr := tracker(50)
	one := func(s freshet.Span) freshet.Token { return freshet.Token{Log: log, Spans: []freshet.Span{s}} }
	foreign := token(3)
	foreign.Log[0]++
	for name, tok := range map[string]freshet.Token{
		"another log":        foreign,
		"another topic":      one(freshet.Span{Topic: "events.keyed", Last: 3}),
		"unknown partition":  one(freshet.Span{Topic: topic, Partition: partitions, Last: 3}),
		"negative partition": one(freshet.Span{Topic: topic, Partition: -1, Last: 3}),
		"negative position":  one(freshet.Span{Topic: topic, Last: -1}),
		"future position":    one(freshet.Span{Topic: topic, Last: end}),
		"one of several":     token(3, end+7, 4),
	} {
		err := tr.Wait(t.Context(), tok)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != freshet.CodeForeignToken || e.Field != "after" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A log that grows makes a position of it valid.
	grown := int64(end)
	tr = freshness.NewTracker(log, topic, partitions, end, func() int64 { return grown })
	if tr.Wait(t.Context(), token(end)) == nil {
		t.Error("a position behind the end is accepted")
	}
	if grown++; tr.Wait(t.Context(), token(end)) != nil {
		t.Error("the last position is refused")
	}
}

func TestTimeoutNamesThePositionReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(40)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, func() { tr.Advance(60) })
		begin := time.Now()
		err := tr.Wait(ctx, token(10, 70, 20))
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != freshet.CodeNotReached {
			t.Fatalf("%v", err)
		}
		if want := "events.raw/1@70 is not decided yet, the position reached is events.raw/1@60"; !strings.Contains(e.Message, want) {
			t.Errorf("%q does not say %q", e.Message, want)
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Many wait for different positions; each goes on exactly when its own is decided.
func TestConcurrentWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters, step = 50, 100 * time.Millisecond
		tr := tracker(-1)
		begin := time.Now()
		woken := make([]time.Duration, waiters)
		for i := range waiters {
			go func() {
				tok := token(-1, -1, -1)
				tok.Spans = append(tok.Spans, freshet.Span{Topic: topic, Partition: int32(i % partitions), Last: int64(i)})
				if err := tr.Wait(t.Context(), tok); err != nil {
					t.Error(err)
				}
				woken[i] = time.Since(begin)
			}()
		}
		synctest.Wait()
		for through := int64(4); through < waiters; through += 5 {
			time.Sleep(step)
			tr.Advance(through)
			tr.Advance(through - 3) // never goes back
			if tr.Decided() != through {
				t.Errorf("decided up to %d, want %d", tr.Decided(), through)
			}
			synctest.Wait()
		}
		for i, at := range woken {
			if want := time.Duration(i/5+1) * step; at != want {
				t.Errorf("waiter for %d went on at %v, want %v", i, at, want)
			}
		}
	})
}

// An offset that is decided while Wait looks is not missed: advancing and waiting race here
// without any pause.
func TestNoWakeUpIsLost(t *testing.T) {
	for range 200 {
		tr := tracker(-1)
		done := make(chan error, 2)
		for range 2 {
			go func() { done <- tr.Wait(t.Context(), token(2)) }()
		}
		for through := range int64(3) {
			tr.Advance(through)
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAppliedIsTheTokenOfWhatIsDecided(t *testing.T) {
	tr := tracker(-1)
	if got := tr.Applied(); !reflect.DeepEqual(got, freshet.Token{Log: log}) {
		t.Errorf("with nothing decided: %+v", got)
	}
	tr.Advance(7)
	want := freshet.Token{Log: log}
	for p := range int32(partitions) {
		want.Spans = append(want.Spans, freshet.Span{Topic: topic, Partition: p, First: 7, Last: 7})
	}
	if got := tr.Applied(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Partitions that are decided by themselves: a token waits for each of its own, and not for the others.
func TestPartitionsOfTheirOwn(t *testing.T) {
	tr := freshness.NewPartitioned(log, topic, []int64{-1, 4, 7})
	token := func(spans ...freshet.Span) freshet.Token {
		for i := range spans {
			spans[i].Topic = topic
		}
		return freshet.Token{Log: log, Spans: spans}
	}
	if got := tr.Applied(); len(got.Spans) != 2 || got.Spans[0].Partition != 1 || got.Spans[1].Last != 7 {
		t.Errorf("applied is %+v", got)
	}
	both := token(freshet.Span{Partition: 1, Last: 5}, freshet.Span{Partition: 2, Last: 8})
	waited := make(chan error, 1)
	go func() { waited <- tr.Wait(t.Context(), both) }()
	tr.AdvanceIn(0, 100)
	tr.AdvanceIn(2, 9)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := tr.Wait(ctx, both); err == nil || !strings.Contains(err.Error(), "/1@5") || !strings.Contains(err.Error(), "/1@4") {
		t.Errorf("partition 1 is not there yet: %v", err)
	}
	tr.AdvanceIn(1, 5)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if err := tr.Wait(t.Context(), token(freshet.Span{Partition: 3, Last: 0})); err == nil {
		t.Error("a partition that is not there was waited for")
	}
}
