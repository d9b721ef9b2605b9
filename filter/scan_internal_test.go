package filter

import (
	"fmt"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
)

// TestEachFindsDamage damages each structure of an index in turn: Each must then
// give another digest, a document too many or one too few.
func TestEachFindsDamage(t *testing.T) {
	const docs = 300
	metadata := func(doc uint32) []byte {
		return fmt.Appendf(nil, `{"id":"doc-%d","group":"g%d","few":%d,"on":%v,"none":null,"at":"2026-01-01T00:%02d:%02dZ","o":{"x":[]}}`,
			doc, doc%2, doc/3, doc%2 == 0, doc/60, doc%60)
	}
	find := func(x *Index, k kind, key string, path ...string) uint32 {
		f, ok := x.fields.find(path)
		if !ok {
			t.Fatalf("no field %v", path)
		}
		id := x.fields.all[f].consts[min(k, kindTrue)]
		if k >= kindNumber {
			id = x.terms.lookup(x.terms.hash(f, k, []byte(key)), f, k, []byte(key))
		}
		if id == 0 {
			t.Fatalf("no term %q of %v", key, path)
		}
		return id
	}
	field := func(x *Index, name string) *field {
		id, _ := x.fields.find([]string{name})
		return &x.fields.all[id]
	}
	number := func(s string) string {
		key, _ := appendNumberKey(nil, []byte(s))
		return string(key)
	}
	for _, c := range []struct {
		name   string
		damage func(x *Index)
	}{
		{"nothing", func(*Index) {}},
		{"bitmap lacks a document", func(x *Index) { x.terms.bitmaps[x.terms.at(find(x, kindString, "g1", "group")).post].Remove(7) }},
		{"bitmap has one too many", func(x *Index) { x.terms.bitmaps[x.terms.at(find(x, kindString, "g1", "group")).post].Add(8) }},
		{"bitmap has one that is unknown", func(x *Index) { x.terms.bitmaps[x.terms.at(find(x, kindString, "g1", "group")).post].Add(docs + 5) }},
		{"list has another document", func(x *Index) {
			r := x.terms.at(find(x, kindNumber, number("3"), "few"))
			x.terms.lists.at(r.post, int(r.n))[1] = 100
		}},
		{"single document is another", func(x *Index) { x.terms.at(find(x, kindString, "doc-5", "id")).post = 6 }},
		{"null lacks a document", func(x *Index) { x.terms.bitmaps[x.terms.at(find(x, kindNull, "", "none")).post].Remove(9) }},
		{"empty list lost its presence", func(x *Index) { x.terms.bitmaps[x.terms.at(find(x, kindExists, "", "o", "x")).post].Remove(9) }},
		{"field forgot true", func(x *Index) { field(x, "on").consts[kindTrue] = 0 }},
		{"field takes false for true", func(x *Index) { f := field(x, "on"); f.consts[kindTrue] = f.consts[kindFalse] }},
		{"key of a term is altered", func(x *Index) { x.terms.key(find(x, kindString, "doc-5", "id"))[4] = '6' }},
		{"hash table lost a term", func(x *Index) {
			id := find(x, kindString, "doc-5", "id")
			x.terms.leave(x.terms.hash(x.terms.at(id).field, kindString, []byte("doc-5")), id)
		}},
		{"order of strings lost a term", func(x *Index) { g := keyTarget([]byte("doc-5")); field(x, "id").strings.remove(&x.terms, &g) }},
		{"order of numbers is disturbed", func(x *Index) { b := field(x, "few").numbers.blocks[0].terms; b[4], b[5] = b[5], b[4] }},
		{"order has a wrong head", func(x *Index) { field(x, "few").numbers.blocks[0].heads[9]-- }},
		{"order of times lost a term", func(x *Index) {
			at, _ := parseInstant([]byte("2026-01-01T00:00:07Z"))
			g := timeTarget(at, []byte("2026-01-01T00:00:07Z"))
			field(x, "at").times.remove(&x.terms, &g)
		}},
		{"a live document is lost", func(x *Index) { x.live.Remove(4) }},
		{"an unknown document is live", func(x *Index) { x.live.Add(docs + 5) }},
		{"list of terms is lost", func(x *Index) { x.docs.set(4, 0) }},
		{"list of terms is another's", func(x *Index) { x.docs.set(4, x.docs.get(5)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := NewIndex()
			for doc := range uint32(docs) {
				if err := x.Set(doc, metadata(doc)); err != nil {
					t.Fatal(err)
				}
			}
			c.damage(x)
			seen, differ := roaring.New(), 0
			for doc, digest := range x.Each {
				seen.Add(doc)
				want, err := Digest(metadata(doc))
				if err != nil {
					t.Fatal(err)
				}
				if digest != want {
					differ++
				}
			}
			damaged := differ > 0 || seen.GetCardinality() != docs || seen.Maximum() != docs-1
			if damaged != (c.name != "nothing") {
				t.Errorf("%d of %d documents differ", differ, seen.GetCardinality())
			}
		})
	}
}

// TestEachWhileWriting changes documents in the middle of an Each, block by block:
// those that change are yielded as they are in the end, the others as they were.
func TestEachWhileWriting(t *testing.T) {
	x := NewIndex()
	doc := func(i uint32, version int) []byte {
		return fmt.Appendf(nil, `{"id":"%d-%04d","n":%d,"both":%d}`, version, i, 7*int(i)+version, i%3)
	}
	for i := range uint32(2000) {
		if err := x.Set(i, doc(i, 0)); err != nil {
			t.Fatal(err)
		}
	}
	s := &scan{x: x}
	x.scans = append(x.scans, s)
	s.docs.Or(&x.live)
	version := map[uint32]int{}
	for f := uint32(1); s.field(f); f++ {
		for i := f; i < 2000; i += 50 {
			version[i]++
			if err := x.Set(i, doc(i, version[i])); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.compareLists()
	for i := range uint32(2000) {
		want, _ := Digest(doc(i, version[i]))
		got := s.tallies.get(i).entries
		if s.touched.Contains(i) != (version[i] > 0) {
			t.Fatalf("document %d: touched is %v", i, s.touched.Contains(i))
		}
		if version[i] > 0 {
			got, _ = x.digestOf(i)
		} else if s.damaged.Contains(i) {
			t.Errorf("document %d counts as damaged", i)
		}
		if got != want {
			t.Errorf("document %d, version %d: digest %x, want %x", i, version[i], got, want)
		}
	}
}
