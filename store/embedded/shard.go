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
	// MaxPoints is the number of points that an entity stays below.
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
	index  atomic.Pointer[ann.Index] // see vectors; replaced when it is rebuilt
	filter *filter.Index

	applying   sync.Mutex              // held by the one goroutine that changes the shard
	rebuild    atomic.Pointer[Rebuild] // the index that is being built beside the one in use; changes under applying
	rebuildErr error                   // why it can't be used; guarded by applying
	reading    sync.RWMutex            // held by those that use an index for long, so that it is not closed meanwhile
	mu         sync.RWMutex
	expiries   map[uint32]int64 // when documents expire, ms; guarded by mu
	docs       docs             // guarded by mu for writing, and for reading by all but the holder of applying
	saving     bool             // a snapshot is being written: it must not meet two entities under one number; guarded by mu

	// Batches of changes are numbered from 1. begun is the newest that may have touched the
	// indexes, done the newest that is in all of them. They differ while a batch is applied, and
	// after one has failed.
	begun, done atomic.Uint64

	dropped  atomic.Bool             // see Store.Drop
	watcher  atomic.Pointer[watcher] // nil: recall is not watched
	dirty    atomic.Int64            // changes since the last snapshot
	files    generations             // guarded by Store.snapping
	oldest   atomic.Int64            // the position of the oldest snapshot that is kept; none has MaxInt64
	position int64                   // its newest snapshot lacks nothing below this offset of vector.sync; guarded likewise
}

// vectors is the vector index in use.
func (s *shard) vectors() *ann.Index { return s.index.Load() }

// use makes an index the one in use.
func (s *shard) use(ix *ann.Index) { s.index.Store(ix) }

// apply applies the changes of this shard among all, in order, and notes the result of each.
func (s *shard) apply(all []freshet.Change, mine []int, results []freshet.Applied) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	return s.applyLocked(all, mine, results)
}

// applyLocked is apply for the holder of applying.
func (s *shard) applyLocked(all []freshet.Change, mine []int, results []freshet.Applied) error {
	newest := s.newest(all, mine, results)
	if len(newest) == 0 {
		return nil
	}
	for _, c := range newest {
		if len(c.Points) >= MaxPoints {
			return fmt.Errorf("entity %q has %d points, at most %d are possible", c.Key.Entity, len(c.Points), MaxPoints-1)
		}
	}
	batch := s.begun.Add(1)
	documents := s.number(newest)
	if ops := s.ops(newest, documents); len(ops) > 0 {
		if err := s.applyOps(ops); err != nil {
			return fmt.Errorf("index %s/%s: %w", s.name.Collection, s.name.Namespace, err)
		}
	}
	return s.note(newest, documents, batch)
}

// newest returns of each entity the newest change, if it is newer than the indexed one.
func (s *shard) newest(all []freshet.Change, mine []int, results []freshet.Applied) []*freshet.Change {
	place := make(map[string]int, len(mine)) // of an entity's change in list
	list := make([]*freshet.Change, 0, len(mine))
	for _, i := range mine {
		c := &all[i]
		results[i] = freshet.AppliedSuperseded
		at, again := place[c.Key.Entity]
		if again {
			if old := list[at]; !c.Version.After(old.Version) && !(c.Anew && old.Deleted()) && !(c.Again && c.Version == old.Version) {
				continue
			}
		} else if doc, ok := s.docs.find(c.Key.Entity); ok {
			if old := &s.docs.info[doc]; !c.Version.After(old.version) && !(c.Anew && old.points == 0) && !(c.Again && c.Version == old.version) {
				continue
			}
		}
		results[i] = freshet.AppliedNew
		if again {
			list[at] = c
			continue
		}
		place[c.Key.Entity] = len(list)
		list = append(list, c)
	}
	return list
}

// number returns the document of each change. Entities that are new get theirs before any of
// their points is indexed, so that a batch that fails in between can't leave points behind
// that another entity would take for its own.
func (s *shard) number(newest []*freshet.Change) []uint32 {
	documents := make([]uint32, len(newest))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range newest {
		doc, ok := s.docs.find(c.Key.Entity)
		if !ok {
			doc = s.docs.add(c.Key.Entity, !s.saving)
		}
		documents[i] = doc
	}
	return documents
}

// ops are the changes of the vector index. Content that has not changed is not touched.
func (s *shard) ops(newest []*freshet.Change, documents []uint32) []ann.Op {
	ops := make([]ann.Op, 0, len(newest))
	for i, c := range newest {
		doc := documents[i]
		old := s.docs.info[doc]
		same := old.points > 0 && int(old.points) == len(c.Points) && old.content == c.Content && c.Content != [16]byte{} && !c.Again
		for slot := range c.Points {
			if !same {
				ops = append(ops, ann.Op{Key: pointKey(doc, slot), Vector: c.Points[slot].Vector})
			}
		}
		for slot := len(c.Points); slot < int(old.points); slot++ {
			ops = append(ops, ann.Op{Key: pointKey(doc, slot)})
		}
	}
	return ops
}

// note brings the filter index and the table of documents up to the changes of a batch.
func (s *shard) note(newest []*freshet.Change, documents []uint32, batch uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range newest {
		if c.Deleted() {
			s.filter.Delete(documents[i])
		} else if err := s.filter.Set(documents[i], c.Metadata); err != nil {
			return fmt.Errorf("filter index, entity %q: %w", c.Key.Entity, err)
		}
		info := infoOf(c)
		info.batch = batch
		s.docs.set(documents[i], info)
		s.expires(documents[i], c.ExpiresAt)
		s.dirty.Add(1)
	}
	s.done.Store(batch) // last: see shard.find
	return nil
}

func infoOf(c *freshet.Change) docInfo {
	return docInfo{version: c.Version, revision: c.Revision, points: uint16(len(c.Points)), content: c.Content, digest: c.Digest}
}

// close stops the index. A shard that was not read to the end may have none.
func (s *shard) close() error {
	if ix := s.vectors(); ix != nil {
		return ix.Close()
	}
	return nil
}
