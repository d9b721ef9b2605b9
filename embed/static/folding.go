package static

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"
)

// What a rune of a text does: the low two bits of a run's kind.
const (
	part  = iota // goes on with the word, folded; the kind of runes in no run, which fold to themselves
	own          // is a word of its own, folded: punctuation, ideographs
	space        // ends a word
	drop         // is skipped: controls, accents, bytes that aren't UTF-8

	kindMask = 3
)

// How a rune folds, where it isn't to rune + shift: the higher bits of a run's kind.
const (
	expand = 4  // to the expansion numbered shift
	hangul = 8  // to two or three letters by the arithmetic of Unicode 3.12
	step2  = 16 // the run has every second rune, as alternating capitals do

	kindLimit = 32
)

// What a byte of a text does, for the fast path: the values of folding.bytes. Any other value is the folded byte.
const (
	byteOther = iota // begins a longer rune or is dropped: look at the rune
	byteSpace
	byteOwn
	byteLetters // values from here on are folded bytes
)

// directRunes is the number of runes that have a place in folding.direct: it ends behind the common punctuation.
const directRunes = 0x3000

// folding says what each rune does: BERT's normaliser and word splitter, which look at one rune at a time.
type folding struct {
	bytes      [256]byte // what an ASCII byte does
	direct     [directRunes]fold
	runs       []run // sorted, disjoint
	expansions []string
}

// run is one line of the table: the runes from first to last (every second one, with step2).
type run struct {
	first, last rune
	fold
}

// fold is what a rune does.
type fold struct {
	shift int32
	kind  uint32
}

// parseFolding reads the table and checks that every rune that a text can hold folds to valid runes.
func parseFolding(data, expansions []byte) (*folding, error) {
	f := &folding{runs: make([]run, len(data)/runBytes)}
	lines, err := parseLines("expansions", expansions, bytes.Count(expansions, []byte{'\n'}))
	if err != nil {
		return nil, err
	}
	f.expansions = lines
	previous := rune(-1)
	for i := range f.runs {
		word := func(n int) uint32 { return binary.LittleEndian.Uint32(data[i*runBytes+4*n:]) }
		r := run{first: rune(word(0)), last: rune(word(1)), fold: fold{shift: int32(word(2)), kind: word(3)}}
		if r.first <= previous || r.last < r.first || r.last > utf8.MaxRune || !f.valid(r) {
			return nil, fmt.Errorf("folding run %d (%#x to %#x, shift %d, kind %d): want sorted runs that fold to runes",
				i, r.first, r.last, r.shift, r.kind)
		}
		previous = r.last
		f.runs[i] = r
	}
	for r := range f.direct {
		f.direct[r] = f.search(rune(r))
	}
	for c := range byte(utf8.RuneSelf) {
		f.bytes[c] = f.byteKind(c)
	}
	return f, nil
}

// valid reports whether what r's runes fold to exists.
func (f *folding) valid(r run) bool {
	switch {
	case r.kind >= kindLimit:
		return false
	case r.kind&expand != 0:
		return r.kind&hangul == 0 && r.first == r.last && r.shift >= 0 && int(r.shift) < len(f.expansions)
	case r.kind&hangul != 0:
		return r.first >= hangulFirst && r.last <= hangulLast
	}
	if r.kind&kindMask >= space {
		return true // doesn't fold
	}
	// In 64 bits, since first + shift may not fit in 32.
	low, high := int64(r.first)+int64(r.shift), int64(r.last)+int64(r.shift)
	const surrogateFirst, surrogateLast = 0xD800, 0xDFFF
	return low > 0 && high <= utf8.MaxRune && (high < surrogateFirst || low > surrogateLast)
}

// search finds what r does in the runs.
func (f *folding) search(r rune) fold {
	i, found := slices.BinarySearchFunc(f.runs, r, func(candidate run, r rune) int { return int(candidate.first) - int(r) })
	if !found {
		i--
	}
	if i < 0 || r > f.runs[i].last || (f.runs[i].kind&step2 != 0 && (r-f.runs[i].first)%2 != 0) {
		return fold{}
	}
	return f.runs[i].fold
}

// of returns what r does.
func (f *folding) of(r rune) fold {
	if r < directRunes {
		return f.direct[r]
	}
	return f.search(r)
}

// byteKind returns the entry of f.bytes for an ASCII byte.
func (f *folding) byteKind(c byte) byte {
	does := f.direct[c]
	folded := int32(c) + does.shift
	switch {
	case does.kind&kindMask == space:
		return byteSpace
	case does.kind == own && does.shift == 0:
		return byteOwn
	case does.kind&^step2 == part && folded >= byteLetters && folded < utf8.RuneSelf:
		return byte(folded)
	}
	return byteOther
}

const (
	hangulFirst = 0xAC00
	hangulLast  = 0xD7A3
	jamoLead    = 0x1100
	jamoVowel   = 0x1161
	jamoTail    = 0x11A7
	jamoTails   = 28
	jamoBlock   = 21 * jamoTails
)

// appendFolded appends what r folds to, in UTF-8, and returns the number of runes.
func (f *folding) appendFolded(dst []byte, r rune, does fold) ([]byte, int) {
	switch {
	case does.kind&expand != 0:
		text := f.expansions[does.shift]
		return append(dst, text...), utf8.RuneCountInString(text)
	case does.kind&hangul != 0:
		at := r - hangulFirst
		dst = utf8.AppendRune(dst, jamoLead+at/jamoBlock)
		dst = utf8.AppendRune(dst, jamoVowel+at%jamoBlock/jamoTails)
		if at%jamoTails == 0 {
			return dst, 2
		}
		return utf8.AppendRune(dst, jamoTail+at%jamoTails), 3
	}
	return utf8.AppendRune(dst, r+does.shift), 1
}
