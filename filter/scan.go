package filter

import (
	"bytes"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// scan recomputes the digests of all documents from what answers filters: the
// postings of the terms that can be reached. It holds the lock for one block of
// terms at a time, so that neither searches nor writers wait long.
//
// Between two blocks documents may change. The index tells each scan which
// (touched); those are computed at the end, one by one. The others have the same
// terms from beginning to end, and each of these keeps its key and field, so
// going on after the last key that was seen meets each exactly once.
type scan struct {
	x       *Index
	touched roaring.Bitmap
	tallies table[tally]
	docs    roaring.Bitmap // live at the beginning, in a posting, or touched
	damaged roaring.Bitmap // those whose own list of terms differs from the postings

	batch []posting // of one block, copied under the lock
	lists []uint32  // their lists, one after the other
}

// tally adds up what the postings say of a document: the hashes of its entries,
// and its terms, to compare with its own list of them.
type tally struct{ entries, terms uint64 }

// posting is the documents of one term: a bitmap, or the next n of scan.lists.
type posting struct {
	tally  tally
	n      int
	bitmap *roaring.Bitmap
}

// touch tells the scans under way that a document changes.
func (x *Index) touch(doc uint32) {
	for _, s := range x.scans {
		s.touched.Add(doc)
	}
}

// scanStep is how many documents are compared with their lists under one lock.
const scanStep = 1024

// Each yields every document, ascending, with the digest of its entries,
// recomputed from the structures that answer filters. It equals Digest of the
// document's metadata; any other value means that the index is damaged. A
// document that is not in the index but in a posting is yielded too. One that
// changes meanwhile is yielded as it is at some moment of the call, or not at
// all if it is deleted. Yield is called without a lock and may call the index; it
// stops the iteration by returning false. The cost is some twenty bytes of memory
// per document and, per term and document, tens of nanoseconds.
func (x *Index) Each(yield func(doc uint32, digest uint64) bool) {
	s := &scan{x: x}
	x.mu.Lock()
	x.scans = append(x.scans, s)
	s.docs.Or(&x.live)
	x.mu.Unlock()
	for field := uint32(1); s.field(field); field++ {
	}
	s.compareLists()
	x.mu.Lock()
	x.scans = slices.DeleteFunc(x.scans, func(o *scan) bool { return o == s })
	x.mu.Unlock()
	// Nobody adds to touched any more.
	s.docs.Or(&s.touched)
	for it := s.docs.Iterator(); it.HasNext(); {
		doc := it.Next()
		sum, ok := s.tallies.get(doc).entries, true
		switch {
		case s.touched.Contains(doc):
			sum, ok = x.digestOf(doc)
		case s.damaged.Contains(doc):
			sum++
		}
		if ok && !yield(doc, sum) {
			return
		}
	}
}

// compareLists finds the documents whose list of terms is not what the postings
// say, or which have postings and are not live.
func (s *scan) compareLists() {
	for number, p := range s.tallies.pages {
		for i := range p.at {
			if p.at[i] != (tally{}) {
				s.docs.Add(number<<pageBits | uint32(i))
			}
		}
	}
	for it := s.docs.Iterator(); it.HasNext(); {
		s.x.mu.RLock()
		for range scanStep {
			if !it.HasNext() {
				break
			}
			doc := it.Next()
			terms := uint64(0)
			for _, id := range s.x.termsOf(doc) {
				terms += mixTerm(id)
			}
			if terms != s.tallies.get(doc).terms || !s.x.live.Contains(doc) {
				s.damaged.Add(doc)
			}
		}
		s.x.mu.RUnlock()
	}
}

// mixTerm spreads a term's number, so that sums of different terms differ.
func mixTerm(id uint32) uint64 {
	h := uint64(id) * 0x9E3779B97F4A7C15
	return (h ^ h>>29) * 0xD6E8FEB86659FD93
}

// field adds up the terms of one field, and returns false after the last field.
func (s *scan) field(field uint32) bool {
	s.x.mu.RLock()
	if int(field) >= len(s.x.fields.all) {
		s.x.mu.RUnlock()
		return false
	}
	for k, id := range s.x.fields.all[field].consts {
		if id != 0 {
			s.copy(id, field, kind(k))
		}
	}
	s.x.mu.RUnlock()
	s.addUp()
	for _, k := range []kind{kindNumber, kindString} {
		var after []byte
		for more := true; more; {
			s.x.mu.RLock()
			after, more = s.block(field, k, after)
			s.x.mu.RUnlock()
			s.addUp()
		}
	}
	return true
}

// block copies the postings of the terms from a key (nil: the first) to the end of
// its block. It returns the key to go on from, or false at the end.
func (s *scan) block(field uint32, k kind, from []byte) (next []byte, more bool) {
	f := &s.x.fields.all[field]
	o := f.keyed(k)
	t := &s.x.terms
	g := keyTarget(from)
	p, _ := o.search(t, &g)
	if p.b >= len(o.blocks) {
		return nil, false
	}
	b, last := o.blocks[p.b], -1
	for i := p.i; i < len(b.terms); i++ {
		key := t.key(b.terms[i])
		inOrder := bytes.Compare(key, from) >= 0
		if last >= 0 {
			inOrder = bytes.Compare(key, t.key(b.terms[last])) > 0
		}
		g := keyTarget(key)
		h, side := o.head(&g)
		// What is out of order can't be found by search, so it is left out.
		if inOrder && h == b.heads[i] && side == 0 {
			s.copy(b.terms[i], field, k)
			last = i
		}
	}
	if last < 0 {
		return nil, false
	}
	return append(slices.Clone(t.key(b.terms[last])), 0), true // the least key after the last
}

// copy copies a term's documents, if the term can be reached in every other way.
func (s *scan) copy(id, field uint32, k kind) {
	x := s.x
	if r := x.terms.at(id); r.field != field || r.kind != k || !x.reachable(id) {
		return
	}
	p := posting{tally: tally{entryHash(x.fields.all[field].hash, k, x.terms.key(id)), mixTerm(id)}}
	var one [1]uint32
	list, b := x.terms.list(id, &one)
	if b != nil {
		p.bitmap = b.Clone()
	}
	p.n = len(list)
	s.lists = append(s.lists, list...)
	s.batch = append(s.batch, p)
}

// addUp adds the batch to the sums, without the lock.
func (s *scan) addUp() {
	docs := s.lists
	for _, p := range s.batch {
		for _, doc := range docs[:p.n] {
			s.add(doc, p.tally)
		}
		docs = docs[p.n:]
		if p.bitmap == nil {
			continue
		}
		p.bitmap.Iterate(func(doc uint32) bool {
			s.add(doc, p.tally)
			return true
		})
	}
	clear(s.batch)
	s.batch, s.lists = s.batch[:0], s.lists[:0]
}

func (s *scan) add(doc uint32, t tally) {
	sum := s.tallies.get(doc)
	s.tallies.set(doc, tally{sum.entries + t.entries, sum.terms + t.terms})
}

// reachable reports whether the hash table and, for a time, the order of times
// lead to a term.
func (x *Index) reachable(id uint32) bool {
	t := &x.terms
	r := t.at(id)
	if r.kind < kindNumber {
		return true // it was reached by its field, the only way there is
	}
	key := t.key(id)
	if t.lookup(t.hash(r.field, r.kind, key), r.field, r.kind, key) != id {
		return false
	}
	at, timed := parseInstant(key)
	if r.kind != kindString || !timed {
		return true
	}
	g := timeTarget(at, key)
	return x.fields.all[r.field].times.holds(t, &g, id)
}

// digestOf computes the digest of one document from its own list of terms, and
// reports whether there is such a document.
func (x *Index) digestOf(doc uint32) (sum uint64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, id := range x.termsOf(doc) {
		r := x.terms.at(id)
		if x.posted(id, doc) && x.inOrder(id) && x.reachable(id) {
			sum += entryHash(x.fields.all[r.field].hash, r.kind, x.terms.key(id))
		}
	}
	return sum, x.live.Contains(doc)
}

// posted reports whether a term lists a document.
func (x *Index) posted(id, doc uint32) bool {
	var one [1]uint32
	list, b := x.terms.list(id, &one)
	if b != nil {
		return b.Contains(doc)
	}
	_, found := slices.BinarySearch(list, doc)
	return found
}

// inOrder reports whether a term is where its field's orders, or for a term
// without a key its field, should have it.
func (x *Index) inOrder(id uint32) bool {
	r := x.terms.at(id)
	f := &x.fields.all[r.field]
	if r.kind < kindNumber {
		return f.consts[r.kind] == id
	}
	g := keyTarget(x.terms.key(id))
	return f.keyed(r.kind).holds(&x.terms, &g, id)
}
