package filter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/freshet-io/freshet/filter"
)

const all = 1<<32 - 1

func saved(t testing.TB, x *filter.Index) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := x.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func loaded(t testing.TB, raw []byte, limit uint32) *filter.Index {
	t.Helper()
	x, err := filter.Load(bytes.NewReader(raw), limit)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestLoadedIndexGoesOn saves and loads an index in the middle of random operations; the loaded one must answer, and take
// changes, like any other.
func TestLoadedIndexGoesOn(t *testing.T) {
	for seed := range uint64(8) {
		g := &generator{rand.New(rand.NewPCG(seed, 2))}
		x, docs := filter.NewIndex(), map[uint32]string{}
		for step := range 600 {
			doc := uint32(g.IntN(150))
			if g.IntN(6) == 0 {
				x.Delete(doc)
				delete(docs, doc)
			} else {
				docs[doc] = g.metadata()
				if err := x.Set(doc, []byte(docs[doc])); err != nil {
					t.Fatal(err)
				}
			}
			if step%120 == 119 {
				x = loaded(t, saved(t, x), all)
				checkDigests(t, x, docs)
			}
			if step%20 == 19 {
				compare(t, x, docs, g.parse(t))
			}
		}
		x = loaded(t, saved(t, x), 100)
		for doc := range docs {
			if doc >= 100 {
				delete(docs, doc)
			}
		}
		checkDigests(t, x, docs)
		for doc := range docs {
			x.Delete(doc)
		}
		if s := x.Stats(); s.Docs != 0 || s.Fields != 0 || s.Terms != 0 {
			t.Errorf("seed %d: after deleting everything: %+v", seed, s)
		}
	}
}

// TestLargeIndexIsSaved has bitmaps, terms in several blocks of an order, and blocks of the file cut between them.
func TestLargeIndexIsSaved(t *testing.T) {
	const n = 6000
	g := &generator{rand.New(rand.NewPCG(17, 7))}
	x, docs := filter.NewIndex(), map[uint32]string{}
	for i := range uint32(n) {
		docs[i] = fmt.Sprintf(`{"id":"user-%06d-%s","brand":"b%d","price":%d.%02d,"seen":%q,"maker":{"tags":["t%d",null]}}`,
			g.IntN(n), strings.Repeat("x", g.IntN(200)), g.IntN(30), g.IntN(500), g.IntN(100), g.time(), g.IntN(9))
		if err := x.Set(i, []byte(docs[i])); err != nil {
			t.Fatal(err)
		}
	}
	y := loaded(t, saved(t, x), all)
	checkDigests(t, y, docs)
	if a, b := x.Stats(), y.Stats(); a.Docs != b.Docs || a.Fields != b.Fields || a.Terms != b.Terms {
		t.Errorf("saved %+v, loaded %+v", a, b)
	}
	for _, f := range []string{`{"range":{"price":{"gte":100,"lt":300.5}}}`, `{"range":{"seen":{"gte":"2026-01-02T00:00:00Z"}}}`,
		`{"prefix":{"id":"user-00"}}`, `{"eq":{"maker.tags":null}}`, `{"exists":{"maker":true}}`} {
		if compare(t, y, docs, mustParse(t, f)) == 0 {
			t.Errorf("%s matches nothing", f)
		}
	}
}

// TestSnapshotBesideWriters changes documents while the index is saved. What is known to have changed is set again after
// Load; then all is as it should be, the others included.
func TestSnapshotBesideWriters(t *testing.T) {
	g := &generator{rand.New(rand.NewPCG(5, 5))}
	x, docs := filter.NewIndex(), map[uint32]string{}
	set := func(doc uint32, metadata string) {
		docs[doc] = metadata
		if err := x.Set(doc, []byte(metadata)); err != nil {
			t.Error(err)
		}
	}
	for doc := range uint32(3000) {
		set(doc, g.metadata())
	}
	var raw []byte
	touched := map[uint32]bool{}
	var writer sync.WaitGroup
	stop := make(chan struct{})
	started := make(chan struct{})
	writer.Go(func() {
		for n := 0; ; n++ {
			doc := uint32(g.IntN(3500))
			touched[doc] = true
			if g.IntN(4) == 0 {
				x.Delete(doc)
				delete(docs, doc)
			} else {
				set(doc, g.metadata())
			}
			if n == 0 {
				close(started)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-started
	raw = saved(t, x)
	close(stop)
	writer.Wait()
	x = loaded(t, raw, 3000)
	for doc := range touched {
		if metadata, ok := docs[doc]; ok {
			if err := x.Set(doc, []byte(metadata)); err != nil {
				t.Fatal(err)
			}
		} else {
			x.Delete(doc)
		}
	}
	checkDigests(t, x, docs)
	for range 50 {
		compare(t, x, docs, g.parse(t))
	}
}

func TestLoadRefusesDamage(t *testing.T) {
	x := filter.NewIndex()
	for doc := range uint32(200) {
		if err := x.Set(doc, fmt.Appendf(nil, `{"a":{"b":%d},"c":["x","y%d"]}`, doc, doc%3)); err != nil {
			t.Fatal(err)
		}
	}
	good := saved(t, x)
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if _, err := filter.Load(bytes.NewReader(bad), all); !errors.Is(err, filter.ErrDamaged) {
			t.Fatalf("byte %d of %d altered: error %v", at, len(good), err)
		}
	}
	for at := range good {
		if _, err := filter.Load(bytes.NewReader(good[:at]), all); !errors.Is(err, filter.ErrDamaged) {
			t.Fatalf("cut off at %d of %d: error %v", at, len(good), err)
		}
	}
}

// FuzzLoad damages saved indexes so that their checksums fit. Whatever loads must be usable.
func FuzzLoad(f *testing.F) {
	x := filter.NewIndex()
	for doc := range uint32(200) {
		if err := x.Set(doc, fmt.Appendf(nil, `{"a":{"b":%d},"c":["x","y%d"],"t":"2026-01-02T03:04:%02dZ"}`, doc%70, doc%3, doc%60)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(saved(f, x))
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.Clone(raw)
		for rest := raw; len(rest) >= 8; {
			n := min(int(binary.LittleEndian.Uint32(rest)), len(rest)-8)
			binary.LittleEndian.PutUint32(rest[4:], crc32.Checksum(rest[8:8+n], crc32.MakeTable(crc32.Castagnoli)))
			rest = rest[8+n:]
		}
		x, err := filter.Load(bytes.NewReader(raw), 1000)
		if err != nil {
			return
		}
		for doc := range uint32(250) {
			if err := x.Set(doc, []byte(`{"a":{"b":7},"c":["x"]}`)); err != nil {
				t.Fatal(err)
			}
		}
		if n := x.Eval(mustParse(t, `{"eq":{"a.b":7}}`)).GetCardinality(); n != 250 {
			t.Fatalf("%d documents found", n)
		}
	})
}
