package demo_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/demo"
)

const days = 6_000 // events of a shop's life in these tests

func life(o demo.ShopOptions) []demo.Event {
	shop := demo.NewShop(o)
	out := shop.Catalogue()
	for range days {
		out = append(out, shop.Next())
	}
	return out
}

func lines(events []demo.Event) []byte {
	var b bytes.Buffer
	for i := range events {
		b.Write(events[i].JSON())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func TestShopIsDeterministic(t *testing.T) {
	first := lines(life(demo.ShopOptions{Seed: 7}))
	if !bytes.Equal(first, lines(life(demo.ShopOptions{Seed: 7}))) {
		t.Error("two shops of seed 7 sent different events")
	}
	if bytes.Equal(first, lines(life(demo.ShopOptions{Seed: 8}))) {
		t.Error("shops of seeds 7 and 8 sent the same events")
	}
}

func TestEventsAreValid(t *testing.T) {
	ids := map[string]bool{}
	live := map[string]bool{}
	deleted := map[string]int{}
	for i, e := range life(demo.ShopOptions{Seed: 1, Run: "test"}) {
		raw := e.JSON()
		ev, err := codec.ParseEvent(raw, codec.Full)
		if err != nil {
			t.Fatalf("event %d, %s: %v", i, raw, err)
		}
		if ids[ev.ID] || !strings.HasPrefix(ev.ID, "test-") {
			t.Fatalf("event %d: id %q is not new, or not of this run", i, ev.ID)
		}
		ids[ev.ID] = true
		if c := ev.Key.Collection; c != demo.Products && c != demo.Sessions {
			t.Fatalf("event %d is for collection %q", i, c)
		}
		entity := ev.Key.Collection + "/" + ev.Key.Entity
		if ev.Op == freshet.OpDelete {
			if !live[entity] {
				t.Fatalf("event %d deletes %s, which is not there", i, entity)
			}
			delete(live, entity)
			deleted[ev.Key.Collection]++
			continue
		}
		var payload struct{ Text string }
		if err := json.Unmarshal(ev.Payload, &payload); err != nil || payload.Text == "" || strings.Contains(payload.Text, "%!") {
			t.Fatalf("event %d: payload %s: no text, or a broken one (%v)", i, ev.Payload, err)
		}
		live[entity] = true
	}
	if deleted[demo.Products] == 0 || deleted[demo.Sessions] == 0 {
		t.Errorf("deletes by collection: %v; want some of both", deleted)
	}
}

func TestSampleIsLeftAlone(t *testing.T) {
	shop := demo.NewShop(demo.ShopOptions{Seed: 1, Products: 10})
	if got := shop.Catalogue()[0].Entity; got != demo.Sample {
		t.Fatalf("the catalogue begins with %q, want %q", got, demo.Sample)
	}
	for i := range days {
		if e := shop.Next(); e.Collection == demo.Products && e.Entity == demo.Sample {
			t.Fatalf("event %d, %s, is about %s", i, e.JSON(), demo.Sample)
		}
	}
}

// TestInterestsDrift holds sessions to what makes them worth watching: within a visit the
// interest stays for a while, and turns.
func TestInterestsDrift(t *testing.T) {
	interest := map[string]string{}
	var clicks, turns int
	for _, e := range life(demo.ShopOptions{Seed: 3}) {
		if e.Collection != demo.Sessions || e.Op == "delete" {
			continue
		}
		var event struct {
			Payload struct {
				Interest   string
				LastClicks []any `json:"last_clicks"`
			}
		}
		if err := json.Unmarshal(e.JSON(), &event); err != nil {
			t.Fatal(err)
		}
		if n := len(event.Payload.LastClicks); n < 1 || n > 5 {
			t.Fatalf("%s shows %d clicks, want 1 to 5", e.Entity, n)
		}
		if before, ok := interest[e.Entity]; ok {
			clicks++
			if before != event.Payload.Interest {
				turns++
			}
		}
		interest[e.Entity] = event.Payload.Interest
	}
	if share := float64(turns) / float64(clicks); share < 0.05 || share > 0.2 {
		t.Errorf("%d of %d clicks turn to another interest (%.2f), want about one of nine", turns, clicks, share)
	}
}
