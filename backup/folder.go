package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet/disk"
)

// Folder is where files of a backup are written to: an empty folder.
type Folder struct {
	FS  disk.FS
	Dir string
	// Base is the folder of an earlier backup that a stream may name files of, which are linked then; "" for none.
	Base string
	// File and Entry are the sites that make files and their names durable.
	File, Entry disk.Site

	base map[string]File // of Base
}

// Unpack writes the files of a stream into a folder. When it returns an error nothing there is to be used.
func (f Folder) Unpack(ctx context.Context, r io.Reader) (*Manifest, error) {
	if f.Base != "" {
		m, err := ReadManifest(f.FS, f.Base)
		if err != nil {
			return nil, err
		}
		f.base = byPath(m.Files)
	}
	if err := f.begin(); err != nil {
		return nil, err
	}
	m, err := readStream(ctx, r, &f)
	if err != nil {
		return nil, err
	}
	return m, f.end()
}

// Copy writes the files of a backup that is a folder into another one.
func (f Folder) Copy(ctx context.Context, from string) (*Manifest, error) {
	if err := f.begin(); err != nil {
		return nil, err
	}
	m, err := readFolder(ctx, f.FS, from, &f)
	if err != nil {
		return nil, err
	}
	return m, f.end()
}

// folders that a data folder has files in.
var folders = []string{"journal", "state", "index"}

func (f *Folder) begin() error {
	for _, name := range folders {
		if err := f.FS.MakeDir(f.FS.PathJoin(f.Dir, name), f.Entry); err != nil {
			return err
		}
	}
	return nil
}

// end makes the entries durable; the files are.
func (f *Folder) end() error {
	for _, name := range folders {
		if err := f.FS.SyncDir(f.FS.PathJoin(f.Dir, name), f.Entry); err != nil {
			return err
		}
	}
	return f.FS.SyncDir(f.Dir, f.Entry)
}

// create implements target.
func (f *Folder) create(name string) (io.WriteCloser, error) {
	file, err := f.FS.Create(f.FS.PathJoin(f.Dir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return &durable{File: file, f: f, name: name}, nil
}

// durable is a file that Close makes durable.
type durable struct {
	vfs.File
	f    *Folder
	name string
}

// Close implements io.Closer.
func (d *durable) Close() error {
	if err := d.f.FS.SyncData(d.File, d.f.File); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", d.name, err), d.File.Close())
	}
	return d.File.Close()
}

// link implements target.
func (f *Folder) link(name string) (File, error) {
	if f.base == nil {
		return File{}, damaged(name, "is in an earlier backup, which is not given; a stream is restored by itself only if it was written without a base")
	}
	known, ok := f.base[name]
	if !ok {
		return File{}, damaged(name, "is said to be in the earlier backup %s, which does not list it", f.Base)
	}
	from := f.FS.PathJoin(f.Base, name)
	if err := copyFile(context.Background(), f.FS, from, known, nowhere{}); err != nil {
		return File{}, fmt.Errorf("the earlier backup %s: %w; make one without it", f.Base, err)
	}
	if err := vfs.LinkOrCopy(f.FS, from, f.FS.PathJoin(f.Dir, name)); err != nil {
		return File{}, fmt.Errorf("link %s of the earlier backup: %w", name, err)
	}
	return known, nil
}

// ReadManifest reads what a backup that is a folder has. It looks at no other file.
func ReadManifest(dfs disk.FS, dir string) (*Manifest, error) {
	info, err := dfs.ReadFile(dfs.PathJoin(dir, nameInfo))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no backup of freshet: it has no file %s", dir, nameInfo)
	}
	if err != nil {
		return nil, err
	}
	raw, err := dfs.ReadFile(dfs.PathJoin(dir, nameManifest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(nameManifest, "is missing: the backup was not finished")
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if m.Info, err = parseInfo(info); err != nil {
		return nil, err
	}
	at := max(0, len(raw)-len(footOf(nil, nil)))
	if !bytes.Equal(raw[at:], footOf(info, raw[:at])) {
		return nil, damaged(nameManifest+" or "+nameInfo, "is not as it was written")
	}
	if err := json.Unmarshal(raw[:at], m); err != nil {
		return nil, damaged(nameManifest, "can't be read: %v", err)
	}
	for _, f := range m.Files {
		if err := checkPath(f.Path); err != nil {
			return nil, damaged(nameManifest, "names %q", f.Path)
		}
	}
	return m, nil
}

// footOf is the last line of a folder's MANIFEST.
func footOf(info, manifest []byte) []byte {
	h := xxh3.New()
	_, _ = h.Write(info)
	_, _ = h.Write(manifest)
	return append([]byte("xxh3 "), digestOf(h)...)
}

// readFolder hands the files of a backup that is a folder to t. What is damaged is named, all of it.
func readFolder(ctx context.Context, dfs disk.FS, dir string, t target) (*Manifest, error) {
	m, err := ReadManifest(dfs, dir)
	if err != nil {
		return nil, err
	}
	var bad []string
	for _, f := range m.Files {
		if err := copyFile(ctx, dfs, dfs.PathJoin(dir, f.Path), f, t); IsDamage(err) {
			bad = append(bad, f.Path)
		} else if err != nil {
			return nil, err
		}
	}
	if len(bad) > 0 {
		return nil, &DamageError{Files: bad, Reason: fmt.Sprintf("of its files these are missing or not as they were written: %v", bad)}
	}
	return m, nil
}

func copyFile(ctx context.Context, dfs disk.FS, from string, f File, t target) error {
	r, err := dfs.Open(from, vfs.SequentialReadsOption)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged(f.Path, "is missing")
	}
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := t.create(f.Path)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(sum, w), &contextReader{ctx, r}, make([]byte, copyBuffer))
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", f.Path, err)
	}
	if n != f.Bytes || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return damaged(f.Path, "is not as it was written")
	}
	return nil
}

// nowhere takes files and forgets them.
type nowhere struct{}

// create implements target.
func (nowhere) create(string) (io.WriteCloser, error) { return discard{io.Discard}, nil }

// link implements target.
func (nowhere) link(name string) (File, error) {
	return File{}, damaged(name, "is in an earlier backup, which is not given")
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// Check reads a stream to its end and reports what is wrong with it.
func Check(ctx context.Context, r io.Reader) (*Manifest, error) {
	return readStream(ctx, r, nowhere{})
}

// CheckFolder reads a backup that is a folder and reports what is wrong with it.
func CheckFolder(ctx context.Context, dfs disk.FS, dir string) (*Manifest, error) {
	return readFolder(ctx, dfs, dir, nowhere{})
}

// temporary is the suffix of a backup that is not whole.
const temporary = ".tmp"

// keepingWriter leaves what it is given as it is, which a file of vfs need not: it may use the bytes as its own.
type keepingWriter struct {
	w    io.Writer
	copy []byte
}

// Write implements io.Writer.
func (k *keepingWriter) Write(b []byte) (int, error) {
	k.copy = append(k.copy[:0], b...)
	return k.w.Write(k.copy)
}

// SaveFile writes a stream into a file, which gets its name once all of it is checked and durable.
func SaveFile(ctx context.Context, dfs disk.FS, name string, r io.Reader) (m *Manifest, err error) {
	err = dfs.Replace(name, disk.BackupFile, disk.BackupDir, func(w io.Writer) error {
		m, err = Check(ctx, io.TeeReader(r, &keepingWriter{w: w}))
		return err
	})
	if err != nil {
		_ = dfs.Remove(name + temporary)
		return nil, err
	}
	return m, nil
}

// SaveFolder unpacks a stream into a folder that is not there yet, which gets its name once all of it is checked and durable.
// base is the folder of the earlier backup that it builds on, or "": files that are in both are linked.
func SaveFolder(ctx context.Context, dfs disk.FS, dir, base string, r io.Reader) (m *Manifest, err error) {
	if _, err := dfs.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there already; a backup needs a folder of its own", dir)
	}
	tmp := dir + temporary
	if err := dfs.RemoveAll(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := dfs.MakeDir(tmp, disk.BackupDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dfs.RemoveAll(tmp))
		}
	}()
	f := Folder{FS: dfs, Dir: tmp, Base: base, File: disk.BackupFile, Entry: disk.BackupDir}
	if m, err = f.Unpack(ctx, r); err != nil {
		return nil, err
	}
	if err := f.writeManifest(m); err != nil {
		return nil, err
	}
	if err := dfs.Rename(tmp, dir); err != nil {
		return nil, err
	}
	return m, dfs.SyncDir(dfs.PathDir(dir), disk.BackupDir)
}

// writeManifest makes a folder of files a backup.
func (f *Folder) writeManifest(m *Manifest) error {
	info, err := json.Marshal(m.Info)
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	info, raw = append(info, '\n'), append(raw, '\n')
	raw = append(raw, footOf(info, raw)...)
	for name, content := range map[string][]byte{nameInfo: info, nameManifest: raw} {
		w, err := f.create(name)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		if err = errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return f.FS.SyncDir(f.Dir, f.Entry)
}
