package embedded

import "github.com/RoaringBitmap/roaring/v2"

// countedDocs is up to how many documents of a filter have their points counted one by one.
const countedDocs = 4096

// matches is the documents that a filter allows, in the form that the vector index asks.
type matches struct {
	s      *shard
	docs   *roaring.Bitmap
	points int
}

// matches counts the points of docs: exactly where they are few, else at most too many. The
// index scans when it finds fewer than that, so too low a count would lose entities.
func (s *shard) matches(docs *roaring.Bitmap) *matches {
	m := &matches{s: s, docs: docs, points: int(docs.GetCardinality())}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.docs.extra == 0 {
		return m
	}
	if m.points > countedDocs {
		m.points += min(s.docs.extra, m.points*(s.docs.most-1))
		return m
	}
	m.points = 0
	for it := docs.Iterator(); it.HasNext(); {
		if doc := it.Next(); int(doc) < s.docs.len() {
			m.points += int(s.docs.info[doc].points)
		}
	}
	return m
}

// Match implements ann.Filter.
func (m *matches) Match(key uint64) bool { return m.docs.Contains(docOf(key)) }

// Count implements ann.Filter.
func (m *matches) Count() int { return m.points }

// Each implements ann.Filter.
func (m *matches) Each(yield func(key uint64) bool) {
	it := m.docs.Iterator()
	for it.HasNext() {
		doc := it.Next()
		for slot := range m.slots(doc) {
			if !yield(pointKey(doc, slot)) {
				return
			}
		}
	}
}

func (m *matches) slots(doc uint32) int {
	m.s.mu.RLock()
	defer m.s.mu.RUnlock()
	if int(doc) >= m.s.docs.len() {
		return 0
	}
	return int(m.s.docs.info[doc].points)
}
