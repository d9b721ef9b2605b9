package chunk

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// rank orders the kinds of places to cut at, the best last.
type rank int

const (
	none      rank = iota // inside a word
	space                 // between words
	sentence              // after a sentence
	line                  // at the end of a line
	paragraph             // at an empty line
)

// boundary says whether a text may be cut at a place: the white space there, if any, ends at
// next, where the next chunk would begin; step is the first place that is not looked at yet.
type boundary struct {
	rank rank
	next int
	step int
}

// place returns where to end the chunk that begins at start. The rest of the text, up to end,
// is longer than limit.
func place(text string, start, end, limit int) int {
	low, high := start+limit/2, start+limit
	rest := end - start
	parts := (rest + limit - 1) / limit
	ideal := start + rest/parts

	best, bestRank := 0, none
	for at := runeAfter(text, low); at <= high; {
		b := boundaryAt(text, at, end)
		if b.rank > bestRank || b.rank == bestRank && b.rank != none && distance(at, ideal) < distance(best, ideal) {
			best, bestRank = at, b.rank
		}
		at = b.step
	}
	if bestRank == none {
		return character(text, low, high)
	}
	return best
}

func distance(a, b int) int {
	if a < b {
		return b - a
	}
	return a - b
}

// runeBefore moves at back to the beginning of a UTF-8 sequence, if it is inside of one.
func runeBefore(text string, at int) int {
	for i := at; i > 0 && i > at-utf8.UTFMax && i < len(text); i-- {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return at
}

// runeAfter moves at ahead to the beginning of a UTF-8 sequence, if it is inside of one.
func runeAfter(text string, at int) int {
	for i := at; i < len(text) && i < at+utf8.UTFMax; i++ {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return at
}

// boundaryAt classifies the place before the character at at, which is before end.
func boundaryAt(text string, at, end int) boundary {
	r, size := utf8.DecodeRuneInString(text[at:end])
	if !unicode.IsSpace(r) {
		if r >= firstWide && !strings.ContainsRune(wideStops+closers, r) && endsSentence(text[:at], wideStops) {
			return boundary{sentence, at, at + size}
		}
		return boundary{none, at, at + size}
	}
	next, lines := at, 0
	for next < end {
		r, size := utf8.DecodeRuneInString(text[next:end])
		if !unicode.IsSpace(r) {
			break
		}
		switch r {
		case '\n', '\u2028':
			lines++
		case '\r':
			if next+1 >= end || text[next+1] != '\n' {
				lines++
			}
		case '\f', '\u2029':
			lines += 2
		}
		next += size
	}
	switch {
	case lines > 1:
		return boundary{paragraph, next, next}
	case lines == 1:
		return boundary{line, next, next}
	case endsSentence(text[:at], stops):
		return boundary{sentence, next, next}
	}
	return boundary{space, next, next}
}

// What ends a sentence, and what may stand between its end and the white space. Chinese and
// Japanese sentences end without white space: firstWide is the first of such characters.
const (
	firstWide = 0x2e80
	stops     = ".!?…" + wideStops
	wideStops = "。！？｡"
	closers   = "\"')]}»”’」』）】"

	maxClosers = 3 // the mark included
)

// endsSentence reports whether text ends with one of marks, perhaps within quotes or brackets.
func endsSentence(text, marks string) bool {
	for range maxClosers {
		r, size := utf8.DecodeLastRuneInString(text)
		if !strings.ContainsRune(closers, r) {
			return strings.ContainsRune(marks, r)
		}
		text = text[:len(text)-size]
	}
	return false
}

// maxCluster is how far back a cut goes to keep together what is shown as one character.
const maxCluster = 64

// character returns the last place up to high where a character ends, for a text without
// white space. It gives up below low, or when a cluster is longer than any real one.
func character(text string, low, high int) int {
	high = runeBefore(text, high)
	for at := high; at > low && at > high-maxCluster; at = runeBefore(text, at-1) {
		if !joined(text, at) {
			return at
		}
	}
	return high
}

// joined reports whether the characters before and after at are shown as one. It knows
// accents and other marks, variation selectors, emoji sequences and flags; the full rules
// (UAX #29) also keep Hangul jamo together, which composed text doesn't have.
func joined(text string, at int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:at])
	after, _ := utf8.DecodeRuneInString(text[at:])
	const zeroWidthJoiner = '\u200d'
	switch {
	case before == zeroWidthJoiner, after == zeroWidthJoiner:
		return true
	case unicode.In(after, unicode.Mn, unicode.Me, unicode.Mc):
		return true
	case after >= 0x1f3fb && after <= 0x1f3ff: // skin tones
		return true
	case isRegional(before) && isRegional(after): // a flag is two of them
		return regionalsBefore(text[:at])%2 == 1
	}
	return false
}

func isRegional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// regionalsBefore counts the flag letters at the end of text, as far as a cluster reaches.
func regionalsBefore(text string) int {
	n := 0
	for n < maxCluster {
		r, size := utf8.DecodeLastRuneInString(text)
		if !isRegional(r) {
			break
		}
		text = text[:len(text)-size]
		n++
	}
	return n
}
