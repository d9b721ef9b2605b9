package filter_test

import (
	"encoding/json"
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
			steps, ids := 1500, []int{20, 300, 4000}[seed%3]
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
	for doc, metadata := range docs {
		if err := x.Set(doc, []byte(metadata)); err != nil {
			t.Fatal(err)
		}
	}
	check()
	for doc := range docs {
		if g.IntN(12) > 0 {
			delete(docs, doc)
			x.Delete(doc)
		}
	}
	check()
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

// generator makes random metadata and filters over few fields and values, so
// that they meet.
type generator struct{ *rand.Rand }

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) key() string {
	return g.pick("a", "b", "c", "d", "a.b", `x\\y`, "", "é", "\\u00e9", "\\ud800")
}

func (g *generator) path() string {
	p := g.pick("a", "b", "c", "d", `a\\.b`, `x\\\\y`, "", "é", "\\ufffd")
	for g.IntN(3) == 0 {
		p += "." + g.pick("a", "b", "c", "", `a\\.b`)
	}
	return p
}

func (g *generator) time() string {
	return fmt.Sprintf("2026-01-%02dT%02d:%02d:00%s%s", 1+g.IntN(3), g.IntN(24), g.IntN(60),
		g.pick("", "", ".5", ".500000001", ".123456789"), g.pick("Z", "Z", "+00:00", "+01:30", "-11:00"))
}

func (g *generator) number() string {
	return g.pick("0", "-0", "1", "1.0", "10e-1", "0.1e1", "2", "-1", "-1.5", "1.5", "15e-1", "-12", "-123", "100",
		"1e2", "1e100", "-1e100", "1e-100", "1e2000000", "9007199254740992", "9007199254740993", "0.1", "0.10",
		"18446744073709551616", "18446744073709551617", fmt.Sprint(g.IntN(100)), fmt.Sprintf("%d.%d", g.IntN(9), g.IntN(90)))
}

func (g *generator) string() string {
	return `"` + g.pick("", "a", "ab", "abc", "b", "é", "\\u00e9", "\\ud83d\\ude00", "😀", "\\ud800", "\\ufffd", "a\\u0000",
		"1", "null", "2026-01-01", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999Z", g.time(), g.time(),
		fmt.Sprint("id-", g.IntN(1000)), "long"+strings.Repeat("x", 1018+g.IntN(5))) + `"`
}

func (g *generator) scalar() string {
	switch g.IntN(5) {
	case 0, 1:
		return g.number()
	case 2:
		return g.pick("null", "true", "false")
	}
	return g.string()
}

func (g *generator) value(depth int) string {
	if depth < 3 && g.IntN(4) == 0 {
		list := make([]string, g.IntN(4))
		for i := range list {
			list[i] = g.value(depth + 1)
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	if depth < 3 && g.IntN(4) == 0 {
		return g.object(depth + 1)
	}
	return g.scalar()
}

// object makes an object, now and then with a key twice.
func (g *generator) object(depth int) string {
	list := make([]string, g.IntN(5))
	for i := range list {
		list[i] = fmt.Sprintf(`"%s"%s:%s`, g.key(), g.pick("", " ", "\n"), g.value(depth))
	}
	return "{" + strings.Join(list, ", ") + "}"
}

func (g *generator) metadata() string {
	if g.IntN(50) == 0 {
		return ""
	}
	return g.object(0)
}

func (g *generator) filter(depth int) string {
	n := 8
	if depth > 3 {
		n = 5
	}
	leaf := func(op, operand string) string { return fmt.Sprintf(`{"%s":{"%s":%s}}`, op, g.path(), operand) }
	switch g.IntN(n) {
	case 0:
		return leaf("eq", g.short())
	case 1:
		list := make([]string, g.IntN(6))
		for i := range list {
			list[i] = g.short()
		}
		return leaf("in", "["+strings.Join(list, ",")+"]")
	case 2:
		number := func() string {
			for {
				if s := g.number(); s != "1e2000000" {
					return s
				}
			}
		}
		if g.IntN(2) == 0 {
			number = func() string { return `"` + g.time() + `"` }
		}
		lo, hi := fmt.Sprintf(`"%s":%s`, g.pick("gt", "gte"), number()), fmt.Sprintf(`"%s":%s`, g.pick("lt", "lte"), number())
		return leaf("range", "{"+g.pick(lo, hi, lo+","+hi, hi+","+lo)+"}")
	case 3:
		return leaf("prefix", `"`+g.pick("", "a", "ab", "é", "2026", "id-", "id-1", "l", "long"+strings.Repeat("x", 1020), "\\ufffd")+`"`)
	case 4:
		return leaf("exists", g.pick("true", "false"))
	case 5:
		return `{"not":` + g.filter(depth+1) + `}`
	}
	list := make([]string, 1+g.IntN(4))
	for i := range list {
		list[i] = g.filter(depth + 1)
	}
	return fmt.Sprintf(`{"%s":[%s]}`, g.pick("and", "or"), strings.Join(list, ","))
}

// short makes a scalar that a filter may hold.
func (g *generator) short() string {
	for {
		if s := g.scalar(); s != "1e2000000" && len(s) <= filter.MaxStringBytes {
			return s
		}
	}
}

func (g *generator) parse(t testing.TB) *filter.Expr {
	t.Helper()
	f := g.filter(0)
	e := mustParse(t, f)
	if !json.Valid([]byte(e.String())) || mustParse(t, e.String()).String() != e.String() {
		t.Fatalf("%s has the canonical form %s, which does not read back", f, e)
	}
	return e
}

// fuzzFilters returns filters on one key, and random ones.
func fuzzFilters(key string, seed uint64) []*filter.Expr {
	quoted, _ := json.Marshal(strings.NewReplacer(`.`, `\.`, `\`, `\\`).Replace(key))
	var list []*filter.Expr
	for _, f := range []string{`{"exists":{%s:true}}`, `{"eq":{%s:null}}`, `{"prefix":{%s:""}}`, `{"prefix":{%s:"x"}}`, `{"eq":{%s:"x"}}`,
		`{"range":{%s:{"gt":0}}}`, `{"range":{%s:{"lt":1e9}}}`, `{"range":{%s:{"gt":"2000-01-01T00:00:00Z"}}}`, `{"in":{%s:[true,1,"\ufffd"]}}`} {
		if e, err := filter.Parse(fmt.Appendf(nil, f, quoted)); err == nil {
			list = append(list, e)
		}
	}
	g := &generator{rand.New(rand.NewPCG(seed, 9))}
	for range 5 {
		if e, err := filter.Parse([]byte(g.filter(0))); err == nil {
			list = append(list, e)
		}
	}
	return list
}
