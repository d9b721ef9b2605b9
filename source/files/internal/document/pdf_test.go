package document_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/freshet-io/freshet/source/files/internal/document"
)

// pdfFile makes a PDF: objects are numbered from 3, where the pages begin; their number is that of pages.
func pdfFile(info string, pages int, objects ...string) []byte {
	var kids []string
	for i := range pages {
		kids = append(kids, fmt.Sprintf("%d 0 R", 3+i))
	}
	objects = append([]string{"<</Type/Catalog/Pages 2 0 R>>", fmt.Sprintf("<</Type/Pages/Kids[%s]/Count %d>>", strings.Join(kids, " "), pages)}, objects...)
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	var places []int
	for i, o := range objects {
		places = append(places, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, at := range places {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer<</Size %d/Root 1 0 R/Info<<%s>>>>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, info, xref)
	return b.Bytes()
}

// stream is a compressed stream with the entries of a dictionary.
func stream(dict, content string) string {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write([]byte(content)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return fmt.Sprintf("<</Length %d/Filter/FlateDecode%s>>stream\n%s\nendstream", z.Len(), dict, z.Bytes())
}

const (
	helvetica = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding/FirstChar 32/LastChar 126/Widths[278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584]>>"
	// composite maps 0001 to ß, 0002 and 0003 to 中 and 丮, 0004 to a ligature, and 0005 to a character beyond 16 bits.
	composite = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /x def 1 begincodespacerange <0000><ffff> endcodespacerange " +
		"2 beginbfchar <0001><00df> <0005><d83dde00> endbfchar 2 beginbfrange <0002><0003><4e2d> <0004><0004>[<fb01>] endbfrange endcmap CMapName currentdict /CMap defineresource pop end end"
)

func page(contents, fonts string) string {
	return fmt.Sprintf("<</Type/Page/Parent 2 0 R/Contents %s/Resources<</Font<<%s>>/XObject<</X 9 0 R>>>>>>", contents, fonts)
}

// letter is a document of two pages with what text in PDFs is made of.
func letter() []byte {
	return pdfFile("/Title(The letter)", 2,
		page("[5 0 R 6 0 R]", "/H 7 0 R"), page("8 0 R", "/H 7 0 R/C 10 0 R"),
		stream("", "BT /H 12 Tf 72 700 Td (Dear ) Tj (Anne,) Tj 0 -14 Td [(it is )-30(r)10(aining since)-300(Monday)] TJ"),
		stream("", " T* ET BT 1 0 0 1 72 640 Tm /H 12 Tf 14 TL (A new paragraph) Tj (and its second line, caf\\351) ' ET"),
		helvetica,
		stream("", "q 2 0 0 2 0 0 cm BT /C 10 Tf 20 300 Td <00010002000300040005> Tj ET Q BT /H 10 Tf 72 500 Td (far) Tj 100 0 Td (apart) Tj ET /X Do"),
		stream("/Type/XObject/Subtype/Form/Matrix[1 0 0 1 0 -50]", "BT /H 10 Tf 72 400 Td (in a form) Tj ET"),
		"<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[11 0 R]/ToUnicode 12 0 R>>",
		"<</Type/Font/Subtype/CIDFontType2/DW 1000/W[1[500 600] 3 4 700]>>",
		stream("", composite))
}

func TestPDF(t *testing.T) {
	d, err := document.Read("letter.PDF", letter())
	want := "The letter\n\nDear Anne,\nit is raining since Monday\n\nA new paragraph\nand its second line, café\n\nß中丮fi😀\n\nfar apart\nin a form"
	if err != nil || d.Text != want || d.Title != "The letter" {
		t.Errorf("%q (%q), %v\nwant %q", d.Text, d.Title, err, want)
	}
}

// What can't be read is an error, never a panic.
func TestUnreadablePDF(t *testing.T) {
	whole := letter()
	for name, raw := range map[string][]byte{
		"nothing": nil, "no PDF": []byte("hello"), "the beginning": whole[:len(whole)/2], "the end": whole[len(whole)/2:],
		"a picture":       pdfFile("", 1, page("4 0 R", ""), stream("", "q 100 0 0 100 0 0 cm /X Do Q")),
		"pages in a ring": pdfFile("", 1, "<</Type/Pages/Kids[2 0 R]/Count 1>>"),
		"a form in itself": pdfFile("", 1, page("9 0 R", ""), "null", "null", "null", "null", "null",
			stream("/Subtype/Form/Resources<</XObject<</X 9 0 R>>>>", "/X Do /X Do /X Do /X Do")),
		"deep":             pdfFile("", 1, page("4 0 R", ""), stream("", strings.Repeat("[", 1<<20))),
		"operands missing": pdfFile("", 1, page("4 0 R", "/H 5 0 R"), stream("", "Tf Tj (x) TJ 5 Tj Q Q Do cm 1 Tm (a) Tj"), helvetica),
	} {
		if d, err := document.Read("x.pdf", raw); err == nil {
			t.Errorf("%s gives %q", name, d.Text)
		}
	}
}

func FuzzPDF(f *testing.F) {
	f.Add(letter())
	f.Add(pdfFile("", 1, page("4 0 R", "/H 5 0 R"), "<</Length 40>>stream\nBT /H 12 Tf 1 0 0 1 5 5 Tm (a) Tj ET      \nendstream", helvetica))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if d, err := document.Read("x.pdf", raw); err == nil && (!utf8.ValidString(d.Text) || strings.TrimSpace(d.Text) == "") {
			t.Fatalf("%q gives %q", raw, d.Text)
		}
	})
}
