package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/disk"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)

// content of the files of a backup, by path.
type content map[string]string

func sources(files content) (list []backup.Source) {
	for path, text := range files {
		list = append(list, backup.Source{Path: path, Bytes: int64(len(text)),
			Open: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(text + " and what came later")), nil
			}})
	}
	slices.SortFunc(list, func(a, b backup.Source) int { return strings.Compare(a.Path, b.Path) })
	return list
}

func write(t testing.TB, files content, o backup.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	m, err := backup.Write(context.Background(), &out, backup.Info{Log: "0102030405060708", Epoch: 3, RawEnd: 99, At: noon, Version: "test"}, sources(files), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != len(files) {
		t.Fatalf("the manifest lists %d files of %d", len(m.Files), len(files))
	}
	return out.Bytes()
}

var few = content{"FORMAT": "{}", "journal/0.seg": strings.Repeat("frame", 300), "state/1.sst": strings.Repeat("\x00", 512), "state/empty": ""}

func folder(fs disk.FS, dir string) backup.Folder {
	return backup.Folder{FS: fs, Dir: dir, File: disk.RestoreFile, Entry: disk.RestoreDir}
}

// holds checks that a folder has exactly these files.
func holds(t testing.TB, fs disk.FS, dir string, files content) {
	t.Helper()
	for path, want := range files {
		if got, err := fs.ReadFile(fs.PathJoin(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s holds %.40q, %v; want %.40q", path, got, err, want)
		}
	}
}

func TestStream(t *testing.T) {
	raw := write(t, few, backup.Options{})
	fs := disk.New(vfs.NewMem(), nil)
	m, err := folder(fs, "data").Unpack(context.Background(), bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if m.Info.Log != "0102030405060708" || m.Info.Epoch != 3 || m.Info.RawEnd != 99 || !m.Info.At.Equal(noon) || m.Bytes() != 2+1500+512 {
		t.Errorf("the manifest says %+v", m)
	}
	holds(t, fs, "data", few)
	// Any tar reads it.
	names := ""
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names += h.Name + " "
	}
	if names != "BACKUP FORMAT journal/0.seg state/1.sst state/empty MANIFEST DIGEST " {
		t.Errorf("tar lists %s", names)
	}
}

// Whatever byte is altered, and wherever a backup ends too early, it is refused, and what is damaged is named if that is
// a file.
func TestDamageIsRefused(t *testing.T) {
	raw := write(t, few, backup.Options{})
	refused := func(what string, raw []byte) *backup.DamageError {
		t.Helper()
		m, err := backup.Check(context.Background(), bytes.NewReader(raw))
		if err == nil {
			t.Fatalf("%s: accepted: %+v", what, m)
		}
		var d *backup.DamageError
		errors.As(err, &d)
		return d
	}
	for n := range raw {
		if d := refused(fmt.Sprintf("cut to %d bytes", n), raw[:n]); d == nil && n > 2*512 {
			t.Fatalf("cut to %d bytes: it is not called damaged", n)
		}
	}
	for i := range raw {
		altered := bytes.Clone(raw)
		altered[i] ^= 1
		refused(fmt.Sprintf("byte %d altered", i), altered)
	}
	refused("a byte behind its end", append(bytes.Clone(raw), 0))
	at := bytes.Index(raw, []byte("frameframe"))
	altered := bytes.Clone(raw)
	altered[at+7]++
	if d := refused("a file altered", altered); d == nil || !slices.Equal(d.Files, []string{"journal/0.seg"}) {
		t.Errorf("it does not name the file: %v", d)
	}
	if d := refused("cut in a file", raw[:at+100]); d == nil || !slices.Equal(d.Files, []string{"journal/0.seg"}) {
		t.Errorf("it does not name the file: %v", d)
	}
	if _, err := backup.Check(context.Background(), strings.NewReader("no archive")); err == nil {
		t.Error("text is accepted")
	}
}

// A file that leads out of the folder is not written, whatever its digest says.
func TestPathsStayInTheFolder(t *testing.T) {
	for _, path := range []string{"../FORMAT", "journal/../../x", "/etc/passwd", "journal", "journal/a/b", "LOCK", "journal/.."} {
		if _, err := backup.Write(context.Background(), io.Discard, backup.Info{}, sources(content{path: "x"}), backup.Options{}); err == nil {
			t.Errorf("%s is written", path)
		}
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, e := range []struct{ name, text string }{{"BACKUP", `{"format":1}`}, {path, "x"}} {
			if err := w.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.text)), Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(e.text)); err != nil {
				t.Fatal(err)
			}
		}
		fs := disk.New(vfs.NewMem(), nil)
		if _, err := folder(fs, "data/restoring").Unpack(context.Background(), &out); !backup.IsDamage(err) {
			t.Errorf("%s: %v", path, err)
		}
		if names, _ := fs.List("data"); !slices.Equal(names, []string{"restoring"}) {
			t.Errorf("%s: the folder above has %v", path, names)
		}
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	raw := write(t, few, backup.Options{})
	newer := bytes.Replace(raw, []byte(`"format":1`), []byte(`"format":2`), 1)
	if _, err := backup.Check(context.Background(), bytes.NewReader(newer)); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("%v", err)
	}
}

// TestFolder: a backup that is a folder, one that builds on it, and what is wrong with damaged ones.
func TestFolder(t *testing.T) {
	ctx, fs := context.Background(), disk.New(vfs.NewMem(), nil)
	if _, err := backup.SaveFolder(ctx, fs, "one", "", bytes.NewReader(write(t, few, backup.Options{}))); err != nil {
		t.Fatal(err)
	}
	first, err := backup.ReadManifest(fs, "one")
	if err != nil {
		t.Fatal(err)
	}
	grown := content{"FORMAT": "{}", "journal/0.seg": few["journal/0.seg"], "state/1.sst": strings.Repeat("\x01", 512), "state/2.sst": "new"}
	stream := write(t, grown, backup.Options{Base: first.Files})
	if bytes.Contains(stream, []byte("frameframe")) {
		t.Error("a file that the base has is sent again")
	}
	if _, err := backup.Check(ctx, bytes.NewReader(stream)); !backup.IsDamage(err) {
		t.Errorf("a stream that builds on an earlier backup is whole by itself: %v", err)
	}
	second, err := backup.SaveFolder(ctx, fs, "two", "one", bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := backup.CheckFolder(ctx, fs, "two"); err != nil || !slices.Equal(m.Files, second.Files) || m.Info != second.Info {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := folder(fs, "data").Copy(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	holds(t, fs, "data", grown)
	if _, err := backup.SaveFolder(ctx, fs, "two", "", bytes.NewReader(stream)); err == nil {
		t.Error("a folder that is there is written over")
	}
	names, _ := fs.List("")
	slices.Sort(names)
	if _, err := backup.SaveFolder(ctx, fs, "three", "", bytes.NewReader(stream[:2000])); !backup.IsDamage(err) {
		t.Errorf("a cut stream is saved: %v", err)
	}
	now, _ := fs.List("")
	if slices.Sort(now); !slices.Equal(now, names) {
		t.Errorf("a failed backup leaves %v, before were %v", now, names)
	}
	set := func(path, text string) {
		t.Helper()
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	set("one/journal/0.seg", few["journal/0.seg"][1:]+"e") // of the same size; "two" has a link to what it was... or to this
	if _, err := backup.SaveFolder(ctx, fs, "four", "one", bytes.NewReader(stream)); err == nil || !strings.Contains(err.Error(), "journal/0.seg") {
		t.Errorf("a damaged file of the base is taken over: %v", err)
	}
	if err := fs.Remove("one/state/1.sst"); err != nil {
		t.Fatal(err)
	}
	var d *backup.DamageError
	if _, err := backup.CheckFolder(ctx, fs, "one"); !errors.As(err, &d) || !slices.Equal(d.Files, []string{"journal/0.seg", "state/1.sst"}) {
		t.Errorf("damaged files: %v", err)
	}
	manifest, _ := fs.ReadFile("one/MANIFEST")
	set("one/MANIFEST", strings.Replace(string(manifest), `"bytes": 1500`, `"bytes": 1501`, 1))
	if _, err := backup.ReadManifest(fs, "one"); !backup.IsDamage(err) {
		t.Errorf("an altered manifest: %v", err)
	}
	if err := fs.Remove("one/MANIFEST"); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.ReadManifest(fs, "one"); !backup.IsDamage(err) {
		t.Errorf("no manifest: %v", err)
	}
	if _, err := backup.ReadManifest(fs, "data"); err == nil || backup.IsDamage(err) {
		t.Errorf("a data folder: %v", err)
	}
}

// TestSaveFileIsDurable: once a file has its name it outlives a power cut, whole; without either of the syncs it does not.
func TestSaveIsDurable(t *testing.T) {
	raw := write(t, few, backup.Options{})
	for _, skip := range []disk.Site{"", disk.BackupFile, disk.BackupDir} {
		for _, form := range []string{"file", "folder"} {
			mem := vfs.NewCrashableMem()
			fs := disk.New(mem, func(s disk.Site) bool { return s == skip })
			var err error
			if form == "file" {
				_, err = backup.SaveFile(context.Background(), fs, "b", bytes.NewReader(raw))
			} else {
				_, err = backup.SaveFolder(context.Background(), fs, "b", "", bytes.NewReader(raw))
			}
			if err != nil {
				t.Fatal(err)
			}
			left := disk.New(mem.CrashClone(vfs.CrashCloneCfg{}), nil)
			if form == "file" {
				var got []byte
				if got, err = left.ReadFile("b"); err == nil && !bytes.Equal(got, raw) {
					err = fmt.Errorf("%d bytes are left of %d", len(got), len(raw))
				}
			} else {
				_, err = backup.CheckFolder(context.Background(), left, "b")
			}
			if (err == nil) != (skip == "") {
				t.Errorf("%s without %q: %v", form, skip, err)
			}
		}
	}
}

func TestRate(t *testing.T) {
	began := time.Now()
	write(t, content{"state/a": strings.Repeat("x", 30_000)}, backup.Options{BytesPerSecond: 100_000})
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("30,000 bytes at 100,000 a second took %v", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := backup.Write(ctx, io.Discard, backup.Info{}, sources(content{"state/a": strings.Repeat("x", 30_000)}), backup.Options{BytesPerSecond: 1000})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it goes on when nobody wants it: %v", err)
	}
}

// FuzzCheck: no stream is accepted but one that was written, and none brings the reader down.
func FuzzCheck(f *testing.F) {
	raw := write(f, few, backup.Options{})
	f.Add(raw)
	f.Add(raw[:1500])
	f.Fuzz(func(t *testing.T, in []byte) {
		if m, err := backup.Check(context.Background(), bytes.NewReader(in)); err == nil && !bytes.Equal(in, raw) {
			t.Errorf("a stream that nobody wrote is accepted: %+v", m)
		}
	})
}
