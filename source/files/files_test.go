package files_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/files"
)

func TestEvent(t *testing.T) {
	b := newBench(t)
	b.opts.Collection, b.opts.Namespace = freshet.DefaultCollection, "notes"
	b.write("a/b/Grüße <1>.TXT", "Hello <b>\n\u2028wörld\x01\n")
	modified := time.UnixMilli(1_700_000_000_123)
	b.must(os.Chtimes(b.path("a/b/Grüße <1>.TXT"), modified, modified))
	b.write("plain", "text")
	b.start()
	b.await(b.onDisk())
	for _, e := range b.events() {
		if e.Collection != freshet.DefaultCollection || e.Namespace != "notes" || e.Headers[freshet.HeaderSource] != "files" ||
			e.Headers[freshet.HeaderDefaultEvent] == "" || len(e.ID) == 0 || len(e.ID) > freshet.MaxIDBytes {
			t.Errorf("event %+v", e)
		}
		p := e.Payload
		switch e.Entity {
		case "plain":
			if p.Path != "plain" || p.Name != "plain" || p.Ext != "" || p.Folder != "" || p.Bytes != 4 {
				t.Errorf("payload %+v", p)
			}
		default:
			if p.Path != "a/b/Grüße <1>.TXT" || p.Name != "Grüße <1>.TXT" || p.Ext != "txt" || p.Folder != "a/b" || p.Bytes != len(p.Text) || e.Timestamp != modified.UnixMilli() {
				t.Errorf("payload %+v, time %d", p, e.Timestamp)
			}
		}
	}
}

// TestFollow makes changes to a watched folder, one step after the other.
func TestFollow(t *testing.T) {
	b := newBench(t)
	b.write("kept.md", "kept")
	b.start()
	b.await(map[string]string{"kept.md": "kept"})
	steps := []struct {
		name string
		do   func()
		want []string // events, in any order
	}{
		{"create", func() { b.write("a.md", "A") }, []string{"+a.md=A"}},
		{"modify", func() { b.write("a.md", "B") }, []string{"+a.md=B"}},
		{"modify back", func() { b.write("a.md", "A") }, []string{"+a.md=A"}},
		{"rename", func() { b.rename("a.md", "b.md") }, []string{"-a.md", "+b.md=A"}},
		{"folders at once", func() { b.write("x/y/z/c.md", "C") }, []string{"+x/y/z/c.md=C"}},
		{"in a new folder", func() { b.write("x/y/d.md", "D") }, []string{"+x/y/d.md=D"}},
		{"rename a folder", func() { b.rename("x", "w") }, []string{"-x/y/z/c.md", "-x/y/d.md", "+w/y/z/c.md=C", "+w/y/d.md=D"}},
		{"in a folder of a renamed one", func() { b.write("w/y/z/c.md", "C2") }, []string{"+w/y/z/c.md=C2"}},
		{"rename a folder back", func() { b.rename("w", "x") }, []string{"-w/y/z/c.md", "-w/y/d.md", "+x/y/z/c.md=C2", "+x/y/d.md=D"}},
		{"deep in it", func() { b.write("x/y/z/c.md", "C3") }, []string{"+x/y/z/c.md=C3"}},
		{"move a folder out", func() { b.must(os.Rename(b.path("x/y/z"), filepath.Join(t.TempDir(), "z"))) }, []string{"-x/y/z/c.md"}},
		{"remove a folder", func() { b.remove("x") }, []string{"-x/y/d.md"}},
		{"a file of a folder's name", func() { b.write("x", "X") }, []string{"+x=X"}},
		{"a folder of a file's name", func() { b.remove("x"); b.write("x/e.md", "E") }, []string{"-x", "+x/e.md=E"}},
		{"replace by rename", func() { b.write(".kept.tmp", "new"); b.rename(".kept.tmp", "kept.md") }, []string{"+kept.md=new"}},
		{"backup, then write", func() { b.rename("kept.md", "kept.md.old"); b.write("kept.md", "newer"); b.remove("kept.md.old") }, []string{"+kept.md=newer"}},
		{"hide", func() { b.rename("b.md", ".b.md") }, []string{"-b.md"}},
		{"show", func() { b.rename(".b.md", "b.md") }, []string{"+b.md=A"}},
		{"becomes empty", func() { b.write("b.md", " \n\t") }, []string{"-b.md"}},
		{"has text again", func() { b.write("b.md", "A") }, []string{"+b.md=A"}},
		{"becomes binary", func() { b.write("b.md", "A\x00") }, []string{"-b.md"}},
		{"is text again", func() { b.write("b.md", "A") }, []string{"+b.md=A"}},
		{"becomes large", func() { b.write("b.md", strings.Repeat("x", files.DefaultMaxBytes+1)) }, []string{"-b.md"}},
		{"is small again", func() { b.write("b.md", strings.Repeat("x", files.DefaultMaxBytes)) }, []string{"+b.md=" + strings.Repeat("x", 40)}},
		{"delete", func() { b.remove("b.md") }, []string{"-b.md"}},
	}
	for _, s := range steps {
		before := len(b.events())
		s.do()
		b.until(func() bool { return len(b.events()) >= before+len(s.want) },
			func() string { return s.name + ": events " + join(b.events()[before:]) })
		got := map[string]int{}
		for _, e := range b.events()[before:] {
			got[e.String()]++
		}
		for _, w := range s.want {
			if got[w] != 1 || len(got) != len(s.want) {
				t.Fatalf("%s: events %s, want %v", s.name, join(b.events()[before:]), s.want)
			}
		}
	}
	b.checkOnce()
}

func join(events []sent) string {
	var all []string
	for _, e := range events {
		all = append(all, e.String())
	}
	return strings.Join(all, ", ")
}

func TestPassedOver(t *testing.T) {
	b := newBench(t)
	b.opts.MaxBytes = 16 << 10
	b.opts.Ignore = []string{"*.log", "draft-?"}
	b.write("good.md", "good")
	for name, text := range map[string]string{
		".hidden": "x", ".git/config": "x", "a/.b/c": "x", "node_modules/m/index.js": "x", "vendor/v.go": "x", "a/bin/tool.sh": "x",
		"a/trace.log": "x", "draft-1/text.md": "x", "large": strings.Repeat("x", 16<<10+1), "nul": "a\x00b",
		"latin1": "gr\xfc\xdfe", "latin1-late": strings.Repeat("x", 9<<10) + "\xfc", "empty": "", "blank": " \n\u00a0\n", "con\x07trol": "x", "bad\xffutf8": "x",
	} {
		b.write(name, text)
	}
	long := strings.Repeat(strings.Repeat("d", 200)+"/", 5) + "a-file"
	b.write(long, "x") // 1,011 bytes: an id
	b.write(long+"-with-more-than-fits.md", "x")
	b.write("exact", strings.Repeat("x", 16<<10))
	b.write("late-nul", strings.Repeat("x", 8<<10)+"\x00")
	b.write("vendor.md", "a file")
	b.write("a/vendored/v.go", "x")
	b.must(os.Symlink(b.path("good.md"), b.path("link.md")))
	b.must(os.Symlink(b.path("a"), b.path("folder-link")))
	want := map[string]string{"good.md": "good", long: "x", "exact": strings.Repeat("x", 16<<10),
		"late-nul": strings.Repeat("x", 8<<10) + "\x00", "vendor.md": "a file", "a/vendored/v.go": "x"}
	b.start()
	b.await(want)

	// The same when they come while the folder is watched. The last one shows that the others
	// have been looked at: nothing is quicker.
	b.write("draft-2/x.md", "x")
	b.write("vendor/x.go", "x")
	b.write(".x.swp", "x")
	b.write("x.log", "x")
	b.must(os.Symlink(b.path("good.md"), b.path("link2.md")))
	b.write("x.md", "x")
	want["x.md"] = "x"
	b.await(want)
	b.halt()
	b.await(want)
	b.checkOnce()

	// What is ignored from now on is deleted.
	b.opts.Ignore = append(b.opts.Ignore, "x.md", "vendored")
	delete(want, "x.md")
	delete(want, "a/vendored/v.go")
	b.start()
	b.await(want)
}

func TestDataFolderWithin(t *testing.T) {
	b := newBench(t)
	b.write("a.md", "A")
	b.opts.Path = filepath.Dir(b.log.Dir())
	b.root = b.opts.Path
	b.start()
	b.until(func() bool { return len(b.indexed()) > 0 }, func() string { return "nothing was sent" })
	b.halt()
	for entity := range b.indexed() {
		if strings.HasPrefix(entity, filepath.Base(b.log.Dir())+"/") {
			t.Errorf("%s, a file of the data folder, was sent", entity)
		}
	}
}

func TestRefusedAtStart(t *testing.T) {
	b := newBench(t)
	b.write("file", "x")
	for _, c := range []struct {
		name string
		opts files.Options
		want string
	}{
		{"missing", files.Options{Path: b.path("missing")}, "no such folder"},
		{"a file", files.Options{Path: b.path("file")}, "no folder"},
		{"no path", files.Options{}, "path: is missing"},
		{"a bad pattern", files.Options{Path: b.root, Ignore: []string{"[a"}}, `"[a"`},
		{"a negative size", files.Options{Path: b.root, MaxBytes: -1}, "max_bytes: -1"},
		{"the data folder", files.Options{Path: b.dir}, "data folder"},
		{"an unknown collection", files.Options{Path: b.root, Collection: "nope"}, `"nope" does not exist`},
	} {
		c.opts.Intake, c.opts.Log, c.opts.Logger = b.intake, b.log, slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := files.New(c.opts).Run(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestMapped(t *testing.T) {
	b := &bench{t: t, root: t.TempDir(), dir: t.TempDir(), mapped: true}
	b.open()
	b.write("a.md", "A")
	b.start()
	b.await(map[string]string{"a.md": "A"})
	b.remove("a.md")
	b.await(map[string]string{})
	for _, e := range b.events() {
		if e.Headers[freshet.HeaderDefaultEvent] == "" || e.Headers[freshet.HeaderSource] != "files" {
			t.Errorf("%v has headers %v", e, e.Headers)
		}
	}
}

func TestFullBacklog(t *testing.T) {
	var decided atomic.Int64
	decided.Store(-1)
	b := &bench{t: t, root: t.TempDir(), dir: t.TempDir(), decided: decided.Load, limits: source.Limits{BacklogBytes: 1}}
	b.open()
	var refusals atomic.Int64
	b.opts.Logger = slog.New(counter{&refusals})
	b.write("a.md", "A")
	b.start()
	b.await(map[string]string{"a.md": "A"})
	// The intake looks at its limits now and then: some more may go through.
	b.until(func() bool { b.write(fmt.Sprintf("b%d.md", time.Now().UnixNano()), "B"); return refusals.Load() > 0 },
		func() string { return "no refusal was logged" })
	b.write("last.md", "L")
	if _, there := b.indexed()["last.md"]; there {
		t.Error("a file was sent while the backlog was full")
	}
	decided.Store(1 << 40)
	b.await(b.onDisk())
	b.checkOnce()
}

// counter counts warnings.
type counter struct{ n *atomic.Int64 }

func (c counter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (c counter) Handle(context.Context, slog.Record) error    { c.n.Add(1); return nil }
func (c counter) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c counter) WithGroup(string) slog.Handler                { return c }

func TestTooLargeForIntake(t *testing.T) {
	b := &bench{t: t, root: t.TempDir(), dir: t.TempDir(), limits: source.Limits{EventBytes: 1000}}
	b.open()
	b.write("a.md", "A")
	b.write("large.md", strings.Repeat("x", 1000))
	b.write("z.md", "Z")
	b.start()
	b.await(map[string]string{"a.md": "A", "z.md": "Z"})
	b.write("z.md", strings.Repeat("z", 1000))
	b.await(map[string]string{"a.md": "A"})
}

func TestManyFiles(t *testing.T) {
	b := newBench(t)
	for i := range 1000 {
		b.write(filepath.Join("d", string(rune('a'+i%26)), strings.Repeat("n", 1+i/26)), strings.Repeat("text ", i))
	}
	b.start()
	b.await(b.onDisk())
	b.must(os.RemoveAll(b.path("d")))
	b.await(map[string]string{})
	b.checkOnce()
}

// TestMissedByWatch changes a file through a name outside of the folder, of which the watch
// knows nothing.
func TestMissedByWatch(t *testing.T) {
	b := newBench(t)
	b.opts.Rescan = 20 * time.Millisecond
	b.write("a.md", "A")
	outside := filepath.Join(filepath.Dir(b.root), "outside.md")
	if err := os.Link(b.path("a.md"), outside); err != nil {
		t.Skip("the file system has no hard links: ", err)
	}
	b.start()
	b.await(map[string]string{"a.md": "A"})
	b.must(os.WriteFile(outside, []byte("B"), 0o644))
	b.await(map[string]string{"a.md": "B"})
}

// TestFolderVanishes: a folder that can't be read is no reason to delete what was in it.
func TestFolderVanishes(t *testing.T) {
	b := newBench(t)
	b.opts.Rescan = 20 * time.Millisecond
	var refusals atomic.Int64
	b.opts.Logger = slog.New(counter{&refusals})
	b.write("a.md", "A")
	b.write("b/c.md", "C")
	b.start()
	b.await(b.onDisk())
	away := b.root + "-away"
	b.must(os.Rename(b.root, away))
	b.until(func() bool { return refusals.Load() > 0 }, func() string { return "nothing was logged" })
	b.must(os.WriteFile(filepath.Join(away, "d.md"), []byte("D"), 0o644))
	b.must(os.Rename(away, b.root))
	b.await(map[string]string{"a.md": "A", "b/c.md": "C", "d.md": "D"})
	b.write("b/c.md", "C2")
	b.await(map[string]string{"a.md": "A", "b/c.md": "C2", "d.md": "D"})
	if n := len(b.events()); n != 4 {
		t.Errorf("%d events: %v", n, b.events())
	}
}
