package filter_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/freshet-io/freshet/filter"
)

// TestIndexAgreesWithMatch drives an index and a map of documents with the same
// random operations, and compares every answer with Match on every document.
func TestIndexAgreesWithMatch(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := &generator{rand.New(rand.NewPCG(seed, 1))}
			x, docs := filter.NewIndex(), map[uint32]string{}
			steps, ids := 900, []int{20, 200, 800}[seed%3]
			matched := 0
			for step := range steps {
				doc := uint32(g.IntN(ids))
				if g.IntN(40) == 0 {
					doc = g.Uint32()
				}
				switch metadata := g.metadata(); {
				case g.IntN(6) == 0:
					x.Delete(doc)
					delete(docs, doc)
				case x.Set(doc, []byte(metadata)) != nil:
					t.Fatalf("step %d: Set refused %s", step, metadata)
				default:
					docs[doc] = metadata
				}
				if step%15 == 14 {
					matched += compare(t, x, docs, g.parse(t))
				}
			}
			if matched < steps/5 {
				t.Errorf("the random filters matched %d documents in all, too few to prove anything", matched)
			}
			checkDigests(t, x, docs)
			for doc := range docs {
				x.Delete(doc)
			}
			if s := x.Stats(); s.Docs != 0 || s.Fields != 0 || s.Terms != 0 || x.Len() != 0 {
				t.Errorf("after deleting everything: %+v", s)
			}
		})
	}
}

func compare(t *testing.T, x *filter.Index, docs map[uint32]string, e *filter.Expr) int {
	t.Helper()
	got := x.Eval(e)
	n := 0
	for doc, metadata := range docs {
		want, err := e.Match([]byte(metadata))
		if err != nil {
			t.Fatal(err)
		}
		if want != got.Contains(doc) {
			t.Fatalf("%s on document %d, %s: index says %v, Match says %v", e, doc, metadata, !want, want)
		}
		if want {
			n++
		}
	}
	if int(got.GetCardinality()) != n {
		t.Fatalf("%s: index gives %d documents, of which %d exist", e, got.GetCardinality(), n)
	}
	got.AddRange(0, 1000) // ours: the next answers must not see it
	return n
}

func checkDigests(t *testing.T, x *filter.Index, docs map[uint32]string) {
	t.Helper()
	if x.Len() != len(docs) {
		t.Errorf("Len is %d, want %d", x.Len(), len(docs))
	}
	n, last := 0, int64(-1)
	for doc, got := range x.Each {
		metadata, ok := docs[doc]
		if want, err := filter.Digest([]byte(metadata)); err != nil || !ok || got != want {
			t.Errorf("document %d (exists: %v, %s): digest %x, want %x, %v", doc, ok, metadata, got, want, err)
		}
		if int64(doc) <= last {
			t.Errorf("document %d comes after %d", doc, last)
		}
		n, last = n+1, int64(doc)
	}
	if n != len(docs) {
		t.Errorf("Each yields %d documents, want %d", n, len(docs))
	}
}

// TestLargeIndex gives postings and orders the size at which bitmaps, several
// blocks and unions in bit arrays come into play, and takes most away again.
func TestLargeIndex(t *testing.T) {
	const n = 6000
	g := &generator{rand.New(rand.NewPCG(7, 7))}
	x, docs := filter.NewIndex(), map[uint32]string{}
	for i := range uint32(n) {
		docs[i] = fmt.Sprintf(`{"id":"user-%06d","brand":"b%d","price":%d.%02d,"seen":%q,"tags":["t%d","t%d"]}`,
			g.IntN(n), g.IntN(30), g.IntN(500), g.IntN(100), g.time(), g.IntN(9), g.IntN(2000))
	}
	filters := []string{
		`{"range":{"price":{"gte":100,"lt":300.5}}}`,
		`{"range":{"price":{"gt":499}}}`,
		`{"range":{"seen":{"gte":"2026-01-02T00:00:00Z"}}}`,
		`{"range":{"seen":{"lt":"2026-01-02T00:00:00Z","gt":"2026-01-01T12:00:00+02:00"}}}`,
		`{"prefix":{"id":"user-00"}}`,
		`{"prefix":{"id":""}}`,
		`{"prefix":{"tags":"t1"}}`,
		`{"not":{"prefix":{"tags":"t1"}}}`,
		`{"and":[{"eq":{"brand":"b3"}},{"range":{"price":{"gte":10}}}]}`,
		`{"and":[{"eq":{"tags":"t1999"}},{"range":{"price":{"gte":10}}},{"not":{"prefix":{"id":"user-001"}}}]}`,
		`{"and":[{"eq":{"tags":"t1999"}},{"or":[{"range":{"seen":{"lt":"2026-01-02T00:00:00Z"}}},{"eq":{"brand":"b3"}}]}]}`,
		`{"and":[{"eq":{"tags":"t1998"}},{"or":[{"prefix":{"id":"user-0"}},{"and":[{"range":{"price":{"gte":10}}},{"not":{"eq":{"brand":"b3"}}}]}]}]}`,
		`{"and":[{"eq":{"tags":"t1997"}},{"and":[{"not":{"prefix":{"id":"user-00"}}},{"range":{"seen":{"gt":"2026-01-01T00:00:00Z"}}}]}]}`,
		`{"in":{"brand":["b1","b2","b29","none",3,null]}}`,
		`{"and":[{"exists":{"price":true}},{"not":{"eq":{"brand":"b1"}}}]}`,
	}
	check := func() {
		t.Helper()
		for _, f := range filters {
			compare(t, x, docs, mustParse(t, f))
		}
		checkDigests(t, x, docs)
	}
	order := g.Perm(n)
	for _, doc := range order {
		if err := x.Set(uint32(doc), []byte(docs[uint32(doc)])); err != nil {
			t.Fatal(err)
		}
	}
	check()
	for _, doc := range order {
		if doc := uint32(doc); g.IntN(12) > 0 {
			delete(docs, doc)
			x.Delete(doc)
		}
	}
	check()
}

// TestLargeDocument gives one document more terms than fit in a chunk of the slab,
// then fewer, then more again, next to documents that stay.
func TestLargeDocument(t *testing.T) {
	x, docs := filter.NewIndex(), map[uint32]string{}
	for step, n := range []int{3, 70_000, 5_000, 4_096, 6_000, 20_000, 1, 5_000, 0} {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprint(i))
		}
		docs[1] = fmt.Sprintf(`{"list":[%s]}`, strings.Join(list, ","))
		docs[uint32(100+step)] = fmt.Sprintf(`{"list":[%d],"step":"%d"}`, step, step)
		for _, doc := range []uint32{1, uint32(100 + step)} {
			if err := x.Set(doc, []byte(docs[doc])); err != nil {
				t.Fatal(err)
			}
		}
		compare(t, x, docs, mustParse(t, `{"range":{"list":{"gte":4999}}}`))
		compare(t, x, docs, mustParse(t, `{"eq":{"list":4}}`))
		checkDigests(t, x, docs)
	}
}

// TestKeysThatBeginAlike adds strings that have ever less in common, so that an
// order has to give up its common prefix step by step, and then for good.
func TestKeysThatBeginAlike(t *testing.T) {
	const alike = "https://shop.example.com/products/0123456789"
	x, docs := filter.NewIndex(), map[uint32]string{}
	add := func(s string) {
		doc := uint32(len(docs))
		docs[doc] = fmt.Sprintf(`{"url":%q}`, s)
		if err := x.Set(doc, []byte(docs[doc])); err != nil {
			t.Fatal(err)
		}
	}
	for n := len(alike); n >= 0; n-- {
		for _, end := range []string{"", "a", "zz", "-long-enough-to-matter"} {
			add(alike[:n] + end)
		}
		for _, p := range []string{alike, alike[:n], alike[:n/2], alike[:n] + "a", alike[:n] + "~", "a", "~"} {
			compare(t, x, docs, mustParse(t, fmt.Sprintf(`{"prefix":{"url":%q}}`, p)))
			compare(t, x, docs, mustParse(t, fmt.Sprintf(`{"eq":{"url":%q}}`, p)))
		}
	}
	checkDigests(t, x, docs)
}

// TestRefusedSet shows that metadata that is refused changes nothing.
func TestRefusedSet(t *testing.T) {
	x := filter.NewIndex()
	if err := x.Set(1, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	before := x.Stats()
	for _, bad := range []string{`{"b":{"c":1},"d":2`, `[1]`, `{"a":01}`, `null`, `{"a":1}{}`, `{"a":"` + "\n" + `"}`} {
		if err := x.Set(1, []byte(bad)); err == nil {
			t.Errorf("Set accepts %s", bad)
		}
		if _, err := filter.Digest([]byte(bad)); err == nil {
			t.Errorf("Digest accepts %s", bad)
		}
	}
	after := x.Stats()
	if after.Docs != before.Docs || after.Fields != before.Fields || after.Terms != before.Terms {
		t.Errorf("refused metadata changed the index from %+v to %+v", before, after)
	}
	checkDigests(t, x, map[uint32]string{1: `{"a":1}`})
}

// TestLongStrings keeps two strings that agree in all that the index holds of them.
func TestLongStrings(t *testing.T) {
	long := strings.Repeat("é", filter.MaxStringBytes/2)
	docs := map[uint32]string{
		1: fmt.Sprintf(`{"s":%q}`, long),
		2: fmt.Sprintf(`{"s":%q}`, long+"1"),
		3: fmt.Sprintf(`{"s":%q}`, long+"2"),
		4: fmt.Sprintf(`{"s":%q}`, long[:len(long)-2]),
		5: fmt.Sprintf(`{"s":%q}`, "x"+long),
	}
	x := filter.NewIndex()
	for doc, metadata := range docs {
		if err := x.Set(doc, []byte(metadata)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{
		fmt.Sprintf(`{"eq":{"s":%q}}`, long),
		fmt.Sprintf(`{"prefix":{"s":%q}}`, long),
		fmt.Sprintf(`{"prefix":{"s":%q}}`, "x"+long[:len(long)-2]),
		`{"exists":{"s":true}}`,
		`{"prefix":{"s":"é"}}`,
	} {
		if n := compare(t, x, docs, mustParse(t, f)); n == 0 {
			t.Errorf("%.40s… matches nothing", f)
		}
	}
	checkDigests(t, x, docs)
}

// TestConcurrentUse has readers and an audit run beside writers: -race looks at
// the locks, and documents that nobody touches must keep their digests.
func TestConcurrentUse(t *testing.T) {
	x := filter.NewIndex()
	want := map[uint32]uint64{}
	seedDocs := &generator{rand.New(rand.NewPCG(3, 3))}
	for doc := range uint32(3000) {
		metadata := []byte(seedDocs.metadata())
		if err := x.Set(doc, metadata); err != nil {
			t.Fatal(err)
		}
		if doc%2 == 0 {
			want[doc], _ = filter.Digest(metadata)
		}
	}
	stop := make(chan struct{})
	var writer, readers sync.WaitGroup
	writer.Go(func() {
		g := &generator{rand.New(rand.NewPCG(4, 4))}
		for {
			select {
			case <-stop:
				return
			default:
			}
			doc := uint32(g.IntN(2000)*2 + 1)
			if g.IntN(4) == 0 {
				x.Delete(doc)
			} else if err := x.Set(doc, []byte(g.metadata())); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range uint64(2) {
		g := &generator{rand.New(rand.NewPCG(5, i))}
		filters := make([]*filter.Expr, 200)
		for i := range filters {
			filters[i] = g.parse(t)
		}
		readers.Go(func() {
			for _, e := range filters {
				x.Eval(e)
				x.Len()
			}
			x.Stats()
		})
	}
	readers.Go(func() {
		for range 5 {
			seen := 0
			for doc, digest := range x.Each {
				if w, ok := want[doc]; ok {
					seen++
					if digest != w {
						t.Errorf("document %d: digest %x, want %x", doc, digest, w)
					}
				}
			}
			if seen != len(want) {
				t.Errorf("Each yields %d of %d documents that nobody touches", seen, len(want))
			}
		}
	})
	readers.Wait()
	close(stop)
	writer.Wait()
}

func mustParse(t testing.TB, f string) *filter.Expr {
	t.Helper()
	e, err := filter.Parse([]byte(f))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
