package filter

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// post adds a document to those of a term.
func (t *terms) post(id, doc uint32) {
	r := t.at(id)
	switch r.form {
	case formBitmap:
		if t.bitmaps[r.post].CheckedAdd(doc) {
			r.n++
		}
		return
	case formOne:
		if r.n == 0 {
			r.post, r.n = doc, 1
			return
		}
		if r.post == doc {
			return
		}
		first := r.post
		r.post, r.form = t.lists.alloc(2), formList
		t.lists.at(r.post, 1)[0] = first
	}
	list := t.lists.at(r.post, int(r.n))
	i, found := slices.BinarySearch(list, doc)
	if found {
		return
	}
	if r.n == listMax {
		b := roaring.BitmapOf(list...)
		b.Add(doc)
		t.lists.release(r.post, listMax)
		r.post, r.form = t.addBitmap(b), formBitmap
		r.n++
		return
	}
	if r.n > 1 { // a list is made with room for two
		r.post = t.lists.resize(r.post, int(r.n), int(r.n)+1)
	}
	r.n++
	list = t.lists.at(r.post, int(r.n))
	copy(list[i+1:], list[i:])
	list[i] = doc
}

// unpost takes a document from those of a term.
func (t *terms) unpost(id, doc uint32) {
	r := t.at(id)
	switch r.form {
	case formOne:
		if r.n == 1 && r.post == doc {
			r.n = 0
		}
	case formList:
		n := int(r.n)
		list := t.lists.at(r.post, n)
		i, found := slices.BinarySearch(list, doc)
		if !found {
			return
		}
		copy(list[i:], list[i+1:])
		r.n--
		if r.n == 1 {
			last := list[0]
			t.lists.release(r.post, n)
			r.post, r.form = last, formOne
			return
		}
		r.post = t.lists.resize(r.post, n, n-1)
	case formBitmap:
		b := t.bitmaps[r.post]
		if !b.CheckedRemove(doc) {
			return
		}
		if r.n--; r.n > listAgain {
			return
		}
		t.bitmaps[r.post] = nil
		t.holes = append(t.holes, r.post)
		r.post, r.form = t.lists.alloc(int(r.n)), formList
		b.ManyIterator().NextMany(t.lists.at(r.post, int(r.n)))
	}
}

func (t *terms) addBitmap(b *roaring.Bitmap) uint32 {
	if n := len(t.holes); n > 0 {
		i := t.holes[n-1]
		t.holes = t.holes[:n-1]
		t.bitmaps[i] = b
		return i
	}
	t.bitmaps = append(t.bitmaps, b)
	return uint32(len(t.bitmaps) - 1)
}

// list returns the documents of a term in ascending order, or the bitmap that
// holds them. Neither may be changed; buf lends the list of one its memory.
func (t *terms) list(id uint32, buf *[1]uint32) ([]uint32, *roaring.Bitmap) {
	r := t.at(id)
	switch {
	case r.n == 0:
		return nil, nil
	case r.form == formOne:
		buf[0] = r.post
		return buf[:], nil
	case r.form == formList:
		return t.lists.at(r.post, int(r.n)), nil
	}
	return nil, t.bitmaps[r.post]
}
