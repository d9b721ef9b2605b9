package static

import "fmt"

// trie finds the longest piece at the start of a word. It is a double array (Aoe 1989) in the layout of darts-clone: the
// child of a node over byte c is at base XOR c, and is there if that place's label is c. No two nodes have the same
// base, so the label needs no pointer back to its parent, and a step is one load of four bytes.
type trie struct {
	nodes []uint32 // base << 8 | label; base 0: no children
	ids   []int32  // beside nodes: the piece that ends here, or Unknown
	inner uint32   // the node behind "##", where the pieces inside a word begin; trieRoot if there are none
}

const (
	trieRoot  = uint32(0)
	trieBlock = 256 // a node's children lie in one block, since base and c differ in the low eight bits only

	// maxTrieNodes is what the base's 24 bits can address.
	maxTrieNodes = 1 << 24
)

// continuation begins the pieces that stand inside a word.
const continuation = "##"

// newTrie builds the trie of pieces, which are sorted, each once; their ids are their indexes.
func newTrie(pieces []string) (*trie, error) {
	b := trieBuilder{pieces: pieces}
	// The first block holds the root alone: base 0 can then stand for "no children".
	b.grow()
	if err := b.place(trieRoot, 0, len(pieces), 0); err != nil {
		return nil, err
	}
	t := &trie{nodes: b.nodes, ids: b.ids}
	for _, c := range []byte(continuation) {
		next, ok := t.step(t.inner, c)
		if !ok {
			t.inner = trieRoot
			break
		}
		t.inner = next
	}
	return t, nil
}

// step returns the child of node over c. c is not 0.
func (t *trie) step(node uint32, c byte) (uint32, bool) {
	next := t.nodes[node]>>8 ^ uint32(c)
	return next, byte(t.nodes[next]) == c
}

// split appends the ids of word's pieces: the longest that begins the word, then the longest inside piece that goes on,
// and so forth. It reports false, with some ids appended, if a place has no piece.
func (t *trie) split(ids []int32, word []byte) ([]int32, bool) {
	from := trieRoot
	for len(word) > 0 {
		node, id, size := from, Unknown, 0
		for i, c := range word {
			next, ok := t.step(node, c)
			if !ok {
				break
			}
			node = next
			if t.ids[node] != Unknown {
				id, size = t.ids[node], i+1
			}
		}
		if size == 0 {
			return ids, false
		}
		ids = append(ids, id)
		word = word[size:]
		from = t.inner
	}
	return ids, true
}

// trieBuilder lays out the nodes.
type trieBuilder struct {
	pieces []string
	nodes  []uint32
	ids    []int32
	taken  []bool // a node is here
	based  []bool // some node has this base
	first  int    // no place before is free
}

// grow adds a block of free places.
func (b *trieBuilder) grow() {
	n := len(b.nodes) + trieBlock
	b.nodes = append(b.nodes, make([]uint32, trieBlock)...)
	b.taken = append(b.taken, make([]bool, trieBlock)...)
	b.based = append(b.based, make([]bool, trieBlock)...)
	for len(b.ids) < n {
		b.ids = append(b.ids, Unknown)
	}
}

// place gives node the pieces low to high (exclusive), which have their first depth bytes in common, and lays out
// its children.
func (b *trieBuilder) place(node uint32, low, high, depth int) error {
	if len(b.pieces[low]) == depth {
		b.ids[node] = int32(low)
		low++
	}
	if low == high {
		return nil
	}
	var labels [trieBlock]byte
	count := 0
	for i := low; i < high; i++ {
		if c := b.pieces[i][depth]; count == 0 || labels[count-1] != c {
			labels[count] = c
			count++
		}
	}
	base, err := b.findBase(labels[:count])
	if err != nil {
		return err
	}
	b.nodes[node] |= base << 8
	b.based[base] = true
	for _, c := range labels[:count] {
		b.taken[base^uint32(c)] = true
		b.nodes[base^uint32(c)] = uint32(c)
	}
	for low < high {
		c := b.pieces[low][depth]
		end := low + 1
		for end < high && b.pieces[end][depth] == c {
			end++
		}
		if err := b.place(base^uint32(c), low, end, depth+1); err != nil {
			return err
		}
		low = end
	}
	return nil
}

// findBase returns a base of no other node under which the places of all labels are free.
func (b *trieBuilder) findBase(labels []byte) (uint32, error) {
	// Only the last block is searched: older gaps would save 5 % of the places and double the time.
	b.first = max(b.first, trieBlock, len(b.nodes)-trieBlock)
	for b.first < len(b.nodes) && b.taken[b.first] {
		b.first++
	}
	for at := b.first; ; at++ {
		for at >= len(b.nodes) {
			b.grow()
		}
		if len(b.nodes) > maxTrieNodes {
			return 0, fmt.Errorf("needs more than %d trie nodes", maxTrieNodes)
		}
		base := uint32(at) ^ uint32(labels[0])
		if !b.taken[at] && !b.based[base] && b.free(base, labels) {
			return base, nil
		}
	}
}

func (b *trieBuilder) free(base uint32, labels []byte) bool {
	for _, c := range labels {
		if b.taken[base^uint32(c)] {
			return false
		}
	}
	return true
}
