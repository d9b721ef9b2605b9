package kernel

import (
	"math"
	"sort"
	"unsafe"
)

// PanelSize is how many records a Panel holds at most.
const PanelSize = 64

// Panel is a few records in a form in which many seekers are compared with all of them: four components of each record,
// then the next four of each, so that sums need no step across lanes, and what is loaded serves four seekers. To make one
// costs as much as a few dozen
// comparisons. Any number of goroutines may ask a panel that does not change.
type Panel struct {
	n       int
	dim     int
	steps   int      // of four components
	codes   []uint32 // PanelSize of each step, four unsigned codes each
	scales  [PanelSize]float32
	biases  [PanelSize]float32
	slots   [PanelSize]uint32
	records [PanelSize]Record
	whole   []int8
}

// Reset empties the panel, for records of dim components.
func (p *Panel) Reset(dim int) {
	p.n = 0
	for i := range p.biases {
		p.biases[i] = float32(math.NaN()) // nothing is near a place without a record
	}
	if p.dim != dim {
		p.dim, p.steps = dim, (dim+3)/4
		p.codes = make([]uint32, p.steps*PanelSize)
		p.whole = make([]int8, CodeSize(dim))
	}
}

// Len returns the number of records.
func (p *Panel) Len() int { return p.n }

// Add adds a record to p, which must have room, under the number slot.
func (set *Set) Add(p *Panel, slot uint32, r Record) {
	if set.packs {
		p.pack(set, r)
	}
	p.scales[p.n], p.biases[p.n], p.slots[p.n], p.records[p.n] = r.Head.Scale, r.Head.Norm, slot, r
	p.n++
}

// pack writes the codes of a record to where those of the next one belong.
func (p *Panel) pack(set *Set, r Record) {
	set.signed(p.whole, r.Codes, p.dim)
	const unsigned = 0x80808080
	for i, four := range unsafe.Slice((*uint32)(unsafe.Pointer(&p.whole[0])), p.steps) {
		p.codes[i*PanelSize+p.n] = four ^ unsigned
	}
}

// Seeker is a query that gathers the records of panels that are below a bound. One goroutine uses it.
type Seeker struct {
	codes  *int8
	offset int32
	bias   float32
	base   float32
	weight float32
	bound  float32
	dists  *float32
	slots  *uint32
	n      int

	query     *Query
	roomDists []float32
	roomSlots []uint32
}

// Begin makes s seek for q, which stays as it is meanwhile. room is how many records it gathers before it is Full.
func (s *Seeker) Begin(q *Query, room int) {
	if n := room + PanelSize + vectorSlack; cap(s.roomDists) < n {
		s.roomDists, s.roomSlots = make([]float32, n), make([]uint32, n)
	} else {
		s.roomDists, s.roomSlots = s.roomDists[:n], s.roomSlots[:n]
	}
	s.query, s.codes, s.offset = q, &q.codes[0], q.offset
	s.bias, s.base, s.weight = q.Bias, q.base, q.weight
	s.bound, s.n = math.MaxFloat32, 0
	s.dists, s.slots = &s.roomDists[0], &s.roomSlots[0]
}

// idle returns a seeker that takes nothing.
func (s *Seeker) idle() *Seeker {
	i := &Seeker{query: s.query, codes: s.codes, dists: s.dists, slots: s.slots}
	i.bound = float32(math.Inf(-1))
	return i
}

// Full reports whether s has to Keep fewer before it sees another panel.
func (s *Seeker) Full() bool { return s.n+PanelSize+vectorSlack > len(s.roomDists) }

// Found returns what was gathered, in no order, valid until the next call.
func (s *Seeker) Found() ([]float32, []uint32) { return s.roomDists[:s.n], s.roomSlots[:s.n] }

// Keep keeps the k nearest of what was gathered, and a few more, and takes only nearer ones than the last of these from now on.
func (set *Set) Keep(s *Seeker, k int) {
	if s.n <= k+k/keepMore {
		return
	}
	s.bound = set.Within(s, k)
	s.n = set.compact(&s.roomDists[0], &s.roomSlots[0], s.n, s.bound)
	if s.n > k+k/keepMore { // many are at the same distance
		sort.Sort(byDistance{s})
		s.n, s.bound = k, s.roomDists[k-1]
	}
}

// Within returns a distance below which are k of what was gathered, and a few more where distances differ; +Inf when there are
// not so many.
func (set *Set) Within(s *Seeker, k int) float32 {
	if s.n <= k+k/keepMore {
		return float32(math.Inf(1))
	}
	d, _ := s.Found()
	lo, hi := d[0], d[0]
	for _, x := range d {
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	hi = math.Nextafter32(hi, float32(math.Inf(1)))
	for range keepTries { // k are below hi, not below lo
		mid := lo + (hi-lo)/2
		n := set.below(&d[0], s.n, mid)
		if n < k {
			lo = mid
			continue
		}
		if hi = mid; n <= k+k/keepMore {
			break
		}
	}
	return hi
}

// byDistance sorts what a seeker gathered, by slot where it is as far.
type byDistance struct{ *Seeker }

func (b byDistance) Len() int { return b.n }

func (b byDistance) Less(i, j int) bool {
	d := b.roomDists
	return d[i] < d[j] || d[i] == d[j] && b.roomSlots[i] < b.roomSlots[j]
}

func (b byDistance) Swap(i, j int) {
	b.roomDists[i], b.roomDists[j] = b.roomDists[j], b.roomDists[i]
	b.roomSlots[i], b.roomSlots[j] = b.roomSlots[j], b.roomSlots[i]
}

// belowGo is Set.below in Go, compactGo Set.compact.
func belowGo(dists *float32, n int, bound float32) (less int) {
	for _, d := range unsafe.Slice(dists, n) {
		if d < bound {
			less++
		}
	}
	return less
}

func compactGo(dists *float32, slots *uint32, n int, bound float32) (left int) {
	d, s := unsafe.Slice(dists, n), unsafe.Slice(slots, n)
	for i, x := range d {
		if x < bound {
			d[left], s[left] = x, s[i]
			left++
		}
	}
	return left
}

const (
	keepMore  = 4  // one in so many more may be kept
	keepTries = 24 // to find a distance; where many are equal there is none
)

// Ask shows the records of a panel to the seekers, none of which is full.
func (s *Set) Ask(seekers []*Seeker, p *Panel) {
	for ; len(seekers) >= 4; seekers = seekers[4:] {
		s.seek((*[4]*Seeker)(seekers), p)
	}
	if len(seekers) > 0 {
		idle := seekers[0].idle()
		four := [4]*Seeker{idle, idle, idle, idle}
		copy(four[:], seekers)
		s.seek(&four, p)
	}
}

// seekWith is Set.seek by a kernel for batches.
func seekWith(batch func(q *Query, records []Record, out []float32), seekers *[4]*Seeker, p *Panel) {
	var dists [PanelSize]float32
	for _, s := range seekers {
		if math.IsInf(float64(s.bound), -1) {
			continue
		}
		batch(s.query, p.records[:p.n], dists[:p.n])
		for i, d := range dists[:p.n] {
			if d < s.bound {
				s.roomDists[s.n], s.roomSlots[s.n] = d, p.slots[i]
				s.n++
			}
		}
	}
}

func seekGo(seekers *[4]*Seeker, p *Panel) { seekWith(batchGo, seekers, p) }
