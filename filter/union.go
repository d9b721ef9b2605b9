package filter

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// union gathers the documents of many terms. Most terms of a range have one
// document, and those of neighbouring terms lie anywhere: so a union of many is
// gathered in a plain bit array, which takes a bit as fast as memory does, and
// one of few in a list.
type union struct {
	terms   *terms
	words   int // of a bit array for all documents
	few     []uint32
	dense   []uint64 // once few would grow too long
	bitmaps []*roaring.Bitmap
}

// denseShare is how many words of the bit array there are to each document that
// the list may hold: about what sorting one costs against scanning them.
const denseShare = 32

func newUnion(t *terms, live *roaring.Bitmap) *union {
	u := &union{terms: t}
	if !live.IsEmpty() {
		u.words = int(live.Maximum()/64) + 1
	}
	return u
}

func (u *union) add(ids []uint32) {
	var one [1]uint32
	for _, id := range ids {
		docs, b := u.terms.list(id, &one)
		switch {
		case b != nil:
			u.bitmaps = append(u.bitmaps, b)
		case u.dense != nil:
			u.set(docs)
		default:
			u.few = append(u.few, docs...)
			if len(u.few) > u.words/denseShare {
				u.dense = make([]uint64, u.words)
				u.set(u.few)
			}
		}
	}
}

func (u *union) set(docs []uint32) {
	for _, doc := range docs {
		u.dense[doc/64] |= 1 << (doc % 64)
	}
}

// bitmap returns the union, which is the caller's own.
func (u *union) bitmap() *roaring.Bitmap {
	out := roaring.New()
	switch {
	case u.dense != nil:
		out = roaring.FromDense(u.dense, true)
	case len(u.few) > 0:
		slices.Sort(u.few)
		out.AddMany(u.few)
	}
	if len(u.bitmaps) > 0 {
		out.Or(roaring.FastOr(u.bitmaps...))
	}
	return out
}
