package embedded

import (
	"bytes"

	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// expires notes when a document expires, ms, 0 = never. The caller holds mu. A shard where nothing
// expires has no map, and searches don't look.
func (s *shard) expires(doc uint32, at int64) {
	switch {
	case at == 0:
		delete(s.expiries, doc)
	case s.expiries == nil:
		s.expiries = map[uint32]int64{doc: at}
	default:
		s.expiries[doc] = at
	}
}

// due reports whether a document has expired at a time, ms. The caller holds mu for reading.
func (s *shard) due(doc uint32, now int64) bool {
	at, ok := s.expiries[doc]
	return ok && at <= now
}

// loadExpiries adds what snapshots don't have: when their documents expire. An entry that is not of the version that is
// indexed may be left from what was dropped: then the record says whether it counts.
func (s *Store) loadExpiries() error {
	return s.log.ScanTable(broker.TableExpiry, nil, nil, func(k, version []byte) error {
		at, key, err := wire.ParseExpiry(k)
		if err != nil {
			return err
		}
		sh := s.shard(key.Shard())
		if sh == nil {
			return nil
		}
		sh.mu.Lock()
		defer sh.mu.Unlock()
		doc, ok := sh.docs.find(key.Entity)
		if !ok {
			return nil
		}
		if !bytes.Equal(version, wire.AppendVersion(nil, sh.docs.info[doc].version)) {
			c, ok, err := s.record(key, wire.Head)
			if err != nil { // an audit says what is damaged; a start goes on
				s.logger.Warn("the record of an entity that expires can't be read; it expires as was noted", "collection", key.Collection, "namespace", key.Namespace, "error", err)
			} else if !ok || c.ExpiresAt != at {
				return nil
			}
		}
		sh.expires(doc, at)
		return nil
	})
}

// Expiring is the number of entities that have a time to expire.
func (s *Store) Expiring() (n int) {
	for _, sh := range s.all() {
		sh.mu.RLock()
		n += len(sh.expiries)
		sh.mu.RUnlock()
	}
	return n
}
