package document

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ledongthuc/pdf"
)

// The limits of a PDF: what is beyond them is no document that somebody wrote.
const (
	maxPDFTime  = 20 * time.Second
	maxPDFText  = 16 << 20
	maxPDFForms = 8 // forms within forms
)

// pdfText reads the text of a PDF. One that keeps the library busy without anything to show, as a stream that unpacks to gigabytes, is
// left behind after a while; the library can't be stopped.
func pdfText(content []byte) (Document, error) {
	type result struct {
		d   Document
		err error
	}
	done := make(chan result, 1)
	content = bytes.Clone(content)
	go func() {
		d, err := readPDF(content)
		done <- result{d, err}
	}()
	select {
	case r := <-done:
		return r.d, r.err
	case <-time.After(maxPDFTime + time.Second):
		return Document{}, errors.New(tooLong)
	}
}

const tooLong = "its text takes too long to read, or is too long"

// readPDF reads the text of a PDF, page by page, in the order in which it is drawn. Of the library it uses the reader of objects and
// streams, and the encodings of simple fonts. Its own text glues words together, or takes seconds a page; so the places of texts are
// followed here, and a gap is a space. It panics on damaged files, which is an error here. Scanned pages have no text.
func readPDF(content []byte) (d Document, err error) {
	e := &extraction{started: time.Now(), fonts: map[string]*font{}, forms: map[string]bool{}}
	defer func() {
		if r := recover(); r != nil {
			d, err = Document{}, fmt.Errorf("is no PDF that can be read: %v", r)
		}
	}()
	r, err := pdf.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return Document{}, fmt.Errorf("is no PDF that can be read: %w", err)
	}
	e.pages(r.Trailer().Key("Root").Key("Pages"), pdf.Value{}, 0)
	if strings.TrimSpace(e.w.b.String()) == "" {
		return Document{}, errors.New("has no text: its pages are pictures, or its fonts don't say what their characters are")
	}
	return titled(e.w.b.String(), pdfTitle(r)), nil
}

// pdfTitle is the title that the file says, "" where it is that of a program's working file.
func pdfTitle(r *pdf.Reader) string {
	title := r.Trailer().Key("Info").Key("Title").Text()
	if !utf8.ValidString(title) || strings.HasPrefix(title, "Microsoft Word") || strings.ContainsAny(title, "\x00\\/") {
		return ""
	}
	return strings.TrimSpace(title)
}

// extraction is the reading of one file.
type extraction struct {
	w       writer
	started time.Time
	fonts   map[string]*font // by the description of their object
	forms   map[string]bool  // that are being drawn
	seen    int              // pages and groups of them
}

// maxPages is how many pages, and groups of them, are read.
const maxPages = 20_000

// pages adds the pages below a node of the tree of pages. Resources are inherited.
func (e *extraction) pages(n, resources pdf.Value, depth int) {
	if e.seen++; e.seen > maxPages || depth > 64 {
		panic("it has more pages than are read")
	}
	if own := n.Key("Resources"); !own.IsNull() {
		resources = own
	}
	if kids := n.Key("Kids"); kids.Kind() == pdf.Array {
		for i := range kids.Len() {
			e.pages(kids.Index(i), resources, depth+1)
		}
		return
	}
	if contents := n.Key("Contents"); !contents.IsNull() {
		e.draw(contents, resources, identity, 0)
		e.w.part(paragraph)
	}
}

// matrix is a, b, c, d, e, f of an affine map.
type matrix [6]float64

var identity = matrix{1, 0, 0, 1, 0, 0}

// after is the map that does n, then m.
func (n matrix) after(m matrix) matrix {
	return matrix{n[0]*m[0] + n[1]*m[2], n[0]*m[1] + n[1]*m[3], n[2]*m[0] + n[3]*m[2], n[2]*m[1] + n[3]*m[3],
		n[4]*m[0] + n[5]*m[2] + m[4], n[4]*m[1] + n[5]*m[3] + m[5]}
}

// graphics is the part of the graphics state that places text.
type graphics struct {
	ctm                           matrix
	font                          *font
	size, char, word, scale, lead float64
}

// canvas interprets a stream of content.
type canvas struct {
	e         *extraction
	resources pdf.Value
	depth     int
	g         graphics
	saved     []graphics
	text, row matrix  // of the next character, and of the line's beginning
	x, y      float64 // where the last text ended
	drawn     bool
}

// draw adds the text of a stream.
func (e *extraction) draw(stream, resources pdf.Value, ctm matrix, depth int) {
	c := &canvas{e: e, resources: resources, depth: depth, g: graphics{ctm: ctm, scale: 1}, text: identity, row: identity}
	pdf.Interpret(stream, func(stack *pdf.Stack, op string) {
		args := make([]pdf.Value, stack.Len())
		for i := len(args) - 1; i >= 0; i-- {
			args[i] = stack.Pop()
		}
		if time.Since(e.started) > maxPDFTime || e.w.b.Len() > maxPDFText {
			panic(tooLong)
		}
		c.do(op, args)
	})
}

// operands are how many each operator of interest takes.
var operands = map[string]int{"cm": 6, "Tm": 6, "Td": 2, "TD": 2, "Tf": 2, "TL": 1, "Tc": 1, "Tw": 1, "Tz": 1, "Tj": 1, "'": 1, "\"": 3, "TJ": 1, "Do": 1}

func (c *canvas) do(op string, args []pdf.Value) {
	n := operands[op]
	if len(args) < n {
		return
	}
	args = args[len(args)-n:]
	number := func(i int) float64 { return args[i].Float64() }
	six := func() (m matrix) {
		for i := range m {
			m[i] = number(i)
		}
		return m
	}
	switch op {
	case "q":
		if len(c.saved) < 1024 {
			c.saved = append(c.saved, c.g)
		}
	case "Q":
		if n := len(c.saved); n > 0 {
			c.g, c.saved = c.saved[n-1], c.saved[:n-1]
		}
	case "cm":
		c.g.ctm = six().after(c.g.ctm)
	case "BT":
		c.text, c.row = identity, identity
	case "Tm":
		c.row = six()
		c.text = c.row
	case "TD":
		c.g.lead = -number(1)
		c.move(number(0), number(1))
	case "Td":
		c.move(number(0), number(1))
	case "T*":
		c.move(0, -c.g.lead)
	case "TL":
		c.g.lead = number(0)
	case "Tc":
		c.g.char = number(0)
	case "Tw":
		c.g.word = number(0)
	case "Tz":
		c.g.scale = number(0) / 100
	case "Tf":
		c.g.font, c.g.size = c.e.font(c.resources.Key("Font").Key(args[0].Name())), number(1)
	case "Tj":
		c.show(args[0].RawString())
	case "'":
		c.move(0, -c.g.lead)
		c.show(args[0].RawString())
	case "\"":
		c.g.word, c.g.char = number(0), number(1)
		c.move(0, -c.g.lead)
		c.show(args[2].RawString())
	case "TJ":
		for i := range args[0].Len() {
			if v := args[0].Index(i); v.Kind() == pdf.String {
				c.show(v.RawString())
			} else {
				c.text = matrix{1, 0, 0, 1, -v.Float64() / 1000 * c.g.size * c.g.scale, 0}.after(c.text)
			}
		}
	case "Do":
		c.form(c.resources.Key("XObject").Key(args[0].Name()))
	}
}

func (c *canvas) move(x, y float64) {
	c.row = matrix{1, 0, 0, 1, x, y}.after(c.row)
	c.text = c.row
}

// form draws what stands for itself in other places.
func (c *canvas) form(x pdf.Value) {
	id := x.String() // with its place in the file
	if x.Key("Subtype").Name() != "Form" || c.depth >= maxPDFForms || c.e.forms[id] {
		return
	}
	c.e.forms[id] = true
	defer delete(c.e.forms, id)
	ctm := c.g.ctm
	if m := x.Key("Matrix"); m.Len() == 6 {
		var own matrix
		for i := range own {
			own[i] = m.Index(i).Float64()
		}
		ctm = own.after(ctm)
	}
	resources := x.Key("Resources")
	if resources.IsNull() {
		resources = c.resources
	}
	c.e.w.part(line)
	c.e.draw(x, resources, ctm, c.depth+1)
	c.e.w.part(line)
}

// How far apart texts are, in sizes of the font: less is one word, and from lines on it is another line or paragraph.
const (
	wordGap      = 0.17
	backwards    = 0.5
	sameLine     = 0.4
	paragraphGap = 1.7
)

// show adds a text at its place and moves on.
func (c *canvas) show(raw string) {
	if c.g.font == nil {
		return
	}
	text, width := c.g.font.decode(raw, c.g.char, c.g.word, c.g.size)
	width *= c.g.scale
	at := c.text.after(c.g.ctm)
	c.text = matrix{1, 0, 0, 1, width, 0}.after(c.text)
	end := c.text.after(c.g.ctm)
	size := math.Abs(c.g.size) * math.Hypot(at[2], at[3])
	if text == "" {
		return
	}
	if c.drawn && size > 0 {
		down, along := math.Abs(at[5]-c.y)/size, (at[4]-c.x)/size
		if math.Abs(at[1]) > math.Abs(at[0]) { // the line goes upwards
			down, along = math.Abs(at[4]-c.x)/size, math.Abs(at[5]-c.y)/size
		}
		switch {
		case down > paragraphGap:
			c.e.w.part(paragraph)
		case down > sameLine:
			c.e.w.part(line)
		case along > wordGap || along < -backwards:
			c.e.w.part(space)
		}
	}
	c.e.w.write(text)
	c.x, c.y, c.drawn = end[4], end[5], true
}
