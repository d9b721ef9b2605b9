// Package storetest is the conformance suite of freshet.Store: what a store promises to the
// rest of freshet, whoever implements it. It says nothing about how fast a store is, nor about
// what it keeps over a restart.
//
// The suite works with unit vectors under cosine whose similarity to one query is known
// beforehand, so each answer can be told right or wrong without a second implementation.
package storetest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"testing"

	"github.com/freshet-io/freshet"
)

// Dim is the dimension of the vectors of the suite. The collections have the metric cosine.
const Dim = 8

// The collections that the suite uses. Their namespaces are made by use.
const (
	Collection      = freshet.DefaultCollection
	OtherCollection = "other"
)

// tolerance is how far a similarity may be off the true one.
const tolerance = 1e-4

// Harness is an empty store under test.
type Harness struct {
	Store freshet.Store
	// Commit, where it is not nil, makes changes part of the log before they are applied. Like
	// the owner of a partition it drops those that are not newer than what the log has. It may
	// be called by several goroutines.
	Commit func([]freshet.Change) error
	// Filter parses a filter in the language of package filter.
	Filter func(text string) (freshet.Filter, error)
}

// Run runs the suite. makeHarness makes a harness with an empty store for each test.
func Run(t *testing.T, makeHarness func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"GetReturnsWhatWasApplied", getReturns},
		{"NewerVersionReplaces", newerReplaces},
		{"SameOrOlderVersionIsSuperseded", olderSuperseded},
		{"OrderThenEpochThenOffset", versionOrder},
		{"DeleteIsAFence", deleteFences},
		{"WhatBeginsAnewPassesATombstone", beginsAnew},
		{"WhatIsAppliedAgainIsWrittenAgain", appliedAgain},
		{"EntityIsReplacedAsOne", replacedAsOne},
		{"MetadataChangesAlone", metadataAlone},
		{"ContentChangesThereAndBack", thereAndBack},
		{"BatchWithSeveralChangesOfAnEntity", severalInBatch},
		{"EmptyBatch", emptyBatch},
		{"HitsAreOrdered", ordered},
		{"KBeyondTheSet", beyond},
		{"EntityIsFoundOnce", foundOnce},
		{"Filter", filters},
		{"Exclude", excludes},
		{"ShardsAreSeparate", separate},
		{"BareHits", bareHits},
		{"RandomChangesAgainstAMap", random},
		{"SearchesWhileEntitiesChange", concurrent},
		{"WritersOfOneEntity", writersOfOne},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&fixture{T: t, Harness: makeHarness(t), shard: freshet.Shard{Collection: Collection, Namespace: freshet.DefaultNamespace}})
		})
	}
}

// fixture is one test with its store.
type fixture struct {
	*testing.T
	Harness
	shard freshet.Shard
}

// apply commits and applies changes.
func (f *fixture) apply(changes ...freshet.Change) []freshet.Applied {
	f.Helper()
	results, err := f.tryApply(changes)
	if err != nil {
		f.Fatal(err)
	}
	return results
}

// tryApply is apply for goroutines other than the test's.
func (f *fixture) tryApply(changes []freshet.Change) ([]freshet.Applied, error) {
	if f.Commit != nil {
		if err := f.Commit(changes); err != nil {
			return nil, fmt.Errorf("commit: %w", err)
		}
	}
	results, err := f.Store.Apply(f.Context(), changes)
	if err == nil && len(results) != len(changes) {
		err = fmt.Errorf("%d results for %d changes", len(results), len(changes))
	}
	return results, err
}

func (f *fixture) wantResults(got []freshet.Applied, want ...freshet.Applied) {
	f.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("results %v, want %v (1 is new, 2 is superseded)", got, want)
	}
}

// search searches the fixture's shard; alter changes the query before.
func (f *fixture) search(k int, alter ...func(*freshet.Query)) []freshet.Hit {
	f.Helper()
	hits, err := f.trySearch(k, alter...)
	if err != nil {
		f.Fatal(err)
	}
	return hits
}

func (f *fixture) trySearch(k int, alter ...func(*freshet.Query)) ([]freshet.Hit, error) {
	q := freshet.Query{Shard: f.shard, Vector: towards(1), K: k}
	for _, a := range alter {
		a(&q)
	}
	hits, err := f.Store.Search(f.Context(), q)
	if err != nil {
		return nil, err
	}
	return hits, wellFormed(q, hits)
}

// wellFormed checks what holds for every answer.
func wellFormed(q freshet.Query, hits []freshet.Hit) error {
	if len(hits) > q.K {
		return fmt.Errorf("%d hits, k is %d", len(hits), q.K)
	}
	seen := map[string]bool{}
	for i, h := range hits {
		switch {
		case seen[h.Key.Entity]:
			return fmt.Errorf("entity %q is found twice", h.Key.Entity)
		case h.Key.Shard() != q.Shard:
			return fmt.Errorf("a hit of %+v in a search of %+v", h.Key.Shard(), q.Shard)
		case i > 0 && h.Score > hits[i-1].Score+tolerance/10:
			return fmt.Errorf("hit %d has score %v, the one before it %v", i, h.Score, hits[i-1].Score)
		case q.Exclude != "" && h.Key.Entity == q.Exclude:
			return fmt.Errorf("entity %q is excluded and found", h.Key.Entity)
		}
		seen[h.Key.Entity] = true
	}
	return nil
}

// want is a hit as "entity score slot".
func want(entity string, score float64, slot int) string {
	return fmt.Sprintf("%s %.3f %d", entity, score, slot)
}

func (f *fixture) wantHits(hits []freshet.Hit, want ...string) {
	f.Helper()
	got := []string{}
	for _, h := range hits {
		got = append(got, fmt.Sprintf("%s %.3f %s", h.Key.Entity, h.Score, h.Slot))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("hits %v, want %v", got, want)
	}
}

func (f *fixture) filtered(text string) func(*freshet.Query) {
	f.Helper()
	expr, err := f.Filter(text)
	if err != nil {
		f.Fatal(err)
	}
	return func(q *freshet.Query) { q.Filter = expr }
}

// key names an entity of the fixture's shard.
func (f *fixture) key(entity string) freshet.Key {
	return freshet.Key{Collection: f.shard.Collection, Namespace: f.shard.Namespace, Entity: entity}
}

// at is a version of a collection without order.
func at(offset int64) freshet.Version { return freshet.Version{Epoch: 1, Offset: offset} }

// towards is a unit vector whose similarity to towards(1), the suite's query, is score.
func towards(score float64) []float32 {
	v := make([]float32, Dim)
	v[0], v[1] = float32(score), float32(math.Sqrt(1-score*score))
	return v
}

// upsert is a change whose points have these similarities to the query. Metadata is a struct
// or map, or nil for none.
func upsert(key freshet.Key, v freshet.Version, metadata any, scores ...float64) freshet.Change {
	var raw []byte
	if metadata != nil {
		var err error
		if raw, err = json.Marshal(metadata); err != nil {
			panic(err) // of a test's own literals
		}
	}
	c := freshet.Change{Key: key, Version: v, Revision: 1, Op: freshet.OpUpsert, Text: fmt.Sprint(key.Entity, scores),
		Metadata: raw, Events: 1, Source: "storetest", SourceEventID: fmt.Sprint(key.Entity, v), EventTime: 1, AcceptedAt: 2}
	for i, score := range scores {
		c.Points = append(c.Points, freshet.Point{Model: "m", Slot: strconv.Itoa(i), Vector: towards(score)})
	}
	c.Content, c.Digest = digest(scores), digest(c.Op, c.Text, raw, scores)
	return c
}

func remove(key freshet.Key, v freshet.Version) freshet.Change {
	return freshet.Change{Key: key, Version: v, Revision: 1, Op: freshet.OpDelete, Events: 1, Source: "storetest", Digest: digest("deleted")}
}

func digest(parts ...any) (d [16]byte) {
	h := fnv.New128a()
	fmt.Fprint(h, parts...)
	copy(d[:], h.Sum(nil))
	return d
}
