package document

import (
	"bytes"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// reader of Markdown: CommonMark with tables, strikethrough and lists of tasks.
var commonMark = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.TaskList)).Parser()

// markdown reads Markdown. Its title is that of the front matter, else the first heading of the first level.
func markdown(content []byte) (Document, error) {
	title, body := frontMatter(content)
	m := markup{source: body}
	m.blocks(commonMark.Parse(text.NewReader(body)))
	if title != "" {
		return titled(m.w.b.String(), title), nil
	}
	return Document{Text: m.w.b.String(), Title: m.title}, nil
}

// frontMatter cuts off the lines of YAML between two lines of dashes at the beginning, and returns the title in them. They are no
// text: they are for the program that makes pages of the file.
func frontMatter(content []byte) (title string, body []byte) {
	first, rest, _ := bytes.Cut(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte("\n"))
	if string(bytes.TrimRight(first, " \r")) != "---" {
		return "", content
	}
	var matter []byte
	for at := rest; len(at) > 0; {
		var l []byte
		l, at, _ = bytes.Cut(at, []byte("\n"))
		if s := string(bytes.TrimRight(l, " \r")); s == "---" || s == "..." {
			var known struct {
				Title string `yaml:"title"`
			}
			if yaml.Unmarshal(matter, &known) != nil {
				return "", content
			}
			return known.Title, at
		}
		matter = append(append(matter, l...), '\n')
	}
	return "", content
}

// markup gathers the text of a tree.
type markup struct {
	source []byte
	w      writer
	title  string
}

// blocks adds the blocks below a node.
func (m *markup) blocks(n ast.Node) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		m.block(c)
	}
}

func (m *markup) block(n ast.Node) {
	g := paragraph
	switch n.Kind() {
	case ast.KindListItem:
		if list, ok := n.Parent().(*ast.List); ok && list.IsTight {
			g = line
		}
	case ast.KindTextBlock, extast.KindTableHeader, extast.KindTableRow:
		g = line
	case extast.KindTableCell:
		g = space
	}
	m.w.part(g)
	switch n := n.(type) {
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		m.w.lines(string(n.Lines().Value(m.source)))
	case *ast.HTMLBlock:
		raw := n.Lines().Value(m.source)
		if n.HasClosure() {
			raw = append(bytes.Clone(raw), n.ClosureLine.Value(m.source)...)
		}
		m.html(raw)
	case *ast.Heading:
		before := m.w.b.Len()
		m.inlines(n)
		if n.Level == 1 && m.title == "" {
			m.title = strings.TrimSpace(m.w.b.String()[before:])
		}
	default:
		if c := n.FirstChild(); c != nil && c.Type() == ast.TypeInline {
			m.inlines(n)
		} else {
			m.blocks(n)
		}
	}
	m.w.part(g)
}

// inlines adds what stands within the lines of a block.
func (m *markup) inlines(n ast.Node) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			m.w.write(unescape(c.Segment.Value(m.source), c.IsRaw()))
			if c.HardLineBreak() {
				m.w.part(line)
			} else if c.SoftLineBreak() {
				m.w.part(space)
			}
		case *ast.String:
			m.w.write(string(c.Value))
		case *ast.AutoLink:
			m.w.write(string(c.Label(m.source)))
		case *ast.RawHTML:
			m.w.part(htmlGap(c.Segments.Value(m.source)))
		default:
			m.inlines(c)
		}
	}
}

// html adds the text of a block of HTML.
func (m *markup) html(raw []byte) {
	if d, err := web(raw); err == nil {
		m.w.lines(d.Text)
	}
}

// htmlGap is how a tag in a line parts the text: only a line break does.
func htmlGap(tag []byte) gap {
	if bytes.HasPrefix(bytes.ToLower(tag), []byte("<br")) {
		return line
	}
	return none
}

// unescape undoes the backslashes and entities of a text; code has none.
func unescape(v []byte, isCode bool) string {
	if isCode {
		return string(v)
	}
	return string(util.ResolveEntityNames(util.ResolveNumericReferences(util.UnescapePunctuations(v))))
}
