package embedded

import (
	"context"
	"fmt"
	"math"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/wire"
)

const (
	maxDifferences = 100
	// maxSuspects is how many differences are looked at again; more than that are no race.
	maxSuspects = 10_000
	recheck     = 3 // how often
)

// Audit compares vector.sync with what searches use: documents, vectors, filter index and
// graph. Traffic goes on: what differs is looked at again once wait has returned, which
// blocks until the store has everything that was committed when it was called.
func (s *Store) Audit(ctx context.Context, wait func(context.Context) error, report *freshet.AuditReport) error {
	if err := wait(ctx); err != nil {
		return err
	}
	for _, sh := range s.all() {
		for _, p := range sh.index.Check() {
			report.Note(maxDifferences, freshet.Difference{Part: "graph", Kind: "damaged", Key: sh.keyOf(p.Key), Detail: p.String()})
		}
	}
	orphans := map[*shard][]uint64{}
	for _, sh := range s.all() {
		orphans[sh] = sh.orphans()
	}
	suspects, err := s.suspects(ctx)
	if err != nil {
		return err
	}
	if err := wait(ctx); err != nil {
		return err
	}
	for _, sh := range s.all() {
		sh.reportOrphans(orphans[sh], report)
	}
	for round := 0; round < recheck && len(suspects) > 0 && len(suspects) <= maxSuspects; round++ {
		if round > 0 {
			if err := wait(ctx); err != nil {
				return err
			}
		}
		for key := range suspects {
			if suspects[key], err = s.inspect(key); err != nil {
				return err
			}
			if suspects[key] == nil {
				delete(suspects, key)
			}
		}
	}
	for _, d := range suspects {
		report.Note(maxDifferences, *d)
	}
	return nil
}

// suspects compares everything once, and returns what differed at that moment.
func (s *Store) suspects(ctx context.Context) (map[freshet.Key]*freshet.Difference, error) {
	out := map[freshet.Key]*freshet.Difference{}
	filters := map[*shard]map[uint32]uint64{}
	for _, sh := range s.all() {
		digests := make(map[uint32]uint64, sh.filter.Len())
		sh.filter.Each(func(doc uint32, digest uint64) bool {
			digests[doc] = digest
			return true
		})
		filters[sh] = digests
	}
	digester := filter.NewDigester()
	records := map[*shard]int{}
	err := s.log.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		key, err := wire.ParseKey(r.Key)
		if err != nil {
			return err
		}
		c, err := wire.DecodeChange(key, r.Value, wire.Points)
		if err != nil {
			return err
		}
		sh := s.shard(key.Shard())
		if sh == nil {
			out[key] = differ("documents", "missing", key, "its shard has no index")
			return nil
		}
		records[sh]++
		if d, err := sh.compare(&c, filters[sh], digester); err != nil {
			return err
		} else if d != nil {
			out[key] = d
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	for _, sh := range s.all() {
		sh.extras(s, filters[sh], out)
	}
	return out, nil
}

// inspect compares one entity, all parts of it, while nothing is applied to its shard. An
// entity that is committed but not yet applied is no difference.
func (s *Store) inspect(key freshet.Key) (*freshet.Difference, error) {
	sh := s.shard(key.Shard())
	if sh == nil {
		return differ("documents", "missing", key, "its shard has no index"), nil
	}
	sh.applying.Lock()
	defer sh.applying.Unlock()
	c, ok, err := s.Get(context.Background(), key)
	if err != nil {
		return nil, err
	}
	if !ok {
		if doc, live := sh.docs.find(key.Entity); live && sh.docs.info[doc] != (docInfo{}) {
			return differ("documents", "extra", key, "it is indexed, vector.sync does not have it"), nil
		}
		return nil, nil
	}
	digests := map[uint32]uint64{}
	if doc, ok := sh.docs.find(key.Entity); ok {
		if c.Version.After(sh.docs.info[doc].version) && sh.docs.info[doc].version != (freshet.Version{}) {
			return nil, nil // being brought up at this moment
		}
		sh.filter.Each(func(d uint32, digest uint64) bool {
			if d == doc {
				digests[d] = digest
			}
			return d != doc
		})
	}
	return sh.compare(&c, digests, filter.NewDigester())
}

// compare holds a record of vector.sync against the indexes.
func (s *shard) compare(c *freshet.Change, filters map[uint32]uint64, digester *filter.Digester) (*freshet.Difference, error) {
	s.mu.RLock()
	doc, ok := s.docs.find(c.Key.Entity)
	var info docInfo
	if ok {
		info = s.docs.info[doc]
	}
	s.mu.RUnlock()
	digest, filtered := filters[doc]
	switch {
	case !ok:
		return differ("documents", "missing", c.Key, "vector.sync has it, the index does not"), nil
	case info.version != c.Version:
		return differ("documents", "stale", c.Key, fmt.Sprintf("indexed is version %+v, vector.sync has %+v", info.version, c.Version)), nil
	case info.digest != c.Digest || info.revision != c.Revision:
		return differ("documents", "stale", c.Key, fmt.Sprintf("indexed is revision %d, digest %x; vector.sync has %d, %x", info.revision, info.digest, c.Revision, c.Digest)), nil
	case int(info.points) != len(c.Points):
		return differ("documents", "stale", c.Key, fmt.Sprintf("%d points are indexed, vector.sync has %d", info.points, len(c.Points))), nil
	case c.Deleted():
		if filtered {
			return differ("filters", "extra", c.Key, "it is deleted, filters find it"), nil
		}
		return nil, nil
	case !filtered:
		return differ("filters", "missing", c.Key, "filters don't find it"), nil
	}
	want, err := digester.Digest(c.Metadata)
	if err != nil {
		return nil, err
	}
	if want != digest {
		return differ("filters", "stale", c.Key, "filters find it by other metadata than it has"), nil
	}
	return s.compareVectors(c, doc), nil
}

func (s *shard) compareVectors(c *freshet.Change, doc uint32) *freshet.Difference {
	var have []float32
	for slot, p := range c.Points {
		var ok bool
		if have, ok = s.index.Vector(pointKey(doc, slot), have[:0]); !ok {
			return differ("vectors", "missing", c.Key, fmt.Sprintf("point %d is not in the index", slot))
		}
		if !sameVector(s.metric, have, p.Vector) {
			return differ("vectors", "stale", c.Key, fmt.Sprintf("point %d has another vector in the index than in vector.sync", slot))
		}
	}
	return nil
}

// sameVector compares a vector of the index with that of a record. Under cosine the index
// keeps the direction, rounded to float32.
func sameVector(m ann.Metric, have, want []float32) bool {
	if len(have) != len(want) {
		return false
	}
	scale := 1.0
	if m == ann.Cosine {
		var norm float64
		for _, f := range want {
			norm += float64(f) * float64(f)
		}
		if norm = math.Sqrt(norm); math.Abs(norm-1) > 1e-5 {
			scale = 1 / norm
		}
	}
	for i := range have {
		diff := math.Abs(float64(have[i]) - scale*float64(want[i]))
		if diff > 1e-5*math.Max(1, math.Abs(float64(have[i]))) {
			return false
		}
	}
	return true
}

// orphans are the points of the vector index that no entity has.
func (s *shard) orphans() []uint64 {
	var keys []uint64
	s.index.Each(func(key uint64, _ []float32) bool {
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
		if _, there := s.index.Vector(key, nil); there && s.orphan(key) {
			report.Note(maxDifferences, *differ("vectors", "extra", s.keyOf(key),
				fmt.Sprintf("point %d is in the index, its entity does not have it", slotOf(key))))
		}
	}
}

// extras finds entities that the indexes have and vector.sync does not.
func (s *shard) extras(st *Store, filters map[uint32]uint64, out map[freshet.Key]*freshet.Difference) {
	s.mu.RLock()
	n := s.docs.len()
	s.mu.RUnlock()
	for doc := range uint32(n) {
		s.mu.RLock()
		known := s.docs.info[doc] != (docInfo{})
		s.mu.RUnlock()
		_, filtered := filters[doc]
		if !known && !filtered {
			continue
		}
		k := s.keyOf(pointKey(doc, 0))
		if _, seen := out[k]; seen {
			continue
		}
		if _, ok, err := st.record(k, wire.Head); err == nil && !ok {
			out[k] = differ("documents", "extra", k, "it is indexed, vector.sync does not have it")
		}
	}
}

// keyOf names the entity of a point.
func (s *shard) keyOf(point uint64) freshet.Key {
	k := freshet.Key{Collection: s.name.Collection, Namespace: s.name.Namespace}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if doc := docOf(point); int(doc) < s.docs.len() {
		k.Entity = string(s.docs.id(doc))
	} else {
		k.Entity = fmt.Sprintf("(document %d)", doc)
	}
	return k
}

func differ(part, kind string, key freshet.Key, detail string) *freshet.Difference {
	return &freshet.Difference{Part: "vector.sync→" + part, Kind: kind, Key: key, Detail: detail}
}
