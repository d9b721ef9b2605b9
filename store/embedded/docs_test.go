package embedded

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
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
	for range 40_000 {
		k := id()
		doc, ok := d.find(k)
		if e, known := model[k]; ok != known || ok && doc != e.doc {
			t.Fatalf("entity %q: found %d, %v, want %+v, %v", k, doc, ok, e, known)
		}
		if !ok {
			free, reuse := len(d.free), rng.IntN(4) > 0
			if doc = d.add(k, reuse); reuse && free > 0 && len(d.free) != free-1 {
				t.Fatalf("entity %q got number %d, though %d were free", k, doc, free)
			}
		} else if rng.IntN(3) == 0 {
			d.set(doc, docInfo{version: freshet.Version{Offset: 1}})
			d.remove(doc)
			delete(model, k)
			continue
		}
		info := docInfo{version: freshet.Version{Offset: rng.Int64()}, points: uint16(rng.IntN(5))}
		d.set(doc, info)
		model[k] = entry{doc, info}
	}
	if d.wasted > len(d.arena)/2 {
		t.Errorf("%d of %d bytes of ids are wasted", d.wasted, len(d.arena))
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
	if d.len()-len(d.free) != len(model) || d.live != live || d.extra != extra || d.most != 4 {
		t.Errorf("%d documents, %d live, %d extra points, %d at most; want %d, %d, %d, 4", d.len(), d.live, d.extra, d.most, len(model), live, extra)
	}
}

// encode gives the documents of a shard as one block.
func encode(sh *shard) []byte { return sh.encodeDocs(nil, 0, sh.docs.len()) }

func decode(b []byte, count int) (*shard, error) {
	sh := &shard{name: home}
	if err := sh.docs.decode(b, count); err != nil {
		return nil, err
	}
	return sh, sh.docs.index()
}

// What is encoded comes back; whatever decodes is a sound table.
func FuzzDecodeDocs(f *testing.F) {
	sh := &shard{name: home}
	f.Add(encode(sh), 0)
	for i := range 3 {
		sh.docs.set(sh.docs.add(fmt.Sprint("entity", i), true), docInfo{version: freshet.Version{Order: 1, Epoch: 2, Offset: int64(i)},
			revision: 1 << 31, points: uint16(i * (MaxPoints - 1) / 2), content: [16]byte{1}, digest: [16]byte{15: 2}})
	}
	whole := encode(sh)
	f.Add(whole, 3)
	sh.docs.set(0, docInfo{})
	sh.docs.remove(0)
	f.Add(encode(sh), 3)
	f.Add(whole[:len(whole)-1], 3)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		got, err := decode(b, count)
		if err != nil {
			return
		}
		again, err := decode(encode(got), count)
		if err != nil {
			t.Fatalf("what was decoded can't be decoded again: %v", err)
		}
		if again.docs.len() != got.docs.len() || again.docs.live != got.docs.live || !bytes.Equal(encode(again), encode(got)) {
			t.Fatalf("%+v became %+v", got.docs, again.docs)
		}
		for doc := range uint32(got.docs.len()) {
			if slices.Contains(got.docs.free, doc) {
				continue
			}
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
	of := func(alter func(*docs)) []byte {
		sh := &shard{name: home}
		sh.docs.set(sh.docs.add("a", true), docInfo{points: 1})
		alter(&sh.docs)
		return encode(sh)
	}
	good := of(func(*docs) {})
	twice := of(func(d *docs) { d.add("a", true) })
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"an entity twice":   twice,
		"too many points":   of(func(d *docs) { d.info[0].points = MaxPoints }),
		"an empty id":       of(func(d *docs) { d.set(d.add("", true), docInfo{points: 1}) }),
		"more than count":   of(func(d *docs) { d.add("b", true); d.add("c", true) }),
		"bytes follow":      append(bytes.Clone(good), 0),
		"cut off":           good[:len(good)-1],
		"a count too large": append([]byte{0xff, 0xff, 1}, good[1:]...),
	} {
		if sh, err := decode(b, 2); err == nil {
			t.Errorf("%s: decoded as %+v", name, sh.docs)
		}
	}
	if _, err := decode(good, 1); err != nil {
		t.Error(err)
	}
	if _, err := decode(twice, 2); err == nil || !strings.Contains(err.Error(), "twice") {
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
