package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/wire"
)

// Each part is damaged behind the store's back, and the audit names the part, what is wrong
// with it and the entity, and nothing else.
func TestAuditNamesTheDamageAndRepairMendsIt(t *testing.T) {
	const victim = "e5" // of fill: three points
	never := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	// rewrite changes the record of the victim in vector.sync.
	rewrite := func(b *bench, alter func(*freshet.Change)) {
		c, _, err := b.store.Get(b.Context(), key(victim))
		never(err)
		alter(&c)
		c.Digest = wire.StateDigest(&c, wire.PointsDigest(c.Points))
		never(b.put(&c))
	}
	document := func(sh *shard) uint32 {
		doc, ok := sh.docs.find(victim)
		if !ok {
			panic("there is no victim")
		}
		return doc
	}
	for _, c := range []struct {
		name   string
		damage func(b *bench, sh *shard)
		want   string // "part kind entity", of every difference
	}{
		{"nothing", func(*bench, *shard) {}, ""},
		{"record removed from vector.sync", func(b *bench, _ *shard) { b.remove(key(victim)) }, "documents extra e5"},
		{"tombstone removed from vector.sync", func(b *bench, _ *shard) { b.remove(key("e4")) }, "documents extra e4"},
		{"record added to vector.sync", func(b *bench, _ *shard) {
			c := b.upsert(key("late"), 1, 1)
			never(b.put(&c))
		}, "documents missing late"},
		{"record added in a shard of its own", func(b *bench, _ *shard) {
			c := b.upsert(in(freshet.Shard{Collection: "other", Namespace: "n"}, "late"), 1, 1)
			never(b.put(&c))
		}, "documents missing late"},
		{"newer record in vector.sync", func(b *bench, _ *shard) {
			c := b.upsert(key(victim), 9, 1)
			never(b.put(&c))
		}, "documents stale e5"},
		{"older record in vector.sync", func(b *bench, _ *shard) {
			rewrite(b, func(c *freshet.Change) { c.Version.Offset = 1 })
		}, "documents stale e5"},
		{"text changed in vector.sync", func(b *bench, _ *shard) {
			rewrite(b, func(c *freshet.Change) { c.Text += "." })
		}, "documents stale e5"},
		{"revision changed in vector.sync", func(b *bench, _ *shard) {
			rewrite(b, func(c *freshet.Change) { c.Revision++ })
		}, "documents stale e5"},
		{"record of vector.sync is no change", func(b *bench, _ *shard) {
			tx := b.log.Begin()
			err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, key(victim)), []byte("rubbish"))
			never(err)
			never(tx.Commit())
		}, "documents damaged e5"},
		{"document of an older version", func(_ *bench, sh *shard) { sh.docs.info[document(sh)].version.Offset = 1 }, "documents stale e5"},
		{"document of a newer version", func(_ *bench, sh *shard) { sh.docs.info[document(sh)].version.Offset += 9 }, "documents stale e5"},
		{"document lost", func(_ *bench, sh *shard) {
			sh.filter.Delete(document(sh))
			for slot := range 3 {
				never(sh.vectors().Apply([]ann.Op{{Key: pointKey(document(sh), slot)}}))
			}
			sh.docs.set(document(sh), docInfo{})
		}, "documents missing e5"},
		{"document with fewer points", func(_ *bench, sh *shard) { sh.docs.info[document(sh)].points-- }, "documents stale e5, vectors extra e5"},
		{"vector lost", func(_ *bench, sh *shard) {
			never(sh.vectors().Apply([]ann.Op{{Key: pointKey(document(sh), 1)}}))
		}, "vectors missing e5"},
		{"vector altered", func(_ *bench, sh *shard) {
			never(sh.vectors().Apply([]ann.Op{{Key: pointKey(document(sh), 2), Vector: along(17)}}))
		}, "vectors stale e5"},
		{"vector altered a little", func(_ *bench, sh *shard) {
			v, _, _ := sh.vectors().Vector(pointKey(document(sh), 0), nil)
			v[0] += 1e-4
			never(sh.vectors().Apply([]ann.Op{{Key: pointKey(document(sh), 0), Vector: v}}))
		}, "vectors stale e5"},
		{"vector too many", func(_ *bench, sh *shard) {
			never(sh.vectors().Apply([]ann.Op{{Key: pointKey(document(sh), 3), Vector: along(3)}}))
		}, "vectors extra e5"},
		{"vector of a deleted entity", func(_ *bench, sh *shard) {
			doc, _ := sh.docs.find("e4")
			never(sh.vectors().Apply([]ann.Op{{Key: pointKey(doc, 0), Vector: along(3)}}))
		}, "vectors extra e4"},
		{"vector of nobody", func(_ *bench, sh *shard) {
			never(sh.vectors().Apply([]ann.Op{{Key: pointKey(1000, 0), Vector: along(3)}}))
		}, "vectors extra (document 1000)"},
		{"filter entry lost", func(_ *bench, sh *shard) { sh.filter.Delete(document(sh)) }, "filters missing e5"},
		{"filter entry altered", func(_ *bench, sh *shard) {
			never(sh.filter.Set(document(sh), []byte(`{"n":51,"tags":["a","b"]}`)))
		}, "filters stale e5"},
		{"filter entry of a deleted entity", func(_ *bench, sh *shard) {
			doc, _ := sh.docs.find("e4")
			never(sh.filter.Set(doc, nil))
		}, "filters extra e4"},
		{"filter entry of nobody", func(_ *bench, sh *shard) { never(sh.filter.Set(1000, nil)) }, "filters extra (document 1000)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, graph)
			b.fill(home)
			c.damage(b, b.store.shard(home))
			report := b.audit()
			var got []string
			for _, d := range report.Differences {
				part, ok := strings.CutPrefix(d.Part, "vector.sync→")
				if !ok || d.Detail == "" {
					t.Errorf("difference %+v", d)
				}
				got = append(got, fmt.Sprintf("%s %s %s", part, d.Kind, d.Key.Entity))
			}
			if joined := strings.Join(got, ", "); joined != c.want || report.Found != int64(len(got)) {
				t.Errorf("found %d: %s, want %s", report.Found, joined, c.want)
			}
			if _, err := b.store.Repair(b.Context(), report.Differences); err != nil {
				t.Fatal("repair:", err)
			}
			if c.want == "documents damaged e5" { // nobody can read it
				if r := b.audit(); r.Found != 1 {
					t.Errorf("after the repair %+v", r.Differences)
				}
				return
			}
			b.wantClean()
			b.snapshot() // what was mended stays so
			b.reopen()
			b.wantClean()
			if n, err := b.store.Repair(b.Context(), nil); n != 0 || err != nil {
				t.Errorf("a repair of nothing writes %d again, %v", n, err)
			}
		})
	}
}

// A length of the vector is no difference under cosine, and is one under the other metrics.
func TestAuditComparesVectorsAsTheIndexKeepsThem(t *testing.T) {
	for _, collection := range []string{"default", "plain", "inner"} {
		b := newBench(t, graph)
		s := freshet.Shard{Collection: collection, Namespace: freshet.DefaultNamespace}
		for i := range 20 {
			c := b.upsert(in(s, fmt.Sprint("e", i)), i, i)
			for j := range c.Points[0].Vector {
				c.Points[0].Vector[j] *= float32(i+1) * 1e-3
			}
			b.apply(c)
		}
		b.wantClean()
		if collection == "default" {
			continue
		}
		sh := b.store.shard(s)
		v, _, _ := sh.vectors().Vector(pointKey(3, 0), nil)
		v[0] *= 1 + 1e-6
		if err := sh.vectors().Apply([]ann.Op{{Key: pointKey(3, 0), Vector: v}}); err != nil {
			t.Fatal(err)
		}
		if r := b.audit(); r.Found != 1 || r.Differences[0].Kind != "stale" {
			t.Errorf("%s: a slightly altered vector gives %+v", collection, r)
		}
	}
}

// Four writers keep changing few entities, each change committed some time before it is
// applied. No audit sees a difference.
func TestAuditUnderLoadRaisesNoFalseAlarm(t *testing.T) {
	const writers, audits = 4, 12
	b := newBench(t, graph)
	b.fill(home)
	var mu sync.Mutex // guards b.offset
	// committing is held for reading from the commit to the end of the apply, so that a waiter
	// that holds it for writing has seen everything through that was committed before.
	var committing sync.RWMutex
	var ended atomic.Bool
	var busy sync.WaitGroup
	for w := range writers {
		busy.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for n := 0; !ended.Load(); n++ {
				var batch []freshet.Change
				mu.Lock()
				for range 1 + rng.IntN(4) {
					k := key(fmt.Sprint("hot", w, "-", rng.IntN(10)))
					c := b.upsert(k, n, rng.Perm(40)[:1+rng.IntN(4)]...)
					if rng.IntN(4) == 0 {
						c = b.tombstone(k)
					}
					batch = append(batch, c)
				}
				mu.Unlock()
				committing.RLock()
				err := b.commit(batch...)
				if err == nil {
					_, err = b.store.Apply(context.Background(), batch)
				}
				committing.RUnlock()
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait := func(context.Context) error {
		committing.Lock()
		//lint:ignore SA2001 taking the lock is the wait
		committing.Unlock()
		return nil
	}
	for range audits {
		report := &freshet.AuditReport{}
		if err := b.store.Audit(t.Context(), wait, report); err != nil {
			t.Error(err)
		} else if !report.Clean() {
			t.Errorf("false alarm: %d, %+v", report.Found, report.Differences)
		}
	}
	ended.Store(true)
	busy.Wait()
	b.wantClean()
}

// At every look one version is committed and not applied. That is no difference, as long as the
// one before it has come through.
func TestAuditLeavesTimeToApply(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	var pending []freshet.Change
	applied := true
	wait := func(context.Context) error {
		if applied {
			b.apply(pending...)
		}
		// One entity that changes, one that is new, one that is deleted.
		pending = []freshet.Change{b.upsert(key("e5"), 1, 1, 2), b.upsert(key(fmt.Sprint("new", b.offset)), 1, 3), b.tombstone(key("e6"))}
		return b.commit(pending...)
	}
	report := &freshet.AuditReport{}
	if err := b.store.Audit(t.Context(), wait, report); err != nil || !report.Clean() {
		t.Errorf("%v, found %d: %+v", err, report.Found, report.Differences)
	}
	applied = false // from now on changes get lost
	if err := b.store.Audit(t.Context(), wait, report); err != nil || report.Found < 3 {
		t.Errorf("changes get lost: %v, found %d: %+v", err, report.Found, report.Differences)
	}
}

// Damage among entities that change all the time is found, too.
func TestAuditFindsDamageOfAHotEntity(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	sh := b.store.shard(home)
	doc, _ := sh.docs.find("e5")
	n := 0
	wait := func(context.Context) error { // between any two looks it changes, and a vector gets lost
		n++
		b.apply(b.upsert(key("e5"), n, n, n+1))
		return sh.vectors().Apply([]ann.Op{{Key: pointKey(doc, 1)}})
	}
	report := &freshet.AuditReport{}
	if err := b.store.Audit(t.Context(), wait, report); err != nil {
		t.Fatal(err)
	}
	if report.Found != 1 || report.Differences[0].Part != "vector.sync→vectors" || report.Differences[0].Key != key("e5") {
		t.Errorf("found %d: %+v", report.Found, report.Differences)
	}
}

// More differences than can wait are settled in portions; all are counted, few are kept.
func TestAuditCountsAllDifferences(t *testing.T) {
	const lost = maxSuspects + 500
	b := newBench(t, flat)
	tx := b.log.Begin()
	for i := range lost {
		c := b.tombstone(key(fmt.Sprintf("e%05d", i)))
		if err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, c.Key), wire.AppendChange(nil, &c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	b.apply(b.upsert(key("there"), 1, 1))
	if r := b.audit(); r.Found != lost || len(r.Differences) != maxDifferences {
		t.Errorf("found %d, kept %d", r.Found, len(r.Differences))
	}
}

func TestAuditEndsWithItsContext(t *testing.T) {
	b := newBench(t, flat)
	b.fill(home)
	broken := errors.New("the log is gone")
	if err := b.store.Audit(t.Context(), func(context.Context) error { return broken }, &freshet.AuditReport{}); !errors.Is(err, broken) {
		t.Errorf("an error of wait gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.store.Audit(ctx, func(context.Context) error { return nil }, &freshet.AuditReport{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gives %v", err)
	}
}
