package files_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/disk"
)

func TestRestart(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"same.md", "touched.md", "changed.md", "resized.md", "gone.md", "d/moved.md", "e/f/gone.md"} {
		b.write(name, "of "+name)
		old := time.Now().Add(-time.Hour) // so that their times prove something
		b.must(os.Chtimes(b.path(name), old, old))
	}
	b.start()
	b.await(b.onDisk())
	b.halt()
	before := len(b.events())

	b.write("changed.md", "OF changed.md")
	b.write("resized.md", "more of it")
	b.must(os.Chtimes(b.path("touched.md"), time.Now(), time.Now()))
	b.remove("gone.md")
	b.remove("e")
	b.rename("d", "m")
	b.write("new.md", "new")
	b.start()
	b.await(b.onDisk())
	b.halt()
	got := map[string]int{}
	for _, e := range b.events()[before:] {
		got[e.String()]++
	}
	for _, w := range []string{"+changed.md=OF changed.md", "+resized.md=more of it", "-gone.md", "-e/f/gone.md",
		"-d/moved.md", "+m/moved.md=of d/moved.md", "+new.md=new"} {
		if got[w] != 1 || len(got) != 7 {
			t.Fatalf("events after the restart: %s", join(b.events()[before:]))
		}
	}
	b.checkOnce()

	// The log opened anew holds the same state.
	b.log.Close()
	b.open()
	before = len(b.events())
	b.write("sentinel", "x")
	b.start()
	b.await(b.onDisk())
	b.halt()
	if n := len(b.events()) - before; n != 1 {
		t.Errorf("%d events after the second restart: %s", n, join(b.events()[before:]))
	}
}

// TestCrash loses, again and again, all of the state that was not synced, while events.raw
// keeps what was acknowledged: what was sent since is known again from events.raw.
func TestCrash(t *testing.T) {
	for _, c := range []struct {
		name  string
		down  func(b *bench) // while freshet is down
		extra int            // events that follow from it
	}{
		{"nothing has changed", func(b *bench) {}, 0},
		{"changed once more", func(b *bench) { b.write("a.md", "C") }, 1},
		{"back to what the lost state did not say", func(b *bench) { b.write("a.md", "B") }, 0},
		{"back to what the remaining state says", func(b *bench) { b.write("a.md", "A") }, 1},
		{"deleted", func(b *bench) { b.remove("a.md") }, 1},
		{"made again what was deleted", func(b *bench) { b.write("b.md", "A") }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, mem := newCrashBench(t, nil)
			b.write("a.md", "A")
			b.write("b.md", "A")
			b.start()
			b.await(b.onDisk())
			b.halt()
			b.must(b.log.Sync(disk.StateSnapshot)) // the state says A of both
			b.start()
			b.write("a.md", "B")
			b.remove("b.md")
			b.await(b.onDisk())
			mem = b.crash(mem)
			c.down(b)
			for range 2 { // a crash after a recovery that had nothing to send too
				b.start()
				b.await(b.onDisk())
				mem = b.crash(mem)
			}
			b.write("sentinel", "x")
			b.start()
			b.await(b.onDisk())
			b.checkOnce()
			if n := len(b.events()); n != 4+c.extra+1 {
				t.Errorf("events %v", b.events())
			}
		})
	}
}

// TestFirstSync: without the one sync of the source, a crash takes even the knowledge that
// the folder was watched, and a file that vanishes meanwhile stays in the index.
func TestFirstSync(t *testing.T) {
	for _, skipped := range []bool{false, true} {
		b, mem := newCrashBench(t, func(s disk.Site) bool { return skipped && s == disk.SourceFilesDone })
		b.write("a.md", "A")
		b.write("b.md", "B")
		b.start()
		b.await(b.onDisk())
		b.crash(mem)
		b.remove("a.md")
		b.write("c.md", "C")
		b.start()
		b.until(func() bool { return b.indexed()["c.md"] == "C" }, func() string { return "c.md was not sent" })
		b.halt()
		if _, stays := b.indexed()["a.md"]; stays != skipped {
			t.Errorf("first sync skipped %v: a.md stays %v", skipped, stays)
		}
	}
}

// TestCutLog: if events.raw does not hold what the state leaves open, everything is sent again
// under new ids.
func TestCutLog(t *testing.T) {
	b := newBench(t)
	b.write("a.md", "A")
	b.write("b.md", "B")
	b.start()
	b.await(b.onDisk())
	b.halt()
	b.setRoot(func(root map[string]any) { root["through"] = 1000 })
	b.remove("b.md")
	b.start()
	b.await(b.onDisk())
	b.until(func() bool { return len(b.events()) == 4 }, func() string { return fmt.Sprint(b.events()) })
	b.halt()
	ids := map[string]bool{}
	for _, e := range b.events() {
		ids[e.ID] = true
	}
	if len(ids) != 4 {
		t.Errorf("ids %v", ids)
	}
}

func TestDamagedState(t *testing.T) {
	b := newBench(t)
	b.start()
	b.write("a.md", "A")
	b.await(b.onDisk())
	b.halt()
	b.setRoot(func(root map[string]any) { root["format"] = 9 })
	err := b.source().Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "format 9") {
		t.Errorf("error %v, want one that names the format", err)
	}
}

// setRoot changes the record of the folder in the state table.
func (b *bench) setRoot(change func(map[string]any)) {
	b.t.Helper()
	var key []byte
	root := map[string]any{}
	b.must(b.log.ScanTable(broker.TableFiles, nil, nil, func(k, v []byte) error {
		if strings.HasSuffix(string(k), ":") {
			key = append(key, k...)
			return json.Unmarshal(v, &root)
		}
		return nil
	}))
	change(root)
	value, err := json.Marshal(root)
	b.must(err)
	tx := b.log.Begin()
	b.must(tx.SetTable(broker.TableFiles, key, value))
	b.must(tx.Commit())
}

// TestTwoFolders share a log, and paths, but neither entities nor state.
func TestTwoFolders(t *testing.T) {
	b := newBench(t)
	b.write("a.md", "A")
	b.start()
	b.await(b.onDisk())
	b.halt()
	first := b.root
	b.root = t.TempDir()
	b.opts.Namespace = "second"
	b.write("b.md", "B")
	b.start()
	b.await(map[string]string{"a.md": "A", "b.md": "B"})
	b.halt()
	b.root, b.opts.Namespace = first, ""
	b.write("c.md", "C")
	b.start()
	b.await(map[string]string{"a.md": "A", "b.md": "B", "c.md": "C"})
	b.checkOnce()
}

// TestModel changes a folder at random while the source runs, stops and crashes, and holds
// the events to the folder.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("FRESHET_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FRESHET_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b, mem := newCrashBench(t, nil)
	b.start()
	for range 25 {
		for range rng.IntN(12) {
			b.change(rng)
		}
		switch rng.IntN(6) {
		case 0:
			b.halt()
			b.change(rng)
			b.start()
		case 1:
			mem = b.crash(mem)
			b.change(rng)
			b.start()
		case 2, 3:
			b.await(b.onDisk())
		}
	}
	b.await(b.onDisk())
	b.halt()
	b.checkOnce()
}

// change does something to a random path. Folders and files share names.
func (b *bench) change(rng *rand.Rand) {
	name := func() string {
		parts := make([]string, 1+rng.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + rng.IntN(4)))
		}
		return strings.Join(parts, "/")
	}
	// What can't be done, such as a folder in a file, is not done.
	at := name()
	switch rng.IntN(6) {
	case 0:
		_ = os.RemoveAll(b.path(at))
	case 1:
		_ = os.Rename(b.path(at), b.path(name()))
	case 2:
		_ = os.MkdirAll(b.path(at), 0o755)
	default:
		_ = os.MkdirAll(b.path(at[:strings.LastIndexByte("/"+at, '/')]), 0o755)
		_ = os.WriteFile(b.path(at), fmt.Appendf(nil, "text %d", rng.IntN(3)), 0o644)
	}
}

// BenchmarkChange measures from the write of a file to the durable event.
func BenchmarkChange(b *testing.B) {
	bb := newBench(b)
	bb.start()
	i := 0
	for b.Loop() {
		i++
		bb.write("a.md", fmt.Sprint(i))
		reader := bb.log.ReadRaw(int64(i - 1))
		if _, err := reader.Next(b.Context(), nil, 1); err != nil {
			b.Fatal(err)
		}
		bb.must(reader.Close())
	}
}

// BenchmarkFirstScan measures the start on a folder of 2,000 files of 2 KiB.
func BenchmarkFirstScan(b *testing.B) {
	const count = 2000
	for b.Loop() {
		b.StopTimer()
		bb := newBench(b)
		for i := range count {
			bb.write(fmt.Sprintf("%d/%d.md", i%50, i), fmt.Sprintf("%d %s", i, strings.Repeat("word ", 400)))
		}
		b.StartTimer()
		bb.start()
		for end := int64(0); end < count; {
			r := bb.log.ReadRaw(end)
			if _, err := r.Next(b.Context(), nil, 1); err != nil {
				b.Fatal(err)
			}
			end = bb.log.RawEnd()
			bb.must(r.Close())
		}
		b.StopTimer()
		bb.halt()
		b.StartTimer()
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
