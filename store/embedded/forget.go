package embedded

import (
	"fmt"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// Covered is the offset of vector.sync below which the indexes of a shard and all snapshots of it
// that are kept have everything, so that a deletion below it need not be kept for their sake.
func (s *Store) Covered(name freshet.Shard) int64 {
	covered := s.covered.Load()
	sh := s.shard(name)
	if sh == nil {
		return covered
	}
	return min(covered, sh.oldest.Load())
}

// Renew has the snapshots of a shard written again, so that those that are kept become newer.
func (s *Store) Renew(name freshet.Shard) {
	if sh := s.shard(name); sh != nil {
		sh.dirty.Add(1)
	}
}

// setSaving says whether a snapshot is being written.
func (s *shard) setSaving(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saving = on
}

// Forget takes a tombstone out of the indexes that vector.sync does not have any more. It does nothing when
// the entity has another version by now.
func (s *Store) Forget(key freshet.Key, version freshet.Version) {
	sh := s.shard(key.Shard())
	if sh == nil {
		return
	}
	sh.applying.Lock()
	defer sh.applying.Unlock()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if doc, ok := sh.docs.find(key.Entity); ok && sh.docs.info[doc].points == 0 && sh.docs.info[doc].version == version {
		sh.docs.remove(doc)
		sh.dirty.Add(1)
	}
}

// purged compares a shard that was loaded from a snapshot with what has been purged of it since.
// A snapshot that is older than a deletion that is forgotten would bring the entity back. One that may have
// been written before the purge may have tombstones that vector.sync does not have any more.
func (s *Store) purged(sh *shard, position int64) error {
	p, err := s.log.Purged(freshet.TopicSync, broker.PurgeScope(sh.name))
	if err != nil {
		return err
	}
	if position < p.Through {
		return fmt.Errorf("it has what was there at offset %d of %s, and deletions up to %d are forgotten", position, freshet.TopicSync, p.Through)
	}
	if position > p.End {
		return nil
	}
	for doc := range uint32(sh.docs.len()) {
		if info := &sh.docs.info[doc]; !info.known() || info.points > 0 {
			continue
		}
		key := freshet.Key{Collection: sh.name.Collection, Namespace: sh.name.Namespace, Entity: string(sh.docs.id(doc))}
		_, ok, err := s.log.Latest(freshet.TopicSync, wire.AppendKey(nil, key), nil)
		if err != nil {
			return err
		}
		if !ok {
			sh.docs.remove(doc)
			sh.dirty.Add(1)
		}
	}
	return nil
}
