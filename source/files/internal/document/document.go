// Package document reads what a file says: the text of Markdown, HTML and PDF without their markup. All other files are text as
// they are, source code too. It keeps no layout beyond what splitting a text looks at: an empty line between paragraphs, headings and
// pages, a line for each item of a list and each row of a table.
package document

import (
	"path"
	"strings"
	"unicode"
)

// Version rises when the same file may give another text.
const Version = 1

// Document is what a file says.
type Document struct {
	Text  string // UTF-8
	Title string // "" where the file names none
}

// format reads one kind of file.
type format func(content []byte) (Document, error)

// formats by the extension of a file's name, in lower case.
var formats = map[string]format{
	".md": markdown, ".markdown": markdown, ".mdown": markdown, ".mkd": markdown,
	".html": web, ".htm": web, ".xhtml": web,
	".pdf": pdfText,
}

// IsPlain reports whether a file of this name is text as it is.
func IsPlain(name string) bool { return formats[strings.ToLower(path.Ext(name))] == nil }

// IsBinary reports whether a file of this name is no text before it is read.
func IsBinary(name string) bool { return strings.EqualFold(path.Ext(name), ".pdf") }

// Read reads a file by its name. Content must be UTF-8 unless it IsBinary. The error says why a file can't be read; Markdown
// and HTML always can.
func Read(name string, content []byte) (Document, error) {
	if read := formats[strings.ToLower(path.Ext(name))]; read != nil {
		return read(content)
	}
	return Document{Text: string(content)}, nil
}

// writer joins pieces of text. White space is one space, one line feed or one empty line, and none at the beginning.
type writer struct {
	b     strings.Builder
	space gap // before the next piece
}

// gap is the white space between two pieces.
type gap uint8

const (
	none gap = iota
	space
	line
	paragraph
)

// part asks for white space before what comes next.
func (w *writer) part(g gap) { w.space = max(w.space, g) }

// write adds text; its white space counts as a space.
func (w *writer) write(text string) {
	for i, word := range strings.FieldsFunc(text, unicode.IsSpace) {
		if i > 0 || startsWithSpace(text) {
			w.part(space)
		}
		w.raw(word)
	}
	if text != "" && endsWithSpace(text) {
		w.part(space)
	}
}

// raw adds text as it stands.
func (w *writer) raw(text string) {
	if text == "" {
		return
	}
	if w.b.Len() > 0 {
		w.b.WriteString([...]string{"", " ", "\n", "\n\n"}[w.space])
	}
	w.space = none
	w.b.WriteString(text)
}

// lines adds text whose lines stand for themselves, such as code.
func (w *writer) lines(text string) {
	w.raw(strings.TrimRight(strings.Trim(text, "\n"), " \t\n"))
}

func startsWithSpace(s string) bool {
	for _, r := range s {
		return unicode.IsSpace(r)
	}
	return false
}

func endsWithSpace(s string) bool {
	return strings.TrimRightFunc(s, unicode.IsSpace) != s
}

// titled returns a document whose text begins with its title, where it does not hold it anyway.
func titled(text, title string) Document {
	title = strings.Join(strings.Fields(title), " ")
	if title != "" && !strings.HasPrefix(text, title) {
		text = strings.TrimRight(title+"\n\n"+text, "\n")
	}
	return Document{Text: text, Title: title}
}
