package ann_test

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// TestCloseBesideSearches closes indexes, large enough to have memory of the system, while others search, read and write
// snapshots. A look at memory that was given back would end the process.
func TestCloseBesideSearches(t *testing.T) {
	rounds, n := 8, 2000
	if raceEnabled {
		rounds, n = 2, 300
	}
	mix := newMixture(3, 64, 8, 5)
	vectors := mix.vectors(n)
	for round := range rounds {
		ix, err := ann.New(ann.Options{Dim: 64, FlatBelow: -1, EfConstruction: 20, M: 8, Seed: uint64(round)})
		if err != nil {
			t.Fatal(err)
		}
		fill(t, ix, vectors)
		var calls [5]atomic.Int64
		var wg sync.WaitGroup
		until := func(i int, call func(i uint64) error) {
			wg.Go(func() {
				for j := uint64(0); ; j++ {
					if err := call(j); errors.Is(err, ann.ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
					calls[i].Add(1)
				}
			})
		}
		until(0, func(i uint64) error {
			_, err := ix.Search(vectors[i%uint64(n)], 5, ann.SearchOptions{Exact: i%4 == 0}, nil)
			return err
		})
		until(1, func(i uint64) error {
			_, _, err := ix.Vector(i%uint64(n), nil)
			return err
		})
		until(2, func(i uint64) error { return ix.Apply([]ann.Op{{Key: i % uint64(n), Vector: vectors[i%97]}}) })
		until(3, func(uint64) error {
			if ix.Check(); ix.Len() == 0 {
				return errors.New("the index is empty")
			}
			ix.Stats()
			return ix.Each(func(uint64, []float32) bool { return true })
		})
		until(4, func(uint64) error { return ix.Snapshot(io.Discard) })
		for i := range calls {
			for calls[i].Load() == 0 {
				runtime.Gosched()
			}
		}
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}
