package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// node is a JSON value of a filter as it was written: unlike a map it keeps the
// order of keys and knows of duplicates.
type node struct {
	kind    byte   // one of { [ s (string) n (number) t f 0 (null)
	text    string // of a string or number
	members []member
	items   []node
}

type member struct {
	key   string
	value node
}

// treeDepth bounds the nesting of a filter's JSON: an operator takes two levels
// at most, and a leaf's operand two more.
const treeDepth = 2*MaxDepth + 4

// parseTree reads one JSON value that fills raw.
func parseTree(raw []byte) (node, error) {
	if len(raw) > MaxBytes {
		return node{}, &ParseError{Path: "$", Problem: fmt.Sprintf("the filter has %d bytes; the limit is %d: use fewer or shorter values", len(raw), MaxBytes)}
	}
	if !utf8.Valid(raw) {
		return node{}, &ParseError{Path: "$", Problem: "the filter is not valid UTF-8; send JSON in UTF-8"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	n, err := readNode(dec, "$", 0)
	if err != nil {
		return node{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return node{}, &ParseError{Path: "$", Problem: fmt.Sprintf("something follows the filter at byte %d; send one JSON object", dec.InputOffset())}
	}
	return n, nil
}

func readNode(dec *json.Decoder, path string, depth int) (node, error) {
	t, err := dec.Token()
	if err != nil {
		return node{}, syntaxError(dec, path, err)
	}
	switch t := t.(type) {
	case json.Delim:
		if depth == treeDepth {
			return node{}, &ParseError{Path: path, Problem: fmt.Sprintf("nested too deep; operators nest at most %d deep: join conditions in one \"and\" or \"or\"", MaxDepth)}
		}
		if t == '{' {
			return readObject(dec, path, depth)
		}
		return readArray(dec, path, depth)
	case string:
		return node{kind: 's', text: t}, nil
	case json.Number:
		return node{kind: 'n', text: t.String()}, nil
	case bool:
		if t {
			return node{kind: 't'}, nil
		}
		return node{kind: 'f'}, nil
	}
	return node{kind: '0'}, nil
}

func readObject(dec *json.Decoder, path string, depth int) (node, error) {
	n := node{kind: '{'}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return node{}, syntaxError(dec, path, err)
		}
		key := t.(string) // the decoder lets nothing else stand for a key
		if seen[key] {
			return node{}, &ParseError{Path: path, Value: quote(key), Problem: "the key is given twice; give it once (conditions are joined by \"and\")"}
		}
		seen[key] = true
		v, err := readNode(dec, step(path, key), depth+1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{key, v})
	}
	if _, err := dec.Token(); err != nil {
		return node{}, syntaxError(dec, path, err)
	}
	return n, nil
}

func readArray(dec *json.Decoder, path string, depth int) (node, error) {
	n := node{kind: '['}
	for dec.More() {
		v, err := readNode(dec, fmt.Sprintf("%s[%d]", path, len(n.items)), depth+1)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, v)
	}
	if _, err := dec.Token(); err != nil {
		return node{}, syntaxError(dec, path, err)
	}
	return n, nil
}

func syntaxError(dec *json.Decoder, path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &ParseError{Path: path, Problem: "the JSON ends too early; send one complete JSON object"}
	}
	return &ParseError{Path: path, Problem: fmt.Sprintf("not valid JSON at byte %d: %v", dec.InputOffset(), err)}
}

// String returns the value as JSON, cut to what an error message can carry.
func (n node) String() string {
	switch n.kind {
	case '{':
		if len(n.members) == 0 {
			return "{}"
		}
		return "{" + quote(n.members[0].key) + ": …}"
	case '[':
		if len(n.items) == 0 {
			return "[]"
		}
		return "[" + n.items[0].String() + ", …]"
	case 's':
		return quote(n.text)
	case 'n':
		return cut(n.text)
	case 't':
		return "true"
	case 'f':
		return "false"
	}
	return "null"
}

// quotedBytes is how much of a value an error message repeats.
const quotedBytes = 64

func cut(s string) string {
	if len(s) <= quotedBytes {
		return s
	}
	for i := quotedBytes; ; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "…"
		}
	}
}

func quote(s string) string { return string(appendString(nil, cut(s))) }

// step returns the path of a key below path, as JSONPath writes it.
func step(path, key string) string {
	plain := key != ""
	for i := 0; i < len(key) && plain; i++ {
		c := key[i] | 0x20
		plain = c >= 'a' && c <= 'z' || key[i] == '_' || i > 0 && key[i]-'0' <= 9
	}
	if plain && len(key) <= quotedBytes {
		return path + "." + key
	}
	return path + "[" + quote(key) + "]"
}
