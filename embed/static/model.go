package static

import (
	_ "embed"
	"sync"
)

// Unknown is the id that [Model.Tokenize] gives to a word that the vocabulary can't spell.
const Unknown int32 = -1

//go:embed model.bin
var builtin []byte

// Model turns texts into vectors. It is immutable: all methods may be called from several goroutines at once.
type Model struct {
	name   string
	dim    int
	pieces *trie
	fold   *folding
	scales []float32 // one per row
	codes  []byte    // rows × dim, int8; a row times its scale is the vector of a piece
	pool   *sync.Pool
}

// scratch is what one call needs besides its result; kept in Model.pool.
type scratch struct {
	ids     []int32
	word    []byte   // the word being gathered, folded
	unknown []uint64 // hashes of the words that the vocabulary can't spell
}

// maxPooledBytes keeps the scratch of an unusually long text from living on in the pool.
const maxPooledBytes = 1 << 20

// Load returns the built-in model. It takes some 15 ms: callers load once and share the result.
func Load() (*Model, error) {
	return Parse(builtin)
}

// Name returns the model's name and version, such as "freshet-static-256-v1". Vectors of models with the same name are
// equal for equal texts, so it may stand in stored data; it changes with every change of the table or the tokeniser.
func (m *Model) Name() string { return m.name }

// Dim returns the number of floats in a vector.
func (m *Model) Dim() int { return m.dim }

// Rows returns the number of pieces in the vocabulary: the ids of [Model.Tokenize] are below it.
func (m *Model) Rows() int { return len(m.scales) }

// Embed appends the vector of text to dst: Dim floats of length 1 (L2), never NaN. It allocates only when dst is too
// small. Bytes that aren't UTF-8 are skipped.
//
// Words that the vocabulary can't spell (emoji, rare scripts, words over 100 characters) add nothing beside known
// ones. A text that has only such words gets a direction made from their hashes instead: equal texts meet, texts
// that share a word are near each other, and anything else is about at a right angle. A text without any word (empty,
// or white space alone) gets one fixed such direction, because a zero vector has no cosine and many stores refuse it.
func (m *Model) Embed(dst []float32, text string) []float32 {
	s := m.pool.Get().(*scratch)
	m.tokenize(s, text)

	start := len(dst)
	dst = extend(dst, m.dim)
	vector := dst[start:]
	m.addRows(vector, known(s.ids))
	if !normalize(vector) {
		hashed(vector, s.unknown)
	}

	m.release(s)
	return dst
}

// Tokenize appends the ids of text's word pieces to dst, in order, or [Unknown] for a word that the vocabulary can't
// spell. An id is the piece's line in the model's vocabulary. It agrees with BERT's uncased WordPiece as Hugging Face's
// tokenizers compute it, except that special tokens such as "[MASK]" are plain text here.
func (m *Model) Tokenize(dst []int32, text string) []int32 {
	s := m.pool.Get().(*scratch)
	m.tokenize(s, text)
	dst = append(dst, s.ids...)
	m.release(s)
	return dst
}

// release puts s back into the pool, unless it has grown unusually large.
func (m *Model) release(s *scratch) {
	if cap(s.ids)*4+cap(s.word)+cap(s.unknown)*8 <= maxPooledBytes {
		m.pool.Put(s)
	}
}

// extend appends n zeros to dst.
func extend(dst []float32, n int) []float32 {
	start := len(dst)
	if cap(dst)-start < n {
		return append(dst, make([]float32, n)...)
	}
	dst = dst[:start+n]
	clear(dst[start:])
	return dst
}

// known removes Unknown from ids in place.
func known(ids []int32) []int32 {
	kept := 0
	for _, id := range ids {
		ids[kept] = id
		if id != Unknown {
			kept++
		}
	}
	return ids[:kept]
}
