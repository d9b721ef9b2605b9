package ann

import (
	"math"
	"unsafe"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/kernel"
	"github.com/freshet-io/freshet/ann/internal/pq"
)

// listCodes is how the lists of an inverted file hold vectors. Its methods are called once per vector that is added, per
// search, or per list that is scanned. It never changes, so any number of goroutines may use it.
type listCodes interface {
	// size returns the bytes of a code.
	size() int
	// memory returns the memory of so many codes, and of their biases when there are any.
	memory(entries int) (codes []byte, biases []float32)
	// encode writes the code of vector, stored form and padded, in a list, and returns its bias.
	encode(s *listScratch, code []byte, vector []float32, list int) (bias float32)
	// put stores a code as entry at, get reads it.
	put(codes []byte, at int, code []byte)
	get(code, codes []byte, at int)
	// aim prepares r for scans, with the query that is in it.
	aim(r *reader)
	// scan writes the distances from the query to the first n entries of a list into r.lists.dists, and which of them are under
	// bound into r.lists.below, a bit each.
	scan(r *reader, run *run, n int, list int, bound float32)
	// rerank returns how many of the best by code are worth to be scored by their vectors, for the k best.
	rerank(k, ef int) int
	bytes() int64
}

// listScratch is the memory of a search, or a job, that works with lists.
type listScratch struct {
	coarse  kernel.Query // the vector that lists are ranked for
	all     []float32    // distances of all centroids
	probes  []candidate  // lists to look at; slot is the number of the list
	closest farthest     // the same, while they are looked for
	ranked  []Result     // answer of a graph of centroids
	dists   []float32
	below   []uint32
	records []kernel.Record
	best    farthest
	rotated []float32
	decoded []float32
	table   pq.Table
	code    []byte
}

// size makes room for the distances of n entries.
func (s *listScratch) size(n int) {
	if blocks := blocksOf(n); len(s.below) < blocks {
		s.dists, s.below = make([]float32, 2*blocks*pq.Block), make([]uint32, 2*blocks)
	}
}

// byteCodes holds a byte per component: records of package kernel, as graphs have them, each with its head behind it.
type byteCodes struct {
	space   *space
	bytesOf int
}

func newByteCodes(s *space) byteCodes {
	return byteCodes{s, kernel.CodeSize(s.dim) + int(unsafe.Sizeof(kernel.Head{}))}
}

// record returns the record that lies at code.
func (c byteCodes) record(code unsafe.Pointer) kernel.Record {
	return kernel.Record{Head: (*kernel.Head)(unsafe.Add(code, kernel.CodeSize(c.space.dim))), Codes: code}
}

func (c byteCodes) size() int { return c.bytesOf }

func (c byteCodes) memory(entries int) ([]byte, []float32) {
	return make([]byte, entries*c.bytesOf), nil
}

func (c byteCodes) encode(_ *listScratch, code []byte, vector []float32, _ int) float32 {
	c.record(unsafe.Pointer(&code[0])).Encode(vector[:c.space.dim])
	return 0
}

func (c byteCodes) put(codes []byte, at int, code []byte) { copy(codes[at*c.bytesOf:], code) }
func (c byteCodes) get(code, codes []byte, at int)        { copy(code, codes[at*c.bytesOf:]) }

func (c byteCodes) aim(r *reader) {} // setQuery has done it

func (c byteCodes) scan(r *reader, run *run, n int, _ int, bound float32) {
	s := &r.lists
	s.records = s.records[:0]
	for i := range n {
		s.records = append(s.records, c.record(unsafe.Pointer(&run.codes[i*c.bytesOf])))
	}
	dists := s.dists[:n]
	c.space.kernel.Batch(&r.target, s.records, dists)
	for b := range blocksOf(n) {
		mask := uint32(0)
		for i, d := range dists[b*pq.Block : min(n, (b+1)*pq.Block)] {
			if d < bound {
				mask |= 1 << i
			}
		}
		s.below[b] = mask
	}
}

func (c byteCodes) rerank(k, _ int) int { return max(rerankMin, int(rerankFactor*float64(k))) }

func (c byteCodes) bytes() int64 { return 0 }

// productCodes holds a few bits per component: what a vector x is apart from its centroid c, by package pq. The distance
// is the one to the vector x' that the code and the centroid stand for. Under cosine and L2 that is the Euclidean distance,
// |x'|² - 2⟨q, x'⟩ but for what is the same for all x: its error is about 2⟨q - x, e⟩ for an error e of the code, so it is small
// for those that matter, the near ones. The squared norm is kept as the bias.
type productCodes struct {
	space     *space
	quantiser *pq.Quantiser
	centroids cluster.Matrix
	rotated   cluster.Matrix // the centroids in the coordinates of the codes
}

func newProductCodes(s *space, q *pq.Quantiser, centroids cluster.Matrix) productCodes {
	c := productCodes{s, q, centroids, cluster.NewMatrix(centroids.Len(), q.Width())}
	var y []float32
	for i := range centroids.Len() {
		copy(c.rotated.Row(i), q.Rotate(&y, centroids.Row(i)))
	}
	return c
}

func (c productCodes) size() int { return c.quantiser.CodeSize() }

func (c productCodes) memory(entries int) (codes []byte, biases []float32) {
	n := blocksOf(entries) * pq.Block
	if c.space.metric != InnerProduct {
		biases = make([]float32, n)
	}
	return make([]byte, n*c.size()), biases
}

func (c productCodes) encode(s *listScratch, code []byte, vector []float32, list int) (norm float32) {
	y, centre := c.quantiser.Rotate(&s.rotated, vector), c.rotated.Row(list)
	for i := range y {
		y[i] -= centre[i]
	}
	c.quantiser.Encode(code, y)
	for i, x := range c.quantiser.Decode(&s.decoded, code) {
		x += centre[i]
		norm += x * x
	}
	return norm
}

func (c productCodes) put(codes []byte, at int, code []byte) {
	c.quantiser.Put(c.block(codes, at), at%pq.Block, code)
}

func (c productCodes) get(code, codes []byte, at int) {
	c.quantiser.Get(code, c.block(codes, at), at%pq.Block)
}

func (c productCodes) block(codes []byte, at int) []byte {
	return codes[at/pq.Block*pq.Block*c.size():]
}

// weight is the factor of products in distances.
func (c productCodes) weight() float32 {
	if c.space.metric == InnerProduct {
		return -1
	}
	return -2
}

func (c productCodes) aim(r *reader) {
	r.lists.table.Set(c.quantiser, c.quantiser.Rotate(&r.lists.rotated, r.query), c.weight())
}

func (c productCodes) scan(r *reader, run *run, n int, list int, bound float32) {
	s := &r.lists
	base := c.weight() * c.space.kernel.Dot(r.query, c.centroids.Row(list))
	c.quantiser.Scan(&s.table, run.codes, n, run.biases, base, bound, s.dists, s.below)
}

// rerank: few bits rank coarsely, so more are scored; by how many more hardly depends on how many are looked at.
func (c productCodes) rerank(k, ef int) int {
	return max(rerankMin, 3*k, int(rerankPerRoot*math.Sqrt(float64(ef))))
}

const rerankPerRoot = 8

func (c productCodes) bytes() int64 { return c.quantiser.Bytes() + int64(len(c.rotated.Data))*4 }

// farthest keeps the nearest candidates, as many as limit: a heap whose first is the farthest.
type farthest struct {
	list  []candidate
	limit int
}

func (f *farthest) reset(limit int) { f.list, f.limit = f.list[:0], limit }

// bound returns the distance that a candidate must be under.
func (f *farthest) bound() float32 {
	if len(f.list) < f.limit {
		return maxDistance
	}
	return f.list[0].dist
}

// push adds c, which is under the bound.
func (f *farthest) push(c candidate) {
	h := f.list
	if len(h) < f.limit {
		h = append(h, c)
		i := len(h) - 1
		for ; i > 0 && h[(i-1)/2].dist < c.dist; i = (i - 1) / 2 {
			h[i] = h[(i-1)/2]
		}
		h[i] = c
		f.list = h
		return
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].dist > h[child].dist {
			child++
		}
		if h[child].dist <= c.dist {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = c
}
