package node_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

// TestRaiseEpoch: another number of partitions, and parts of different histories, stop a start until the epoch is raised; then
// all is there, an update wins, old tokens count, and the audit is clean.
func TestRaiseEpoch(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := disk.New(mem, nil)
	s := start(t, fs, "a")
	for i := range 20 {
		s.put("e", i)
	}
	token := s.put("other", 1)
	_, version := s.get("e")
	s.Kill()
	alterFormat := func(old, new string) {
		t.Helper()
		raw, err := fs.ReadFile("a/FORMAT")
		if err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create("a/FORMAT", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(bytes.Replace(raw, []byte(old), []byte(new), 1)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	check := func(what string, partitions int) {
		t.Helper()
		if _, err := open(fs, "a"); err == nil {
			t.Fatalf("%s is not noticed", what)
		}
		e, err := node.RaiseEpoch(fs, "a", partitions, time.Now())
		if err != nil || e.Reason != control.EpochRaised {
			t.Fatalf("%s: %+v, %v", what, e, err)
		}
		fs = disk.New(mem.CrashClone(vfs.CrashCloneCfg{}), nil) // it outlives a power cut
		mem = fs.FS.(*vfs.MemFS)
		s := start(t, fs, "a")
		if err := s.CatchUpWithin(time.Minute); err != nil {
			t.Fatal(err)
		}
		s.mustBeClean()
		if n, v := s.get("e"); n != 19 && what == "FORMAT of another log" || v < version {
			t.Errorf("%s: e is %d, version %s", what, n, v)
		}
		if status := s.after(token); status != http.StatusOK {
			t.Errorf("%s: a token of before: %d", what, status)
		}
		s.put("e", 100)
		n, v := s.get("e")
		if n != 100 || v <= version {
			t.Errorf("%s: the update gives %d, version %s behind %s", what, n, v, version)
		}
		version = v
		s.mustBeClean()
		s.Kill()
		s = start(t, fs, "a")
		s.mustBeClean()
		s.Kill()
	}
	all, err := node.Epochs(fs, "a")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	alterFormat(all[0].Log, "00112233445566aa")
	if _, err := open(fs, "a"); !errors.Is(err, control.ErrEpoch) || !strings.Contains(err.Error(), "freshet epoch raise") {
		t.Errorf("FORMAT of another log: %v", err)
	}
	check("FORMAT of another log", 0)
	alterFormat(`"partitions":3`, `"partitions":8`)
	if _, err := open(fs, "a"); err == nil || !strings.Contains(err.Error(), "freshet epoch raise --data a --partitions 3") {
		t.Errorf("another number of partitions: %v", err)
	}
	check("another number of partitions", 3)
	if all, err := node.Epochs(fs, "a"); err != nil || len(all) != 3 || all[2].Number <= all[1].Number {
		t.Errorf("epochs %+v, %v", all, err)
	}
	if _, err := node.RaiseEpoch(fs, "a", -1, time.Now()); err == nil {
		t.Error("-1 partitions are accepted")
	}
	if _, err := node.RaiseEpoch(fs, "nowhere", 0, time.Now()); err == nil {
		t.Error("a folder that is not there is raised")
	}
}

// A journal that is gone, or too short, stops a start. Without it the tables go on: what was there is there, updates win, nothing
// is taken for what was lost, and the audit is clean; also when the raise is interrupted before any operation.
func TestRaiseWithoutJournal(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := disk.New(mem, nil)
	s := start(t, fs, "a")
	for i := range 20 {
		s.put("e", i)
	}
	s.put("other", 1)
	s.must("DELETE", "/v1/entities/other?collection=vectors", "", &struct{}{})
	const patch = `{"entity_id":"e","event_id":"once","collection":"vectors","op":"patch","payload":{"p":1}}`
	s.must("POST", "/v1/events", patch, &struct{}{})
	token := s.put("last", 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("a/journal")
	if err != nil || len(names) < 2 {
		t.Fatalf("the journal has %v, %v", names, err)
	}
	slices.Sort(names)
	for what, lose := range map[string]func(fs disk.FS) error{
		"no journal":         func(fs disk.FS) error { return fs.RemoveAll("a/journal") },
		"the last one gone":  func(fs disk.FS) error { return fs.Remove("a/journal/" + names[len(names)-1]) },
		"an empty journal":   func(fs disk.FS) error { return errors.Join(fs.RemoveAll("a/journal"), fs.MkdirAll("a/journal", 0o755)) },
		"nothing, in truth,": func(disk.FS) error { return nil },
	} {
		for stop := 1; raiseWithoutJournal(t, mem, what, stop, token, patch, lose); stop += 4 {
		}
	}
}

// raiseWithoutJournal stops the raise before an operation that writes, and repeats it then. It returns false when the raise came to its end.
func raiseWithoutJournal(t *testing.T, mem *vfs.MemFS, what string, stop int, token, patch string, lose func(disk.FS) error) (stopped bool) {
	t.Helper()
	lost := mem.CrashClone(vfs.CrashCloneCfg{})
	fs := disk.New(lost, nil)
	if err := lose(fs); err != nil {
		t.Fatal(err)
	}
	if n, err := open(fs, "a"); err == nil {
		n.Kill()
		if what != "nothing, in truth," {
			t.Fatalf("%s is not noticed", what)
		}
	}
	var mu sync.Mutex
	var after *vfs.MemFS
	count := 0
	watched := disk.New(errorfs.Wrap(lost, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			if count++; count == stop {
				after = lost.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(stop), 1))})
			}
		}
		return nil
	})), nil)
	if _, _, err := node.RaiseWithoutJournal(watched, "a", time.Now()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if stopped = after != nil; stopped {
		fs = disk.New(after, nil)
		if _, _, err := node.RaiseWithoutJournal(fs, "a", time.Now().Add(time.Second)); err != nil {
			t.Fatalf("%s: again, after it was stopped at %d: %v", what, stop, err)
		}
	}
	s := start(t, fs, "a")
	defer s.Kill()
	s.mustBeClean()
	x, version := s.get("e")
	if status := s.after(token); x != 19 || status != http.StatusOK {
		t.Errorf("%s, stopped at %d: e is %d, a token of before: %d", what, stop, x, status)
	}
	s.put("e", 100)
	s.must("POST", "/v1/events", patch, &struct{}{}) // a repeat
	s.put("other", 5)
	if x, v := s.get("e"); x != 100 || v <= version {
		t.Errorf("%s, stopped at %d: the update gives %d, version %s behind %s", what, stop, x, v, version)
	}
	s.mustBeClean()
	s.Kill()
	s = start(t, fs, "a")
	s.mustBeClean()
	s.Kill()
	return stopped
}
