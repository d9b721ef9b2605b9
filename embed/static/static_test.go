package static_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/freshet-io/freshet/embed/static"
)

var load1 = sync.OnceValues(static.Load)

// load returns the built-in model, parsed once for all tests.
func load(t testing.TB) *static.Model {
	t.Helper()
	model, err := load1()
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// sharedData returns the folder of data sets beside the repository, or skips the test.
func sharedData(t testing.TB) string {
	t.Helper()
	shared := os.Getenv("FRESHET_SHARED")
	if shared == "" {
		folder, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for !exists(filepath.Join(folder, "go.mod")) {
			folder = filepath.Dir(folder)
		}
		shared = filepath.Join(folder, "..", "shared")
	}
	if data := filepath.Join(shared, "data"); exists(data) {
		return data
	}
	t.Skipf("no data sets in %s: set FRESHET_SHARED to their folder", shared)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// skipUnderRace skips a test of much computing in one goroutine: the race detector has nothing to see and takes minutes.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine: nothing for the race detector")
	}
}

func cosine(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func checkUnit(t *testing.T, vector []float32) {
	t.Helper()
	if length := math.Sqrt(cosine(vector, vector)); !(math.Abs(length-1) < 1e-5) {
		t.Fatalf("the vector has length %g, want 1: %v", length, vector)
	}
}

func TestModelDescribesItself(t *testing.T) {
	model := load(t)
	if model.Name() != "freshet-static-256-v1" || model.Dim() != 256 || model.Rows() != 29523 {
		t.Errorf("got %q with %d dimensions and %d rows", model.Name(), model.Dim(), model.Rows())
	}
}

func TestEmbedAppends(t *testing.T) {
	model := load(t)
	got := model.Embed([]float32{7}, "a red bicycle")
	if len(got) != 1+model.Dim() || got[0] != 7 {
		t.Fatalf("got %d floats that begin with %g, want %d that begin with 7", len(got), got[0], 1+model.Dim())
	}
	// Room behind dst may hold anything.
	dirty := slices.Repeat([]float32{float32(math.NaN())}, model.Dim())
	if again := model.Embed(dirty[:0], "a red bicycle"); !slices.Equal(again, got[1:]) {
		t.Error("the vector depends on what dst held before")
	}
	checkUnit(t, got[1:])
}

func TestEmbedMeaning(t *testing.T) {
	model := load(t)
	for _, test := range []struct{ text, near, far string }{
		{"A man is playing a guitar.", "somebody plays an instrument", "the price of oil fell"},
		{"how do I reset my password", "account login help", "waterproof hiking boots"},
		{"Café Müller", "CAFE MULLER", "coffee machine repair"},
	} {
		text := model.Embed(nil, test.text)
		near, far := cosine(text, model.Embed(nil, test.near)), cosine(text, model.Embed(nil, test.far))
		if near < far+0.1 {
			t.Errorf("%q: %.3f to %q, %.3f to %q", test.text, near, test.near, far, test.far)
		}
	}
}

// TestEmbedUnknown shows what a text without any known piece gets.
func TestEmbedUnknown(t *testing.T) {
	model := load(t)
	embed := func(text string) []float32 {
		vector := model.Embed(nil, text)
		checkUnit(t, vector)
		return vector
	}
	empty, smile, cat, both := embed(""), embed("😀"), embed("😺"), embed("😀 😺")
	if !slices.Equal(empty, embed(" \t\n")) || !slices.Equal(empty, embed("\xff\x00\u0301")) {
		t.Error("texts without a word differ from the empty text")
	}
	if !slices.Equal(smile, embed(" 😀\n")) {
		t.Error("the same unknown word gives different vectors")
	}
	if got := cosine(smile, both); got < 0.6 {
		t.Errorf("texts that share one unknown word of two: cosine %.3f, want about 0.7", got)
	}
	for name, got := range map[string]float64{
		"another unknown word": cosine(smile, cat),
		"the empty text":       cosine(smile, empty),
		"a known text":         cosine(smile, embed("a smile")),
	} {
		if math.Abs(got) > 0.3 {
			t.Errorf("an unknown word and %s: cosine %.3f, want about 0", name, got)
		}
	}
	if !slices.Equal(embed("red 😀 bicycle 😺"), embed("red bicycle")) {
		t.Error("unknown words change the vector of known ones")
	}
}

func TestEmbedLongText(t *testing.T) {
	skipUnderRace(t)
	model := load(t)
	long := strings.Repeat("a red bicycle, 漢字 😀 ", 100_000)
	checkUnit(t, model.Embed(nil, long))
	if got := cosine(model.Embed(nil, long), model.Embed(nil, "a red bicycle, 漢字")); got < 0.999 {
		t.Errorf("a text and its repetition: cosine %g, want 1", got)
	}
	checkUnit(t, model.Embed(nil, strings.Repeat("x", 1<<20)))
}

func TestEmbedAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector drops pooled scratch at random")
	}
	model := load(t)
	for _, text := range []string{"", "The quick brown fox.", "électroencéphalographie 漢字 한국어", "😀 😺"} {
		dst := make([]float32, 0, model.Dim())
		ids := make([]int32, 0, 64)
		if n := testing.AllocsPerRun(100, func() {
			model.Embed(dst, text)
			model.Tokenize(ids, text)
		}); n != 0 {
			t.Errorf("%q: %g allocations, want 0", text, n)
		}
	}
}

func TestEmbedConcurrently(t *testing.T) {
	model := load(t)
	texts := []string{"one text", "another, longer text about something else", "électricité 漢字", "😀", ""}
	want := make([][]float32, len(texts))
	for i, text := range texts {
		want[i] = model.Embed(nil, text)
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			var got []float32
			for i := range 500 {
				n := (i + worker) % len(texts)
				if got = model.Embed(got[:0], texts[n]); !slices.Equal(got, want[n]) {
					t.Errorf("%q: another vector than alone", texts[n])
				}
			}
		})
	}
	group.Wait()
}

// TestEmbedSameBits compares vectors to the bit with those recorded in testdata/vectors.sha256, whatever the processor and
// the compiler: stored vectors must stay comparable with new ones.
func TestEmbedSameBits(t *testing.T) {
	want, err := os.ReadFile("testdata/vectors.sha256")
	if err != nil {
		t.Fatal(err)
	}
	model := load(t)
	sum := sha256.New()
	texts := slices.Clone(benchTexts)
	for _, hard := range readTokenGolden(t).Hard {
		texts = append(texts, hard.Text)
	}
	for _, text := range append(texts, strings.Join(texts, " ")) {
		if err := binary.Write(sum, binary.LittleEndian, model.Embed(nil, text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Errorf("vectors have SHA-256 %s, want %s: a change of vectors needs a new model name", got, want)
	}
}

// TestCutDimensions holds the promise that leading dimensions carry most.
func TestCutDimensions(t *testing.T) {
	model := load(t)
	a, b, far := model.Embed(nil, "a dog runs"), model.Embed(nil, "a puppy is running"), model.Embed(nil, "tax law")
	near := cosine(a[:128], b[:128])
	if other := cosine(a[:128], far[:128]); near < other+0.2 {
		t.Errorf("in 128 dimensions: %.3f to a near text, %.3f to a far one", near, other)
	}
}
