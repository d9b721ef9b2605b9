package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/store/storetest"
	"github.com/freshet-io/freshet/wire"
)

var (
	flat  = IndexOptions{Kind: ann.Flat}
	graph = IndexOptions{Kind: ann.HNSW, M: 8, EfConstruction: 32, FlatBelow: -1}
)

// bench is a store on a real log, in memory, that can be closed and opened again.
type bench struct {
	*testing.T
	fs      vfs.FS
	skip    func(disk.Site) bool
	index   IndexOptions
	part    *Part
	log     *broker.Log
	catalog *control.Catalog
	store   *Store
	writing sync.Mutex // vector.sync has one writer at a time
	offset  int64
}

func newBench(t *testing.T, index IndexOptions) *bench { return newBenchOn(t, vfs.NewMem(), index) }

func newBenchOn(t *testing.T, fs vfs.FS, index IndexOptions) *bench {
	b := &bench{T: t, fs: fs, index: index}
	b.openLog()
	b.open()
	t.Cleanup(func() {
		b.store.Close()
		b.log.Close()
	})
	return b
}

func (b *bench) openLog() {
	b.Helper()
	var err error
	if b.log, err = broker.Open("data", broker.Options{FS: disk.New(b.fs, b.skip), CacheBytes: 1 << 20}); err != nil {
		b.Fatal(err)
	}
	if b.catalog, err = control.Open(b.log); err != nil {
		b.Fatal(err)
	}
	for name, metric := range map[string]string{storetest.Collection: "cosine", storetest.OtherCollection: "cosine", "plain": "l2", "inner": "ip"} {
		if err := b.catalog.Declare(control.Collection{Name: name, Dim: storetest.Dim, Metric: metric, Origin: "config"}); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) open() {
	b.Helper()
	var err error
	b.store, err = Open(b.Context(), Options{Log: b.log.State, Catalog: b.catalog, Index: b.index, Part: b.part, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
}

// reopen opens the store anew on the same log, with the snapshots that it has written.
func (b *bench) reopen() LoadReport {
	b.Helper()
	if err := b.store.Close(); err != nil {
		b.Fatal(err)
	}
	b.open()
	return b.store.Loaded()
}

// dies opens everything anew on a disk, on which skip takes syncs out.
func (b *bench) dies(on vfs.FS, skip func(disk.Site) bool) {
	b.Helper()
	if err := errors.Join(b.store.Close(), b.log.Close()); err != nil {
		b.Fatal(err)
	}
	b.fs, b.skip = on, skip
	b.openLog()
	b.open()
}

func (b *bench) snapshot() {
	b.Helper()
	if _, err := b.store.Snapshot(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// commit writes changes to vector.sync, as its owner does: each if it is newer.
func (b *bench) commit(changes ...freshet.Change) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	for i := range changes {
		c := &changes[i]
		old, ok, err := b.store.Get(context.Background(), c.Key)
		if err != nil {
			return err
		}
		if ok && !c.Version.After(old.Version) && !(c.Anew && old.Deleted()) {
			continue
		}
		if err := b.put(c); err != nil {
			return err
		}
	}
	return nil
}

// put writes a change to vector.sync, whatever is there.
func (b *bench) put(c *freshet.Change) error {
	tx := b.log.Begin()
	if err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, c.Key), wire.AppendChange(nil, c)); err != nil {
		tx.Abort()
		return err
	}
	return tx.Commit()
}

func (b *bench) remove(key freshet.Key) {
	b.Helper()
	tx := b.log.Begin()
	if err := tx.Remove(freshet.TopicSync, wire.AppendKey(nil, key)); err != nil {
		b.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

// apply commits and applies.
func (b *bench) apply(changes ...freshet.Change) {
	b.Helper()
	if err := b.commit(changes...); err != nil {
		b.Fatal(err)
	}
	if _, err := b.store.Apply(b.Context(), changes); err != nil {
		b.Fatal(err)
	}
	end, err := b.log.End(freshet.TopicSync)
	if err != nil {
		b.Fatal(err)
	}
	b.store.Advance(end)
}

var home = freshet.Shard{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace}

func in(s freshet.Shard, entity string) freshet.Key {
	return freshet.Key{Collection: s.Collection, Namespace: s.Namespace, Entity: entity}
}

func key(entity string) freshet.Key { return in(home, entity) }

// upsert makes the next version of an entity, with a point on each of the axes given.
func (b *bench) upsert(k freshet.Key, n int, axes ...int) freshet.Change {
	b.offset++
	c := freshet.Change{Key: k, Version: freshet.Version{Epoch: 1, Offset: b.offset}, Revision: 1, Op: freshet.OpUpsert,
		Metadata: []byte(fmt.Sprintf(`{"n":%d,"tags":["a","b"]}`, n)), Text: fmt.Sprint(n, axes)}
	for i, axis := range axes {
		c.Points = append(c.Points, freshet.Point{Slot: strconv.Itoa(i), Vector: along(axis)})
	}
	points := wire.PointsDigest(c.Points)
	c.Content, c.Digest = points, wire.StateDigest(&c, points)
	return c
}

func (b *bench) tombstone(k freshet.Key) freshet.Change {
	b.offset++
	c := freshet.Change{Key: k, Version: freshet.Version{Epoch: 1, Offset: b.offset}, Revision: 1, Op: freshet.OpDelete}
	c.Digest = wire.StateDigest(&c, [16]byte{})
	return c
}

// along is a vector whose direction is mostly that of an axis; axes beyond the dimension
// give other directions.
func along(axis int) []float32 {
	v := make([]float32, storetest.Dim)
	for i := range v {
		v[i] = float32((axis*7+i*i*3)%11) / 40
	}
	v[axis%storetest.Dim] += 3
	return v
}

// audit audits the store; nothing is under way.
func (b *bench) audit() *freshet.AuditReport {
	b.Helper()
	report := &freshet.AuditReport{}
	if err := b.store.Audit(context.Background(), func(context.Context) error { return nil }, report); err != nil {
		b.Fatal(err)
	}
	return report
}

func (b *bench) wantClean() {
	b.Helper()
	if r := b.audit(); !r.Clean() {
		b.Fatalf("the audit finds %d differences: %+v", r.Found, r.Differences)
	}
}

// answers is what searches of a shard say of everything in it, as text.
func (b *bench) answers(s freshet.Shard) string {
	b.Helper()
	out := ""
	for axis := range storetest.Dim {
		hits, err := b.store.Search(b.Context(), freshet.Query{Shard: s, Vector: along(axis), K: 10_000, Exact: true})
		if err != nil {
			b.Fatal(err)
		}
		lines := map[string]string{}
		for _, h := range hits {
			lines[h.Key.Entity] = fmt.Sprintf("%.5f %s %v %s", h.Score, h.Slot, h.Version, h.Metadata)
		}
		out += fmt.Sprintln(axis, len(hits), lines)
	}
	return out
}
