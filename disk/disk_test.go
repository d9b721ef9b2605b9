package disk_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/disk"
)

func TestSitesAreDistinct(t *testing.T) {
	seen := map[disk.Site]bool{}
	for _, s := range disk.Sites() {
		if s == "" || seen[s] {
			t.Errorf("site %q is empty or there twice", s)
		}
		seen[s] = true
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func only(site disk.Site) func(disk.Site) bool {
	return func(s disk.Site) bool { return s == site }
}

// Where each sync reaches, and that skipping it is all that skip does.
func TestSyncsSurviveCrash(t *testing.T) {
	const data, entry, folder = disk.SnapshotFile, disk.SnapshotDir, disk.FolderDir
	for _, c := range []struct {
		name string
		skip func(disk.Site) bool
		want string // content of a/b/file after a crash that keeps nothing unsynced
	}{
		{"all synced", nil, "content"},
		{"another site skipped", only(disk.ControlRecord), "content"},
		{"data skipped", only(data), ""},
		{"entry skipped", only(entry), "gone"},
		{"folders skipped", only(folder), "gone"},
	} {
		mem := vfs.NewCrashableMem()
		fs := disk.New(mem, c.skip)
		if err := fs.MakeDir("a/b", folder); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create("a/b/file", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(text("content")(f), fs.SyncData(f, data), f.Close(), fs.SyncDir("a/b", entry)); err != nil {
			t.Fatal(err)
		}
		got, err := disk.New(mem.CrashClone(vfs.CrashCloneCfg{}), nil).ReadFile("a/b/file")
		if err != nil {
			got = []byte("gone")
		}
		if string(got) != c.want {
			t.Errorf("%s: %q after the crash, want %q", c.name, got, c.want)
		}
	}
}

// A folder that a killed process made, but did not sync, is made durable by the next, also when
// it stands above the one that is wanted.
func TestMakeDirAgain(t *testing.T) {
	for _, dir := range []string{"a", "a/b", "a/b/c"} {
		mem := vfs.NewCrashableMem()
		if err := mem.MkdirAll("a", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := disk.New(mem, nil).MakeDir(dir, disk.FolderDir); err != nil {
			t.Fatal(err)
		}
		if _, err := mem.CrashClone(vfs.CrashCloneCfg{}).Stat(dir); err != nil {
			t.Errorf("after a crash: %v", err)
		}
	}
}

// Where the entry of a folder that is there can't be synced, nothing was lost by it.
func TestMakeDirInForeignPlace(t *testing.T) {
	for _, refusal := range []error{os.ErrPermission, syscall.EINVAL, syscall.EROFS} {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("a", 0o755); err != nil {
			t.Fatal(err)
		}
		fs := disk.New(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpOpenDir && op.Path == "." {
				return refusal
			}
			return nil
		})), nil)
		if err := fs.MakeDir("a/b", disk.FolderDir); err != nil {
			t.Errorf("%v above a folder that is there: %v", refusal, err)
		}
		if err := fs.MakeDir("c", disk.FolderDir); !errors.Is(err, refusal) {
			t.Errorf("%v above a new folder: %v", refusal, err)
		}
	}
}

// Replace is cut off by a crash before each of its operations: the old or the new content is
// there, whole, and the new one once Replace has returned. Without either sync that breaks.
func TestReplace(t *testing.T) {
	for _, c := range []struct {
		name   string
		skip   func(disk.Site) bool
		broken bool
	}{
		{"all synced", nil, false},
		{"data skipped", only(disk.SnapshotFile), true},
		{"entry skipped", only(disk.SnapshotDir), true},
	} {
		broken := error(nil)
		for seed := range uint64(120) {
			if err := replaceAndCrash(seed, c.skip); err != nil {
				broken = fmt.Errorf("seed %d: %w", seed, err)
			}
		}
		if (broken != nil) != c.broken {
			t.Errorf("%s: %v, want broken: %v", c.name, broken, c.broken)
		}
	}
}

func replaceAndCrash(seed uint64, skip func(disk.Site) bool) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	mem := vfs.NewCrashableMem()
	old, now := "old"+strings.Repeat("o", rng.IntN(10_000)), "new"+strings.Repeat("n", rng.IntN(10_000))
	if err := disk.New(mem, nil).Replace("file", disk.SnapshotFile, disk.SnapshotDir, text(old)); err != nil {
		return err
	}
	crashAt := rng.IntN(9)
	var after *vfs.MemFS
	crash := func() {
		after = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	}
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(errorfs.Op) error {
		if crashAt--; crashAt == 0 {
			crash()
		}
		return nil
	}))
	if err := disk.New(fs, skip).Replace("file", disk.SnapshotFile, disk.SnapshotDir, text(now)); err != nil {
		return err
	}
	returned := after == nil
	if returned {
		crash()
	}
	got, err := disk.New(after, nil).ReadFile("file")
	if err != nil {
		return err
	}
	if string(got) != now && (returned || string(got) != old) {
		return fmt.Errorf("%d bytes %.3q after the crash, old %d, new %d; returned: %v", len(got), got, len(old), len(now), returned)
	}
	return nil
}

// Whatever fails, Replace says so and the old content stays readable.
func TestReplaceFails(t *testing.T) {
	boom := errors.New("boom")
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		if err := disk.New(mem, nil).Replace("file", disk.SnapshotFile, disk.SnapshotDir, text("old")); err != nil {
			t.Fatal(err)
		}
		left, failed := n, errorfs.OpKind(-1)
		fs := disk.New(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if left--; left == 0 {
				failed = op.Kind
				return boom
			}
			return nil
		})), nil)
		err := fs.Replace("file", disk.SnapshotFile, disk.SnapshotDir, text("new"))
		if failed == -1 {
			if err != nil || n < 7 {
				t.Fatalf("Replace without a failure after %d operations: %v", n-1, err)
			}
			return
		}
		if !errors.Is(err, boom) {
			t.Errorf("operation %d failed, Replace returned %v", n, err)
		}
		got, err := disk.New(mem, nil).ReadFile("file")
		renamed := failed == errorfs.OpOpenDir || failed == errorfs.OpFileSync || failed == errorfs.OpFileClose && string(got) == "new"
		if err != nil || string(got) != "old" && !renamed {
			t.Errorf("operation %d failed: the file has %q, %v", n, got, err)
		}
	}
}
