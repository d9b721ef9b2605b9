package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
)

// fill applies a small history: several entities, some with several points, a deletion.
func (b *bench) fill(s freshet.Shard) {
	b.Helper()
	for i := range 12 {
		b.apply(b.upsert(in(s, fmt.Sprint("e", i)), i, i, i+1, i+3))
	}
	b.apply(b.upsert(in(s, "e3"), 30, 2), b.tombstone(in(s, "e4")), b.upsert(in(s, "e5"), 50, 5, 6, 8))
}

func (b *bench) path(s freshet.Shard) string {
	return b.fs.PathJoin(b.store.dir, snapshotName(s, b.store.shard(s).files.newest()))
}

func (b *bench) read(path string) []byte {
	b.Helper()
	f, err := b.fs.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func (b *bench) write(path string, raw []byte) {
	b.Helper()
	f, err := b.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(raw); err != nil {
		b.Fatal(err)
	}
}

func TestOpenFromTheTableAlone(t *testing.T) {
	for name, index := range map[string]IndexOptions{"flat": flat, "graph": graph} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, index)
			b.fill(home)
			want := b.answers(home)
			loaded := b.reopen()
			if loaded.Snapshots != 0 || loaded.Entities != 12 || loaded.Applied != 12 {
				t.Errorf("loaded %+v", loaded)
			}
			if got := b.answers(home); got != want {
				t.Errorf("answers\n%swant\n%s", got, want)
			}
			b.wantClean()
		})
	}
}

// A process that is killed between giving snapshots their names and making the names durable leaves them in the page cache
// only. The next one loads them and has nothing to add: when it says that all is saved, a power cut must not take them.
func TestSnapshotNamesOfAKilledProcess(t *testing.T) {
	mem := vfs.NewCrashableMem()
	b := newBenchOn(t, mem, flat)
	b.fill(home)
	b.dies(mem, func(s disk.Site) bool { return s == disk.SnapshotDir }) // as if killed before
	b.snapshot()
	b.dies(mem, nil)
	if b.store.Loaded().Snapshots != 1 {
		t.Fatalf("after the kill: %+v", b.store.Loaded())
	}
	b.snapshot()
	b.dies(mem.CrashClone(vfs.CrashCloneCfg{}), nil)
	if loaded := b.store.Loaded(); loaded.Snapshots != 1 || len(loaded.Rejected) > 0 {
		t.Errorf("after the power cut: %+v", loaded)
	}
	b.wantClean()
}

// What came after a snapshot is applied, and only that.
func TestOpenFromSnapshotAndNewerTable(t *testing.T) {
	for name, index := range map[string]IndexOptions{"flat": flat, "graph": graph} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, index)
			other := freshet.Shard{Collection: "other", Namespace: "n"}
			b.fill(home)
			b.fill(other)
			b.snapshot()
			if loaded := b.reopen(); loaded.Snapshots != 2 || loaded.Applied != 0 || len(loaded.Rejected) > 0 {
				t.Errorf("loaded %+v", loaded)
			}
			b.apply(b.upsert(key("e1"), 1, 1, 2, 4)) // the same content, a new version
			b.apply(b.upsert(key("e2"), 2, 7), b.tombstone(key("e6")), b.upsert(key("new"), 1, 2, 3))
			b.apply(b.upsert(key("e4"), 4, 4)) // deleted before
			want, wantOther := b.answers(home), b.answers(other)
			loaded := b.reopen()
			if loaded.Snapshots != 2 || loaded.Entities != 25 || loaded.Applied != 5 || len(loaded.Rejected) > 0 {
				t.Errorf("loaded %+v", loaded)
			}
			if got := b.answers(home); got != want {
				t.Errorf("answers\n%swant\n%s", got, want)
			}
			if got := b.answers(other); got != wantOther {
				t.Errorf("answers of the other shard\n%swant\n%s", got, wantOther)
			}
			b.wantClean()
		})
	}
}

// The index of a snapshot is written after its documents. Whatever happens to an entity
// between the two, and after, the next start puts right.
func TestSnapshotOfTwoMoments(t *testing.T) {
	type step = func(*bench) []freshet.Change
	up := func(n int, axes ...int) step {
		return func(b *bench) []freshet.Change { return []freshet.Change{b.upsert(key("x"), n, axes...)} }
	}
	gone := func(b *bench) []freshet.Change { return []freshet.Change{b.tombstone(key("x"))} }
	none := func(*bench) []freshet.Change { return nil }
	for _, c := range []struct {
		name                   string
		before, between, after step
	}{
		{"unchanged", up(1, 1), none, none},
		{"content changed", up(1, 1), up(2, 2), none},
		{"content changed and changed back", up(1, 1), up(2, 2), up(3, 1)},
		{"metadata changed", up(1, 1), up(2, 1), none},
		{"shrunk", up(1, 1, 2, 3), up(2, 4), none},
		{"shrunk and grown back", up(1, 1, 2, 3), up(2, 4), up(3, 1, 2, 3)},
		{"grown", up(1, 1), up(2, 2, 3, 4), none},
		{"grown and shrunk back", up(1, 1), up(2, 2, 3, 4), up(3, 1)},
		{"deleted", up(1, 1, 2), gone, none},
		{"deleted and made again", up(1, 1, 2), gone, up(2, 1, 2)},
		{"made again", gone, up(1, 1, 2), none},
		{"made again and deleted", gone, up(1, 1, 2), gone},
		{"made", none, up(1, 3, 4), none},
		{"made and deleted", none, up(1, 3, 4), gone},
		{"made and changed", none, up(1, 3, 4), up(2, 5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, graph)
			b.fill(home)
			b.apply(c.before(b)...)
			var file bytes.Buffer
			sh := b.store.shard(home)
			// As snapshotWriter.write does, with a change between the two halves.
			w := &snapshotWriter{w: bufio.NewWriter(&file)}
			if err := w.begin(b.log.ID(), sh, b.store.covered.Load()); err != nil {
				t.Fatal(err)
			}
			b.apply(c.between(b)...)
			if err := w.finish(sh); err != nil {
				t.Fatal(err)
			}
			b.write(b.fs.PathJoin(b.store.dir, snapshotName(home, 1)), file.Bytes())
			b.apply(c.after(b)...)
			want := b.answers(home)
			if loaded := b.reopen(); loaded.Snapshots != 1 || len(loaded.Rejected) > 0 {
				t.Errorf("loaded %+v", loaded)
			}
			if got := b.answers(home); got != want {
				t.Errorf("answers\n%swant\n%s", got, want)
			}
			b.wantClean()
			b.apply(b.upsert(key("late"), 1, 1, 2, 3)) // takes no points of what was there before
			b.wantClean()
		})
	}
}

// A snapshot that knows of versions, or of entities, that the table does not have: the table
// is right.
func TestSnapshotAheadOfTheTable(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	old := b.upsert(key("x"), 1, 1, 2, 3)
	b.apply(old)
	want := b.answers(home)
	b.apply(b.upsert(key("x"), 2, 5), b.upsert(key("ghost"), 1, 6, 7))
	b.snapshot()
	if err := b.put(&old); err != nil {
		t.Fatal(err)
	}
	b.remove(key("ghost"))
	loaded := b.reopen()
	if loaded.Snapshots != 1 || loaded.Applied != 1 {
		t.Errorf("loaded %+v", loaded)
	}
	if got := b.answers(home); got != want {
		t.Errorf("answers\n%swant\n%s", got, want)
	}
	b.wantClean()
	b.apply(b.upsert(key("ghost"), 1, 1))
	b.wantClean()
}

func TestTombstonesFenceAfterARestart(t *testing.T) {
	b := newBench(t, flat)
	early := b.upsert(key("a"), 1, 1)
	b.apply(b.upsert(key("a"), 2, 2), b.tombstone(key("a")), b.tombstone(key("never")))
	b.snapshot()
	for range 2 {
		b.reopen()
		results, err := b.store.Apply(t.Context(), []freshet.Change{early})
		if err != nil || results[0] != freshet.AppliedSuperseded {
			t.Errorf("an upsert older than the tombstone: %v, %v", results, err)
		}
		if st := b.store.Stats(); len(st) != 1 || st[0].Tombstones != 2 || st[0].Entities != 0 || st[0].Index.Points != 0 {
			t.Errorf("stats %+v", st)
		}
		if err := b.fs.Remove(b.path(home)); err != nil { // the second time from the table alone
			t.Fatal(err)
		}
		b.snapshotAnyway()
	}
}

// snapshotAnyway writes snapshots of all shards, changed or not.
func (b *bench) snapshotAnyway() {
	for _, sh := range b.store.all() {
		sh.dirty.Add(1)
	}
	b.snapshot()
}

// damages are alterations of a snapshot, each of which has to be noticed: of all bytes of header and footer, and of some
// of every part between.
func damages(good []byte) map[string][]byte {
	foot := len(good) - snapshotFooter
	filters, vectors := int(binary.LittleEndian.Uint64(good[foot:])), int(binary.LittleEndian.Uint64(good[foot+8:]))
	out := map[string][]byte{
		"empty":        {},
		"foreign":      []byte("PK\x03\x04 some other file that is long enough to have a header" + strings.Repeat(".", 99)),
		"bytes follow": append(bytes.Clone(good), 0),
		"newer format": altered(good, 4, 3^snapshotFormat),
	}
	for _, at := range []int{1, snapshotHeader - 1, snapshotHeader, snapshotHeader + 30, filters - 1, filters, filters + 20, vectors, vectors + 50,
		(vectors + foot) / 2, foot, len(good) - 1} {
		out[fmt.Sprintf("cut off at %d of %d", at, len(good))] = good[:at]
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for name, region := range map[string][3]int{"header": {0, snapshotHeader, 1}, "documents": {snapshotHeader, filters, 41}, "filter index": {filters, vectors, 23},
		"vector index": {vectors, foot, 151}, "footer": {foot, len(good), 1}} {
		for at := region[0]; at < region[1]; at += 1 + rng.IntN(region[2]) {
			out[fmt.Sprintf("%s: byte %d flipped", name, at)] = altered(good, at, 1<<rng.IntN(8))
		}
	}
	return out
}

// A damaged snapshot is left out, and said so: without another one its shard is built from the log.
func TestDamagedSnapshotIsRejected(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	b.snapshot()
	want, path := b.answers(home), b.path(home)
	damages := damages(b.read(path))
	for _, name := range slices.Sorted(maps.Keys(damages)) {
		b.write(path, damages[name])
		loaded := b.reopen()
		if loaded.Snapshots != 0 || loaded.Built != 1 || len(loaded.Rejected) != 1 || !strings.HasPrefix(loaded.Rejected[0], snapshotName(home, 1)+": ") {
			t.Fatalf("%s: loaded %+v", name, loaded)
		}
		if got := b.answers(home); got != want {
			t.Fatalf("%s: answers\n%swant\n%s", name, got, want)
		}
	}
	b.wantClean()
	// The shard was built anew, so the next snapshot takes the place of the damaged file.
	b.snapshot()
	if loaded := b.reopen(); loaded.Snapshots != 1 || len(loaded.Rejected) > 0 || loaded.Applied != 0 {
		t.Errorf("after the next snapshot: %+v", loaded)
	}
	if _, err := b.fs.Stat(path); err == nil {
		t.Error("the damaged file is still there")
	}
}

// With two generations a damaged snapshot costs what has changed since the one before.
func TestDamagedSnapshotFallsBackToTheOneBefore(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	b.snapshot()
	b.apply(b.upsert(key("e1"), 5, 5), b.upsert(key("new"), 1, 2))
	b.snapshot()
	b.apply(b.upsert(key("e2"), 6, 6))
	want, path := b.answers(home), b.path(home)
	damages := damages(b.read(path))
	for _, name := range slices.Sorted(maps.Keys(damages)) {
		b.write(path, damages[name])
		loaded := b.reopen()
		if loaded.Snapshots != 1 || loaded.Older != 1 || loaded.Applied != 3 || len(loaded.Rejected) != 1 || !strings.HasPrefix(loaded.Rejected[0], snapshotName(home, 2)+": ") {
			t.Fatalf("%s: loaded %+v", name, loaded)
		}
		if got := b.answers(home); got != want {
			t.Fatalf("%s: answers\n%swant\n%s", name, got, want)
		}
	}
	b.wantClean()
	b.snapshot() // replaces the damaged one; the one before stays
	if loaded := b.reopen(); loaded.Snapshots != 1 || loaded.Older != 0 || len(loaded.Rejected) > 0 || loaded.Applied != 0 {
		t.Errorf("after the next snapshot: %+v", loaded)
	}
	if files, err := b.store.listSnapshots(); err != nil || !slices.Equal(files[hashOf(home)], []uint64{3, 1}) {
		t.Errorf("snapshots %v, %v", files, err)
	}
}

// The newest two are kept, whatever happens in between.
func TestTwoGenerationsAreKept(t *testing.T) {
	b := newBench(t, flat)
	for n := range 5 {
		b.apply(b.upsert(key("a"), n, n))
		b.snapshot()
		want := []uint64{uint64(n + 1), uint64(n)}[:min(2, n+1)]
		if files, err := b.store.listSnapshots(); err != nil || !slices.Equal(files[hashOf(home)], want) {
			t.Errorf("after %d snapshots: %v, %v", n+1, files, err)
		}
		if n%2 == 1 {
			b.reopen()
		}
	}
}

// A snapshot that covers what the log does not have was made by another history: it is used neither now nor when the log
// has come so far again.
func TestSnapshotAheadOfTheLog(t *testing.T) {
	b := newBench(t, flat)
	b.fill(home)
	b.snapshot()
	path := b.path(home)
	raw := bytes.Clone(b.read(path))
	binary.LittleEndian.PutUint64(raw[16:], 1000)
	binary.LittleEndian.PutUint32(raw[60:], crc32.Checksum(raw[:60], castagnoli))
	b.write(path, raw)
	want := b.answers(home)
	if loaded := b.reopen(); loaded.Snapshots != 0 || len(loaded.Rejected) != 1 || !strings.Contains(loaded.Rejected[0], "ahead of the log") {
		t.Errorf("loaded %+v", loaded)
	}
	if _, err := b.fs.Stat(path); err == nil {
		t.Error("it is still there")
	}
	if got := b.answers(home); got != want {
		t.Errorf("answers\n%swant\n%s", got, want)
	}
}

// A shard that does not change is not written again, and the start does not go through what happened to others since; that
// is only slower when the file of positions is damaged.
func TestPositionsOfUnchangedShards(t *testing.T) {
	b := newBench(t, flat)
	other := freshet.Shard{Collection: "other", Namespace: "n"}
	b.fill(other)
	b.snapshot()
	for n := range 50 {
		b.apply(b.upsert(key(fmt.Sprint(n)), n, n))
	}
	b.snapshot()
	b.apply(b.upsert(key("0"), 1, 1), b.upsert(in(other, "e1"), 1, 1))
	want := b.answers(home) + b.answers(other)
	positions := b.fs.PathJoin(b.store.dir, positionsFile)
	good := b.read(positions)
	for _, c := range []struct {
		name string
		raw  []byte
		tail int
	}{{"whole", good, 2}, {"flipped", altered(good, 20, 1), 51}, {"cut", good[:30], 51}, {"empty", nil, 51}, {"of another log", altered(good, 9, 1), 51}} {
		b.write(positions, c.raw)
		if loaded := b.reopen(); loaded.Snapshots != 2 || loaded.Tail != c.tail || loaded.Applied != 2 || len(loaded.Rejected) > 0 {
			t.Errorf("%s: loaded %+v, want a tail of %d", c.name, loaded, c.tail)
		}
		if got := b.answers(home) + b.answers(other); got != want {
			t.Errorf("%s: answers\n%swant\n%s", c.name, got, want)
		}
	}
	b.wantClean()
}

func altered(raw []byte, at int, xor byte) []byte {
	out := bytes.Clone(raw)
	out[at] ^= xor
	return out
}

// A sound file under another shard's name would give that shard foreign documents.
func TestSnapshotUnderAWrongName(t *testing.T) {
	b := newBench(t, flat)
	other := freshet.Shard{Collection: "other", Namespace: "n"}
	b.fill(home)
	b.apply(b.upsert(in(other, "e1"), 1, 1))
	b.snapshot()
	want, wantOther := b.answers(home), b.answers(other)
	b.write(b.path(other), b.read(b.path(home)))
	b.write(b.fs.PathJoin(b.store.dir, "notes.txt"), []byte("left alone"))
	loaded := b.reopen()
	if loaded.Snapshots != 1 || len(loaded.Rejected) != 1 || !strings.Contains(loaded.Rejected[0], "another shard") {
		t.Errorf("loaded %+v", loaded)
	}
	if got, gotOther := b.answers(home), b.answers(other); got != want || gotOther != wantOther {
		t.Errorf("answers\n%s%swant\n%s%s", got, gotOther, want, wantOther)
	}
}

func TestSnapshotOnlyOfWhatHasChanged(t *testing.T) {
	b := newBench(t, flat)
	other := freshet.Shard{Collection: "other", Namespace: "n"}
	b.apply(b.upsert(key("a"), 1, 1), b.upsert(in(other, "a"), 1, 1))
	for i, change := range []freshet.Change{{}, b.upsert(key("a"), 2, 2), {}} {
		if change.Op != 0 {
			b.apply(change)
		}
		written, err := b.store.Snapshot(t.Context())
		if want := []int{2, 1, 0}[i]; written != want || err != nil {
			t.Errorf("snapshot %d wrote %d files, %v, want %d", i, written, err, want)
		}
	}
	b.apply(b.upsert(key("a"), 3, 3))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if written, err := b.store.Snapshot(ended); written != 0 || err == nil {
		t.Errorf("with an ended context: %d, %v", written, err)
	}
}

// Snapshots are taken all the time while four writers change entities and others search; a
// store that starts from any of them equals the one that wrote it.
func TestSnapshotWhileApplyingAndSearching(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	var mu sync.Mutex // guards b.offset
	for w := range 4 {
		busy.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				k := key(fmt.Sprint("w", w, "-", rng.IntN(30)))
				mu.Lock()
				c := b.upsert(k, n, rng.Perm(20)[:1+rng.IntN(4)]...)
				if rng.IntN(4) == 0 {
					c = b.tombstone(k)
				}
				mu.Unlock()
				if err := b.commit(c); err != nil {
					t.Error(err)
					return
				}
				if _, err := b.store.Apply(context.Background(), []freshet.Change{c}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.store.Search(context.Background(), freshet.Query{Shard: home, Vector: along(1), K: 20}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 10 {
		b.snapshotAnyway()
	}
	close(stop)
	busy.Wait()
	want := b.answers(home)
	if loaded := b.reopen(); loaded.Snapshots != 1 || len(loaded.Rejected) > 0 {
		t.Errorf("loaded %+v", loaded)
	}
	if got := b.answers(home); got != want {
		t.Errorf("answers\n%swant\n%s", got, want)
	}
	b.wantClean()
}
