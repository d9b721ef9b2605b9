package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet"
)

// state is what the metadata of an entity says its points must score.
type state struct {
	N      int64   `json:"n"` // offset of the version
	Score  float64 `json:"score"`
	Slot   int     `json:"slot"`
	Parity int     `json:"parity"`
}

// draw makes a change of random points whose metadata says what a hit must be.
func draw(rng *rand.Rand, key freshet.Key, offset int64, contents int) (freshet.Change, state) {
	// Few different contents, so that they come back.
	content := rand.New(rand.NewPCG(uint64(rng.IntN(contents)), 0))
	scores := make([]float64, 1+content.IntN(4))
	best := 0
	for i := range scores {
		scores[i] = float64(content.IntN(1000)) / 1001
		if scores[i] > scores[best] {
			best = i
		}
	}
	st := state{N: offset, Score: scores[best], Slot: best, Parity: rng.IntN(2)}
	return upsert(key, at(offset), st, scores...), st
}

// fits checks a hit against what its own metadata says.
func fits(h *freshet.Hit) (state, error) {
	var st state
	if err := json.Unmarshal(h.Metadata, &st); err != nil {
		return st, fmt.Errorf("metadata of %q: %w", h.Key.Entity, err)
	}
	if h.Version != at(st.N) {
		return st, fmt.Errorf("%q: metadata of offset %d with version %+v", h.Key.Entity, st.N, h.Version)
	}
	if math.Abs(float64(h.Score)-st.Score) > tolerance {
		return st, fmt.Errorf("%q at %d: score %v, its metadata says %v", h.Key.Entity, st.N, h.Score, st.Score)
	}
	return st, nil
}

// random applies random batches, repeats included, and compares with a map of the latest.
func random(f *fixture) {
	const entities, batches = 60, 60
	rng := rand.New(rand.NewPCG(1, 2))
	latest := map[string]freshet.Change{}
	var old []freshet.Change
	offset := int64(0)
	for n := range batches {
		var batch []freshet.Change
		for range rng.IntN(12) {
			offset++
			key := f.key(fmt.Sprint("e", rng.IntN(entities)))
			c, _ := draw(rng, key, offset, 50)
			if rng.IntN(4) == 0 {
				c = remove(key, at(offset))
			}
			batch = append(batch, c)
			if len(old) > 0 && rng.IntN(3) == 0 {
				batch = append(batch, old[rng.IntN(len(old))])
			}
		}
		rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		var results []freshet.Applied
		for _, c := range batch {
			result := isSuperseded
			if c.Version.After(latest[c.Key.Entity].Version) {
				result, latest[c.Key.Entity] = isNew, c
			}
			results = append(results, result)
		}
		f.wantResults(f.apply(batch...), results...)
		old = append(old, batch...)
		if n%10 == 0 {
			f.wantLatest(latest)
		}
	}
	f.wantLatest(latest)
	if _, err := f.tryApply(old); err != nil {
		f.Fatal(err)
	}
	f.wantLatest(latest)
}

// wantLatest compares everything that a search can find with a map.
func (f *fixture) wantLatest(latest map[string]freshet.Change) {
	f.Helper()
	for _, parity := range []int{-1, 0, 1} {
		var alter []func(*freshet.Query)
		if parity >= 0 {
			alter = append(alter, f.filtered(`{"eq":{"parity":`+strconv.Itoa(parity)+`}}`))
		}
		var wanted, got []string
		for entity, c := range latest {
			var st state
			if c.Deleted() {
				continue
			}
			if err := json.Unmarshal(c.Metadata, &st); err != nil {
				f.Fatal(err)
			}
			if parity < 0 || st.Parity == parity {
				wanted = append(wanted, fmt.Sprint(entity, " ", st.N))
			}
		}
		for _, h := range f.search(len(latest)+1, alter...) {
			st, err := fits(&h)
			if err != nil {
				f.Fatal(err)
			}
			if h.Slot != strconv.Itoa(st.Slot) {
				f.Fatalf("%q: slot %s, its metadata says %d", h.Key.Entity, h.Slot, st.Slot)
			}
			got = append(got, fmt.Sprint(h.Key.Entity, " ", st.N))
		}
		slices.Sort(wanted)
		slices.Sort(got)
		if !slices.Equal(got, wanted) {
			f.Fatalf("parity %d: found %v, want %v", parity, got, wanted)
		}
	}
}
