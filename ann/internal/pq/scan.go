package pq

// Scan compares the query of t with the first n vectors of blocks: it writes base + biases[i] + their products to out, whose
// length is n rounded up to whole blocks, and sets bit i%Block of below[i/Block] when that is under bound. What it writes
// for places from n on has no meaning. Without biases, none are added; else they are as many as out.
func (q *Quantiser) Scan(t *Table, blocks []byte, n int, biases []float32, base, bound float32, out []float32, below []uint32) {
	if n == 0 {
		return
	}
	count := (n + Block - 1) / Block
	a := scanArgs{codes: &blocks[0], blocks: count, quads: q.spaces / quad, lut: &t.lut[0], bias: &t.none[0],
		base: base + t.base, weight: t.weight, bound: bound, out: &out[0], below: &below[0]}
	// Bounds are checked without reading: entries from n on may be written meanwhile.
	_, _, _ = blocks[:count*Block*q.CodeSize()], out[:count*Block], below[:count]
	if biases != nil {
		_ = biases[:count*Block]
		a.bias, a.step = &biases[0], Block*4
	}
	if !assembly(q.kernel.Name, &a) {
		q.scanGo(t, blocks, n, biases, a.base, bound, out, below)
	}
}

// scanArgs is what a scan in assembly gets.
type scanArgs struct {
	codes  *byte
	blocks int
	quads  int
	lut    *byte
	bias   *float32
	step   int // bytes from the biases of a block to those of the next
	out    *float32
	below  *uint32
	base   float32
	weight float32
	bound  float32
}

func (q *Quantiser) scanGo(t *Table, blocks []byte, n int, biases []float32, base, bound float32, out []float32, below []uint32) {
	size := q.CodeSize() * Block
	for b := 0; b*Block < n; b++ {
		var sums [Block]int32
		left := min(Block, n-b*Block)
		for p := range q.CodeSize() {
			codes := blocks[b*size+p*Block:][:left]
			low, high := t.lut[entry(2*p):][:words], t.lut[entry(2*p+1):][:words]
			for i, c := range codes {
				sums[i] += int32(low[c&15]) + int32(high[c>>4])
			}
		}
		mask := uint32(0)
		for i := range left {
			add := base
			if biases != nil {
				add += biases[b*Block+i]
			}
			d := float32(float32(sums[i])*t.weight) + add
			out[b*Block+i] = d
			if d < bound {
				mask |= 1 << i
			}
		}
		below[b] = mask
	}
}
