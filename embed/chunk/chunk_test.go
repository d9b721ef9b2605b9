package chunk_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/freshet-io/freshet/embed/chunk"
)

func parts(text string, opt chunk.Options) []string {
	var out []string
	for _, s := range chunk.Split(text, opt) {
		out = append(out, text[s.Start:s.End])
	}
	return out
}

// check fails the test unless spans keep what the package promises for any text.
func check(t *testing.T, text string, opt chunk.Options, spans []chunk.Span) {
	t.Helper()
	most := opt.MaxBytes
	if most == 0 {
		most = chunk.DefaultMaxBytes
	}
	most = max(most, chunk.MinMaxBytes)
	chunks := opt.MaxChunks
	if chunks == 0 {
		chunks = chunk.DefaultMaxChunks
	}
	chunks = max(chunks, 1)
	if len(spans) > chunks {
		t.Fatalf("%d chunks, MaxChunks is %d", len(spans), chunks)
	}
	trimmed := strings.TrimSpace(text)
	if len(trimmed) > 0 && len(trimmed) <= most && len(spans) != 1 {
		t.Fatalf("a text of %d bytes gave %d chunks, want 1 up to %d bytes", len(trimmed), len(spans), most)
	}
	valid := utf8.ValidString(text)
	covered, last := 0, -1
	for i, s := range spans {
		if s.Start < 0 || s.End > len(text) || s.Start >= s.End || s.Start <= last {
			t.Fatalf("span %d is %v, after one that begins at %d, in a text of %d bytes", i, s, last, len(text))
		}
		part := text[s.Start:s.End]
		if strings.TrimSpace(part) != part {
			t.Fatalf("span %d has white space at an end: %q", i, part)
		}
		// Longer chunks are allowed only where MaxChunks of half the size don't reach.
		if len(part) > most && len(trimmed) <= chunks*(most/4) {
			t.Fatalf("span %d has %d bytes, at most are %d", i, len(part), most)
		}
		if valid && !utf8.ValidString(part) {
			t.Fatalf("span %d cuts a character: %q", i, part)
		}
		if s.Start > covered {
			if gap := text[covered:s.Start]; strings.TrimSpace(gap) != "" {
				t.Fatalf("%q before span %d is in no span", gap, i)
			}
		}
		covered, last = s.End, s.Start
	}
	if rest := text[covered:]; strings.TrimSpace(rest) != "" {
		t.Fatalf("%q at the end is in no span", rest)
	}
}

func TestSplit(t *testing.T) {
	opt := chunk.Options{MaxBytes: 64}
	a, b, c := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"white space", " \n\t\u3000", nil},
		{"short", "one two", []string{"one two"}},
		{"trimmed", "\n one two \n", []string{"one two"}},
		{"just fits", "  " + strings.Repeat("x", 64) + "  ", []string{strings.Repeat("x", 64)}},
		{"paragraphs", a + "\n\n" + b + "\n \n" + c, []string{a, b, c}},
		{"a paragraph is better than a line", "head\n" + a + "\n\nmiddle\n" + b, []string{"head\n" + a, "middle\n" + b}},
		{"a line is better than a sentence", a + "\nIt ends. " + b, []string{a, "It ends. " + b}},
		{"a sentence is better than a word", a + ". Then comes " + b, []string{a + ".", "Then comes " + b}},
		{"a sentence in quotes", a + ".) then " + b, []string{a + ".)", "then " + b}},
		{"a word", a + " " + b, []string{a, b}},
		{"no scrap at the end", strings.TrimSpace(strings.Repeat("word ", 14)),
			[]string{"word word word word word word word", "word word word word word word word"}},
		{"Windows lines", a + "\r\n\r\n" + b, []string{a, b}},
		{"one Windows line is no paragraph", "x. " + a + "\r\ny\r\n\r\n" + b, []string{"x. " + a + "\r\ny", b}},
		{"Chinese sentences", strings.Repeat("水は流れる。", 5), []string{strings.Repeat("水は流れる。", 2), strings.Repeat("水は流れる。", 3)}},
		{"much white space", "a" + strings.Repeat(" ", 500) + "b", []string{"a", "b"}},
		{"no white space", strings.Repeat("x", 100), []string{strings.Repeat("x", 64), strings.Repeat("x", 36)}},
		{"accents stay", strings.Repeat("x", 62) + "e\u0301" + strings.Repeat("y", 40), []string{strings.Repeat("x", 62), "e\u0301" + strings.Repeat("y", 40)}},
		{"flags stay", "x" + strings.Repeat("🇩🇪", 9), []string{"x" + strings.Repeat("🇩🇪", 7), "🇩🇪🇩🇪"}},
		{"families stay", strings.Repeat("👩‍👩‍👧", 4), []string{strings.Repeat("👩‍👩‍👧", 3), "👩‍👩‍👧"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parts(tt.text, opt)
			if strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			check(t, tt.text, opt, chunk.Split(tt.text, opt))
		})
	}
}

func TestOverlap(t *testing.T) {
	text := strings.Repeat("x", 40) + ". Short one. " + strings.Repeat("y", 50)
	got := parts(text, chunk.Options{MaxBytes: 64, OverlapBytes: 16})
	want := []string{strings.Repeat("x", 40) + ". Short one.", "Short one. " + strings.Repeat("y", 50)}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMaxChunksMakesLongerChunks(t *testing.T) {
	text := strings.TrimSpace(strings.Repeat("seven words stand in this short sentence. ", 5000))
	for _, most := range []int{1, 2, 7, 100} {
		opt := chunk.Options{MaxBytes: 100, OverlapBytes: 20, MaxChunks: most}
		spans := chunk.Split(text, opt)
		check(t, text, opt, spans)
		if len(spans) < most/4 {
			t.Errorf("MaxChunks %d: only %d chunks", most, len(spans))
		}
	}
}

// TestProperties splits random texts of all kinds of characters and white space.
func TestProperties(t *testing.T) {
	pieces := []string{"a", "word", "Übung", "水", "。", "🇩🇪", "👩‍👩‍👧", "e\u0301", ".", "! ", "?\" ", " ", "  ", "\n", "\r\n", "\n\n", "\u2028", "\u00a0", "\t", "\xff", "\xe2\x82"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var b strings.Builder
		few := pieces[rng.IntN(len(pieces)):]
		for range rng.IntN(400) {
			b.WriteString(few[rng.IntN(len(few))])
		}
		opt := chunk.Options{MaxBytes: 64 + rng.IntN(200), OverlapBytes: rng.IntN(60), MaxChunks: 1 + rng.IntN(30)}
		spans := chunk.Split(b.String(), opt)
		check(t, b.String(), opt, spans)
	}
}

func TestSplitIsLinear(t *testing.T) {
	// Were it quadratic, these would take hours: white space without end, and none at all.
	for _, text := range []string{
		strings.Repeat(" ", 4<<20) + "x" + strings.Repeat("\n", 4<<20) + "y",
		strings.Repeat("x", 8<<20),
		strings.Repeat("a ", 4<<20),
		strings.Repeat("\u0301", 2<<20),
		strings.Repeat("🇩", 1<<20),
		strings.Repeat("\x80", 8<<20),
	} {
		opt := chunk.Options{MaxBytes: 64, OverlapBytes: 16, MaxChunks: 1 << 20}
		check(t, text, opt, chunk.Split(text, opt))
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		opt      chunk.Options
		describe string
		wrong    string // what the error names
	}{
		{chunk.Options{}, "chunk/1 max_bytes=600 overlap_bytes=0 max_chunks=1024", ""},
		{chunk.Options{MaxBytes: 600, MaxChunks: 1024}, "chunk/1 max_bytes=600 overlap_bytes=0 max_chunks=1024", ""},
		{chunk.Options{MaxBytes: 2000, OverlapBytes: 200}, "chunk/1 max_bytes=2000 overlap_bytes=200 max_chunks=1024", ""},
		{chunk.Options{MaxBytes: 10}, "chunk/1 max_bytes=64 overlap_bytes=0 max_chunks=1024", "max_bytes is 10"},
		{chunk.Options{OverlapBytes: 900}, "chunk/1 max_bytes=600 overlap_bytes=150 max_chunks=1024", "overlap_bytes is 900"},
		{chunk.Options{MaxChunks: -3}, "chunk/1 max_bytes=600 overlap_bytes=0 max_chunks=1", "max_chunks is -3"},
	}
	for _, tt := range tests {
		if got := tt.opt.Describe(); got != tt.describe {
			t.Errorf("%+v: Describe is %q, want %q", tt.opt, got, tt.describe)
		}
		err := tt.opt.Validate()
		if (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%+v: Validate gives %v, want %q", tt.opt, err, tt.wrong)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("One sentence. And another one!\n\nA paragraph that is a bit longer than the others, with 水 in it.", 64, 10, 3)
	f.Add("\xff\xfe\x80 e\u0301 🇩🇪", 1, -1, -1)
	f.Fuzz(func(t *testing.T, text string, most, overlap, chunks int) {
		opt := chunk.Options{MaxBytes: most, OverlapBytes: overlap, MaxChunks: chunks}
		spans := chunk.Split(text, opt)
		check(t, text, opt, spans)
		for i, s := range chunk.Split(text, opt) {
			if s != spans[i] {
				t.Fatalf("span %d is %v, then %v", i, spans[i], s)
			}
		}
	})
}

func FuzzCharactersStayWhole(f *testing.F) {
	f.Add("é水🇩", 30)
	f.Fuzz(func(t *testing.T, unit string, times int) {
		if !utf8.ValidString(unit) || unit == "" || len(unit) > 24 || strings.ContainsFunc(unit, unicode.IsSpace) {
			t.Skip()
		}
		text := strings.Repeat(unit, 1+times&127)
		for _, s := range chunk.Split(text, chunk.Options{MaxBytes: 64}) {
			if r, _ := utf8.DecodeRuneInString(text[s.Start:]); s.Start > 0 && unicode.Is(unicode.Mn, r) && len(unit) < 16 && !allMarks(unit) {
				t.Fatalf("a chunk of %q begins with the mark %U", text, r)
			}
		}
	})
}

func allMarks(s string) bool {
	for _, r := range s {
		if !unicode.Is(unicode.Mn, r) {
			return false
		}
	}
	return true
}

func BenchmarkSplit(b *testing.B) {
	text := strings.Repeat("Streams carry what changed. A search that follows them finds it a moment later, once and only once.\n", 1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		chunk.Split(text, chunk.Options{})
	}
}
