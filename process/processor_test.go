package process_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet/process"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// A pause holds what comes behind the batch at hand; events are still taken in.
func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send([]string{"a red"})
		b.proc.Pause()
		b.proc.Pause() // twice is once
		b.append("b red")
		b.append("c red")
		synctest.Wait() // until nothing moves any more
		if n := b.proc.Stats.Position.Load(); n != 1 || !b.proc.Stats.Paused.Load() {
			t.Errorf("position %d was reached, paused %v", n, b.proc.Stats.Paused.Load())
		}
		b.proc.Resume()
		b.proc.Resume()
		b.settle()
		if got := b.outcomes(); got != "applied 3" || b.proc.Stats.Paused.Load() {
			t.Errorf("outcomes are %s, paused %v", got, b.proc.Stats.Paused.Load())
		}
	})
}

// A paused processor can be stopped.
func TestStopWhilePaused(t *testing.T) {
	b := newBench(t)
	b.proc.Pause()
	b.append("a red")
	b.halt()
	if n := b.proc.Stats.Position.Load(); n != 0 {
		t.Errorf("position %d was reached", n)
	}
	b.start()
	b.settle()
	if got := b.outcomes(); got != "applied 1" {
		t.Error("outcomes are", got)
	}
}

// Stopping while an error is retried is no error, and nothing is lost.
func TestStopWhileRetrying(t *testing.T) {
	b := newBench(t)
	b.model.set(errors.New("the service is down"))
	b.append("a red")
	waitFor(t, "a pause", b.proc.Stats.Paused.Load)
	b.halt()
	b.model.set(nil)
	b.start()
	b.settle()
	if got := b.shown(); got != `a@0 "red" events=1 points=1` {
		t.Error(got)
	}
}

// A processor whose group has been taken over commits nothing more, and ends.
func TestADeposedProcessorEnds(t *testing.T) {
	b := newBench(t)
	b.halt()
	deposed, err := process.New(process.Options{Log: b.log, Sequencer: b.options, Logger: slog.New(slog.DiscardHandler),
		Deliver: func(context.Context, process.Batch) error { t.Error("delivered"); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	b.start()
	b.halt() // so that only the deposed one is there to decide
	b.append("a red")
	if err := deposed.Run(context.Background()); !errors.Is(err, broker.ErrFenced) {
		t.Error("Run returns", err)
	}
	if len(b.state()) != 0 {
		t.Error("the deposed processor has committed", b.shown())
	}
	b.start()
	b.settle()
	if got := b.shown(); got != `a@0 "red" events=1 points=1` {
		t.Error(got)
	}
}

// What is delivered is what was committed, in order, each record covered once.
func TestDeliveredIsCommitted(t *testing.T) {
	b := newBench(t)
	b.halt()
	b.append("a red", "b blue", "a green", `{"drop":true}`)
	b.append("-b")
	var got []process.Batch
	proc, err := process.New(process.Options{Log: b.log, Sequencer: b.options, Logger: slog.New(slog.DiscardHandler),
		Deliver: func(_ context.Context, d process.Batch) error {
			got = append(got, d)
			if d.Through == 4 {
				return errors.New("enough")
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if next := proc.Next(); next != 0 {
		t.Error("the processor begins at", next)
	}
	if err := proc.Run(context.Background()); err == nil || err.Error() != "enough" {
		t.Fatal("Run returns", err)
	}
	last := map[string]string{}
	for _, d := range got {
		for _, c := range d.Changes {
			last[c.Key.Entity] = show(c.Key.Entity, c)
		}
	}
	if last["a"] != `a@2 "green" events=2 points=1` || last["b"] != "b@4 deleted events=2 points=0" {
		t.Errorf("delivered %v", last)
	}
	b.start()
	b.settle()
}

// A bug in deciding pauses processing; it does not end the server, and the log goes on taking events.
func TestPanicPauses(t *testing.T) {
	b := newBench(t)
	b.model.answer = func(text string) freshet.Embedding {
		if text == "boom" {
			panic("a bug")
		}
		return freshet.Embedding{Vector: vectorOf(text)}
	}
	b.send([]string{"a one"})
	b.append("b boom")
	for !b.proc.Stats.Paused.Load() {
		time.Sleep(time.Millisecond)
	}
	b.append("c one")
	if len(b.state()) != 1 {
		t.Errorf("there is %+v", b.state())
	}
	b.model.mu.Lock()
	b.model.answer = nil // it is mended
	b.model.mu.Unlock()
	b.settle()
	if len(b.state()) != 3 {
		t.Errorf("there is %+v", b.state())
	}
	b.mustBeClean()
}
