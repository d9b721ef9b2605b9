package filter

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// ordered holds terms of one field in the order of their keys: numbers and
// strings by the key's bytes, times by (instant, bytes). It is a sorted array cut
// into blocks, which inserts by moving one block's half, suits keys that come in
// order, and is scanned as fast as an array.
//
// Beside each term stands the head of its key, eight bytes that order as keys do,
// so that most comparisons read nothing else. Keys of one field often begin alike
// ("sku-", "https://…"): prefix is what all have in common, and heads begin after it.
type ordered struct {
	blocks  []*block
	firsts  []uint64 // the first head of each block, to find the block by
	len     int
	prefix  []byte
	shrinks int // how often prefix became shorter, each time at the cost of all heads
}

type block struct {
	heads []uint64
	terms []uint32
}

const (
	blockMax   = 256
	blockFirst = 4 // capacity that a block begins with

	// shrinksMax is when an order stops looking for what its keys have in common.
	shrinksMax = 16
)

// target is a place to look for: before all keys that are not less.
type target struct {
	timed bool
	at    instant // of a time
	key   []byte
}

// place is a position in an ordered: item i of block b.
type place struct{ b, i int }

func keyTarget(key []byte) target { return target{key: key} }

func timeTarget(t instant, key []byte) target { return target{timed: true, at: t, key: key} }

// head returns the head of a target in this order; side is -1 or +1 for one that
// comes before or after every key because it lacks the common prefix.
func (o *ordered) head(g *target) (h uint64, side int) {
	if g.timed {
		return g.at.head(), 0
	}
	if n := len(o.prefix); n > 0 {
		if !bytes.HasPrefix(g.key, o.prefix) {
			return 0, bytes.Compare(g.key, o.prefix)
		}
		return keyHead(g.key[n:]), 0
	}
	return keyHead(g.key), 0
}

// keyHead returns the first eight bytes of a key as a number.
func keyHead(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	h := uint64(0)
	for i, c := range key {
		h |= uint64(c) << (56 - 8*i)
	}
	return h
}

// before reports whether a target, whose head is h, comes before the term at place
// i of a block; equal is true if it is that term.
func (g *target) before(t *terms, h uint64, b *block, i int) (before, equal bool) {
	if b.heads[i] != h {
		return h < b.heads[i], false
	}
	c := g.compare(t, b.terms[i])
	return c < 0, c == 0
}

// compare compares a target with a term by its whole key.
func (g *target) compare(t *terms, id uint32) int {
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
	h, side := o.head(g)
	if side != 0 || len(o.blocks) == 0 {
		if side < 0 {
			return place{}, false
		}
		return o.end(), false
	}
	// Keys often come in order: look at the end first.
	last := len(o.blocks) - 1
	if b := o.blocks[last]; h >= b.heads[len(b.heads)-1] {
		i := len(b.heads) - 1
		if before, equal := g.before(t, h, b, i); equal {
			return place{last, i}, true
		} else if !before {
			return o.end(), false
		}
	}
	// The block is the last one that does not begin after the target.
	lo, hi := 0, len(o.blocks)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		before := h < o.firsts[mid]
		if h == o.firsts[mid] {
			before = g.compare(t, o.blocks[mid].terms[0]) < 0
		}
		if before {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	n := max(0, lo-1)
	b := o.blocks[n]
	lo, hi = 0, len(b.terms)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		before, equal := g.before(t, h, b, mid)
		if equal {
			return place{n, mid}, true
		}
		if before {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo == len(b.terms) {
		return place{n + 1, 0}, false
	}
	return place{n, lo}, false
}

// insert adds a term whose key is g; it does nothing if the key is there.
func (o *ordered) insert(t *terms, g *target, id uint32) {
	if !g.timed {
		o.shareWith(t, g.key)
	}
	p, found := o.search(t, g)
	if found {
		return
	}
	h, _ := o.head(g)
	o.len++
	if len(o.blocks) == 0 {
		o.blocks, o.firsts = []*block{newBlock(blockFirst)}, []uint64{h}
	}
	if p.i == 0 && p.b > 0 { // between two blocks: the end of the first
		p = place{p.b - 1, len(o.blocks[p.b-1].terms)}
	}
	if len(o.blocks[p.b].terms) == blockMax {
		p = o.split(p, h)
	}
	b := o.blocks[p.b]
	b.heads = slices.Insert(b.heads, p.i, h)
	b.terms = slices.Insert(b.terms, p.i, id)
	o.firsts[p.b] = b.heads[0]
}

// split makes room in the full block of p for an item with head h, and returns
// where p is then.
func (o *ordered) split(p place, h uint64) place {
	// At the very end keys come in order: leave the block full and begin a new one.
	cut := blockMax / 2
	if p.b == len(o.blocks)-1 && p.i == blockMax {
		cut = blockMax
	}
	b, next := o.blocks[p.b], newBlock(blockMax)
	next.heads = append(next.heads, b.heads[cut:]...)
	next.terms = append(next.terms, b.terms[cut:]...)
	b.heads, b.terms = b.heads[:cut], b.terms[:cut]
	if cut < blockMax {
		h = next.heads[0]
	}
	o.blocks = slices.Insert(o.blocks, p.b+1, next)
	o.firsts = slices.Insert(o.firsts, p.b+1, h)
	if p.i > cut || cut == blockMax {
		return place{p.b + 1, p.i - cut}
	}
	return p
}

// shareWith shortens prefix to what a new key has in common with it, and then
// computes all heads anew.
func (o *ordered) shareWith(t *terms, key []byte) {
	if o.len == 0 {
		o.prefix, o.shrinks = append(o.prefix[:0], key...), 0
		return
	}
	n := 0
	for n < len(o.prefix) && n < len(key) && o.prefix[n] == key[n] {
		n++
	}
	if n == len(o.prefix) {
		return
	}
	if o.shrinks++; o.shrinks > shrinksMax {
		n = 0
	}
	o.prefix = slices.Clone(o.prefix[:n])
	for i, b := range o.blocks {
		for j, id := range b.terms {
			b.heads[j] = keyHead(t.key(id)[n:])
		}
		o.firsts[i] = b.heads[0]
	}
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
	if len(b.heads) > 0 {
		o.firsts[p.b] = b.heads[0]
	}
	if len(b.terms) > blockMax/4 {
		return
	}
	// Join with a neighbour, so that blocks don't stay nearly empty for ever.
	for left := max(0, p.b-1); left <= p.b && left+1 < len(o.blocks); left++ {
		if o.join(left) {
			return
		}
	}
	if len(b.terms) == 0 {
		o.blocks = slices.Delete(o.blocks, p.b, p.b+1)
		o.firsts = slices.Delete(o.firsts, p.b, p.b+1)
	}
}

// join appends the block after left to it if both are small together.
func (o *ordered) join(left int) bool {
	a, b := o.blocks[left], o.blocks[left+1]
	if len(a.terms)+len(b.terms) > blockMax/2 {
		return false
	}
	a.heads, a.terms = append(a.heads, b.heads...), append(a.terms, b.terms...)
	o.blocks = slices.Delete(o.blocks, left+1, left+2)
	o.firsts = slices.Delete(o.firsts, left+1, left+2)
	if len(a.heads) > 0 {
		o.firsts[left] = a.heads[0]
	}
	return true
}

// count returns the number of terms from lo up to, not including, hi.
func (o *ordered) count(lo, hi place) int {
	if hi.b < lo.b {
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

// holds reports whether a search for g leads to the term.
func (o *ordered) holds(t *terms, g *target, id uint32) bool {
	p, found := o.search(t, g)
	return found && o.blocks[p.b].terms[p.i] == id
}

// end is the place after all terms.
func (o *ordered) end() place { return place{b: len(o.blocks)} }

// bytes estimates the memory held.
func (o *ordered) bytes() int64 {
	n := int64(cap(o.firsts)+cap(o.blocks))*8 + int64(cap(o.prefix))
	for _, b := range o.blocks {
		n += int64(cap(b.heads))*8 + int64(cap(b.terms))*4 + 56
	}
	return n
}
