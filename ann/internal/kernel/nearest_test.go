package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkInsert(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 4096
	dists := make([]float32, n)
	for i := range dists {
		dists[i] = rng.Float32()
	}
	for _, s := range Available() {
		for _, limit := range []int{40, 120, 200, 400} {
			b.Run(fmt.Sprintf("%s/%d", s.Name, limit), func(b *testing.B) {
				var l Nearest
				inserts := 0
				for b.Loop() {
					l.Reset(limit)
					for i, d := range dists {
						if d < l.Bound() {
							s.Insert(&l, d, uint32(i))
							inserts++
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(inserts), "ns/insert")
			})
		}
	}
}
