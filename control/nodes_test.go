package control_test

import (
	"slices"
	"testing"

	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/control"
)

// Nodes know of each other what each has said of itself last, until it leaves or another one has its address.
func TestNodes(t *testing.T) {
	log := &sharedLog{}
	a, _ := openShared(t, log)
	b, bv := openShared(t, log)
	announce := func(c *control.Catalog, n control.Node) {
		t.Helper()
		if err := c.Announce(n); err != nil {
			t.Fatal(err)
		}
	}
	known := func(want ...string) {
		t.Helper()
		for _, c := range []*control.Catalog{a, b} {
			if _, _, err := c.Lookup("nothing"); err != nil { // catches up
				t.Fatal(err)
			}
			var got []string
			for _, n := range c.Nodes() {
				got = append(got, n.ID+" "+n.Address+" "+n.Partitions)
			}
			if !slices.Equal(got, want) {
				t.Errorf("known are %q, want %q", got, want)
			}
		}
	}
	announce(b, control.Node{ID: "2", Address: "http://b:1", Roles: []string{"query"}, Partitions: "0-3"})
	announce(a, control.Node{ID: "1", Address: "http://a:1", Roles: []string{"query"}})
	known("1 http://a:1 ", "2 http://b:1 0-3")
	announce(a, control.Node{ID: "1", Address: "http://a:2", Partitions: "7"})
	announce(a, control.Node{ID: "0"})
	announce(b, control.Node{ID: "9"}) // two without an address are two
	known("0  ", "1 http://a:2 7", "2 http://b:1 0-3", "9  ")
	announce(b, control.Node{ID: "3", Address: "http://a:2"}) // b has not been told what a is now, and learns it
	known("0  ", "2 http://b:1 0-3", "3 http://a:2 ", "9  ")

	bv.before = func() { announce(a, control.Node{ID: "4"}) }
	if err := b.Leave("2"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"2", "never"} {
		if err := a.Leave(id); err != nil {
			t.Error(err)
		}
	}
	known("0  ", "3 http://a:2 ", "4  ", "9  ")

	fresh, _ := openShared(t, log)
	if len(fresh.Nodes()) != 4 || fresh.Nodes()[1].Address != "http://a:2" {
		t.Errorf("a new node knows %+v", fresh.Nodes())
	}
	if err := a.Take([]broker.Record{{Key: []byte("node/5"), Value: []byte(`{"format":1,"node":{"id":"6"}}`)}}); err == nil {
		t.Error("a record of another node is taken")
	}
}
