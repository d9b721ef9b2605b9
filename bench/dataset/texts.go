package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/freshet-io/freshet/embed/static"
)

// texts makes the sets "texts" and "hard": embeddings of the sentences in the shared folder by the built-in model, in a
// seeded order; queries are sentences that are not in the base.
//
// "texts" is the sentences as they are: it has as many as there are, and the dimension of the model. "hard" has any size
// and dimension. Beyond the sentences that there are, a text is two of them joined. Above the model's dimension a vector
// is several embeddings in a row (of the whole text, then of slices of its words), as a record with several fields has;
// where the dimension is no multiple of the model's, a random projection takes them to it.
func (s Source) texts() (*Set, error) {
	dir, err := s.sharedDir()
	if err != nil {
		return nil, err
	}
	c, err := readCorpus(dir)
	if err != nil {
		return nil, err
	}
	model, err := static.Load()
	if err != nil {
		return nil, fmt.Errorf("dataset: the built-in model: %w", err)
	}
	rng := rand.New(rand.NewPCG(s.Seed, streamBase))
	rng.Shuffle(len(c.texts), func(i, j int) { c.texts[i], c.texts[j] = c.texts[j], c.texts[i] })
	if have := len(c.texts) - s.NQ; s.Data == "texts" && (s.N > have || s.Dim != model.Dim()) {
		return nil, fmt.Errorf("dataset: data texts has %d vectors of %d dimensions beside %d queries, not %d of %d: use data hard",
			have, model.Dim(), s.NQ, s.N, s.Dim)
	}
	if len(c.texts) <= s.NQ {
		return nil, fmt.Errorf("dataset: %d sentences are too few for %d queries", len(c.texts), s.NQ)
	}
	queries, base := c.texts[:s.NQ], c.texts[s.NQ:min(len(c.texts), s.NQ+s.N)]
	for originals := len(base); len(base) < s.N; {
		base = append(base, base[rng.IntN(originals)]+" "+base[rng.IntN(originals)])
	}
	e := newEmbedder(model, s.Dim, s.Seed)
	set := &Set{Name: s.Data, Base: e.matrix(base), Queries: e.matrix(queries)}
	return set, nil
}

// embedder makes vectors of any dimension of texts.
type embedder struct {
	model      *static.Model
	dim, parts int
	projection Matrix // dim rows; empty when dim is a multiple of the model's
}

func newEmbedder(model *static.Model, dim int, seed uint64) embedder {
	e := embedder{model: model, dim: dim, parts: (dim + model.Dim() - 1) / model.Dim()}
	if wide := e.parts * model.Dim(); wide != dim {
		e.projection = NewMatrix(dim, wide)
		rng := rand.New(rand.NewPCG(seed, streamModel))
		for i := range e.projection.Data {
			e.projection.Data[i] = float32(rng.NormFloat64() / math.Sqrt(float64(dim)))
		}
	}
	return e
}

func (e embedder) matrix(texts []string) Matrix {
	m := NewMatrix(len(texts), e.dim)
	_ = parallel(len(texts), func(i int) error { // do never fails
		e.embed(m.Row(i), texts[i])
		return nil
	})
	return m
}

func (e embedder) embed(dst []float32, text string) {
	wide := make([]float32, 0, e.parts*e.model.Dim())
	for _, part := range split(text, e.parts) {
		wide = e.model.Embed(wide, part)
	}
	if e.projection.Dim == 0 {
		copy(dst, wide)
		return
	}
	for i := range dst {
		dst[i] = float32(dot(e.projection.Row(i), wide))
	}
}
