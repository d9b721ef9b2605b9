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
	dense   []uint64
	few     []uint32
	bitmaps []*roaring.Bitmap
}

// denseShare is how many bits of the array there may be for a term to unite.
const denseShare = 512

func newUnion(t *terms, live *roaring.Bitmap, terms int) *union {
	u := &union{terms: t}
	if terms == 0 || live.IsEmpty() {
		return u
	}
	if words := int(live.Maximum()/64) + 1; words*64/denseShare <= terms {
		u.dense = make([]uint64, words)
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
			for _, doc := range docs {
				u.dense[doc/64] |= 1 << (doc % 64)
			}
		default:
			u.few = append(u.few, docs...)
		}
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
