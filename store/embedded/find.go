package embedded

import (
	"errors"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/filter"
)

// found is an entity that the indexes of a shard gave for a search.
type found struct {
	entity string
	// version is the one that score, slot and the filter's verdict belong to. It is zero when
	// that can't be told.
	version freshet.Version
	score   float32
	slot    int
}

// finding is what the indexes of a shard gave, best first.
type finding struct {
	list []found
	more bool // entities that are no better than the last of list may exist
	// moving is true when a batch was being applied: some of list may be of a version that the
	// table of documents did not have yet.
	moving bool
}

// find returns the k best entities as the indexes know them, without those that have expired at
// now, ms.
//
// The filter, the vector index and the table of documents are read one after the other while
// batches are applied: vectors first, then filter and table. What may go wrong, for an entity
// that goes from version 1 to 2:
//
//   - The vectors are read before the batch and the table after it: the score is that of
//     version 1 and the table says 2. So the number of the last finished batch is read before
//     everything else; an entity that a later batch has changed gets no version.
//   - The same with the filter's verdict.
//   - The vectors are read after they were changed, the table before: the score is that of
//     version 2, the table says 1. vector.sync has 2 by then, so a caller that compares finds
//     out; one that doesn't is told by moving.
func (s *shard) find(q freshet.Query, k int, now int64) (finding, error) {
	done := s.done.Load()
	s.ask(&q)
	opt := ann.SearchOptions{Ef: q.Ef, Exact: q.Exact}
	if q.Ef == 0 {
		opt.Ef = s.ef()
	}
	if q.Filter != nil {
		expr, ok := q.Filter.(*filter.Expr)
		if !ok {
			return finding{}, fmt.Errorf("the filter has type %T, the embedded store answers *filter.Expr", q.Filter)
		}
		opt.Filter = s.matches(s.filter.Eval(expr))
	}
	want := k
	if q.Exclude != "" {
		want++
	}
	var results []ann.Result
	for {
		want = min(want, ann.MaxK)
		var err error
		ix := s.vectors()
		results, err = ix.Search(q.Vector, want, opt, slices.Grow(results[:0], want))
		if errors.Is(err, ann.ErrClosed) && ix != s.vectors() {
			continue // it was replaced by a rebuilt one just now
		}
		if err != nil {
			return finding{}, err
		}
		f := s.entities(results, q.Exclude, k, done, now)
		if f.more || len(results) < want || want == ann.MaxK {
			return f, nil
		}
		want *= 2 // several points of one entity came before the next entity, or of expired ones
	}
}

// entities keeps the best point of each entity. done is the last batch that was finished
// before the search began.
func (s *shard) entities(results []ann.Result, exclude string, k int, done uint64, now int64) finding {
	// Of two points of one entity one has a slot above 0: without any, nothing comes twice.
	var seen map[uint32]struct{}
	if slices.ContainsFunc(results, func(r ann.Result) bool { return slotOf(r.Key) > 0 }) {
		seen = make(map[uint32]struct{}, k)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	f := finding{list: make([]found, 0, min(k, len(results))), moving: s.begun.Load() != s.done.Load()}
	for _, r := range results {
		doc := docOf(r.Key)
		if seen != nil {
			if _, ok := seen[doc]; ok {
				continue
			}
			seen[doc] = struct{}{}
		}
		if int(doc) >= s.docs.len() {
			continue // a point of nobody: damage, which the audit names
		}
		id := s.docs.id(doc)
		if len(id) == 0 || string(id) == exclude || len(s.expiries) > 0 && s.due(doc, now) { // without an entity: it was forgotten meanwhile
			continue
		}
		info := &s.docs.info[doc]
		hit := found{entity: string(id), score: r.Score, slot: slotOf(r.Key)}
		if info.batch <= done {
			hit.version = info.version
		}
		if f.list = append(f.list, hit); len(f.list) == k {
			f.more = true
			break
		}
	}
	return f
}
