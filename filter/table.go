package filter

import "unsafe"

// table maps document numbers to T in pages, so that dense numbers cost an
// array's memory and any other number still works (at a page each).
type table[T comparable] struct {
	pages map[uint32]*page[T]
}

type page[T comparable] struct {
	used int // values that are not zero
	at   [pageSize]T
}

const (
	pageBits = 6
	pageSize = 1 << pageBits
)

func (t *table[T]) get(doc uint32) (v T) {
	if p := t.pages[doc>>pageBits]; p != nil {
		return p.at[doc%pageSize]
	}
	return v
}

func (t *table[T]) set(doc uint32, v T) {
	var zero T
	p := t.pages[doc>>pageBits]
	if p == nil {
		if v == zero {
			return
		}
		if t.pages == nil {
			t.pages = map[uint32]*page[T]{}
		}
		p = &page[T]{}
		t.pages[doc>>pageBits] = p
	}
	if p.at[doc%pageSize] != zero {
		p.used--
	}
	if v != zero {
		p.used++
	}
	p.at[doc%pageSize] = v
	if p.used == 0 {
		delete(t.pages, doc>>pageBits)
	}
}

// bytes estimates the memory held.
func (t *table[T]) bytes() int64 {
	return int64(len(t.pages)) * int64(unsafe.Sizeof(page[T]{})+24)
}
