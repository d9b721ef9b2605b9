package embedded

import (
	"context"
	"errors"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// Reapply writes what vector.sync has of an entity into all indexes again, whatever they have of it.
// Changes go on meanwhile.
func (s *Store) Reapply(ctx context.Context, key freshet.Key) error {
	sh, err := s.ensureShard(key.Shard())
	if err != nil {
		return err
	}
	s.snapping.Lock() // none may be written while the entity is disowned
	defer s.snapping.Unlock()
	sh.applying.Lock() // a change that is committed after the record was read is applied after it
	defer sh.applying.Unlock()
	c, ok, err := s.record(key, wire.Points)
	if err != nil {
		return err
	}
	if !ok {
		return sh.forgetLocked(key.Entity)
	}
	sh.disown(key.Entity)
	return errors.Join(sh.applyLocked([]freshet.Change{c}, []int{0}, make([]freshet.Applied, 1)), ctx.Err())
}

// disown forgets what the indexes have of an entity, but for its points, which the next change writes again or removes. The
// caller holds applying.
func (s *shard) disown(entity string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if doc, ok := s.docs.find(entity); ok {
		s.docs.set(doc, docInfo{points: s.docs.info[doc].points})
	}
}

// Repair mends what an audit has found in the indexes, and returns how much it has written again. vector.sync is what is
// true here. Points that no entity has are removed; a damaged graph is built anew beside the one in use.
func (s *Store) Repair(ctx context.Context, found []freshet.Difference) (n int64, err error) {
	graphs, seen := map[freshet.Shard]bool{}, map[freshet.Key]bool{}
	for _, d := range found {
		switch {
		case d.Part == "graph":
			graphs[d.Key.Shard()] = true
			continue
		case d.Key.Entity == "" || seen[d.Key], d.Part == "vector.sync→documents" && d.Kind == "damaged": // the record can't be read
			continue
		}
		seen[d.Key] = true
		if err := s.Reapply(ctx, d.Key); err != nil {
			return n, err
		}
		n++
	}
	for _, sh := range s.all() {
		mended, err := sh.removeOrphans()
		n += mended
		if sh.dropped.Load() {
			continue // its index may be closed
		}
		if err != nil {
			return n, err
		}
	}
	for name := range graphs {
		if err := s.Rebuild(ctx, name, control.Index{}); err != nil {
			var e *freshet.Error
			if !errors.As(err, &e) || e.Code != freshet.CodeUnavailable { // it is being rebuilt already
				return n, err
			}
		}
		n++
	}
	return n, nil
}

// removeOrphans removes points and entries of the filter index that no entity has.
func (s *shard) removeOrphans() (n int64, err error) {
	points := s.orphans()
	var docs []uint32
	for doc := range s.filterDigests(nil) {
		docs = append(docs, doc)
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	var ops []ann.Op
	for _, key := range points {
		if _, there, _ := s.vectors().Vector(key, nil); there && s.orphan(key) {
			ops = append(ops, ann.Op{Key: key})
		}
	}
	if len(ops) > 0 {
		if err := s.applyOps(ops); err != nil {
			return 0, err
		}
	}
	n = int64(len(ops))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, doc := range docs {
		if int(doc) >= s.docs.len() || s.docs.info[doc].points == 0 {
			s.filter.Delete(doc)
			n++
		}
	}
	if n > 0 {
		s.dirty.Add(n)
	}
	return n, nil
}
