package ann_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// snapshotOf returns the snapshot of a small linked index.
func snapshotOf(t testing.TB, n int) []byte {
	return snapshotFrom(t, ann.Options{Dim: 6, FlatBelow: -1, M: 4, EfConstruction: 20}, n)
}

func snapshotFrom(t testing.TB, opt ann.Options, n int) []byte {
	ix := newIndex(t, opt)
	fill(t, ix, newMixture(5, opt.Dim, 4, 3).vectors(n))
	var b bytes.Buffer
	if err := ix.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotKeepsRecall(t *testing.T) {
	n := 2000
	if raceEnabled {
		n = 500
	}
	for _, opt := range forms(t, ann.Options{Dim: 24, FlatBelow: -1}) {
		t.Run(opt.Kind.String()+"/"+opt.Precision.String(), func(t *testing.T) { testSnapshotRecall(t, opt, n) })
	}
}

func testSnapshotRecall(t *testing.T, opt ann.Options, n int) {
	m := newMixture(9, 24, 8, 20)
	ix := newIndex(t, opt)
	fill(t, ix, m.vectors(n))
	queries := m.vectors(100)
	truth := exactTruth(t, ix, queries, 10, nil)
	loaded := reload(t, ix, opt)
	if st := loaded.Stats(); st.InGraph != n {
		t.Errorf("the links were not taken over: %+v", st)
	}
	before, after := recall(t, ix, queries, truth, 10, ann.SearchOptions{Ef: 20}), recall(t, loaded, queries, truth, 10, ann.SearchOptions{Ef: 20})
	if after < before-0.005 {
		t.Errorf("recall@10 is %.4f after a load, and was %.4f", after, before)
	}
	opt.M = 8 // other rows: everything is linked anew
	if st := reload(t, ix, opt).Stats(); st.Points != n {
		t.Errorf("with another M: %+v", st)
	}
}

func TestLoadRefuses(t *testing.T) {
	good := snapshotOf(t, 1100)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0x40
		return b
	}
	format := bytes.Clone(good)
	format[8] = 3
	binary.LittleEndian.PutUint32(format[60:], crc32.Checksum(format[:60], crc32.MakeTable(crc32.Castagnoli)))
	for _, c := range []struct {
		name, want string
		bytes      []byte
		opt        ann.Options
		damaged    bool
	}{
		{"empty", "ends in the header", nil, ann.Options{}, true},
		{"other file", "does not begin", bytes.Repeat([]byte("text "), 40), ann.Options{}, true},
		{"header", "checksum of the header", flip(25), ann.Options{}, true},
		{"body", "checksum of the block", flip(200), ann.Options{}, true},
		{"second block", "checksum of the block", flip(len(good) - 100), ann.Options{}, true},
		{"trailer", "trailer", flip(len(good) - 6), ann.Options{}, true},
		{"last byte", "trailer", flip(len(good) - 1), ann.Options{}, true},
		{"cut in a block", "ends in the blocks", good[:len(good)/2], ann.Options{}, true},
		{"cut before the trailer", "ends in the trailer", good[:len(good)-1], ann.Options{}, true},
		{"format", "has format 3", format, ann.Options{}, false},
		{"dimension", "has dimension 6", good, ann.Options{Dim: 7}, false},
		{"metric", "has metric cosine", good, ann.Options{Metric: ann.L2}, false},
		{"option", "option M is 1000", good, ann.Options{M: 1000}, false},
	} {
		ix, err := ann.Load(bytes.NewReader(c.bytes), c.opt)
		if err == nil {
			ix.Close()
			t.Errorf("%s: no error", c.name)
		} else if !strings.Contains(err.Error(), c.want) || errors.Is(err, ann.ErrDamaged) != c.damaged {
			t.Errorf("%s: error %q, want one with %q", c.name, err, c.want)
		}
	}
}

// failingWriter takes so many bytes.
type failingWriter int

func (w *failingWriter) Write(p []byte) (int, error) {
	if *w -= failingWriter(len(p)); *w < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestSnapshotReportsWriteErrors(t *testing.T) {
	ix := newIndex(t, ann.Options{Dim: 64, Kind: ann.Flat})
	fill(t, ix, newMixture(5, 64, 4, 3).vectors(3000))
	for _, room := range []int{0, 100000, 700000} {
		w := failingWriter(room)
		if err := ix.Snapshot(&w); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("with room for %d bytes: error %v", room, err)
		}
	}
}

// FuzzLoad feeds Load with damaged snapshots whose checksums are right, so that the damage gets past them. Whatever
// loads must be usable.
func FuzzLoad(f *testing.F) {
	f.Add(snapshotOf(f, 40), true, uint8(0))
	f.Add(snapshotOf(f, 3), false, uint8(0))
	for _, opt := range forms(f, ann.Options{Dim: 6, FlatBelow: -1, M: 4, EfConstruction: 20}) {
		f.Add(snapshotFrom(f, opt, 5), true, uint8(opt.Precision))
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool, precision uint8) {
		if seal {
			b = sealed(b)
		}
		ix, err := ann.Load(bytes.NewReader(b), ann.Options{FlatBelow: -1, M: 4, EfConstruction: 20, Precision: ann.Precision(precision % 3)})
		if err != nil {
			return
		}
		defer ix.Close()
		q := make([]float32, ix.Options().Dim)
		q[0] = 1
		if res, err := ix.Search(q, 10, ann.SearchOptions{}, nil); err != nil || len(res) != min(10, ix.Len()) {
			t.Fatalf("%d results of %d points, error %v", len(res), ix.Len(), err)
		}
		for _, p := range ix.Check() {
			if p.Code != ann.ProblemUnreachable {
				t.Fatal(p)
			}
		}
	})
}

// sealed returns b with the checksums that fit it, as far as it has the form of a snapshot.
func sealed(b []byte) []byte {
	b = bytes.Clone(b)
	le, table := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	if len(b) < 64 {
		return b
	}
	le.PutUint32(b[60:], crc32.Checksum(b[:60], table))
	sums, rest := uint32(0), b[64:]
	for len(rest) >= 24 && !bytes.HasPrefix(rest, []byte("FRESHEND")) {
		size := int(le.Uint32(rest))
		if size > len(rest)-8 {
			return b
		}
		le.PutUint32(rest[4:], crc32.Checksum(rest[8:8+size], table))
		sums = crc32.Update(sums, table, rest[4:8])
		rest = rest[8+size:]
	}
	if len(rest) >= 16 {
		le.PutUint32(rest[8:], sums)
	}
	return b
}
