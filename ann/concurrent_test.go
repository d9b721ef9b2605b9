package ann_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// TestBatchesAreAtomic keeps exactly one of each pair of keys alive: every batch deletes one and upserts the other, for
// several pairs at once, all moved to the same side. Searches, snapshots and scans beside it must never see a pair
// without a key or with two, nor a key after its delete has returned.
func TestBatchesAreAtomic(t *testing.T) {
	for _, opt := range []ann.Options{
		{Dim: 8, Kind: ann.Flat},
		{Dim: 8, FlatBelow: -1, M: 6, EfConstruction: 30, Workers: 2, BufferSize: 64},
		{Dim: 8, Kind: ann.IVFFlat, FlatBelow: -1, Workers: 2, BufferSize: 64},
		{Dim: 8, Kind: ann.IVFPQ, FlatBelow: -1, Workers: 2, BufferSize: 64},
		{Dim: 8, Kind: ann.IVFHNSW, FlatBelow: -1, Workers: 2, BufferSize: 64},
	} {
		for _, form := range forms(t, opt) {
			t.Run(form.Kind.String()+"/"+form.Precision.String(), func(t *testing.T) { testBatches(t, form) })
		}
	}
}

func testBatches(t *testing.T, opt ann.Options) {
	const pairs = 60
	batches := 600
	if raceEnabled || testing.Short() {
		batches = 60
	}
	mix := newMixture(21, opt.Dim, 5, 4)
	ix := newIndex(t, opt)
	var ops []ann.Op
	for i := range uint64(pairs) {
		ops = append(ops, ann.Op{Key: 2 * i, Vector: mix.vector()})
	}
	if err := ix.Apply(ops); err != nil {
		t.Fatal(err)
	}
	const observers, observations = 4, 20
	var looked [observers]atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	for worker := range observers {
		wg.Go(func() {
			mix := newMixture(uint64(worker), opt.Dim, 5, 4)
			for !done.Load() {
				observe(t, ix, mix, worker, pairs)
				looked[worker].Add(1)
			}
		})
	}
	enough := func() bool {
		for i := range looked {
			if looked[i].Load() < observations {
				return false
			}
		}
		return true
	}
	rng := rand.New(rand.NewPCG(1, 2))
	side := make([]uint64, pairs)
	for n := 0; n < batches || !enough(); n++ {
		ops = ops[:0]
		for _, i := range rng.Perm(pairs)[:1+rng.IntN(10)] {
			old := 2*uint64(i) + side[i]
			side[i] ^= 1
			ops = append(ops, ann.Op{Key: old ^ 1, Vector: mix.vector()}, ann.Op{Key: old})
		}
		if err := ix.Apply(ops); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	wg.Wait()
	flush(t, ix)
}

func observe(t *testing.T, ix *ann.Index, mix *mixture, worker, pairs int) {
	var keys []uint64
	switch worker {
	case 0: // all points
		res, err := ix.Search(mix.vector(), 2*pairs, ann.SearchOptions{}, nil)
		if err != nil {
			t.Error(err)
		}
		for _, r := range res {
			keys = append(keys, r.Key)
		}
	case 1: // one pair, by a filter
		pair := mix.rng.Uint64N(uint64(pairs))
		res, err := ix.Search(mix.vector(), 5, ann.SearchOptions{Filter: keySet{2 * pair: true, 2*pair + 1: true}}, nil)
		if err != nil || len(res) != 1 {
			t.Errorf("pair %d: %v, error %v", pair, res, err)
		}
		return
	case 2:
		ix.Each(func(key uint64, _ []float32) bool {
			keys = append(keys, key)
			return true
		})
	case 3:
		var b bytes.Buffer
		if err := ix.Snapshot(&b); err != nil {
			t.Error(err)
			return
		}
		loaded, err := ann.Load(&b, ix.Options())
		if err != nil {
			t.Error(err)
			return
		}
		defer loaded.Close()
		loaded.Each(func(key uint64, _ []float32) bool {
			keys = append(keys, key)
			return true
		})
	}
	seen := map[uint64]bool{}
	for _, key := range keys {
		if seen[key/2] {
			t.Errorf("observer %d: pair %d has two keys, or one twice", worker, key/2)
		}
		seen[key/2] = true
	}
	if len(seen) != pairs {
		t.Errorf("observer %d: %d pairs, want %d", worker, len(seen), pairs)
	}
}

// TestDeletedIsNeverReturned deletes keys while others search for them: once a delete has returned, no search finds the
// key; an upsert that has returned is found by the next search.
func TestDeletedIsNeverReturned(t *testing.T) {
	for _, kind := range append([]ann.Kind{ann.HNSW}, inverted...) {
		t.Run(kind.String(), func(t *testing.T) { testDeleted(t, kind) })
	}
}

func testDeleted(t *testing.T, kind ann.Kind) {
	mix := newMixture(4, 8, 5, 4)
	ix := newIndex(t, ann.Options{Dim: 8, Kind: kind, FlatBelow: -1, M: 6, EfConstruction: 30, Workers: 2, BufferSize: 64})
	rounds := 600
	if raceEnabled || testing.Short() {
		rounds = 100
	}
	var wg sync.WaitGroup
	for worker := range uint64(3) {
		mine := newMixture(worker, 8, 5, 4)
		wg.Go(func() {
			for i := range rounds {
				key := worker*1000 + uint64(i%97)
				v := mine.vector()
				if err := ix.Apply([]ann.Op{{Key: key, Vector: v}}); err != nil {
					t.Error(err)
				}
				if res, err := ix.Search(v, 1, ann.SearchOptions{}, nil); err != nil || len(res) == 0 || res[0].Key != key {
					t.Errorf("key %d is not found by the next search: %v, error %v", key, res, err)
				}
				if i%3 == 0 {
					continue
				}
				if err := ix.Apply([]ann.Op{{Key: key}}); err != nil {
					t.Error(err)
				}
				res, err := ix.Search(v, 20, ann.SearchOptions{}, nil)
				if err != nil {
					t.Error(err)
				}
				for _, r := range res {
					if r.Key == key {
						t.Errorf("key %d is returned after its delete", key)
					}
				}
			}
		})
	}
	wg.Wait()
	fill(t, ix, mix.vectors(10))
}
