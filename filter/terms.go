package filter

import (
	"encoding/binary"
	"hash/maphash"
	"unsafe"

	"github.com/RoaringBitmap/roaring/v2"
)

// term is one distinct entry, (field, kind, key), and the documents that have it.
// Records, keys and small postings live in slabs: a term of one document costs
// its record, its key, a slot of the hash table and a place in one order (two for a
// time), about 60 bytes and the key.
type term struct {
	key    [4]byte // the key, or the slab ref of one that is longer
	field  uint32
	post   uint32 // the document, a slab ref or a number of bitmaps, as form says
	n      uint32 // documents
	keyLen uint16
	kind   kind
	form   form
}

// form is how a term's documents are stored.
type form uint8

const (
	formOne    form = iota // none or one, in the record itself
	formList               // ascending, in a slab
	formBitmap             // a roaring bitmap
)

const (
	keyInline = 4  // bytes of a key that its record has room for: most numbers
	listMax   = 64 // documents that a list may have before it becomes a bitmap
	listAgain = 32 // documents at which a bitmap becomes a list again

	termChunkBits = 12
	termChunk     = 1 << termChunkBits
)

// terms is the table of all terms of an index. Term 0 is no term.
type terms struct {
	recs  [][]term // chunks of termChunk; only the first is ever shorter
	count uint32   // records made, term 0 included
	spare []uint32
	live  int

	keys    slab[byte]
	lists   slab[uint32] // postings, and the documents' lists of terms
	bitmaps []*roaring.Bitmap
	holes   []uint32 // numbers of bitmaps that are free

	seed  maphash.Seed
	table [hashShards]shard
}

func newTerms() terms {
	return terms{
		recs:  [][]term{make([]term, 1, 8)},
		count: 1,
		keys:  slab[byte]{unit: 4},
		lists: slab[uint32]{unit: 1},
		seed:  maphash.MakeSeed(),
	}
}

func (t *terms) at(id uint32) *term { return &t.recs[id>>termChunkBits][id&(termChunk-1)] }

// key returns the key of a term, good until the next term is made or removed.
func (t *terms) key(id uint32) []byte {
	r := t.at(id)
	if r.keyLen <= keyInline {
		return r.key[:r.keyLen]
	}
	return t.keys.at(r.keyRef(), int(r.keyLen))
}

func (r *term) keyRef() uint32 { return binary.LittleEndian.Uint32(r.key[:]) }

// add makes a term that no document has yet. The caller enters it where it is
// found: in the hash table, the order or the field.
func (t *terms) add(field uint32, k kind, key []byte) uint32 {
	var id uint32
	if n := len(t.spare); n > 0 {
		id = t.spare[n-1]
		t.spare = t.spare[:n-1]
	} else {
		id = t.count
		t.count++
		last := len(t.recs) - 1
		if len(t.recs[last]) == termChunk {
			t.recs = append(t.recs, make([]term, 0, termChunk))
			last++
		}
		t.recs[last] = append(t.recs[last], term{})
	}
	r := t.at(id)
	*r = term{field: field, kind: k, keyLen: uint16(len(key))}
	if len(key) <= keyInline {
		copy(r.key[:], key)
	} else {
		ref := t.keys.alloc(len(key))
		copy(t.keys.at(ref, len(key)), key)
		binary.LittleEndian.PutUint32(r.key[:], ref)
	}
	t.live++
	return id
}

// remove frees a term without documents that is no longer found anywhere.
func (t *terms) remove(id uint32) {
	r := t.at(id)
	if r.keyLen > keyInline {
		t.keys.release(r.keyRef(), int(r.keyLen))
	}
	*r = term{}
	t.spare = append(t.spare, id)
	t.live--
}

// bytes estimates the memory held.
func (t *terms) bytes() int64 {
	n := int64(len(t.spare)+len(t.holes))*4 + int64(len(t.bitmaps))*8
	for _, c := range t.recs {
		n += int64(cap(c)) * int64(unsafe.Sizeof(term{}))
	}
	for i := range t.table {
		n += int64(len(t.table[i].slots)) * 8
	}
	for _, b := range t.bitmaps {
		if b != nil {
			n += int64(b.GetSizeInBytes()) + bitmapOverhead
		}
	}
	return n + int64(t.keys.elements()) + int64(t.lists.elements())*4
}

// bitmapOverhead is about what a roaring bitmap takes beside its containers' contents.
const bitmapOverhead = 160
