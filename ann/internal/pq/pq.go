// Package pq holds vectors in a few bits per component (product quantisation, Jégou et al. 2011) and compares a query
// with many of them at once.
//
// A vector is rotated, and its components are divided into subspaces of two or more; each part is replaced by the
// nearest of 16 codewords of its subspace, which takes 4 bits. The rotation is trained with the codewords, so that parts
// are independent and equally important (OPQ, Ge et al. 2013). A query makes a table of its products with all codewords, in
// a byte each; a scan adds up table entries, 32 vectors at a time, by byte shuffles (André et al. 2015).
//
// Scans in assembly and in plain Go return the same bits. The package does not know indexes, slots or lists.
package pq

import (
	"math"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
)

const (
	words     = 16  // codewords of a subspace
	quad      = 4   // subspaces that a scan takes at a time: their number is a multiple
	maxSpaces = 256 // so that the sum of a byte from each fits into 16 bits
	// Block is the number of vectors whose codes lie together.
	Block = 32
)

// Quantiser turns vectors of one dimension into codes. It never changes once it is trained.
type Quantiser struct {
	dim      int
	sub      int            // components of a subspace
	spaces   int            // subspaces; the last may be empty
	rotation cluster.Matrix // dim rows; none when vectors are not rotated
	books    []float32      // component d of codeword w of subspace s at (s×sub+d)×words+w
	kernel   *kernel.Set
}

// newQuantiser returns a quantiser without codewords.
func newQuantiser(dim int, set *kernel.Set) *Quantiser {
	q := layout(dim)
	q.kernel = set
	q.books = make([]float32, q.spaces*q.sub*words)
	return &q
}

// layout returns how vectors of a dimension are divided.
func layout(dim int) (q Quantiser) {
	q.dim, q.sub = dim, max(2, (dim+maxSpaces-1)/maxSpaces)
	spaces := (dim + q.sub - 1) / q.sub
	q.spaces = (spaces + quad - 1) / quad * quad
	return q
}

// CodeSize returns the bytes of the code of a vector.
func (q *Quantiser) CodeSize() int { return q.spaces / 2 }

// Width returns the components of a rotated vector, those of empty subspaces included.
func (q *Quantiser) Width() int { return q.spaces * q.sub }

// Bytes returns the memory of the quantiser.
func (q *Quantiser) Bytes() int64 { return int64(len(q.books)+len(q.rotation.Data)) * 4 }

// Rotate writes v, padded for the kernels, in the coordinates of the codes to the memory of *dst, which grows as needed.
func (q *Quantiser) Rotate(dst *[]float32, v []float32) []float32 {
	if cap(*dst) < q.Width() {
		*dst = make([]float32, q.Width())
	}
	y := (*dst)[:q.Width()]
	clear(y[q.dim:])
	if q.rotation.Data == nil {
		copy(y[:q.dim], v)
		return y
	}
	for i := range q.dim {
		y[i] = q.kernel.Dot(q.rotation.Row(i), v)
	}
	return y
}

// book returns component d of all codewords of a subspace.
func (q *Quantiser) book(space, d int) *[words]float32 {
	return (*[words]float32)(q.books[(space*q.sub+d)*words:])
}

// nearest returns the codeword nearest to the part of y, rotated, in a subspace, and its squared distance.
func (q *Quantiser) nearest(y []float32, space int) (word int, dist float32) {
	var sums [words]float32
	for d := range q.sub {
		x, book := y[space*q.sub+d], q.book(space, d)
		for w := range sums {
			e := x - book[w]
			sums[w] += e * e
		}
	}
	for w, s := range sums {
		if s < sums[word] {
			word = w
		}
	}
	return word, sums[word]
}

// Encode writes the code of y, rotated, to code, of CodeSize bytes, and returns the squared error.
func (q *Quantiser) Encode(code []byte, y []float32) (squaredError float32) {
	for p := range code[:q.CodeSize()] {
		low, e0 := q.nearest(y, 2*p)
		high, e1 := q.nearest(y, 2*p+1)
		code[p] = byte(low | high<<4)
		squaredError += e0 + e1
	}
	return squaredError
}

// Decode writes what code stands for, in rotated coordinates, to the memory of *dst, which grows as needed.
func (q *Quantiser) Decode(dst *[]float32, code []byte) []float32 {
	if cap(*dst) < q.Width() {
		*dst = make([]float32, q.Width())
	}
	y := (*dst)[:q.Width()]
	for s := range q.spaces {
		word := code[s/2] >> (s % 2 * 4) & 15
		for d := range q.sub {
			y[s*q.sub+d] = q.book(s, d)[word]
		}
	}
	return y
}

// Put stores code as the one of vector at, from 0 to Block-1, of a block of Block×CodeSize bytes. Bytes of other vectors are
// not touched.
func (q *Quantiser) Put(block []byte, at int, code []byte) {
	for p, c := range code[:q.CodeSize()] {
		block[p*Block+at] = c
	}
}

// Get reads the code of vector at from a block.
func (q *Quantiser) Get(code []byte, block []byte, at int) {
	for p := range code[:q.CodeSize()] {
		code[p] = block[p*Block+at]
	}
}

// Table holds the products of one query with all codewords.
type Table struct {
	lut    []byte // per quad of subspaces: those of 0, 0, 2, 2, 1, 1, 3, 3, of words bytes each
	exact  []float32
	weight float32 // of a sum of entries
	base   float32 // of no entries
	none   [Block]float32
}

// entry returns where the entries of a subspace begin, the first time.
func entry(space int) int { return space/quad*quad*2*words + [quad]int{0, 64, 32, 96}[space%quad] }

const lutSteps = 255

// Set makes t the table of a query y, rotated, such that scans add scale × the inner product of y and a code's vector.
func (t *Table) Set(q *Quantiser, y []float32, scale float32) {
	if n := q.spaces * words; cap(t.exact) < n {
		t.exact, t.lut = make([]float32, n), make([]byte, 2*n)
	} else {
		t.exact, t.lut = t.exact[:n], t.lut[:2*n]
	}
	a := tableArgs{y: &y[0], books: &q.books[0], spaces: q.spaces, sub: q.sub, exact: &t.exact[0], lut: &t.lut[0], scale: scale}
	_, _ = y[q.Width()-1], t.exact[q.spaces*words-1]
	inAssembly := tableSums(q.kernel.Name, &a)
	if !inAssembly {
		a.base, a.widest = t.sumGo(q, y, scale)
	}
	t.base, t.weight = a.base, a.widest/lutSteps
	a.inverse = 0
	if t.weight > 0 && !math.IsInf(float64(1/t.weight), 0) {
		a.inverse = 1 / t.weight
	}
	if inAssembly {
		tableBytes(&a)
	} else {
		t.bytesGo(q, a.inverse)
	}
}

// tableArgs is what the two steps of Table.Set get when they are in assembly, and what the first returns.
type tableArgs struct {
	y       *float32
	books   *float32
	spaces  int
	sub     int
	exact   *float32
	lut     *byte
	scale   float32
	base    float32
	widest  float32
	inverse float32
}

// sumGo writes the products less the smallest of their subspace; it returns the sum of those and the widest range.
func (t *Table) sumGo(q *Quantiser, y []float32, scale float32) (base, widest float32) {
	for s := range q.spaces {
		sums := (*[words]float32)(t.exact[s*words:])
		*sums = [words]float32{}
		for d := range q.sub {
			x, book := float32(y[s*q.sub+d]*scale), q.book(s, d)
			for w := range sums {
				sums[w] += float32(x * book[w]) // the conversion forbids a fused multiply-add
			}
		}
		lo, hi := sums[0], sums[0]
		for _, x := range sums[1:] {
			lo, hi = min(lo, x), max(hi, x)
		}
		for w := range sums {
			sums[w] -= lo
		}
		base += lo
		widest = max(widest, hi-lo)
	}
	return base, widest
}

// bytesGo writes the entries.
func (t *Table) bytesGo(q *Quantiser, inverse float32) {
	for s := range q.spaces {
		at := entry(s)
		to, again := t.lut[at:at+words], t.lut[at+words:at+2*words]
		for w, x := range t.exact[s*words : (s+1)*words] {
			b := byte(min(lutSteps, float32(x*inverse)+0.5))
			to[w], again[w] = b, b
		}
	}
}
