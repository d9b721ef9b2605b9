package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sought is what seekers gathered.
type sought struct {
	slots []uint32
	dists []float32
}

// seekAll shows records, some at a time, to seekers that keep few, and returns what each has at the end, in order.
func seekAll(set *Set, queries []Query, t Records, n, keep int) []sought {
	seekers := make([]*Seeker, len(queries))
	for i := range seekers {
		seekers[i] = &Seeker{}
		seekers[i].Begin(&queries[i], 2*keep)
	}
	var p Panel
	for at := 0; at < n; {
		p.Reset(queries[0].dim)
		for size := 1 + at%PanelSize; at < n && p.Len() < size; at++ {
			set.Add(&p, uint32(at), t.At(uint32(at)))
		}
		for _, s := range seekers {
			if s.Full() {
				set.Keep(s, keep)
			}
		}
		set.Ask(seekers, &p)
	}
	all := make([]sought, len(seekers))
	for i, s := range seekers {
		set.Keep(s, keep)
		dists, slots := s.Found()
		all[i] = sought{slices.Clone(slots), slices.Clone(dists)}
	}
	return all
}

// TestSeekersGatherTheNearest compares what seekers of every implementation gather with all distances by Batch, and with each
// other, to the bit.
func TestSeekersGatherTheNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		dim, n, keep := 2+rng.IntN(400), 1+rng.IntN(600), 1+rng.IntN(100)
		records := table(rng, dim, n)
		for i := 1; i < n; i++ {
			if rng.IntN(8) == 0 { // the same distance
				again := records.At(uint32(rng.IntN(i)))
				*records.At(uint32(i)).Head = *again.Head
				copyCodes(records.At(uint32(i)), again, dim)
			}
		}
		queries := make([]Query, 1+rng.IntN(9))
		for i := range queries {
			form := Form{Bias: float32(rng.IntN(2)), Weight: 1 + rng.Float32()}
			Available()[0].SetRecord(&queries[i], records.At(uint32(rng.IntN(n))), dim, form)
		}
		var first []sought
		for _, set := range Available() {
			found := seekAll(set, queries, records, n, keep)
			if first == nil {
				first = found
			}
			for i, f := range found {
				if !slices.Equal(f.slots, first[i].slots) || !slices.Equal(f.dists, first[i].dists) {
					t.Fatalf("%s gathers others than %s: dim %d, n %d, keep %d", set.Name, Available()[0].Name, dim, n, keep)
				}
				mustBeNearest(t, &queries[i], records, n, keep, f)
			}
		}
	}
}

func copyCodes(to, from Record, dim int) {
	codes := make([]byte, CodeSize(dim))
	from.unpack(codes, dim)
	to.pack(codes, dim)
}

// mustBeNearest fails unless f are the keep nearest of n records, or more, each once and with its distance.
func mustBeNearest(t *testing.T, q *Query, records Records, n, keep int, f sought) {
	t.Helper()
	all := make([]float32, n)
	for i := range all {
		batchGo(q, []Record{records.At(uint32(i))}, all[i:i+1])
	}
	seen := map[uint32]bool{}
	for i, slot := range f.slots {
		if seen[slot] || all[slot] != f.dists[i] {
			t.Fatalf("slot %d has distance %v, found %v; seen before: %v", slot, all[slot], f.dists[i], seen[slot])
		}
		seen[slot] = true
	}
	slices.Sort(all)
	got := slices.Sorted(slices.Values(f.dists))
	if want := min(n, keep); len(got) < want || !slices.Equal(got[:want], all[:want]) {
		t.Fatalf("the nearest %d of %d are not among the %d found", want, n, len(got))
	}
	if most := max(keep+keep/keepMore, 1); len(got) > most {
		t.Fatalf("%d are kept of %d, want %d at most", len(got), n, most)
	}
}

// TestSeekersBound: a seeker that keeps one never overruns its memory where all distances are equal.
func TestSeekersBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	records := table(rng, 20, 1000)
	for i := range uint32(1000) {
		*records.At(i).Head = *records.At(0).Head
		copyCodes(records.At(i), records.At(0), 20)
	}
	for _, set := range Available() {
		queries := make([]Query, 1)
		set.SetRecord(&queries[0], records.At(0), 20, Euclidean(1))
		for _, keep := range []int{1, 7, 64} {
			if f := seekAll(set, queries, records, 1000, keep); len(f[0].slots) < keep || math.IsNaN(float64(f[0].dists[0])) {
				t.Errorf("%s: %d of 1000 equal ones are kept, want %d", set.Name, len(f[0].slots), keep)
			}
		}
	}
}

// BenchmarkAsk shows a panel to 64 seekers none of whom takes anything.
func BenchmarkAsk(b *testing.B) {
	for _, set := range Available() {
		b.Run(set.Name, func(b *testing.B) {
			const dim = 256
			records := table(rand.New(rand.NewPCG(1, 2)), dim, PanelSize)
			var p Panel
			p.Reset(dim)
			for i := range uint32(PanelSize) {
				set.Add(&p, i, records.At(i))
			}
			var q Query
			set.SetRecord(&q, records.At(0), dim, Euclidean(1))
			seekers := make([]*Seeker, 64)
			for i := range seekers {
				seekers[i] = &Seeker{}
				seekers[i].Begin(&q, 256)
				seekers[i].bound = -math.MaxFloat32
			}
			for b.Loop() {
				set.Ask(seekers, &p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(seekers)*PanelSize), "ns/pair")
		})
	}
}
