package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// files are the bytes of a journal's segments by name.
type files map[string][]byte

func load(t testing.TB, fs vfs.FS) files {
	t.Helper()
	out := files{}
	for _, name := range segments(t, fs) {
		data, err := disk.New(fs, nil).ReadFile(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = data
	}
	return out
}

func (f files) store(t testing.TB) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range f {
		w, err := mem.Create(mem.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(slices.Clone(data)); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	return mem
}

// with is f with one file changed.
func (f files) with(name string, data []byte) files {
	out := files{name: data}
	for n, d := range f {
		if n != name {
			out[n] = d
		}
	}
	return out
}

// frames splits a segment at the magic of each frame.
func frames(data []byte) (out [][]byte) {
	for len(data) > 0 {
		n := 40 + int(binary.LittleEndian.Uint32(data[4:]))
		out = append(out, data[:n])
		data = data[n:]
	}
	return out
}

// seal writes a frame's checksum anew.
func seal(frame []byte) []byte {
	binary.LittleEndian.PutUint32(frame[8:], crc32.Checksum(frame[12:], crc32.MakeTable(crc32.Castagnoli)))
	return frame
}

// small is a journal of two segments with two and three frames, and its values.
func small(t testing.TB) (f files, first, last string, vals []string) {
	fs := vfs.NewMem()
	j := open(t, fs, 0, journal.Options{})
	mustAppend(t, j, "0", "1")
	mustAppend(t, j, "2", "3")
	j.Close()
	j = open(t, fs, 0, journal.Options{})
	mustAppend(t, j, "4")
	mustAppend(t, j, "5", "6", "7")
	mustAppend(t, j, "8", "9")
	j.Close()
	names := segments(t, fs)
	if len(names) != 2 {
		t.Fatalf("segments %q, want two", names)
	}
	return load(t, fs), names[0], names[1], numbered(0, 10)
}

// Every bit of every byte flipped in turn: an error that names the segment, or, in the last
// frame only, a torn frame. Never wrong records, and never more than were lost.
func TestBitFlips(t *testing.T) {
	whole, _, last, vals := small(t)
	parts := frames(whole[last])
	lastFrame := len(whole[last]) - len(parts[len(parts)-1])
	for name, data := range whole {
		for at := range data {
			for bit := range 8 {
				flipped := slices.Clone(data)
				flipped[at] ^= 1 << bit
				got, torn, err := openAndRead(whole.with(name, flipped).store(t))
				what := fmt.Sprintf("bit %d of byte %d of %s flipped", bit, at, name)
				if !slices.Equal(got, vals[:len(got)]) {
					t.Fatalf("%s: read %q", what, got)
				}
				if err != nil {
					if !strings.Contains(err.Error(), name) {
						t.Fatalf("%s: the error does not name the segment: %v", what, err)
					}
					continue
				}
				if name != last || at < lastFrame || len(got) != 8 || torn == 0 {
					t.Fatalf("%s: %d records, %d bytes torn and no error", what, len(got), torn)
				}
			}
		}
	}
}

// openAndRead returns the values of a journal up to the first error, of Open or of reading.
func openAndRead(fs vfs.FS) (vals []string, torn int64, err error) {
	j, torn, err := journal.Open(disk.New(fs, nil), dir, 0, journal.Options{})
	if err != nil {
		return nil, 0, err
	}
	defer j.Close()
	recs, err := readTo(j, 0, 1<<20)
	for _, r := range recs {
		vals = append(vals, string(r.Value))
	}
	return vals, torn, err
}

// The last segment cut off anywhere: whole frames stay, the rest is torn and counted.
func TestTornTail(t *testing.T) {
	whole, _, last, vals := small(t)
	data := whole[last]
	for cut := range len(data) + 1 {
		for _, zeros := range []int{0, 1, 39, 40, 5000} {
			tail := append(slices.Clone(data[:cut]), make([]byte, zeros)...)
			want, good := 4, 0
			for i, f := range frames(data) {
				if !bytes.HasPrefix(tail[good:], f) { // zeros may complete a frame that ends in them
					break
				}
				good += len(f)
				want = []int{5, 8, 10}[i]
			}
			fs := whole.with(last, tail).store(t)
			got, torn, err := openAndRead(fs)
			if err != nil || !slices.Equal(got, vals[:want]) {
				t.Fatalf("cut at %d, %d zeros: %q, %v; want %d records", cut, zeros, got, err, want)
			}
			if wantTorn := len(bytes.TrimRight(tail[good:], "\x00")); torn != int64(wantTorn) {
				t.Fatalf("cut at %d, %d zeros: torn %d, want %d", cut, zeros, torn, wantTorn)
			}
			j := open(t, fs, 0, journal.Options{})
			mustAppend(t, j, "after")
			j.Close()
			if got, torn, err := openAndRead(fs); err != nil || torn != 0 || !slices.Equal(got, append(vals[:want:want], "after")) {
				t.Fatalf("cut at %d, then appended: %q, torn %d, %v", cut, got, torn, err)
			}
		}
	}
}

// What stands in the last segment can be whole and still no torn write.
func TestOpenRefusesDamage(t *testing.T) {
	whole, _, last, _ := small(t)
	data := whole[last]
	parts := frames(data)
	edit := func(at int, b byte) []byte {
		out := slices.Clone(data)
		tail := out[len(data)-len(parts[2]):]
		tail[at] = b
		seal(tail)
		return out
	}
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"another format", "frame format 2", edit(12, 2)},
		{"unknown flags", "flags 0x1", edit(13, 1)},
		{"reserved bytes", "flags 0x0,0x1", edit(14, 1)},
		{"encrypted", "key 9", edit(16, 9)},
		{"more records than bytes", "impossible", edit(20, 200)},
		{"no records", "impossible", edit(20, 0)},
		{"negative offset", "impossible", edit(31, 0x80)},
		{"offsets overflow", "impossible", func() []byte {
			out := slices.Clone(data)
			tail := out[len(data)-len(parts[2]):]
			binary.LittleEndian.PutUint64(tail[24:], 1<<63-2)
			seal(tail)
			return out
		}()},
		{"a frame missing", "expected 5", slices.Concat(parts[0], parts[2])},
		{"a frame twice", "expected 5", slices.Concat(parts[0], parts[0])},
		{"hole in the middle", "good frame follows", slices.Concat(parts[0], make([]byte, len(parts[1])), parts[2])},
		{"bytes inserted", "good frame follows", slices.Concat(parts[0], []byte("FRJ1"), parts[1], parts[2])},
		{"another format behind a hole", "good frame follows", func() []byte {
			out := edit(12, 2)
			clear(out[len(parts[0]):][:len(parts[1])])
			return out
		}()},
	} {
		_, _, err := journal.Open(disk.New(whole.with(last, c.data).store(t), nil), dir, 0, journal.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), last) {
			t.Errorf("%s: error %v, want one with %q and %s", c.name, err, c.want, last)
		}
	}
}

// A reader that meets damage returns what is good before it, and then the error every time.
func TestReaderStopsAtDamage(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 100<<20 {
			t.Errorf("%d MiB were allocated on the word of a damaged header", (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}()
	whole, first, _, vals := small(t)
	parts := frames(whole[first])
	bad := slices.Clone(whole[first])
	bad[len(parts[0])+45] ^= 1
	malformed := slices.Clone(whole[first])
	tail := malformed[len(parts[0]):]
	tail[40+1] = 200 // the key of its first record runs past the frame
	seal(tail)
	misplaced := slices.Concat(parts[1], parts[0])
	for _, c := range []struct {
		name string
		data []byte
		good int
	}{
		{"flip", bad, 2}, {"malformed", malformed, 2}, {"misplaced", misplaced, 0},
		{"missing", parts[0], 2}, {"no file content", nil, 0},
		{"too long", slices.Concat(parts[0], func() []byte {
			f := slices.Concat(parts[1], []byte{0, 0, 1, 'x', 0})
			f[4], f[20] = byte(len(f)-40), 3 // a good record more than the segment may hold
			return seal(f)
		}()), 2},
		{"huge length", slices.Concat(parts[0], func() []byte {
			f := slices.Clone(parts[1])
			f[7] = 0x0f
			return f
		}()), 2},
	} {
		j := open(t, whole.with(first, c.data).store(t), 0, journal.Options{})
		r := j.ReadFrom(0)
		var got []string
		var errs []error
		for len(errs) < 3 {
			recs, err := r.Next(context.Background(), nil, 1<<20)
			if err != nil {
				if len(recs) != 0 {
					t.Errorf("%s: %d records with an error", c.name, len(recs))
				}
				errs = append(errs, err)
			}
			got = append(got, values(t, recs, r.Offset()-int64(len(recs)))...)
		}
		r.Close()
		if !slices.Equal(got, vals[:c.good]) || r.Offset() != int64(c.good) {
			t.Errorf("%s: read %q up to offset %d, want %d records", c.name, got, r.Offset(), c.good)
		}
		for _, err := range errs {
			if !strings.Contains(err.Error(), first) || err.Error() != errs[0].Error() {
				t.Errorf("%s: error %v", c.name, err)
			}
		}
		wantValues(t, j, 4, vals[4:]...) // the other segment is not concerned
	}
}

// A disk that can't be read says nothing about the frames on it.
func TestOpenOnUnreadableDisk(t *testing.T) {
	whole, _, last, vals := small(t)
	mem := whole.store(t)
	for _, kind := range []errorfs.OpKind{errorfs.OpFileRead, errorfs.OpFileStat, errorfs.OpFileSyncData, errorfs.OpList, errorfs.OpOpenDir} {
		once := true
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind && once {
				once = false
				return io.ErrNoProgress
			}
			return nil
		}))
		if _, _, err := openAndRead(fs); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("op %d failed: Open returned %v", kind, err)
		}
		if got, torn, err := openAndRead(fs); err != nil || torn != 0 || !slices.Equal(got, vals) {
			t.Errorf("after op %d failed: %q, %d bytes torn, %v", kind, got, torn, err)
		}
	}
	// Cut off while it is read.
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileRead {
			return io.EOF
		}
		return nil
	}))
	if _, _, err := openAndRead(fs); err == nil || !strings.Contains(err.Error(), last) {
		t.Errorf("a file that shrinks while it is read: %v", err)
	}
}
