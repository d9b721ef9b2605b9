package process_test

import (
	"strings"
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
