package embedded_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
)

func open(t *testing.T, dir string, o embedded.Options) *embedded.Log {
	t.Helper()
	l, err := embedded.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestOneProcessOwnsAFolder(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, embedded.Options{})
	if _, err := embedded.Open(dir, embedded.Options{}); !errors.Is(err, embedded.ErrLocked) {
		t.Errorf("a second open returns %v", err)
	}
}

func TestIdentityOutlivesAReopen(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, embedded.Options{})
	id := l.ID()
	l.Close()
	if again := open(t, dir, embedded.Options{}); again.ID() != id {
		t.Errorf("identity %x became %x", id, again.ID())
	}
	if other := open(t, t.TempDir(), embedded.Options{}); other.ID() == id {
		t.Error("two folders have one identity")
	}
}

func TestFoldersThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"newer format":    {write("FORMAT", `{"format":2,"log":"0011223344556677","partitions":16}`), "format 2, this version reads format 1"},
		"damaged FORMAT":  {write("FORMAT", `{"form`), "damaged"},
		"bad identity":    {write("FORMAT", `{"format":1,"log":"xx","partitions":16}`), "hexadecimal"},
		"half a restore":  {func(dir string) error { return os.Mkdir(filepath.Join(dir, embedded.Restoring), 0o755) }, "freshet restore"},
		"foreign files":   {write("thesis.doc", "…"), "no data folder of freshet"},
		"more partitions": {write("FORMAT", `{"format":1,"log":"0011223344556677","partitions":4}`), "made with 4"},
	} {
		dir := t.TempDir()
		if err := c.prepare(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := embedded.Open(dir, embedded.Options{Partitions: 16}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
	}
}

func write(name, content string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600) }
}

// TestMissingAcknowledgedRecordsAreTold cuts the journal behind what has been processed.
func TestMissingAcknowledgedRecordsAreTold(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, embedded.Options{})
	var b journal.Batch
	b.Add(0, nil, []byte("one"))
	if _, err := l.AppendRaw(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	l.Close()
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	if err := os.Truncate(segments[0], 10); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Open(dir, embedded.Options{}); err == nil || !strings.Contains(err.Error(), "acknowledged") {
		t.Errorf("opening a log without its records returns %v", err)
	}
}

func TestStateTables(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	tx := l.Begin()
	for _, k := range []string{"a", "b", "c", "d"} {
		if err := tx.SetTable(broker.TableProcess, []byte(k), []byte("v"+k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tx.SetTable(broker.TableFiles, []byte("a"), []byte("other")), tx.Commit()); err != nil {
		t.Fatal(err)
	}
	tx = l.Begin()
	if err := errors.Join(tx.DeleteTable(broker.TableProcess, []byte("d")), tx.DeleteTableRange(broker.TableProcess, []byte("b"), []byte("c")), tx.Commit()); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := l.ScanTable(broker.TableProcess, nil, nil, func(k, v []byte) error {
		got = append(got, string(k)+string(v))
		return nil
	}); err != nil || strings.Join(got, " ") != "ava cvc" {
		t.Errorf("table holds %v, %v", got, err)
	}
	first, last, ok, err := l.TableBounds(broker.TableProcess, []byte("a"), []byte("z"))
	if err != nil || !ok || string(first) != "a" || string(last) != "c" {
		t.Errorf("bounds are %q %q %v %v", first, last, ok, err)
	}
	if _, ok, err := l.GetTable(broker.TableProcess, []byte("b")); ok || err != nil {
		t.Errorf("a deleted key is there: %v", err)
	}
}

// TestViewStandsStill checks that positions and records of a view belong together.
func TestViewStandsStill(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	m := l.Join("g")
	commit := func(value string, next int64) {
		tx := l.Begin()
		err := tx.Put(freshet.TopicSync, []byte("k"), []byte(value))
		if err := errors.Join(err, tx.Move(m, freshet.TopicRaw, 0, next), tx.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	commit("old", 1)
	v := l.View()
	defer v.Close()
	commit("new", 2)
	next, err := v.Position("g", freshet.TopicRaw, 0)
	if err != nil || next != 1 {
		t.Errorf("position %d, %v", next, err)
	}
	if err := v.Scan(freshet.TopicSync, func(r embedded.Record) error {
		if string(r.Value) != "old" {
			t.Errorf("value %q", r.Value)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestUnknownTopic(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	if _, _, err := l.Latest("events.raw", nil, nil); err == nil {
		t.Error("events.raw is not kept by key")
	}
	tx := l.Begin()
	defer tx.Abort()
	if err := tx.Put("nope", nil, nil); err == nil {
		t.Error("an unknown topic takes records")
	}
}

func TestClosedLog(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	tx := l.Begin()
	if err := tx.Put(freshet.TopicSync, []byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err == nil {
		t.Error("a commit to a closed log succeeds")
	}
	if err := l.Close(); err != nil {
		t.Errorf("a second close returns %v", err)
	}
	var b journal.Batch
	b.Add(0, nil, nil)
	if _, err := l.AppendRaw(context.Background(), &b); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("append to a closed log returns %v", err)
	}
}

// A copy belongs to one log, and is none itself.
func TestCopy(t *testing.T) {
	id := freshet.LogID{1, 2, 3}
	dir := t.TempDir() + "/copy"
	opts := embedded.Options{CacheBytes: 1 << 20, Partitions: 4}
	s, err := embedded.OpenCopy(dir, "kafka", id, opts)
	if err != nil {
		t.Fatal(err)
	}
	own := s.ID()
	tx := s.Begin()
	if err := errors.Join(tx.Put(freshet.TopicSync, []byte("k"), []byte("v")), tx.Commit(), s.CloseCopy(), s.CloseCopy()); err != nil {
		t.Fatal(err)
	}
	if s, err = embedded.OpenCopy(dir, "kafka", id, opts); err != nil {
		t.Fatal(err)
	}
	if r, ok, err := s.Latest(freshet.TopicSync, []byte("k"), nil); !ok || err != nil || string(r.Value) != "v" || s.ID() != own || own == id {
		t.Errorf("%+v %v %v", r, ok, err)
	}
	if _, err := embedded.OpenCopy(dir, "kafka", id, opts); !errors.Is(err, embedded.ErrLocked) {
		t.Errorf("a second owner: %v", err)
	}
	if err := s.CloseCopy(); err != nil {
		t.Error(err)
	}
	if _, err := embedded.OpenCopy(dir, "kafka", freshet.LogID{9}, opts); err == nil || !strings.Contains(err.Error(), "another folder") {
		t.Errorf("the copy of another log: %v", err)
	}
	opts.Partitions = 5
	if _, err := embedded.OpenCopy(dir, "kafka", id, opts); err == nil || !strings.Contains(err.Error(), "5") {
		t.Errorf("other partitions: %v", err)
	}
	if _, err := embedded.Open(dir, embedded.Options{}); err == nil || !strings.Contains(err.Error(), "kafka") {
		t.Errorf("opened as a log: %v", err)
	}
	other := t.TempDir()
	open(t, other, embedded.Options{}).Close()
	if _, err := embedded.OpenCopy(other, "kafka", id, opts); err == nil || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("a log opened as a copy: %v", err)
	}
}

// What one transaction purges of several shards counts for the topic as a whole up to the highest.
func TestPurgeOfSeveralShards(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	shards := []freshet.Shard{{Collection: "a", Namespace: "n"}, {Collection: "b", Namespace: "n"}}
	tx := l.Begin()
	for _, s := range shards {
		if err := tx.Put(freshet.TopicSync, []byte(s.Collection), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	tx = l.Begin()
	for _, s := range []freshet.Shard{shards[1], shards[0], shards[1]} {
		r, _, err := l.Latest(freshet.TopicSync, []byte(s.Collection), nil)
		if err := errors.Join(err, tx.Purge(freshet.TopicSync, s, []embedded.Record{r})); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Purge(freshet.TopicSync, shards[0], []embedded.Record{{Key: []byte("a")}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for scope, want := range map[string]int64{"": 2, embedded.PurgeScope(shards[0]): 1, embedded.PurgeScope(shards[1]): 2} {
		if p, err := l.Purged(freshet.TopicSync, scope); err != nil || p.Through != want {
			t.Errorf("scope %q is purged through %d, want %d, %v", scope, p.Through, want, err)
		}
	}
}
