package storetest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet"
)

// moving is what an entity's word holds while a change of it is under way. Else it holds the
// offset of the version that every search must see, negative when that is a deletion.
const moving = 0

// actors are entities with one writer each at any time, watched by searches.
type actors struct {
	*fixture
	words []atomic.Int64
	clock atomic.Int64 // offsets
	known sync.Map     // offset → state of the version
	ended atomic.Bool  // the writers are through
}

func (a *actors) entity(i int) string { return "e" + strconv.Itoa(i) }

// concurrent has searches run while entities change, grow, shrink and disappear. Whatever
// the moment: an entity is found once, score, version and metadata are of one version, a
// filter holds for what is returned, and what was applied before a search began and not
// changed until it ended is in the answer exactly as it was applied.
func concurrent(f *fixture) {
	const entities, writers, rounds, most = 80, 4, 40, 60
	a := &actors{fixture: f, words: make([]atomic.Int64, entities)}
	var writing, searching sync.WaitGroup
	errs := make(chan error, 64)
	for w := range writers {
		writing.Go(func() { errs <- a.write(w, writers, rounds) })
	}
	searches := []func(*rand.Rand) error{a.searchAll, a.searchSome, a.searchFiltered, a.searchBare}
	for i, search := range searches {
		searching.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for n := 0; n < most && !a.ended.Load(); n++ {
				if err := search(rng); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	writing.Wait()
	a.ended.Store(true)
	searching.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	if err := errors.Join(all...); err != nil {
		f.Fatal(err)
	}
	if err := a.searchAll(nil); err != nil {
		f.Errorf("after all changes: %v", err)
	}
}

// write changes the entities i with i % writers == w, some at a time.
func (a *actors) write(w, writers, rounds int) error {
	rng := rand.New(rand.NewPCG(uint64(w), 3))
	for range rounds {
		var batch []freshet.Change
		touched := map[int]int64{}
		for range 1 + rng.IntN(6) {
			i := rng.IntN(len(a.words)/writers)*writers + w
			offset := a.clock.Add(1)
			c, st := draw(rng, a.key(a.entity(i)), offset, 40)
			a.known.Store(offset, st)
			if touched[i] = offset; rng.IntN(4) == 0 {
				touched[i] = -offset
				c = remove(c.Key, at(offset))
			}
			batch = append(batch, c)
			a.words[i].Store(moving)
		}
		if _, err := a.tryApply(batch); err != nil {
			return err
		}
		for i, word := range touched {
			a.words[i].Store(word)
		}
	}
	return nil
}

// read copies the words.
func (a *actors) read() []int64 {
	words := make([]int64, len(a.words))
	for i := range words {
		words[i] = a.words[i].Load()
	}
	return words
}

// searchAll asks for everything, so that what is missing shows.
func (a *actors) searchAll(*rand.Rand) error {
	before := a.read()
	hits, err := a.trySearch(2 * len(a.words))
	if err != nil {
		return err
	}
	found := map[string]int64{}
	for _, h := range hits {
		st, err := fits(&h)
		if err != nil {
			return err
		}
		if h.Slot != strconv.Itoa(st.Slot) {
			return fmt.Errorf("%q at %d: slot %s, its metadata says %d", h.Key.Entity, st.N, h.Slot, st.Slot)
		}
		found[h.Key.Entity] = st.N
	}
	for i, word := range a.read() {
		if word == moving || word != before[i] {
			continue // changed meanwhile
		}
		if n := found[a.entity(i)]; n != max(0, word) {
			return fmt.Errorf("entity %s was found at offset %d (0: not at all), applied was %d (negative: deleted) before the search began", a.entity(i), n, word)
		}
	}
	return nil
}

// searchSome asks for the best few of a changing set.
func (a *actors) searchSome(rng *rand.Rand) error {
	return a.check(1+rng.IntN(10), func(*freshet.Hit, state) error { return nil })
}

// searchFiltered asks by metadata that changes with each version.
func (a *actors) searchFiltered(rng *rand.Rand) error {
	parity := rng.IntN(2)
	expr, err := a.Filter(`{"eq":{"parity":` + strconv.Itoa(parity) + `}}`)
	if err != nil {
		return err
	}
	return a.check(1+rng.IntN(100), func(h *freshet.Hit, st state) error {
		if st.Parity != parity {
			return fmt.Errorf("%q at %d has parity %d, the filter wants %d", h.Key.Entity, st.N, st.Parity, parity)
		}
		return nil
	}, func(q *freshet.Query) { q.Filter = expr })
}

func (a *actors) check(k int, each func(*freshet.Hit, state) error, alter ...func(*freshet.Query)) error {
	before := a.read()
	hits, err := a.trySearch(k, alter...)
	if err != nil {
		return err
	}
	for i := range hits {
		h := &hits[i]
		st, err := fits(h)
		if err == nil {
			err = each(h, st)
		}
		if err == nil {
			err = a.alive(h, before)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// searchBare checks hits without metadata by what was written at their version.
func (a *actors) searchBare(rng *rand.Rand) error {
	before := a.read()
	hits, err := a.trySearch(1+rng.IntN(20), func(q *freshet.Query) { q.Bare = true })
	if err != nil {
		return err
	}
	for i := range hits {
		h := &hits[i]
		if err := a.alive(h, before); err != nil {
			return err
		}
		st, _ := a.known.Load(h.Version.Offset)
		if st, ok := st.(state); !ok || math.Abs(float64(h.Score)-st.Score) > tolerance {
			return fmt.Errorf("bare %q at %d: score %v, want that of %+v", h.Key.Entity, h.Version.Offset, h.Score, st)
		}
	}
	return nil
}

// alive refuses a hit of an entity whose latest change, a deletion or another version, was
// applied before the search began and not followed by another one until now.
func (a *actors) alive(h *freshet.Hit, before []int64) error {
	i, err := strconv.Atoi(h.Key.Entity[1:])
	if err != nil {
		return err
	}
	if word := before[i]; word != moving && a.words[i].Load() == word && h.Version.Offset != word {
		return fmt.Errorf("%q was found at offset %d, applied was %d (negative: deleted)", h.Key.Entity, h.Version.Offset, word)
	}
	return nil
}

// writersOfOne has several writers apply different versions of the same entities, in no
// order: the newest wins everywhere.
func writersOfOne(f *fixture) {
	const entities, writers, changes = 5, 4, 100
	var clock atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex // guards latest
	latest := map[string]freshet.Change{}
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 5))
			for range changes {
				key := f.key(fmt.Sprint("e", rng.IntN(entities)))
				c, _ := draw(rng, key, clock.Add(1), 20)
				if rng.IntN(5) == 0 {
					c = remove(key, c.Version)
				}
				mu.Lock()
				if c.Version.After(latest[key.Entity].Version) {
					latest[key.Entity] = c
				}
				mu.Unlock()
				if _, err := f.tryApply([]freshet.Change{c}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		f.Fatal(err)
	}
	f.wantLatest(latest)
}
