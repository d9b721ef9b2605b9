package process_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/process"
)

// heal makes the model take what it refused before.
func (b *bench) heal() {
	b.model.mu.Lock()
	defer b.model.mu.Unlock()
	b.model.answer = func(text string) freshet.Embedding { return freshet.Embedding{Vector: vectorOf(text)} }
}

// replay has dead letters decided again, all of them in one batch.
func (b *bench) replay(letters []freshet.DeadLetter) {
	b.t.Helper()
	if _, err := b.proc.Replay(context.Background(), letters); err != nil {
		b.t.Fatal(err)
	}
	b.settle()
}

// A replayed event has its original version: it has its effect unless something newer has had one.
func TestReplay(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  []string // until the model heals
		after   []string
		want    string
		outcome string
	}{
		{"what was refused", []string{"a bad"}, nil, `a@0 "bad" events=1 points=1`, "dead 1, applied 1, replayed 1"},
		{"over an older state", []string{"a red", "a bad"}, nil, `a@1 "bad" events=2 points=1`, "replayed 1"},
		{"behind a newer state", []string{"a bad"}, []string{"a red"}, `a@1 "red" events=1 points=1`, "superseded 1"},
		{"behind a deletion", []string{"a bad"}, []string{"-a"}, `a@1 deleted events=1 points=0`, "superseded 1"},
		{"what was sent again", []string{"a bad #1"}, []string{"a bad #1"}, `a@1 "bad" events=1 points=1`, "repeated 1"},
		{"with an older order", []string{"a red ^1 @other", "a bad ^3 @other"}, []string{"a blue ^2 @other"}, `a@other@1^3 "bad" events=3 points=1`, "replayed 1"},
		{"a patch", []string{upsert(`{"text":"red","n":1}`), patch(`{"text":"bad"}`)}, nil, `a@1 "bad" events=2 points=1`, "replayed 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.send(oneByOne(c.before)...)
			letters := b.letters()
			b.mustBeClean()
			b.heal()
			b.send(oneByOne(c.after)...)
			b.replay(letters)
			if got := b.shown(); got != c.want {
				t.Errorf("vector.sync holds\n%s\nwant\n%s", got, c.want)
			}
			if d := b.dead(); len(d) > 0 || !strings.Contains(b.outcomes(), c.outcome[strings.LastIndex(c.outcome, ", ")+1:]) {
				t.Errorf("dead letters %v, outcomes %s", d, b.outcomes())
			}
			b.mustBeClean()
			before := b.shown()
			b.replay(letters) // they are not there any more
			if b.shown() != before || b.proc.Stats.Replayed.Load() != 1 {
				t.Errorf("a second replay: %s, vector.sync holds\n%s", b.outcomes(), b.shown())
			}
			b.mustBeClean()
		})
	}
}

// What fails again stays, with an attempt more, and the others go.
func TestReplayThatFailsAgain(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a bad", `{"entity_id":"c"}`, "b red @late", patch(`{"n":1}`)})
	letters := b.letters()
	if err := b.catalog.Declare(control.Collection{Name: "late", Model: "fake", Dim: 4, Metric: "cosine", Origin: "config", Since: b.log.RawEnd()}); err != nil {
		t.Fatal(err)
	}
	b.mustBeClean()
	b.replay(letters)
	if got := strings.Join(b.dead(), ", "); got != "0/0 embed embed_failed, 1/0 map no_content, 3/0 patch not_found" {
		t.Error("dead letters are", got)
	}
	for _, l := range b.letters() {
		if l.Attempts != 2 {
			t.Errorf("%+v has %d attempts, want 2", l.Position, l.Attempts)
		}
	}
	if got := b.shown(); got != `b@late@2 "red" events=1 points=1` {
		t.Errorf("vector.sync holds %s", got)
	}
	b.mustBeClean()
	b.heal()
	b.replay(b.letters())
	b.mustBeClean()
	if got := strings.Join(b.dead(), ", "); got != "1/0 map no_content" {
		t.Error("dead letters are", got)
	}
}

// What was dropped does not come back, and audits know that it was refused.
func TestDrop(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a red"}, []string{"a bad", "b bad", `{"entity_id":"c"}`})
	letters := b.letters()
	n, err := b.proc.Drop(context.Background(), letters[:1])
	if err != nil || n != 1 || len(b.dead()) != 2 {
		t.Fatalf("%d dropped, %v: %v", n, err, b.dead())
	}
	b.mustBeClean()
	b.heal()
	b.replay(letters[:1])
	if n, err := b.proc.Drop(context.Background(), letters); err != nil || n != 2 || len(b.dead()) != 0 {
		t.Errorf("%d dropped, %v: %v", n, err, b.dead())
	}
	if got := b.shown(); got != `a@0 "red" events=1 points=1` {
		t.Errorf("vector.sync holds %s", got)
	}
	b.mustBeClean()
}

// A power cut does not bring back what was said to be dropped.
func TestDroppedIsDurable(t *testing.T) {
	for name, skip := range map[string]func(disk.Site) bool{"synced": nil, "not synced": func(s disk.Site) bool { return s == disk.DeadDropped }} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			b := newBench(t, withFS(mem), func(b *bench) { b.skip = skip })
			b.send([]string{"a bad", "b red"})
			if err := b.log.Sync(disk.StateSnapshot); err != nil {
				t.Fatal(err)
			}
			if n, err := b.proc.Drop(context.Background(), b.letters()); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			b.crash(rand.New(rand.NewPCG(1, 1)))
			if left := len(b.dead()); (left == 0) != (skip == nil) {
				t.Errorf("%d dead letters are left", left)
			}
		})
	}
}

// Whenever a crash comes, each event has its effect once, and audits agree.
func TestCrashesDuringReplay(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			b := newBench(t, withFS(vfs.NewCrashableMem()))
			var events []string
			for i := range 60 {
				events = append(events, fmt.Sprintf("e%d %s %d #%d", r.IntN(9), []string{"red", "bad"}[r.IntN(2)], i, i))
			}
			b.send(split(r, events, 7)...)
			b.mustBeClean()
			if err := b.log.Sync(disk.StateSnapshot); err != nil { // which were asked for depends on the batches
				t.Fatal(err)
			}
			dead := b.letters()
			want := map[string]int64{}
			for name, c := range b.state() {
				want[name] = c.Version.Offset
			}
			for _, l := range dead {
				want[l.Key.Entity] = max(want[l.Key.Entity], l.Position.Offset)
			}
			b.heal()
			for len(b.letters()) > 0 {
				letters := b.letters()
				letters = letters[:1+r.IntN(len(letters))]
				if _, err := b.proc.Replay(context.Background(), letters); err != nil {
					t.Fatal(err)
				}
				if r.IntN(2) == 0 {
					b.settle()
				}
				if r.IntN(3) > 0 {
					b.crash(r)
				}
				b.settle()
				b.mustBeClean()
			}
			got := b.state()
			for name, offset := range want {
				if c := got[name]; c.Version.Offset != offset {
					t.Errorf("%s has version %d, want %d", name, c.Version.Offset, offset)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d entities, want %d", len(got), len(want))
			}
		})
	}
}

// each is an event that the mapping makes several changes of.
func each(events ...string) string {
	for i := range events {
		events[i], _ = event(events[i])
	}
	return `{"each":[` + strings.Join(events, ",") + `]}`
}

// A replay of one change leaves the others of its event alone, and a change that has had its effect is done.
func TestReplayOfOneChangeOfSeveral(t *testing.T) {
	late := control.Collection{Name: "late", Model: "fake", Dim: 4, Metric: "cosine", Origin: "config"}
	for _, c := range []struct {
		name   string
		event  string
		replay []int
		dead   string
		want   string
	}{
		{"a change that came twice", each("a red", "a blue", "b red"), []int{0}, "", "a@0 \"red\" events=1 points=1\nb@0 \"red\" events=1 points=1"},
		{"beside one that waits", each("x red @late", "a red", "a blue"), []int{1}, "0/0 validate unknown_collection", `a@0 "red" events=1 points=1`},
		{"and then that", each("x red @late", "a red", "a blue"), []int{1, 0}, "", "a@0 \"red\" events=1 points=1\nx@late@0 \"red\" events=1 points=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.send([]string{c.event})
			letters := b.letters()
			late.Since = b.log.RawEnd()
			if err := b.catalog.Declare(late); err != nil {
				t.Fatal(err)
			}
			for _, i := range c.replay {
				b.replay(letters[i : i+1])
				b.mustBeClean()
			}
			if got := strings.Join(b.dead(), ", "); got != c.dead {
				t.Errorf("dead letters are %s, want %s", got, c.dead)
			}
			if got := b.shown(); got != c.want {
				t.Errorf("vector.sync holds\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// mended is a mapping that fails until it is mended.
type mended struct {
	scripted
	done *atomic.Bool
}

func (m mended) Map(r process.Record) ([]process.Draft, error) {
	if !m.done.Load() {
		return nil, errors.New("not yet")
	}
	return m.scripted.Map(r)
}

// A replay of a whole event has all of its changes decided. When the first one fails nothing is done; others that fail become
// dead letters of their own.
func TestReplayOfAWholeEvent(t *testing.T) {
	for _, c := range []struct{ name, event, dead, want, healed string }{
		{"all is well", each("a red", "b red"), "", "a@0 \"red\" events=1 points=1\nb@0 \"red\" events=1 points=1", ""},
		{"one comes twice", each("a red", "a blue", "b red"), "0/1 map mapping_failed", "a@0 \"red\" events=1 points=1\nb@0 \"red\" events=1 points=1", ""},
		{"the second is refused", each("a red", "b bad"), "0/1 embed embed_failed", `a@0 "red" events=1 points=1`, "a@0 \"red\" events=1 points=1\nb@0 \"bad\" events=1 points=1"},
		{"the first is refused", each("a bad", "b red"), "0/0 embed embed_failed", "", "a@0 \"bad\" events=1 points=1\nb@0 \"red\" events=1 points=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var done atomic.Bool
			b := newBench(t, func(b *bench) { b.options.Mapper = mended{done: &done} })
			b.send([]string{c.event})
			b.mustBeClean()
			done.Store(true)
			b.replay(b.letters())
			if got := strings.Join(b.dead(), ", "); got != c.dead {
				t.Errorf("dead letters are %s, want %s", got, c.dead)
			}
			if got := b.shown(); got != c.want {
				t.Errorf("vector.sync holds\n%s\nwant\n%s", got, c.want)
			}
			if c.want != "" { // else nothing has happened, and an audit, which maps as it is now, expects the second change
				b.mustBeClean()
			}
			if c.healed == "" {
				return
			}
			b.heal()
			b.replay(b.letters())
			if b.shown() != c.healed || len(b.dead()) > 0 {
				t.Errorf("healed it holds\n%s\nwant\n%s; dead letters %v", b.shown(), c.healed, b.dead())
			}
			b.mustBeClean()
		})
	}
}

// However many replayed events of an entity are refused, the embedder is called twice for them.
func TestRefusedReplaysCostOneMoreCall(t *testing.T) {
	b := newBench(t)
	var events []string
	for i := range 100 {
		events = append(events, fmt.Sprint("a bad ", i))
	}
	b.send(events)
	before := b.model.calls
	b.replay(b.letters())
	if n := b.model.calls - before; n > 2 || len(b.dead()) != 100 {
		t.Errorf("the embedder was called %d times, %d dead letters", n, len(b.dead()))
	}
	b.mustBeClean()
}
