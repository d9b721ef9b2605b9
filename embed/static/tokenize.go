package static

import "unicode/utf8"

// maxWordRunes is the longest word that is looked up: BERT's limit. A longer one is unknown.
const maxWordRunes = 100

// tokenize fills s.ids with the ids of text's pieces, and s.unknown with the hashes of its unknown words.
func (m *Model) tokenize(s *scratch, text string) {
	s.ids, s.word, s.unknown = s.ids[:0], s.word[:0], s.unknown[:0]
	runes := 0 // in s.word
	for i := 0; i < len(text); {
		c := text[i]
		switch kind := m.fold.bytes[c]; {
		case kind >= byteLetters:
			if len(s.word) == 0 {
				if id, size := m.wholeWord(text[i:]); size > 0 {
					s.ids = append(s.ids, id)
					i += size
					continue
				}
			}
			s.word = append(s.word, kind)
			runes++
			i++
		case kind == byteSpace:
			runes = m.endWord(s, runes)
			i++
		case kind == byteOwn:
			m.endWord(s, runes)
			s.word = append(s.word, c)
			runes = m.endWord(s, 1)
			i++
		default:
			r, size := utf8.DecodeRuneInString(text[i:])
			runes = m.takeRune(s, runes, r)
			i += size
		}
	}
	m.endWord(s, runes)
}

// wholeWord looks up the ASCII word at the start of text. It returns size 0 when the word isn't one piece as a whole, or
// goes on with something other than ASCII: the slow path decides about those.
func (m *Model) wholeWord(text string) (id int32, size int) {
	bytes, nodes := &m.fold.bytes, m.pieces.nodes
	node := trieRoot
	for size < len(text) {
		kind := bytes[text[size]]
		if kind < byteLetters {
			if kind == byteOther {
				return Unknown, 0
			}
			break
		}
		// trie.step by hand: the compiler keeps nodes in registers only here.
		node = nodes[node]>>8 ^ uint32(kind)
		if byte(nodes[node]) != kind {
			return Unknown, 0
		}
		size++
	}
	if id = m.pieces.ids[node]; id == Unknown {
		return Unknown, 0
	}
	return id, size
}

// takeRune adds one rune of the text, which is not ASCII or is dropped, and returns the runes now in s.word.
func (m *Model) takeRune(s *scratch, runes int, r rune) int {
	does := m.fold.of(r)
	switch does.kind & kindMask {
	case drop:
		return runes
	case space:
		return m.endWord(s, runes)
	case own:
		m.endWord(s, runes)
		var added int
		s.word, added = m.fold.appendFolded(s.word, r, does)
		return m.endWord(s, added)
	}
	var added int
	s.word, added = m.fold.appendFolded(s.word, r, does)
	return runes + added
}

// endWord splits s.word into pieces, empties it and returns 0, the runes that it has now.
func (m *Model) endWord(s *scratch, runes int) int {
	if len(s.word) == 0 {
		return 0
	}
	before := len(s.ids)
	spelt := runes <= maxWordRunes
	if spelt {
		s.ids, spelt = m.pieces.split(s.ids, s.word)
	}
	if !spelt {
		s.ids = append(s.ids[:before], Unknown)
		s.unknown = append(s.unknown, hashWord(s.word))
	}
	s.word = s.word[:0]
	return 0
}
