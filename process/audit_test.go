package process_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// A report counts what there is.
func TestAuditCounts(t *testing.T) {
	b := newBench(t, withSplitterOf64)
	if r := b.audit(); !r.Clean() || r.Records != 0 || r.Through != -1 {
		t.Errorf("an empty log gives %+v", r)
	}
	b.send([]string{"a red", "b blue", "-b", "c bad", `{"drop":true}`, "d " + strings.Repeat("long text. ", 20)})
	r := b.audit()
	want := freshet.AuditReport{Through: 5, Records: 6, Entities: 2, Tombstones: 1, Points: r.Points, DeadLetters: 1}
	if got := *r; fmt.Sprint(got) != fmt.Sprint(want) || r.Points < 3 {
		t.Errorf("report is %+v, want %+v", got, want)
	}
}

// Every damage of vector.sync is found, named by its entity, and only it.
func TestAuditNamesDamage(t *testing.T) {
	victim := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "a"}
	// redo makes the digest fit the content again, as a wrong fold would.
	redo := func(c *freshet.Change) {
		var points [16]byte
		if len(c.Points) > 0 {
			points = wire.PointsDigest(c.Points)
		}
		c.Digest = wire.StateDigest(c, points)
	}
	for _, c := range []struct {
		name, kind, detail string
		alter              func(c *freshet.Change)
	}{
		{"text", "damaged", "digest", func(c *freshet.Change) { c.Text += "x" }},
		{"text with its digest", "stale", "digest", func(c *freshet.Change) { c.Text += "x"; redo(c) }},
		{"metadata", "damaged", "digest", func(c *freshet.Change) { c.Metadata = []byte(`{"n":2}`) }},
		{"a vector", "damaged", "digest", func(c *freshet.Change) { c.Points[0].Vector[1]++ }},
		{"a vector with its digest", "stale", "digest", func(c *freshet.Change) { c.Points[0].Vector[1]++; redo(c) }},
		{"a point gone", "damaged", "digest", func(c *freshet.Change) { c.Points = nil }},
		{"a point too many", "stale", "digest", func(c *freshet.Change) { c.Points = append(c.Points, c.Points[0]); redo(c) }},
		{"an older version", "stale", "version", func(c *freshet.Change) { c.Version.Offset = 0 }},
		{"another order", "stale", "version", func(c *freshet.Change) { c.Version.Order = 9 }},
		{"another epoch", "stale", "version", func(c *freshet.Change) { c.Version.Epoch++ }},
		{"the events", "stale", "events changed it", func(c *freshet.Change) { c.Events++ }},
		{"the revision", "stale", "revision", func(c *freshet.Change) { c.Revision++ }},
		{"a deletion", "stale", "digest", func(c *freshet.Change) {
			c.Op, c.Points, c.Text, c.Metadata = freshet.OpDelete, nil, "", nil
			redo(c)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.send([]string{"b red"}, []string{"a red"}, []string{`{"entity_id":"a","payload":{"text":"blue","n":1}}`}, []string{"c red"})
			b.damage(func(tx broker.Txn) error {
				change := b.state()["a"]
				c.alter(&change)
				err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, victim), wire.AppendChange(nil, &change))
				return err
			})
			b.mustFind(c.kind, victim, c.detail)
		})
	}
	for _, c := range []struct {
		name, kind, detail string
		key                freshet.Key
		alter              func(b *bench, tx broker.Txn) error
	}{
		{"a record removed", "missing", "version", victim, func(_ *bench, tx broker.Txn) error {
			return tx.Remove(freshet.TopicSync, wire.AppendKey(nil, victim))
		}},
		{"a tombstone removed", "missing", "version", freshet.Key{Collection: "other", Namespace: freshet.DefaultNamespace, Entity: "d"},
			func(_ *bench, tx broker.Txn) error {
				return tx.Remove(freshet.TopicSync, wire.AppendKey(nil, freshet.Key{Collection: "other", Namespace: freshet.DefaultNamespace, Entity: "d"}))
			}},
		{"a record that no event gives", "extra", "none", freshet.Key{Collection: "other", Namespace: "n", Entity: "x"},
			func(b *bench, tx broker.Txn) error {
				change := b.state()["a"]
				err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, freshet.Key{Collection: "other", Namespace: "n", Entity: "x"}), wire.AppendChange(nil, &change))
				return err
			}},
		{"bytes that are no change", "damaged", "format", victim, func(_ *bench, tx broker.Txn) error {
			err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, victim), []byte("nonsense"))
			return err
		}},
		{"a key that is none", "damaged", "malformed", freshet.Key{Entity: "\x00\x01"}, func(b *bench, tx broker.Txn) error {
			change := b.state()["a"]
			err := tx.Put(freshet.TopicSync, []byte{0, 1}, wire.AppendChange(nil, &change))
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.send([]string{"a red", "b red", "-d @other"})
			b.damage(func(tx broker.Txn) error { return c.alter(b, tx) })
			b.mustFind(c.kind, c.key, c.detail)
		})
	}
}

var withSplitterOf64 = func(b *bench) { b.options.Splitter.MaxBytes = 64 }

func (b *bench) damage(alter func(tx broker.Txn) error) {
	b.t.Helper()
	tx := b.log.Begin()
	if err := alter(tx); err != nil {
		b.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) mustFind(kind string, key freshet.Key, detail string) {
	b.t.Helper()
	r := b.audit()
	if r.Found != 1 || len(r.Differences) != 1 {
		b.t.Fatalf("found %d differences: %+v", r.Found, r.Differences)
	}
	if d := r.Differences[0]; d.Kind != kind || d.Key != key || !strings.Contains(d.Detail, detail) || d.Part != "events.raw→vector.sync" {
		b.t.Errorf("found %+v, want %s of %+v with %q", d, kind, key, detail)
	}
}

// Of many differences all are counted and the first are named.
func TestAuditNamesABoundedNumber(t *testing.T) {
	b := newBench(t)
	var events []string
	for i := range 150 {
		events = append(events, fmt.Sprintf("e%03d red", i))
	}
	b.send(events)
	b.damage(func(tx broker.Txn) error {
		for i := range 150 {
			if err := tx.Remove(freshet.TopicSync, fmt.Appendf(nil, "e%03d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	r := b.audit()
	if r.Found != 150 || len(r.Differences) != 100 || r.Differences[0].Key.Entity != "e000" {
		t.Errorf("found %d, named %d", r.Found, len(r.Differences))
	}
}

// The audit judges vector.sync as it was at one position, while traffic goes on behind it.
func TestAuditWhileTrafficGoesOn(t *testing.T) {
	b := newBench(t, streamWindow)
	r := rand.New(rand.NewPCG(1, 4))
	b.send(split(r, randomEvents(r, 100), 10)...)
	events := split(r, randomEvents(r, 1000), 10)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, g := range events {
			b.append(g...)
		}
	}()
	audits := 0
	for running := true; running || audits == 0; audits++ {
		b.mustBeClean()
		select {
		case <-sent:
			running = false
		default:
		}
	}
	b.settle()
	b.mustBeClean()
	t.Logf("%d audits while %d events were processed", audits, b.log.RawEnd())
}

// The audit makes no collection and settles no order, whatever the configuration says by now,
// and judges events by the collections that there were.
func TestAuditAltersNothing(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a red @late", "a red @never", "b red"})
	b.close()
	withAutoCreate(b)
	b.open()
	if err := b.catalog.Declare(control.Collection{Name: "late", Model: "fake", Dim: 4, Metric: "cosine", Origin: "config", Since: b.log.RawEnd()}); err != nil {
		t.Fatal(err)
	}
	before := b.everything()
	b.mustBeClean()
	b.mustEqual(before, "after an audit")
	b.send([]string{"a blue @late"})
	b.mustBeClean()
	if got := b.shown(); !strings.Contains(got, `a@late@3 "blue" events=1`) || strings.Contains(got, "never") {
		t.Error(got)
	}
}

// A fold from a log whose records are read in other pieces than they were written in.
func TestAuditOfLargeEvents(t *testing.T) {
	b := newBench(t)
	big := string(bytes.Repeat([]byte("x"), 300_000))
	for i := range 4 {
		b.append(fmt.Sprintf(`{"event_id":"%d","entity_id":"a","payload":{"text":"%d","blob":"%s"}}`, i/2, i, big))
	}
	b.settle()
	if got := b.outcomes(); got != "applied 2, repeated 2" {
		t.Error("outcomes are", got)
	}
	b.mustBeClean()
}
