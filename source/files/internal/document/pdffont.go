package document

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/ledongthuc/pdf"
)

// font says what the codes of a font stand for and how wide they are.
type font struct {
	bytes    int // of a code
	unicode  map[int]string
	encoding pdf.TextEncoding // of a font without a map of its own
	widths   map[int]float64  // in thousandths of its size
	missing  float64          // width of all others
}

// font reads a font of the resources. nil when there is none.
func (e *extraction) font(v pdf.Value) *font {
	if v.IsNull() {
		return nil
	}
	id := v.String()
	if f, ok := e.fonts[id]; ok {
		return f
	}
	f := &font{bytes: 1, widths: map[int]float64{}, missing: 500}
	if v.Key("Subtype").Name() == "Type0" {
		f.bytes = 2
		f.composite(v.Key("DescendantFonts").Index(0))
	} else {
		first := int(v.Key("FirstChar").Int64())
		for i, list := 0, v.Key("Widths"); i < list.Len() && i < 256; i++ {
			f.widths[first+i] = list.Index(i).Float64()
		}
		if m := v.Key("FontMatrix"); v.Key("Subtype").Name() == "Type3" && m.Len() == 6 {
			for code := range f.widths { // in its own units
				f.widths[code] *= 1000 * m.Index(0).Float64()
			}
		}
		simple := pdf.Font{V: v}
		f.encoding = simple.Encoder()
	}
	if to := v.Key("ToUnicode"); to.Kind() == pdf.Stream {
		f.unicode = toUnicode(v, to)
	}
	e.fonts[id] = f
	return f
}

// maxWidths is how many widths of a composite font are read.
const maxWidths = 1 << 16

// composite reads the widths of a composite font: first and list, or first, last and width.
func (f *font) composite(v pdf.Value) {
	f.missing = 1000
	if dw := v.Key("DW"); !dw.IsNull() {
		f.missing = dw.Float64()
	}
	w := v.Key("W")
	for i := 0; i+1 < w.Len(); {
		first := int(w.Index(i).Int64())
		if list := w.Index(i + 1); list.Kind() == pdf.Array {
			for k := 0; k < list.Len() && len(f.widths) < maxWidths; k++ {
				f.widths[first+k] = list.Index(k).Float64()
			}
			i += 2
			continue
		}
		last := int(w.Index(i + 1).Int64())
		for code := first; code <= last && len(f.widths) < maxWidths && i+2 < w.Len(); code++ {
			f.widths[code] = w.Index(i + 2).Float64()
		}
		i += 3
	}
}

// decode returns the text of codes and how far they go. What stands for no character is left out.
func (f *font) decode(raw string, char, word, size float64) (text string, width float64) {
	var b strings.Builder
	for i := 0; i+f.bytes <= len(raw); i += f.bytes {
		code := int(raw[i])
		if f.bytes == 2 {
			code = code<<8 | int(raw[i+1])
		}
		w, ok := f.widths[code]
		if !ok {
			w = f.missing
		}
		width += w/1000*size + char
		if f.bytes == 1 && code == ' ' {
			width += word
		}
		s, ok := f.unicode[code]
		if !ok && f.encoding != nil {
			s = f.encoding.Decode(raw[i : i+1])
		}
		for _, r := range s {
			writeRune(&b, r)
		}
	}
	return b.String(), width
}

// ligatures are characters that people search as several.
var ligatures = map[rune]string{'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "st", 'ﬆ': "st"}

func writeRune(b *strings.Builder, r rune) {
	switch {
	case ligatures[r] != "":
		b.WriteString(ligatures[r])
	case r == '\u00ad', r == unicode.ReplacementChar, unicode.IsControl(r) && !unicode.IsSpace(r), unicode.Is(unicode.Co, r):
	default:
		b.WriteRune(r)
	}
}

// maxMapped is how many codes a map to Unicode may name.
const maxMapped = 1 << 17

// toUnicode reads a font's map of codes to text.
func toUnicode(font, stream pdf.Value) map[int]string {
	m := map[int]string{}
	pdf.Interpret(stream, func(stack *pdf.Stack, op string) {
		args := make([]pdf.Value, stack.Len())
		for i := len(args) - 1; i >= 0; i-- {
			args[i] = stack.Pop()
		}
		switch op {
		case "endbfchar":
			for i := 0; i+1 < len(args); i += 2 {
				m[codeOf(args[i])] = utf16Text(args[i+1].RawString(), 0)
			}
		case "endbfrange":
			for i := 0; i+2 < len(args); i += 3 {
				low, high, to := codeOf(args[i]), codeOf(args[i+1]), args[i+2]
				for code := low; code <= high; code++ {
					if len(m) >= maxMapped {
						panic("a font maps more codes than there are characters")
					}
					if to.Kind() == pdf.Array {
						m[code] = utf16Text(to.Index(code-low).RawString(), 0)
					} else {
						m[code] = utf16Text(to.RawString(), code-low)
					}
				}
			}
		case "findresource": // a dictionary that the map begins to use, and leaves alone
			stack.Push(font)
		}
	})
	return m
}

func codeOf(v pdf.Value) int {
	raw := v.RawString()
	if len(raw) > 4 {
		panic(fmt.Sprintf("a font has a code of %d bytes", len(raw)))
	}
	code := 0
	for i := range len(raw) {
		code = code<<8 | int(raw[i])
	}
	return code
}

// utf16Text decodes UTF-16, its last unit raised by add.
func utf16Text(raw string, add int) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	if len(raw) == 1 {
		units = []uint16{uint16(raw[0])}
	}
	if len(units) > 0 {
		units[len(units)-1] += uint16(add)
	}
	return string(utf16.Decode(units))
}
