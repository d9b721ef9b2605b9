package files_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet/source/files/internal/document"
)

// pdfOf makes a PDF of one line of text, padded to a size.
func pdfOf(text string, size int) string {
	var b strings.Builder
	b.WriteString("%PDF-1.4\n")
	content := fmt.Sprintf("BT /F 12 Tf 72 700 Td (%s) Tj ET", text)
	var places []int
	for i, o := range []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>", fmt.Sprintf("<</Length %d>>stream\n%s\nendstream", len(content), content),
		"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"} {
		places = append(places, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	b.WriteString("%" + strings.Repeat("x", max(0, size-b.Len())) + "\n")
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(places)+1)
	for _, at := range places {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(places)+1, xref)
	return b.String()
}

// Documents are indexed by what they say, and passed over where that can't be read.
func TestDocuments(t *testing.T) {
	b := newBench(t)
	b.opts.MaxBytes = 1000
	var warnings atomic.Int64
	b.opts.Logger = slog.New(counter{&warnings})
	b.write("notes.md", "# The plan\n\nsee [it](http://x), *now*")
	b.write("page.html", "<title>Page</title><p>one<p>two")
	b.write("paper.pdf", pdfOf("said in print", 5000))
	b.write("main.go", "// # a comment\npackage main // <b>\n")
	b.write("picture.html", "<img src=x>")
	b.write("broken.pdf", "%PDF-1.4 and nothing else")
	b.write("large.pdf", pdfOf("too much", 64*1000+1))
	want := map[string]string{"notes.md": "The plan\n\nsee it, now", "page.html": "Page\n\none\n\ntwo", "paper.pdf": "said in print",
		"main.go": "// # a comment\npackage main // <b>\n"}
	b.start()
	b.await(want)
	b.until(func() bool { return warnings.Load() == 2 }, func() string { return fmt.Sprint(warnings.Load(), " warnings, want two") })
	for _, e := range b.events() {
		title := map[string]string{"notes.md": "The plan", "page.html": "Page"}[e.Entity]
		if p := e.Payload; p.Title != title || e.Entity == "paper.pdf" && (p.Bytes < 5000 || p.Ext != "pdf") {
			t.Errorf("%s has the payload %+v", e.Entity, p)
		}
	}

	b.write("broken.pdf", pdfOf("mended", 0))
	b.write("paper.pdf", "%PDF-1.4 torn")
	want["broken.pdf"] = "mended"
	delete(want, "paper.pdf")
	b.await(want)
	b.halt()
	b.checkOnce()
	sent := len(b.events())

	// Another start knows them; one that reads documents in another way reads them again, and nothing else.
	b.start()
	b.write("last.md", "last")
	want["last.md"] = "last"
	b.await(want)
	b.halt()
	if n := len(b.events()); n != sent+1 {
		t.Errorf("a restart sends %d events, want one", n-sent)
	}
	var reader any
	b.setRoot(func(root map[string]any) { reader, root["reader"] = root["reader"], document.Version-1 })
	if reader != float64(document.Version) {
		t.Errorf("the state was read by version %v", reader)
	}
	b.start()
	b.until(func() bool { return len(b.events()) == sent+5 }, func() string { return fmt.Sprint(b.events()[sent:]) })
	b.halt()
	for _, e := range b.events()[sent+1:] {
		if e.Entity == "main.go" {
			t.Error("a plain file was read again")
		}
	}
	b.setRoot(func(root map[string]any) { reader = root["reader"] })
	if reader != float64(document.Version) {
		t.Errorf("the state was read by version %v", reader)
	}
}
