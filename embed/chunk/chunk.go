package chunk

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// The defaults and limits of [Options].
const (
	DefaultMaxBytes  = 600 // the package says why
	DefaultMaxChunks = 1024
	MinMaxBytes      = 64 // a smaller MaxBytes counts as this
)

// algorithm counts the changes that alter where Split cuts. It is part of Describe.
const algorithm = 1

// Options say how long chunks are. The zero value means the defaults.
type Options struct {
	MaxBytes     int `yaml:"max_bytes,omitempty"`     // longest chunk; 0 means DefaultMaxBytes
	OverlapBytes int `yaml:"overlap_bytes,omitempty"` // how much of a chunk the next one repeats at most; up to a quarter of MaxBytes
	MaxChunks    int `yaml:"max_chunks,omitempty"`    // most chunks of one text; 0 means DefaultMaxChunks
}

// Span is text[Start:End], in bytes.
type Span struct {
	Start, End int
}

// Validate names the option that can't be used and its value. Split takes the nearest usable
// value instead.
func (o Options) Validate() error {
	n := o.normal()
	switch {
	case o.MaxBytes != 0 && o.MaxBytes != n.MaxBytes:
		return fmt.Errorf("max_bytes is %d; give at least %d, or 0 for %d", o.MaxBytes, MinMaxBytes, DefaultMaxBytes)
	case o.OverlapBytes != n.OverlapBytes:
		return fmt.Errorf("overlap_bytes is %d; give 0 to %d, a quarter of max_bytes", o.OverlapBytes, n.MaxBytes/4)
	case o.MaxChunks != 0 && o.MaxChunks != n.MaxChunks:
		return fmt.Errorf("max_chunks is %d; give at least 1, or 0 for %d", o.MaxChunks, DefaultMaxChunks)
	}
	return nil
}

// Describe is a canonical text of the options: equal texts mean equal spans.
func (o Options) Describe() string {
	o = o.normal()
	return fmt.Sprintf("chunk/%d max_bytes=%d overlap_bytes=%d max_chunks=%d", algorithm, o.MaxBytes, o.OverlapBytes, o.MaxChunks)
}

// normal fills in the defaults and moves what can't be used to what can.
func (o Options) normal() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	o.MaxBytes = max(o.MaxBytes, MinMaxBytes)
	o.OverlapBytes = min(max(o.OverlapBytes, 0), o.MaxBytes/4)
	if o.MaxChunks <= 0 {
		if o.MaxChunks < 0 {
			o.MaxChunks = 1
		} else {
			o.MaxChunks = DefaultMaxChunks
		}
	}
	return o
}

// Split returns the chunks of text. The package says what they are like.
func Split(text string, opt Options) []Span {
	opt = opt.normal()
	start, end := trim(text, 0, len(text))
	if start == end {
		return nil
	}
	limit := opt.limit(end - start)
	if end-start <= limit {
		return []Span{{start, end}}
	}
	spans := make([]Span, 0, (end-start)/limit+2)
	for end-start > limit {
		cut := place(text, start, end, limit)
		_, stop := trim(text, start, cut)
		spans = append(spans, Span{start, stop})
		next, _ := trim(text, cut, end)
		start = overlap(text, cut-opt.OverlapBytes, stop, next)
	}
	return append(spans, Span{start, end})
}

// limit is the longest chunk of a text of n bytes. Every chunk but the last gets ahead by at
// least half of the limit less the overlap; with the limit returned that makes no more than
// MaxChunks of them.
func (o Options) limit(n int) int {
	if n <= o.MaxBytes {
		return o.MaxBytes
	}
	return max(o.MaxBytes, 2*(n/o.MaxChunks+1+o.OverlapBytes))
}

// trim narrows text[start:end] to what has no white space at its ends.
func trim(text string, start, end int) (int, int) {
	for start < end {
		r, size := utf8.DecodeRuneInString(text[start:end])
		if !unicode.IsSpace(r) {
			break
		}
		start += size
	}
	for start < end {
		r, size := utf8.DecodeLastRuneInString(text[start:end])
		if !unicode.IsSpace(r) {
			break
		}
		end -= size
	}
	return start, end
}

// overlap is where the chunk after one that ends at stop begins: at the first sentence from
// low on, else at the first word, else at next, behind the white space after stop.
func overlap(text string, low, stop, next int) int {
	word := next
	for at := runeAfter(text, low); at < stop; {
		b := boundaryAt(text, at, stop)
		if b.rank >= sentence {
			return b.next
		}
		if b.rank == space && word == next {
			word = b.next
		}
		at = b.step
	}
	return word
}
