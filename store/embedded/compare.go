package embedded

import (
	"fmt"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/filter"
)

// partFilters is the comparison that is made with a copy of the filter index's digests.
const partFilters = "vector.sync→filters"

func differ(part, kind string, key freshet.Key, detail string) *freshet.Difference {
	return &freshet.Difference{Part: "vector.sync→" + part, Kind: kind, Key: key, Detail: detail}
}

// compare holds a record of vector.sync against the indexes; nil means that they agree.
func (s *shard) compare(c *freshet.Change, filters map[uint32]uint64, digester *filter.Digester) *freshet.Difference {
	s.mu.RLock()
	doc, ok := s.docs.find(c.Key.Entity)
	var info docInfo
	if ok {
		info = s.docs.info[doc]
	}
	expires := s.expiries[doc]
	s.mu.RUnlock()
	digest, filtered := filters[doc]
	switch {
	case !info.known():
		return differ("documents", "missing", c.Key, "vector.sync has it, the index does not")
	case info.version != c.Version:
		return differ("documents", "stale", c.Key, fmt.Sprintf("indexed is version %+v, vector.sync has %+v", info.version, c.Version))
	case info.digest != c.Digest || info.revision != c.Revision:
		return differ("documents", "stale", c.Key, fmt.Sprintf("indexed is revision %d, digest %x; vector.sync has %d, %x", info.revision, info.digest, c.Revision, c.Digest))
	case int(info.points) != len(c.Points):
		return differ("documents", "stale", c.Key, fmt.Sprintf("%d points are indexed, vector.sync has %d", info.points, len(c.Points)))
	case expires != c.ExpiresAt:
		return differ("documents", "stale", c.Key, fmt.Sprintf("it is indexed to expire at %d ms, vector.sync has %d (0 = never)", expires, c.ExpiresAt))
	case c.Deleted() && filtered:
		return differ("filters", "extra", c.Key, "it is deleted, filters find it")
	case c.Deleted():
		return nil
	}
	if d := s.compareVectors(c, doc); d != nil {
		return d
	}
	want, err := digester.Digest(c.Metadata)
	switch {
	case err != nil:
		return differ("documents", "damaged", c.Key, err.Error())
	case !filtered:
		return differ("filters", "missing", c.Key, "filters don't find it")
	case want != digest:
		return differ("filters", "stale", c.Key, "filters find it by other metadata than it has")
	}
	return nil
}

func (s *shard) compareVectors(c *freshet.Change, doc uint32) *freshet.Difference {
	var have, want []float32
	for slot, p := range c.Points {
		var ok bool
		var err error
		switch have, ok, err = s.vectors().Vector(pointKey(doc, slot), have[:0]); {
		case err != nil:
			return differ("vectors", "damaged", c.Key, fmt.Sprintf("point %d: %v", slot, err))
		case !ok:
			return differ("vectors", "missing", c.Key, fmt.Sprintf("point %d is not in the index", slot))
		}
		if want, err = s.vectors().Stored(p.Vector, want[:0]); err != nil || !slices.Equal(have, want) {
			return differ("vectors", "stale", c.Key, fmt.Sprintf("point %d has another vector in the index than in vector.sync", slot))
		}
	}
	return nil
}

// document returns the document of an entity.
func (s *shard) document(entity string) (uint32, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.docs.find(entity)
}

// filterDigests returns what the filter index holds, by document: of the entities in keys, or
// of all when keys is nil.
func (s *shard) filterDigests(keys []freshet.Key) map[uint32]uint64 {
	wanted := make(map[uint32]struct{}, len(keys))
	s.mu.RLock()
	for _, key := range keys {
		if doc, ok := s.docs.find(key.Entity); ok {
			wanted[doc] = struct{}{}
		}
	}
	s.mu.RUnlock()
	size := len(keys)
	if keys == nil {
		size = s.filter.Len()
	}
	digests := make(map[uint32]uint64, size)
	s.filter.Each(func(doc uint32, digest uint64) bool {
		if _, ok := wanted[doc]; ok || keys == nil {
			digests[doc] = digest
		}
		return true
	})
	return digests
}

// size is the number of documents.
func (s *shard) size() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.docs.len()
}

// extras are the entities that the indexes have and vector.sync, as it was read, does not.
// Entries of the filter index that stand for no entity are reported at once: an entity is
// numbered before it gets one.
func (s *shard) extras(present []bool, filters map[uint32]uint64, report *freshet.AuditReport) []*freshet.Difference {
	var out []*freshet.Difference
	for doc := range present {
		if present[doc] {
			continue
		}
		s.mu.RLock()
		known := s.docs.info[doc].known()
		s.mu.RUnlock()
		key := s.keyOf(uint32(doc))
		if _, filtered := filters[uint32(doc)]; known {
			out = append(out, differ("documents", "extra", key, "it is indexed, vector.sync does not have it"))
		} else if filtered {
			out = append(out, differ("filters", "extra", key, "filters find it, vector.sync does not have it"))
		}
	}
	for doc := range filters {
		if int(doc) >= s.size() {
			report.Note(maxDifferences, *differ("filters", "extra", s.keyOf(doc), "filters find it, it is no entity"))
		}
	}
	return out
}

// orphans are the points of the vector index that no entity has.
func (s *shard) orphans() []uint64 {
	var keys []uint64
	_ = s.vectors().EachKey(func(key uint64) bool { // it fails when the store is closed, and then all does
		if s.orphan(key) {
			keys = append(keys, key)
		}
		return true
	})
	return keys
}

func (s *shard) orphan(key uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	doc := docOf(key)
	return int(doc) >= s.docs.len() || slotOf(key) >= int(s.docs.info[doc].points)
}

// reportOrphans notes those of the points that are orphans while nothing is applied, too.
func (s *shard) reportOrphans(keys []uint64, report *freshet.AuditReport) {
	s.applying.Lock()
	defer s.applying.Unlock()
	for _, key := range keys {
		if _, there, _ := s.vectors().Vector(key, nil); there && s.orphan(key) {
			report.Note(maxDifferences, *differ("vectors", "extra", s.keyOf(docOf(key)),
				fmt.Sprintf("point %d is in the index, its entity does not have it", slotOf(key))))
		}
	}
}

// keyOf names the entity of a document.
func (s *shard) keyOf(doc uint32) freshet.Key {
	k := freshet.Key{Collection: s.name.Collection, Namespace: s.name.Namespace}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if int(doc) < s.docs.len() {
		k.Entity = string(s.docs.id(doc))
	} else {
		k.Entity = fmt.Sprintf("(document %d)", doc)
	}
	return k
}
