package static_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/embed/static"
)

// benchTexts have 12 words each, of the kinds that a stream carries.
var benchTexts = []string{
	"the quick brown fox jumps over a lazy dog near the river",
	"measurement of dielectric constant of liquids by the use of microwave techniques",
	"How do I reset the password of my online banking account today?",
	"Wireless noise-cancelling headphones with long battery life and a fast charging case",
	"Astronomers found seven Earth-sized planets around a star forty light years away.",
	"WHITE HANGING HEART T-LIGHT HOLDER, SET OF SIX, IN A GIFT BOX",
	"Kafka consumer group rebalances every few minutes after upgrading the cluster yesterday",
	"My sourdough starter smells of acetone; what did I do wrong here?",
}

// BenchmarkEmbed measures one core: on few texts, whose rows stay in the cache, and on 30,000 titles cut or joined to 12
// words, whose rows mostly don't: the figure to plan with.
func BenchmarkEmbed(b *testing.B) {
	b.Run("few", func(b *testing.B) { embedAll(b, benchTexts) })
	b.Run("many", func(b *testing.B) { embedAll(b, manyTexts(b)) })
}

func embedAll(b *testing.B, texts []string) {
	model := load(b)
	dst := make([]float32, 0, model.Dim())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		dst = model.Embed(dst[:0], texts[i%len(texts)])
		i++
	}
	b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "texts/s")
}

// manyTexts returns texts of 12 words each from the titles of posts.
func manyTexts(b *testing.B) []string {
	b.Helper()
	const words = 12
	file, err := os.ReadFile(filepath.Join(sharedData(b), "reddit_top_a", "posts_by_time.csv"))
	if err != nil {
		b.Fatal(err)
	}
	var all []string
	eachCSV(b, file, []any{"title"}, func(title string) { all = append(all, strings.Fields(title)...) })
	var texts []string
	for chunk := range slices.Chunk(all, words) {
		texts = append(texts, strings.Join(chunk, " "))
	}
	return texts
}

func BenchmarkTokenize(b *testing.B) {
	model := load(b)
	for _, test := range []struct{ name, text string }{
		{"ascii", benchTexts[3]},
		{"latin", "Das Café Müller öffnet für größere Gesellschaften während der Adventszeit später als üblich"},
		{"cjk", "漢字とかなの交じった日本語の文を単語に分ける試験"},
	} {
		b.Run(test.name, func(b *testing.B) {
			var ids []int32
			b.SetBytes(int64(len(test.text)))
			for b.Loop() {
				ids = model.Tokenize(ids[:0], test.text)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := static.Load(); err != nil {
			b.Fatal(err)
		}
	}
}
