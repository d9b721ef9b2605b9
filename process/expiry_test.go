package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// until is an event of an entity that expires at a time, ms; extra are more fields.
func until(entity string, at int64, extra string) string {
	return fmt.Sprintf(`{"entity_id":%q,"expires_at":%d%s}`, entity, at, extra)
}

const says = `,"payload":{"text":"red"}`

// expiries is the table of expiries, in its order.
func (b *bench) expiries() (all []string) {
	b.t.Helper()
	if err := b.log.ScanTable(broker.TableExpiry, nil, nil, func(k, _ []byte) error {
		at, key, err := wire.ParseExpiry(k)
		all = append(all, fmt.Sprintf("%s@%d", key.Entity, at))
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return all
}

// expire runs the expirer at a time, once, and returns how many commands it wrote.
func (b *bench) expire(now int64) int {
	b.t.Helper()
	x := process.Expirer{Log: b.log, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return now },
		Decided: func(context.Context, int64) error { b.settle(); return nil }}
	n, err := x.Step(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// The newest event of an entity says when it expires; a patch only if it says so.
func TestExpiries(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		want   string
	}{
		{"set", []string{until("a", 100, says)}, "a@100"},
		{"moved", []string{until("a", 100, says), until("a", 50, says)}, "a@50"},
		{"the same", []string{until("a", 100, says), until("a", 100, says)}, "a@100"},
		{"cleared", []string{until("a", 100, says), "a red"}, ""},
		{"deleted", []string{until("a", 100, says), "-a"}, ""},
		{"in order of time", []string{until("b", 300, says), until("a", 2000, says), until("c", 100, says)}, "c@100 b@300 a@2000"},
		{"a patch of something else", []string{until("a", 100, says), patch(`{"n":1}`)}, "a@100"},
		{"a patch that moves it", []string{until("a", 100, says), until("a", 200, `,"op":"patch"`)}, "a@200"},
		{"a patch that clears it", []string{until("a", 100, says), `{"entity_id":"a","op":"patch","expires_at":null}`}, ""},
		{"a patch that sets it", []string{"a red", until("a", 200, `,"op":"patch"`)}, "a@200"},
		{"an older order", []string{until("a", 100, says+`,"order":2,"collection":"other"`), until("a", 50, says+`,"order":1,"collection":"other"`)}, "a@100"},
	} {
		for _, spread := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", c.name, spread), func(t *testing.T) {
				b := newBench(t)
				if spread {
					b.send(oneByOne(c.events)...)
				} else {
					b.send(c.events)
				}
				if got := strings.Join(b.expiries(), " "); got != c.want {
					t.Errorf("expiries are %s, want %s", got, c.want)
				}
				b.mustBeClean()
			})
		}
	}
}

// What is due is deleted, each in the version that was due, with the order that it had; a second
// look finds nothing more.
func TestExpire(t *testing.T) {
	b := newBench(t)
	b.send([]string{until("a", 100, says), until("b", 200, says), until("c", 100, says+`,"order":7,"collection":"other"`), "d red"})
	if n := b.expire(99); n != 0 {
		t.Errorf("%d commands before anything is due", n)
	}
	if n := b.expire(100); n != 2 {
		t.Errorf("%d commands, want 2", n)
	}
	state := b.state()
	if a, c := state["a"], state["c@other"]; !a.Deleted() || a.Events != 2 || a.Version.Offset < 4 || !c.Deleted() || c.Version.Order != 7 || c.Version.Offset < 4 {
		t.Errorf("after that a is %+v and c %+v", a, c)
	}
	if got := strings.Join(b.expiries(), " "); got != "b@200" || len(state["b"].Points) == 0 || b.outcomes() != "applied 4, expired 2" {
		t.Errorf("expiries are %s, outcomes %s", got, b.outcomes())
	}
	if n := b.expire(150); n != 0 {
		t.Errorf("%d commands for what is deleted", n)
	}
	b.mustBeClean()
	b.send([]string{"a blue", `{"entity_id":"c","order":7,"collection":"other","payload":{"text":"blue"}}`})
	if state := b.state(); state["a"].Text != "blue" || state["c@other"].Text != "blue" {
		t.Error("what was deleted can't come back")
	}
	b.mustBeClean()
}

// A command for a version that is gone by now alters nothing, wherever batches are cut; neither
// does one that comes twice.
func TestExpireOfAnOlderVersion(t *testing.T) {
	b := newBench(t)
	b.send([]string{until("a", 100, says), until("b", 100, says), until("c", 100, says)})
	first := b.state()
	b.send([]string{"a blue"}, []string{until("b", 100, `,"payload":{"text":"blue"}`)}, []string{"-c"})
	for _, entity := range []string{"a", "b", "c", "a"} {
		b.command(&process.Expire{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: entity, At: 100, Version: first[entity].Version})
	}
	if got := b.outcomes(); got != "applied 5, deleted 1" {
		t.Error("outcomes are", got)
	}
	if got := strings.Join(b.expiries(), " "); got != "b@100" {
		t.Errorf("expiries are %s, want that of b's newer version", got)
	}
	b.mustBeClean()
}

// An entry without its entity does not come up for ever.
func TestExpiryOfNothing(t *testing.T) {
	b := newBench(t)
	b.damage(func(tx broker.Txn) error {
		return tx.SetTable(broker.TableExpiry, wire.AppendExpiry(nil, 5, freshet.Key{Collection: "gone", Namespace: "n", Entity: "x"}), nil)
	})
	if n := b.expire(10); n != 1 {
		t.Errorf("%d commands, want 1", n)
	}
	if n := b.expire(10); n != 0 || len(b.expiries()) > 0 || len(b.state()) > 0 {
		t.Errorf("%d commands, expiries %v", n, b.expiries())
	}
	b.mustBeClean()
}

// More than fits into one step goes in several, and the expirer does that by itself.
func TestExpirerRuns(t *testing.T) {
	b := newBench(t)
	var events []string
	for i := range 2500 {
		events = append(events, until(fmt.Sprint("e", i), int64(1+i%7), says))
	}
	b.send(events)
	x := process.Expirer{Log: b.log, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return 10 },
		Decided: func(ctx context.Context, offset int64) error {
			for b.proc.Stats.Position.Load() <= offset && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			return ctx.Err()
		}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	waitFor(t, "the last to go", func() bool { return b.proc.Stats.Expired.Load() == 2500 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if slices.ContainsFunc(b.expiries(), func(string) bool { return true }) {
		t.Errorf("expiries are left: %v", b.expiries()[:1])
	}
	b.mustBeClean()
}
