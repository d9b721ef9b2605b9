package files_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/files"
)

// patience is how long a test waits for what must happen; it is no part of any result.
const patience = 20 * time.Second

// bench is a log and a folder, which outlive runs of a source on them.
type bench struct {
	t       testing.TB
	root    string
	dir     string
	fs      disk.FS
	log     *embedded.Log
	intake  *source.Intake
	mapped  bool
	limits  source.Limits
	decided func() int64 // default: everything is
	opts    files.Options

	stop  context.CancelFunc
	ended chan error
}

// newBench opens a log on the disk and makes an empty folder.
func newBench(t testing.TB) *bench {
	b := &bench{t: t, root: t.TempDir(), dir: t.TempDir(), fs: disk.OS()}
	b.open()
	return b
}

// newCrashBench is newBench with the log on a file system that can lose unsynced writes.
func newCrashBench(t testing.TB, skip func(disk.Site) bool) (*bench, *vfs.MemFS) {
	mem := vfs.NewCrashableMem()
	b := &bench{t: t, root: t.TempDir(), dir: "/data", fs: disk.New(mem, skip)}
	b.must(disk.New(mem, nil).MakeDir(b.dir, disk.FolderDir)) // the tests are about what is in it
	b.open()
	return b, mem
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.log, err = embedded.Open(b.dir, embedded.Options{FS: b.fs, CacheBytes: 1 << 20, SegmentBytes: 1 << 20}); err != nil {
		b.t.Fatal(err)
	}
	log := b.log
	b.t.Cleanup(func() { b.halt(); log.Close() })
	catalog, err := control.Open(b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := catalog.Declare(control.Collection{Name: freshet.DefaultCollection, Dim: 2, Metric: "cosine"}); err != nil {
		b.t.Fatal(err)
	}
	decided := b.decided
	if decided == nil {
		decided = func() int64 { return log.RawEnd() - 1 }
	}
	b.intake = source.NewIntake(source.Options{Log: b.log, Catalog: catalog, Mapped: b.mapped, Limits: b.limits, Decided: decided})
}

func (b *bench) source() *files.Source {
	o := b.opts
	o.Intake, o.Log = b.intake, b.log
	if o.Path == "" {
		o.Path = b.root
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return files.New(o)
}

// start runs a source until halt.
func (b *bench) start() {
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.ended = stop, make(chan error, 1)
	s := b.source()
	go func() { b.ended <- s.Run(ctx) }()
}

// halt ends the run and waits for its end.
func (b *bench) halt() {
	b.t.Helper()
	if b.stop == nil {
		return
	}
	b.stop()
	b.stop = nil
	if err := <-b.ended; err != nil {
		b.t.Errorf("Run: %v", err)
	}
}

// crash ends the run, and loses what was not synced.
func (b *bench) crash(mem *vfs.MemFS) *vfs.MemFS {
	b.t.Helper()
	b.halt()
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	b.log.Close()
	b.fs = disk.New(after, nil)
	b.open()
	return after
}

// sent is an event as it stands in the log.
type sent struct {
	ID, Entity, Collection, Namespace, Op string
	Timestamp                             int64
	Payload                               struct {
		Text, Title, Path, Name, Ext, Folder string
		Bytes                                int
	}
	Headers map[string]string
}

func (e sent) deleted() bool { return e.Op == "delete" }

func (e sent) String() string {
	if e.deleted() {
		return "-" + e.Entity
	}
	return fmt.Sprintf("+%s=%.40s", e.Entity, e.Payload.Text)
}

// events reads everything that was sent.
func (b *bench) events() []sent {
	b.t.Helper()
	var all []sent
	r := b.log.ReadRaw(b.log.RawFirst())
	defer r.Close()
	for r.Offset() < b.log.RawEnd() {
		records, err := r.Next(context.Background(), nil, 1<<20)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, rec := range records {
			all = append(all, decode(b.t, rec))
		}
	}
	return all
}

func decode(t testing.TB, rec journal.Record) sent {
	var raw struct {
		EventID  string `json:"event_id"`
		EntityID string `json:"entity_id"`
		sent
	}
	if err := json.Unmarshal(rec.Value, &raw); err != nil {
		t.Fatalf("event %s: %v", rec.Value, err)
	}
	e := raw.sent
	e.ID, e.Entity, e.Headers = raw.EventID, raw.EntityID, map[string]string{}
	for _, h := range rec.Headers {
		e.Headers[h.Name] = string(h.Value)
	}
	return e
}

// indexed folds the events: the text of each entity.
func (b *bench) indexed() map[string]string {
	b.t.Helper()
	fold := map[string]string{}
	for _, e := range b.events() {
		if e.deleted() {
			delete(fold, e.Entity)
		} else {
			fold[e.Entity] = e.Payload.Text
		}
	}
	return fold
}

// await waits until the index holds exactly these texts.
func (b *bench) await(want map[string]string) {
	b.t.Helper()
	var got map[string]string
	b.until(func() bool { got = b.indexed(); return equal(got, want) },
		func() string { return fmt.Sprintf("indexed %v, want %v; events %v", got, want, b.events()) })
}

// until polls for a condition.
func (b *bench) until(ok func() bool, otherwise func() string) {
	b.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		select {
		case err := <-b.ended:
			b.ended <- err
			b.t.Fatalf("Run ended: %v; %s", err, otherwise())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			b.t.Fatal(otherwise())
		}
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// checkOnce fails if an event repeats what its entity holds already, or an id.
func (b *bench) checkOnce() {
	b.t.Helper()
	ids, fold := map[string]bool{}, map[string]string{}
	for i, e := range b.events() {
		text, there := fold[e.Entity]
		if ids[e.ID] || e.deleted() && !there || !e.deleted() && there && text == e.Payload.Text {
			b.t.Fatalf("event %d, %v with id %s, repeats; events %v", i, e, e.ID, b.events())
		}
		ids[e.ID] = true
		if e.deleted() {
			delete(fold, e.Entity)
		} else {
			fold[e.Entity] = e.Payload.Text
		}
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.root, filepath.FromSlash(name)) }

func (b *bench) write(name, text string) {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(os.WriteFile(b.path(name), []byte(text), 0o644))
}

func (b *bench) rename(from, to string) {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(to)), 0o755))
	b.must(os.Rename(b.path(from), b.path(to)))
}

func (b *bench) remove(name string) {
	b.t.Helper()
	b.must(os.RemoveAll(b.path(name)))
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// onDisk is what an index of the folder should hold, for folders of ordinary texts.
func (b *bench) onDisk() map[string]string {
	b.t.Helper()
	want := map[string]string{}
	b.must(filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		rel, err := filepath.Rel(b.root, path)
		if strings.TrimSpace(string(text)) != "" {
			want[filepath.ToSlash(rel)] = string(text)
		}
		return err
	}))
	return want
}
