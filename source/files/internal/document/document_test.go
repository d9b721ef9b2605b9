package document_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/freshet-io/freshet/source/files/internal/document"
)

func TestMarkdown(t *testing.T) {
	for _, c := range []struct{ name, in, text, title string }{
		{"headings and paragraphs", "# The *title*\n\nOne line\nand another.\n\n## Part #\n\nSub\n---\nx", "The title\n\nOne line and another.\n\nPart\n\nSub\n\nx", "The title"},
		{"marks", "a *b* __c__ ~~d~~ `e*f` \\*g\\* &amp; &#8364; h<b>i</b>j", "a b c d e*f *g* & € hij", ""},
		{"links and pictures", "see [the *docs*](http://x/y \"t\"), [ref][1], ![a cat](c.png) and <http://z>\n\n[1]: http://w", "see the docs, ref, a cat and http://z", ""},
		{"lists", "- one\n- two\n  - three\n\n1. first\n\n   more\n2. second\n\n- [x] done", "one\ntwo\n\nthree\n\nfirst\n\nmore\n\nsecond\n\ndone", ""},
		{"code", "```go\nfunc f() {\n\n\treturn *x\n}\n```\n\n    indented\n      more", "func f() {\n\n\treturn *x\n}\n\nindented\n  more", ""},
		{"quotes and breaks", "> said  \n> he<br>now\n\n***\n\nend", "said\nhe\nnow\n\nend", ""},
		{"tables", "| a | b |\n|---|:-:|\n| 1 | *2* |\n| 3 | |", "a b\n1 2\n3", ""},
		{"HTML", "<div>\nin <b>it</b>\n<script>no()</script>\n</div>\n\nafter", "in it\n\nafter", ""},
		{"front matter", "---\ntitle: A note\ntags: [x]\n---\nText.", "A note\n\nText.", "A note"},
		{"front matter and heading", "---\r\ntitle: A note\r\n---\r\n# A note\r\n\r\nText.", "A note\n\nText.", "A note"},
		{"a line that is no front matter", "---\n\nText: [", "Text: [", ""},
		{"no front matter after all", "---\na: [\n---\nb", "a: [\n\nb", ""},
		{"nothing", "", "", ""},
		{"only marks", "# \n\n***\n", "", ""},
	} {
		d, err := document.Read("note.md", []byte(c.in))
		if err != nil || d.Text != c.text || d.Title != c.title {
			t.Errorf("%s: %q (%q), %v\nwant %q (%q)", c.name, d.Text, d.Title, err, c.text, c.title)
		}
	}
}

func TestHTML(t *testing.T) {
	for _, c := range []struct{ name, in, text, title string }{
		{"a page", "<!doctype html><html><head><title>The  page</title><style>p{}</style><script>x()</script></head><body><h1>Head</h1><p>One\n two<br>three</p><p>four</body>",
			"The page\n\nHead\n\nOne two\nthree\n\nfour", "The page"},
		{"a title that the text begins with", "<title>Head</title><h1>Head</h1>x", "Head\n\nx", "Head"},
		{"within a line", "a<b>b</b> <i>c </i>d<span>e</span> &lt;f&gt; &nbsp;g", "ab c de <f> g", ""},
		{"lists and tables", "<ul><li>a<li>b<ul><li>c</ul></ul><table><tr><th>x<th>y<tr><td>1<td>2</table>", "a\nb\n\nc\n\nx y\n1 2", ""},
		{"preformatted", "<p>a<pre>x  y\n  z</pre>b", "a\n\nx  y\n  z\n\nb", ""},
		{"what nobody sees", "a<template>t</template><noscript>n</noscript><svg><text>s</text></svg><p hidden>h</p><!-- c --><img alt=\"a cat\">", "a a cat", ""},
		{"what is not closed", "<div><p>a<b>b<div>c", "ab\n\nc", ""},
		{"not HTML", "plain < text", "plain < text", ""},
		{"nothing", "<html><body></body></html>", "", ""},
	} {
		d, err := document.Read("page.HTML", []byte(c.in))
		if err != nil || d.Text != c.text || d.Title != c.title {
			t.Errorf("%s: %q (%q), %v\nwant %q (%q)", c.name, d.Text, d.Title, err, c.text, c.title)
		}
	}
}

// Everything else is text as it is.
func TestPlain(t *testing.T) {
	const code = "package x // # no heading\n\n\tfunc f() {}\n"
	for _, name := range []string{"x.go", "x.txt", "Makefile", "md", ".md.go"} {
		d, err := document.Read(name, []byte(code))
		if err != nil || d.Text != code || d.Title != "" || !document.IsPlain(name) || document.IsBinary(name) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if document.IsPlain("a/B.Md") || document.IsPlain("x.PDF") || !document.IsBinary("x.PDF") {
		t.Error("a document is taken for plain")
	}
}

func FuzzMarkup(f *testing.F) {
	for _, s := range []string{"# a\n\n- b\n  1. c\n\n> d `e`\n\n|a|b|\n|-|-|\n|c|", "---\ntitle: x\n---\n<div>y", "<title>a</title><p>b<pre>c\n", "![[*_`~<&#0;\\", "<table><select><svg><p>"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, in string, isHTML bool) {
		name := "x.md"
		if isHTML {
			name = "x.html"
		}
		if !utf8.ValidString(in) {
			return
		}
		d, err := document.Read(name, []byte(in))
		if !utf8.ValidString(d.Text) || strings.TrimSpace(d.Text) == "" && d.Text != "" {
			t.Fatalf("%q gives %q, %v", in, d.Text, err)
		}
	})
}
