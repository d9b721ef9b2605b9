package embedded

import "github.com/RoaringBitmap/roaring/v2"

// matches is the documents that a filter allows, in the form that the vector index asks.
type matches struct {
	s    *shard
	docs *roaring.Bitmap
}

// Match implements ann.Filter.
func (m *matches) Match(key uint64) bool { return m.docs.Contains(docOf(key)) }

// Count implements ann.Filter; entities with several points count once.
func (m *matches) Count() int { return int(m.docs.GetCardinality()) }

// Each implements ann.Filter.
func (m *matches) Each(yield func(key uint64) bool) {
	it := m.docs.Iterator()
	for it.HasNext() {
		doc := it.Next()
		for slot := range m.points(doc) {
			if !yield(pointKey(doc, slot)) {
				return
			}
		}
	}
}

func (m *matches) points(doc uint32) int {
	m.s.mu.RLock()
	defer m.s.mu.RUnlock()
	if int(doc) >= m.s.docs.len() {
		return 0
	}
	return int(m.s.docs.info[doc].points)
}
