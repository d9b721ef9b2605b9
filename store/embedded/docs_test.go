package embedded

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
)

// The table of documents against a map: every entity keeps its number, and is found.
func TestDocsAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var d docs
	type entry struct {
		doc  uint32
		info docInfo
	}
	model := map[string]entry{}
	id := func() string {
		n := rng.IntN(3000)
		return strings.Repeat("x", n%5*50) + fmt.Sprint(n)
	}
	for range 20_000 {
		k := id()
		doc, ok := d.find(k)
		if e, known := model[k]; ok != known || ok && doc != e.doc {
			t.Fatalf("entity %q: found %d, %v, want %+v, %v", k, doc, ok, e, known)
		}
		if !ok {
			if doc = d.add(k); int(doc) != len(model) {
				t.Fatalf("entity %d got number %d", len(model), doc)
			}
		}
		info := docInfo{version: freshet.Version{Offset: rng.Int64()}, points: uint16(rng.IntN(5))}
		d.set(doc, info)
		model[k] = entry{doc, info}
	}
	live, extra := 0, 0
	for k, e := range model {
		if string(d.id(e.doc)) != k || d.info[e.doc] != e.info {
			t.Fatalf("document %d is %q %+v, want %q %+v", e.doc, d.id(e.doc), d.info[e.doc], k, e.info)
		}
		if e.info.points > 0 {
			live++
			extra += int(e.info.points) - 1
		}
	}
	if d.len() != len(model) || d.live != live || d.extra != extra || d.most != 4 {
		t.Errorf("%d documents, %d live, %d extra points, %d at most; want %d, %d, %d, 4", d.len(), d.live, d.extra, d.most, len(model), live, extra)
	}
}

// What is encoded comes back, and nothing else is accepted: bytes that decode are the bytes
// that encoding gives.
func FuzzDecodeDocs(f *testing.F) {
	sh := &shard{name: home}
	f.Add(sh.encodeDocs())
	for i := range 3 {
		sh.docs.set(sh.docs.add(fmt.Sprint("entity", i)), docInfo{version: freshet.Version{Order: 1, Epoch: 2, Offset: int64(i)},
			revision: 1 << 31, points: uint16(i * (MaxPoints - 1) / 2), content: [16]byte{1}, digest: [16]byte{15: 2}})
	}
	whole := sh.encodeDocs()
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeDocs(b)
		if err != nil {
			return
		}
		again, err := decodeDocs(got.encodeDocs())
		if err != nil {
			t.Fatalf("what was decoded can't be decoded again: %v", err)
		}
		if again.name != got.name || again.docs.len() != got.docs.len() || again.docs.live != got.docs.live || !bytes.Equal(again.encodeDocs(), got.encodeDocs()) {
			t.Fatalf("%+v became %+v", got.docs, again.docs)
		}
		for doc := range uint32(got.docs.len()) {
			if found, ok := got.docs.find(string(got.docs.id(doc))); !ok || found != doc {
				t.Fatalf("document %d is found as %d, %v", doc, found, ok)
			}
			if got.docs.info[doc].points >= MaxPoints {
				t.Fatalf("document %d has %d points", doc, got.docs.info[doc].points)
			}
		}
	})
}

func TestDecodeDocsRefuses(t *testing.T) {
	encode := func(alter func(*shard)) []byte {
		sh := &shard{name: home}
		sh.docs.set(sh.docs.add("a"), docInfo{points: 1})
		alter(sh)
		return sh.encodeDocs()
	}
	good := encode(func(*shard) {})
	twice := append(bytes.Clone(good), good[len(good)-len("_a")-20-1-1-32:]...)
	twice[len(appendString(appendString(nil, home.Collection), home.Namespace))] = 2
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"an entity twice":   twice,
		"too many points":   encode(func(s *shard) { s.docs.info[0].points = MaxPoints }),
		"an empty id":       encode(func(s *shard) { s.docs.add("") }),
		"bytes follow":      append(bytes.Clone(good), 0),
		"cut off":           good[:len(good)-1],
		"a count too large": bytes.Replace(good, []byte("\x01\x01a"), []byte("\xff\xff\x01a"), 1),
	} {
		if sh, err := decodeDocs(b); err == nil {
			t.Errorf("%s: decoded as %+v", name, sh.docs)
		}
	}
	if _, err := decodeDocs(good); err != nil {
		t.Error(err)
	}
	if _, err := decodeDocs(twice); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("an entity twice: %v", err)
	}
}

// FuzzSnapshot opens a store on a snapshot of any bytes: it starts, and answers from the table.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add([]byte("FRSN"), 0)
	f.Add([]byte{0xff}, snapshotHeader)
	f.Add([]byte{0xff, 0, 1}, snapshotHeader+200)
	f.Fuzz(func(t *testing.T, patch []byte, at int) {
		b := newBench(t, flat)
		b.apply(b.upsert(key("a"), 1, 1, 2), b.upsert(key("b"), 2, 3))
		b.snapshot()
		want := b.answers(home)
		raw := b.read(b.path(home))
		if at = max(0, min(at, len(raw))); at == 0 {
			raw = patch // a whole file
		} else {
			copy(raw[at:], patch)
		}
		b.write(b.path(home), raw)
		b.reopen()
		if got := b.answers(home); got != want {
			t.Errorf("answers\n%swant\n%s", got, want)
		}
	})
}
