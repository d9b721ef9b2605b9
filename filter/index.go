package filter

import (
	"errors"
	"slices"
	"sync"
	"unsafe"

	"github.com/RoaringBitmap/roaring/v2"
)

// Index answers filters over the metadata of many documents, exactly as
// Expr.Match does on each. A document is a number; slots of a vector index, dense
// from 0, suit it best. The metadata itself is not kept.
//
// All methods may be called from any goroutine: readers run side by side, and a
// writer (Set, Delete) excludes the others for the microseconds of one document.
type Index struct {
	mu     sync.RWMutex // guards everything below
	docs   table[uint32]
	live   roaring.Bitmap // the documents set and not deleted
	fields fields
	terms  terms
	walker walker
	ids    []uint32 // scratch of Set: the terms of the document
	scans  []*scan  // those under way, which want to know what changes
}

// Stats is the size of an Index.
type Stats struct {
	Docs   int   // documents set and not deleted
	Fields int   // distinct paths, those of objects included
	Terms  int   // distinct (field, value) and (field, present)
	Bytes  int64 // estimate of the memory held
}

// ErrFull is returned by Set when an index has used up its address space, 16 GB of
// keys or of lists. Split the documents over several indexes.
var ErrFull = errors.New("filter: the index is full (16 GB of terms); split the collection over several indexes")

// NewIndex returns an empty index. It takes about 2 KB.
func NewIndex() *Index {
	x := &Index{fields: newFields(), terms: newTerms()}
	x.walker.fields = &x.fields
	return x
}

// Len returns the number of documents.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return int(x.live.GetCardinality())
}

// Set makes metadata, a JSON object or zero bytes for {}, the metadata of a
// document, in place of what it had. On an error, which is about the metadata or is
// ErrFull, the index is as it was. Metadata is not kept and may be reused.
func (x *Index) Set(doc uint32, metadata []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.terms.keys.full() || x.terms.lists.full() {
		return ErrFull
	}
	err := x.walker.walk(metadata)
	if err == nil {
		x.resolve()
		x.replace(doc, x.ids)
		x.live.Add(doc)
		x.touch(doc)
	}
	x.fields.sweep()
	x.walker.forget()
	return err
}

// Delete forgets a document. It does nothing for one that is not there.
func (x *Index) Delete(doc uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.live.CheckedRemove(doc) {
		x.replace(doc, nil)
		x.touch(doc)
	}
}

// resolve turns the walker's entries into x.ids, ascending and distinct, making
// the terms that are new.
func (x *Index) resolve() {
	x.ids = x.ids[:0]
	x.terms.prefetch(x.walker.entries)
	for i := range x.walker.entries {
		if e := &x.walker.entries[i]; e.kind != dropped {
			x.ids = append(x.ids, x.term(e))
		}
	}
	slices.Sort(x.ids)
	x.ids = slices.Compact(x.ids)
}

// term returns the term of an entry.
func (x *Index) term(e *entry) uint32 {
	if e.kind < kindNumber {
		f := &x.fields.all[e.field]
		if f.consts[e.kind] == 0 {
			f.consts[e.kind] = x.addTerm(e)
		}
		return f.consts[e.kind]
	}
	h := e.hash
	id := x.terms.lookup(h, e.field, e.kind, e.key)
	if id != 0 {
		return id
	}
	id = x.addTerm(e)
	x.terms.enter(h, id)
	f := &x.fields.all[e.field]
	g := keyTarget(e.key)
	if e.kind == kindNumber {
		f.numbers.insert(&x.terms, &g, id)
		return id
	}
	f.strings.insert(&x.terms, &g, id)
	if at, ok := parseInstant(e.key); ok {
		g := timeTarget(at, e.key)
		f.times.insert(&x.terms, &g, id)
	}
	return id
}

func (x *Index) addTerm(e *entry) uint32 {
	id := x.terms.add(e.field, e.kind, e.key)
	x.fields.all[e.field].refs++
	return id
}

// dropTerm removes a term that has lost its last document.
func (x *Index) dropTerm(id uint32) {
	r := *x.terms.at(id)
	f := &x.fields.all[r.field]
	if r.kind < kindNumber {
		f.consts[r.kind] = 0
	} else {
		key := x.terms.key(id)
		g := keyTarget(key)
		if r.kind == kindNumber {
			f.numbers.remove(&x.terms, &g)
		} else {
			f.strings.remove(&x.terms, &g)
			if at, ok := parseInstant(key); ok {
				g := timeTarget(at, key)
				f.times.remove(&x.terms, &g)
			}
		}
		x.terms.leave(x.terms.hash(r.field, r.kind, key), id)
	}
	x.terms.remove(id)
	x.fields.release(r.field)
}

// A document's list of terms in the slab is its length and the terms, ascending.
// docs holds its ref, or 0 for a document without terms or none at all.

func (x *Index) termsOf(doc uint32) []uint32 {
	ref := x.docs.get(doc)
	if ref == 0 {
		return nil
	}
	n := x.terms.lists.at(ref, 1)[0]
	return x.terms.lists.at(ref, int(n)+1)[1:]
}

// replace gives a document the terms ids, and drops the terms that then have no
// document. Only the difference to the terms it had is touched.
func (x *Index) replace(doc uint32, ids []uint32) {
	t := &x.terms
	ref := x.docs.get(doc)
	n := len(x.termsOf(doc))
	if slices.Equal(x.termsOf(doc), ids) {
		return
	}
	// Posting allocates, which may move the old list: look it up each time.
	for i, j := 0, 0; i < n || j < len(ids); {
		var old uint32
		if i < n {
			old = t.lists.at(ref, n+1)[i+1]
		}
		switch {
		case i < n && j < len(ids) && old == ids[j]:
			i, j = i+1, j+1
		case j == len(ids) || i < n && old < ids[j]:
			if t.unpost(old, doc); t.at(old).n == 0 {
				x.dropTerm(old)
			}
			i++
		default:
			t.post(ids[j], doc)
			j++
		}
	}
	switch {
	case len(ids) == 0:
		t.lists.release(ref, n+1)
		x.docs.set(doc, 0)
		return
	case ref == 0:
		ref = t.lists.alloc(len(ids) + 1)
	default:
		ref = t.lists.resize(ref, n+1, len(ids)+1)
	}
	list := t.lists.at(ref, len(ids)+1)
	list[0] = uint32(len(ids))
	copy(list[1:], ids)
	x.docs.set(doc, ref)
}

// Stats returns the size of the index. It looks at every bitmap and block, so its
// cost grows with the number of terms.
func (x *Index) Stats() Stats {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.terms.bytes() + x.docs.bytes() + int64(x.live.GetSizeInBytes()) + int64(unsafe.Sizeof(*x))
	for i := range x.fields.all {
		f := &x.fields.all[i]
		n += f.numbers.bytes() + f.strings.bytes() + f.times.bytes()
		n += int64(unsafe.Sizeof(*f)) + 2*int64(len(f.name)) + fieldOverhead
	}
	return Stats{
		Docs:   int(x.live.GetCardinality()),
		Fields: x.fields.count(),
		Terms:  x.terms.live,
		Bytes:  n,
	}
}

// fieldOverhead is about what a field takes in the map that finds it.
const fieldOverhead = 48
