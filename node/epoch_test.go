package node_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

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
