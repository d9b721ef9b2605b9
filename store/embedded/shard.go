package embedded

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/filter"
)

const (
	// slotBits is how many bits of a point's key number the points of an entity.
	slotBits = 12
	// MaxPoints is how many points an entity can have.
	MaxPoints = 1 << slotBits
)

func pointKey(doc uint32, slot int) uint64 { return uint64(doc)<<slotBits | uint64(slot) }

func docOf(key uint64) uint32 { return uint32(key >> slotBits) }

func slotOf(key uint64) int { return int(key & (MaxPoints - 1)) }

// shard is the indexes of one namespace of one collection.
type shard struct {
	name   freshet.Shard
	metric ann.Metric
	dim    int
	index  *ann.Index
	filter *filter.Index

	applying sync.Mutex // held by the one goroutine that changes the shard
	mu       sync.RWMutex
	docs     docs // guarded by mu for writing, and for reading by all but the holder of applying

	dirty atomic.Int64 // changes since the last snapshot
}

// apply applies the changes of this shard among all, in order, and notes the result of each.
func (s *shard) apply(all []freshet.Change, mine []int, results []freshet.Applied) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	latest := make(map[string]int, len(mine)) // of each entity the newest change of the batch
	for _, i := range mine {
		c := &all[i]
		results[i] = freshet.AppliedSuperseded
		if k, ok := latest[c.Key.Entity]; ok && !c.Version.After(all[k].Version) {
			continue
		}
		if doc, ok := s.docs.find(c.Key.Entity); ok && !c.Version.After(s.docs.info[doc].version) {
			continue
		}
		latest[c.Key.Entity] = i
		results[i] = freshet.AppliedNew
	}
	ops, fresh, err := s.ops(all, mine, latest)
	if err != nil {
		return err
	}
	if len(ops) > 0 {
		if err := s.index.Apply(ops); err != nil {
			return fmt.Errorf("index %s/%s: %w", s.name.Collection, s.name.Namespace, err)
		}
	}
	return s.note(all, mine, latest, fresh)
}

// ops are the changes of the vector index. fresh numbers the entities that are new.
func (s *shard) ops(all []freshet.Change, mine []int, latest map[string]int) ([]ann.Op, map[string]uint32, error) {
	ops := make([]ann.Op, 0, len(latest))
	fresh := map[string]uint32{}
	for _, i := range mine {
		c := &all[i]
		if k, ok := latest[c.Key.Entity]; !ok || k != i {
			continue
		}
		if len(c.Points) >= MaxPoints {
			return nil, nil, fmt.Errorf("entity %q has %d points, at most %d are possible", c.Key.Entity, len(c.Points), MaxPoints-1)
		}
		doc, ok := s.docs.find(c.Key.Entity)
		var old docInfo
		if ok {
			old = s.docs.info[doc]
		} else {
			doc = uint32(s.docs.len() + len(fresh))
			fresh[c.Key.Entity] = doc
		}
		same := old.points > 0 && old.content == c.Content && int(old.points) == len(c.Points)
		for slot := range c.Points {
			if !same {
				ops = append(ops, ann.Op{Key: pointKey(doc, slot), Vector: c.Points[slot].Vector})
			}
		}
		for slot := len(c.Points); slot < int(old.points); slot++ {
			ops = append(ops, ann.Op{Key: pointKey(doc, slot)})
		}
	}
	return ops, fresh, nil
}

// note brings the table of documents and the filter index up to the changes.
func (s *shard) note(all []freshet.Change, mine []int, latest map[string]int, fresh map[string]uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range mine {
		c := &all[i]
		if k, ok := latest[c.Key.Entity]; !ok || k != i {
			continue
		}
		doc, ok := s.docs.find(c.Key.Entity)
		if !ok {
			if doc = s.docs.add(c.Key.Entity); doc != fresh[c.Key.Entity] {
				return fmt.Errorf("entity %q got document %d, its points have %d", c.Key.Entity, doc, fresh[c.Key.Entity])
			}
		}
		if c.Deleted() {
			s.filter.Delete(doc)
		} else if err := s.filter.Set(doc, c.Metadata); err != nil {
			return fmt.Errorf("filter index, entity %q: %w", c.Key.Entity, err)
		}
		s.docs.set(doc, infoOf(c))
		s.dirty.Add(1)
	}
	return nil
}

func infoOf(c *freshet.Change) docInfo {
	return docInfo{version: c.Version, revision: c.Revision, points: uint16(len(c.Points)), content: c.Content, digest: c.Digest}
}

// found is a document that a search of the vector index found.
type found struct {
	entity  string
	version freshet.Version
	score   float32
	slot    int
}

// search returns the k best entities as the indexes know them.
func (s *shard) search(q freshet.Query, k int) ([]found, error) {
	opt := ann.SearchOptions{Ef: q.Ef, Exact: q.Exact}
	if q.Filter != nil {
		expr, ok := q.Filter.(*filter.Expr)
		if !ok {
			return nil, fmt.Errorf("filter of type %T", q.Filter)
		}
		opt.Filter = &matches{s: s, docs: s.filter.Eval(expr)}
	}
	want := k
	if q.Exclude != "" {
		want++
	}
	for {
		want = min(want, ann.MaxK)
		results, err := s.index.Search(q.Vector, want, opt, make([]ann.Result, 0, want))
		if err != nil {
			return nil, err
		}
		hits := s.entities(results, q.Exclude, k)
		if len(hits) == k || len(results) < want || want == ann.MaxK {
			return hits, nil
		}
		want *= 2 // several points of one entity came before the next entity
	}
}

// entities keeps the best point of each entity.
func (s *shard) entities(results []ann.Result, exclude string, k int) []found {
	s.mu.RLock()
	defer s.mu.RUnlock()
	hits := make([]found, 0, min(k, len(results)))
	var seen map[uint32]struct{}
	if s.docs.multi > 0 {
		seen = make(map[uint32]struct{}, k)
	}
	for _, r := range results {
		doc := docOf(r.Key)
		if int(doc) >= s.docs.len() {
			continue // being applied at this moment
		}
		if seen != nil {
			if _, ok := seen[doc]; ok {
				continue
			}
			seen[doc] = struct{}{}
		}
		if id := s.docs.id(doc); string(id) != exclude {
			hits = append(hits, found{string(id), s.docs.info[doc].version, r.Score, slotOf(r.Key)})
			if len(hits) == k {
				break
			}
		}
	}
	return hits
}

// close stops the index.
func (s *shard) close() error { return s.index.Close() }
