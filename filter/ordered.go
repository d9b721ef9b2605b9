package filter

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
)

// ordered holds terms of one field in the order of their keys: numbers and
// strings by the key's bytes, times by (instant, bytes). It is a sorted array cut
// into blocks, which inserts by moving one block's half, suits keys that come in
// order, and is scanned as fast as an array. Beside each term stands the head of
// its key, its first eight bytes, so that most comparisons read nothing else.
type ordered struct {
	blocks []*block
	len    int
}

type block struct {
	heads []uint64
	terms []uint32
}

const (
	blockMax   = 512
	blockFirst = 4 // capacity that a block begins with
)

// target is a place to look for: before all keys that are not less.
type target struct {
	head  uint64
	timed bool
	at    instant // of a time
	key   []byte
}

// place is a position in an ordered: item i of block b.
type place struct{ b, i int }

func keyTarget(key []byte) target {
	return target{head: head(key), key: key}
}

func timeTarget(t instant, key []byte) target {
	return target{head: t.head(), timed: true, at: t, key: key}
}

// head returns the first eight bytes of a key as a number that orders as they do.
func head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	h := uint64(0)
	for i, c := range key {
		h |= uint64(c) << (56 - 8*i)
	}
	return h
}

// compare compares a target with the term at place i of a block.
func (g *target) compare(t *terms, b *block, i int) int {
	if h := b.heads[i]; g.head != h {
		if g.head < h {
			return -1
		}
		return 1
	}
	return g.compareTerm(t, b.terms[i])
}

// compareTerm compares a target with a term by its whole key.
func (g *target) compareTerm(t *terms, id uint32) int {
	key := t.key(id)
	if g.timed {
		at, _ := parseInstant(key)
		if c := g.at.compare(at); c != 0 {
			return c
		}
	}
	return bytes.Compare(g.key, key)
}

// search returns the first place whose key is not less than the target, and
// whether it is equal.
func (o *ordered) search(t *terms, g *target) (place, bool) {
	// The block is the last one that does not begin after the target.
	b := max(0, sort.Search(len(o.blocks), func(b int) bool { return g.compare(t, o.blocks[b], 0) < 0 })-1)
	if b == len(o.blocks) {
		return place{b: b}, false
	}
	blk, lo := o.blocks[b], 0
	for hi := len(blk.terms); lo < hi; {
		mid := int(uint(lo+hi) / 2)
		switch c := g.compare(t, blk, mid); {
		case c == 0:
			return place{b, mid}, true
		case c < 0:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	if lo == len(blk.terms) {
		return place{b + 1, 0}, false
	}
	return place{b, lo}, false
}

// insert adds a term whose key is g; it does nothing if the key is there.
func (o *ordered) insert(t *terms, g *target, id uint32) {
	p, found := o.search(t, g)
	if found {
		return
	}
	o.len++
	if p.i == 0 && p.b > 0 { // between two blocks: the end of the first
		p = place{p.b - 1, len(o.blocks[p.b-1].terms)}
	}
	if len(o.blocks) == 0 {
		o.blocks = []*block{newBlock(blockFirst)}
	}
	if b := o.blocks[p.b]; len(b.terms) == blockMax {
		// At the very end keys come in order: leave the block full and begin a new one.
		cut := blockMax / 2
		if p.b == len(o.blocks)-1 && p.i == blockMax {
			cut = blockMax
		}
		next := newBlock(blockMax)
		next.heads = append(next.heads, b.heads[cut:]...)
		next.terms = append(next.terms, b.terms[cut:]...)
		b.heads, b.terms = b.heads[:cut], b.terms[:cut]
		o.blocks = slices.Insert(o.blocks, p.b+1, next)
		if p.i > cut || cut == blockMax {
			p = place{p.b + 1, p.i - cut}
		}
	}
	b := o.blocks[p.b]
	b.heads = slices.Insert(b.heads, p.i, g.head)
	b.terms = slices.Insert(b.terms, p.i, id)
}

func newBlock(capacity int) *block {
	return &block{heads: make([]uint64, 0, capacity), terms: make([]uint32, 0, capacity)}
}

// remove takes out the term whose key is g.
func (o *ordered) remove(t *terms, g *target) {
	p, found := o.search(t, g)
	if !found {
		return
	}
	o.len--
	b := o.blocks[p.b]
	b.heads = slices.Delete(b.heads, p.i, p.i+1)
	b.terms = slices.Delete(b.terms, p.i, p.i+1)
	if len(b.terms) > blockMax/4 {
		return
	}
	// Join with a neighbour, so that blocks don't stay nearly empty for ever.
	for _, left := range []int{p.b - 1, p.b} {
		if left < 0 || left+1 >= len(o.blocks) {
			continue
		}
		a, c := o.blocks[left], o.blocks[left+1]
		if len(a.terms)+len(c.terms) > blockMax/2 {
			continue
		}
		a.heads, a.terms = append(a.heads, c.heads...), append(a.terms, c.terms...)
		o.blocks = slices.Delete(o.blocks, left+1, left+2)
		return
	}
	if len(b.terms) == 0 {
		o.blocks = slices.Delete(o.blocks, p.b, p.b+1)
	}
}

// count returns the number of terms from lo up to, not including, hi.
func (o *ordered) count(lo, hi place) int {
	if hi.b < lo.b || hi == lo {
		return 0
	}
	n := hi.i - lo.i
	for b := lo.b; b < hi.b; b++ {
		n += len(o.blocks[b].terms)
	}
	return max(0, n)
}

// each yields the terms from lo up to, not including, hi, in runs.
func (o *ordered) each(lo, hi place, yield func(ids []uint32)) {
	for b := lo.b; b <= hi.b && b < len(o.blocks); b++ {
		ids := o.blocks[b].terms
		if b == hi.b {
			ids = ids[:hi.i]
		}
		if b == lo.b {
			if lo.i >= len(ids) {
				continue
			}
			ids = ids[lo.i:]
		}
		yield(ids)
	}
}

// end is the place after all terms.
func (o *ordered) end() place { return place{b: len(o.blocks)} }

// bytes estimates the memory held.
func (o *ordered) bytes() int64 {
	n := int64(0)
	for _, b := range o.blocks {
		n += int64(cap(b.heads))*8 + int64(cap(b.terms))*4 + 56
	}
	return n
}
