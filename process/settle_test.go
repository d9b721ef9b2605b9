package process_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/process"
)

// elsewhere is the catalog of a node that does not know yet that the first event of another partition has settled the
// order of the default collection.
type elsewhere struct {
	process.Collections
	settled *int
}

func (e elsewhere) Get(name string) (control.Collection, bool) {
	col, ok := e.Collections.Get(name)
	if name == freshet.DefaultCollection && *e.settled == 0 {
		col.Order = control.OrderUndecided
	}
	return col, ok
}

func (e elsewhere) SettleOrder(name string, order control.Order) error {
	*e.settled++
	return e.Collections.SettleOrder(name, order)
}

// What another partition's first event has settled holds for events that came at the same time.
func TestOrderIsSettledElsewhere(t *testing.T) {
	for _, c := range []struct {
		settled control.Order
		event   string
		state   string
		dead    string
	}{
		{control.OrderSource, "a red", "", "0/0 sequence order_mismatch"},
		{control.OrderSource, "a red ^3", `a@0^3 "red" events=1 points=1`, ""},
		{control.OrderNone, "a red ^3", "", "0/0 sequence order_mismatch"},
		{control.OrderNone, "a red", `a@0 "red" events=1 points=1`, ""},
	} {
		b := newBench(t)
		if err := b.catalog.SettleOrder(freshet.DefaultCollection, c.settled); err != nil {
			t.Fatal(err)
		}
		b.halt()
		asked := 0
		b.options.Collections = elsewhere{b.catalog, &asked}
		b.start()
		b.send([]string{c.event})
		if got := b.shown(); got != c.state || asked != 1 {
			t.Errorf("%s, settled to %q: vector.sync holds\n%s\nwant\n%s\nafter %d settlements", c.event, c.settled, got, c.state, asked)
		}
		if got := strings.Join(b.dead(), "\n"); got != c.dead {
			t.Errorf("%s, settled to %q: dead letters are %q, want %q", c.event, c.settled, got, c.dead)
		}
	}
}

// failing is a catalog that can't be written at first.
type failing struct {
	process.Collections
	err   error
	times *atomic.Int64 // that it still fails
}

func (f failing) SettleOrder(name string, order control.Order) error {
	if f.times.Add(-1) >= 0 {
		return fmt.Errorf("record the order of collection %q: %w", name, f.err)
	}
	return f.Collections.SettleOrder(name, order)
}

func (f failing) CreateLike(name, like string, since int64) (control.Collection, error) {
	if f.times.Add(-1) >= 0 {
		return control.Collection{}, fmt.Errorf("record collection %q: %w", name, f.err)
	}
	return f.Collections.CreateLike(name, like, since)
}

// An event that asks for a record of the catalog waits while none can be written: that says nothing about the event.
func TestCatalogCannotBeWritten(t *testing.T) {
	for _, code := range []freshet.Code{freshet.CodeDiskFull, freshet.CodeBacklogFull, freshet.CodeUnavailable} {
		for name, c := range map[string]struct{ event, state string }{
			"order":      {"a red", `a@0 "red" events=1 points=1`},
			"collection": {"a red @new", `a@new@0 "red" events=1 points=1`},
		} {
			t.Run(fmt.Sprint(name, " ", code), func(t *testing.T) {
				b := newBench(t, withAutoCreate)
				b.halt()
				var times atomic.Int64
				times.Store(3)
				b.options.Collections = failing{b.catalog, &freshet.Error{Code: code, Message: "not now"}, &times}
				b.start()
				b.send([]string{c.event})
				if got := b.shown(); got != c.state || times.Load() >= 0 {
					t.Errorf("vector.sync holds\n%s\nwant\n%s", got, c.state)
				}
				if dead := b.dead(); len(dead) != 0 {
					t.Errorf("dead letters are %q", dead)
				}
				b.mustBeClean()
			})
		}
	}
}

// The same holds for an event that is replayed: its dead letter does not go before it has its effect.
func TestCatalogCannotBeWrittenAtAReplay(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a red @new"})
	if got := strings.Join(b.dead(), "\n"); got != "0/0 validate unknown_collection" {
		t.Fatalf("dead letters are %q", got)
	}
	b.halt()
	var times atomic.Int64
	times.Store(3)
	b.options.AutoCreate = true
	b.options.Collections = failing{b.catalog, &freshet.Error{Code: freshet.CodeDiskFull, Message: "not now"}, &times}
	b.start()
	if _, err := b.proc.Replay(context.Background(), b.letters()); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got, want := b.shown(), `a@new@0 "red" events=1 points=1`; got != want || times.Load() >= 0 {
		t.Errorf("vector.sync holds\n%s\nwant\n%s", got, want)
	}
	for _, l := range b.letters() {
		t.Errorf("a dead letter is left: %s %s, %d attempts", l.Class, l.Message, l.Attempts)
	}
	b.mustBeClean()
}
