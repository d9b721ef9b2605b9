package parquet

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/freshet-io/freshet/codec"
)

// node is a column, or a group of them, as JSON is made of it. How a row's values stand for lists and absent values: the Dremel paper
// (Melnik and others, 2010). A value whose definition level is below that of a node has no such node; one whose
// repetition level is that of a list begins its next element.
type node struct {
	name     string
	kind     kind
	optional int // definition level from which on it is there; 0 where it always is
	filled   int // of a list: definition level from which on it has elements
	repeats  int // of a list: its repetition level
	leaves   [2]int
	children []*node
	value    func(dst []byte, v parquet.Value) []byte
}

type kind uint8

const (
	leaf   kind = iota
	object      // a member a child
	list        // of its one child
	dict        // of its two children, key and value
)

// newTree returns the tree of a file's columns and the number of its leaves.
func newTree(root *parquet.Column) (*node, int) {
	b := builder{}
	n := &node{kind: object}
	b.children(n, root.Columns(), 0, 0)
	return n, b.leaves
}

type builder struct{ leaves int }

func (b *builder) children(n *node, columns []*parquet.Column, definition, repetition int) {
	n.leaves[0] = b.leaves
	for _, c := range columns {
		n.children = append(n.children, b.column(c, definition, repetition))
	}
	n.leaves[1] = b.leaves
}

// column builds the node of a column below the given levels.
func (b *builder) column(c *parquet.Column, definition, repetition int) *node {
	n := &node{name: c.Name()}
	switch {
	case c.Repeated(): // a list without a group around it
		*n = node{name: c.Name(), kind: list, filled: definition + 1, repeats: repetition + 1}
		n.leaves[0] = b.leaves
		n.children = []*node{b.bare(c, definition+1, repetition+1)}
		n.leaves[1] = b.leaves
		return n
	case c.Optional():
		definition++
		n.optional = definition
	}
	inner := b.bare(c, definition, repetition)
	inner.optional = n.optional
	return inner
}

// bare builds the node of a column whose own absence and repetition is dealt with.
func (b *builder) bare(c *parquet.Column, definition, repetition int) *node {
	n := &node{name: c.Name(), kind: object}
	if c.Leaf() {
		n.kind, n.value = leaf, valueOf(c.Type())
		n.leaves = [2]int{b.leaves, b.leaves + 1}
		b.leaves++
		return n
	}
	columns := c.Columns()
	var logical format.LogicalTypeValue
	if t := c.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	_, isList := logical.(*format.ListType)
	_, isMap := logical.(*format.MapType)
	if !isList && !isMap || len(columns) != 1 || !columns[0].Repeated() {
		b.children(n, columns, definition, repetition)
		return n
	}
	repeated := columns[0]
	n.filled, n.repeats = definition+1, repetition+1
	n.leaves[0] = b.leaves
	switch inner := repeated.Columns(); {
	case isMap && len(inner) == 2:
		n.kind = dict
		n.children = []*node{b.column(inner[0], n.filled, n.repeats), b.column(inner[1], n.filled, n.repeats)}
	case len(inner) == 1 && repeated.Name() != "array" && repeated.Name() != c.Name()+"_tuple":
		n.kind = list
		n.children = []*node{b.column(inner[0], n.filled, n.repeats)}
	default: // two levels, as old writers have it: the repeated one is the element
		n.kind = list
		n.children = []*node{b.bare(repeated, n.filled, n.repeats)}
	}
	n.leaves[1] = b.leaves
	return n
}

// append appends the JSON of a node. cols are the values of all leaves, those of this node cut to what it has of them.
func (n *node) append(dst []byte, cols [][]parquet.Value) []byte {
	if n.optional > 0 && !n.reaches(cols, n.optional) {
		return append(dst, "null"...)
	}
	switch n.kind {
	case leaf:
		if len(cols[n.leaves[0]]) == 0 {
			return append(dst, "null"...)
		}
		return n.value(dst, cols[n.leaves[0]][0])
	case object:
		dst = append(dst, '{')
		for i, c := range n.children {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(codec.AppendString(dst, c.name), ':')
			dst = c.append(dst, cols)
		}
		return append(dst, '}')
	case list:
		dst = append(dst, '[')
		n.each(cols, func(i int, element [][]parquet.Value) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = n.children[0].append(dst, element)
		})
		return append(dst, ']')
	}
	dst = append(dst, '{')
	n.each(cols, func(i int, entry [][]parquet.Value) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendName(dst, n.children[0].append(nil, entry)), ':')
		dst = n.children[1].append(dst, entry)
	})
	return append(dst, '}')
}

// appendName appends the key of a map, which is a string in JSON.
func appendName(dst, key []byte) []byte {
	if key[0] == '"' {
		return append(dst, key...)
	}
	return codec.AppendString(dst, string(key))
}

// reaches reports whether the node's first value has a definition level.
func (n *node) reaches(cols [][]parquet.Value, level int) bool {
	if n.leaves[0] == n.leaves[1] {
		return true // a group without columns
	}
	values := cols[n.leaves[0]]
	return len(values) > 0 && values[0].DefinitionLevel() >= level
}

// each calls yield for the elements of a list, with the leaves of the node cut to the element.
func (n *node) each(cols [][]parquet.Value, yield func(i int, element [][]parquet.Value)) {
	if n.leaves[0] == n.leaves[1] || !n.reaches(cols, n.filled) {
		return
	}
	element := make([][]parquet.Value, n.leaves[1])
	rest := make([][]parquet.Value, n.leaves[1])
	copy(rest, cols)
	for i := 0; len(rest[n.leaves[0]]) > 0; i++ {
		for k := n.leaves[0]; k < n.leaves[1]; k++ {
			end := min(1, len(rest[k]))
			for end < len(rest[k]) && rest[k][end].RepetitionLevel() > n.repeats {
				end++
			}
			element[k], rest[k] = rest[k][:end], rest[k][end:]
		}
		yield(i, element)
	}
}
