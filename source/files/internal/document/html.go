package document

import (
	"bytes"
	"fmt"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// web reads HTML: what a browser would show as text, and the alternative texts of images.
func web(content []byte) (Document, error) {
	root, err := html.Parse(bytes.NewReader(content))
	if err != nil {
		return Document{}, fmt.Errorf("is no HTML that can be read: %w", err)
	}
	p := page{}
	p.node(root, false)
	return titled(p.w.b.String(), p.title), nil
}

// page gathers the text of a tree.
type page struct {
	w     writer
	title string
}

// How elements part the text around them. Those that are not listed stand within a line.
var gaps = map[atom.Atom]gap{
	atom.P: paragraph, atom.Div: line, atom.H1: paragraph, atom.H2: paragraph, atom.H3: paragraph, atom.H4: paragraph, atom.H5: paragraph, atom.H6: paragraph,
	atom.Ul: paragraph, atom.Ol: paragraph, atom.Dl: paragraph, atom.Li: line, atom.Dt: line, atom.Dd: line, atom.Table: paragraph, atom.Tr: line, atom.Td: space, atom.Th: space,
	atom.Caption: line, atom.Pre: paragraph, atom.Blockquote: paragraph, atom.Section: paragraph, atom.Article: paragraph, atom.Header: paragraph, atom.Footer: paragraph,
	atom.Main: paragraph, atom.Nav: paragraph, atom.Aside: paragraph, atom.Figure: paragraph, atom.Figcaption: line, atom.Form: paragraph, atom.Fieldset: paragraph,
	atom.Hr: paragraph, atom.Br: line, atom.Address: paragraph, atom.Details: paragraph, atom.Summary: line, atom.Option: line, atom.Body: paragraph,
}

// unseen are elements that hold no text for people.
var unseen = map[atom.Atom]bool{atom.Script: true, atom.Style: true, atom.Template: true, atom.Svg: true, atom.Math: true, atom.Iframe: true, atom.Object: true,
	atom.Noscript: true, atom.Noembed: true, atom.Noframes: true, atom.Canvas: true, atom.Audio: true, atom.Video: true, atom.Select: true, atom.Textarea: true}

// node adds a node and what is below it. Within preformatted text lines stand for themselves.
func (p *page) node(n *html.Node, pre bool) {
	switch n.Type {
	case html.TextNode:
		if pre {
			p.w.lines(n.Data)
		} else {
			p.w.write(n.Data)
		}
		return
	case html.ElementNode:
		if unseen[n.DataAtom] || has(n, "hidden") {
			return
		}
		switch n.DataAtom {
		case atom.Title:
			if p.title == "" && n.FirstChild != nil {
				p.title = n.FirstChild.Data
			}
			return
		case atom.Img:
			p.w.write(" " + attribute(n, "alt") + " ")
			return
		}
	}
	g := gaps[n.DataAtom]
	p.w.part(g)
	pre = pre || n.DataAtom == atom.Pre
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		p.node(c, pre)
	}
	p.w.part(g)
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
