package embedded

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/wire"
)

// maxRounds bounds how often a search is widened because entities that it found were deleted
// between the index and the table.
const maxRounds = 4

// Search implements freshet.Store. A shard without entities has no hits.
func (s *Store) Search(ctx context.Context, q freshet.Query) ([]freshet.Hit, error) {
	sh := s.shard(q.Shard)
	if sh == nil {
		return nil, nil
	}
	k := q.K
	for round := 1; ; round++ {
		list, err := sh.search(q, k)
		if err != nil {
			return nil, err
		}
		hits, err := s.hits(sh, q, list)
		if err != nil {
			return nil, err
		}
		if len(hits) >= q.K || len(list) < k || round == maxRounds || ctx.Err() != nil {
			return hits[:min(len(hits), q.K)], ctx.Err()
		}
		k += 2 * (q.K - len(hits)) // some of what was found is gone by now
	}
}

// hits gives what was found its records.
func (s *Store) hits(sh *shard, q freshet.Query, list []found) ([]freshet.Hit, error) {
	hits := make([]freshet.Hit, 0, len(list))
	resort := false
	for _, f := range list {
		h := freshet.Hit{Key: freshet.Key{Collection: q.Shard.Collection, Namespace: q.Shard.Namespace, Entity: f.entity},
			Score: f.score, Slot: strconv.Itoa(f.slot), Version: f.version}
		if !q.Bare {
			keep, moved, err := s.fill(sh, q, f, &h)
			if err != nil {
				return nil, err
			}
			if !keep {
				continue
			}
			resort = resort || moved
		}
		hits = append(hits, h)
	}
	if resort {
		slices.SortStableFunc(hits, func(a, b freshet.Hit) int {
			switch {
			case a.Score > b.Score:
				return -1
			case a.Score < b.Score:
				return 1
			}
			return strings.Compare(a.Key.Entity, b.Key.Entity)
		})
	}
	return hits, nil
}

// fill completes a hit from its record. When the record is newer than what the index found,
// the hit is judged anew by it: filter and score.
func (s *Store) fill(sh *shard, q freshet.Query, f found, h *freshet.Hit) (keep, moved bool, err error) {
	c, ok, err := s.record(h.Key, wire.Head)
	if err != nil || !ok || c.Deleted() {
		return false, false, err
	}
	h.Metadata, h.Text, h.Revision = c.Metadata, c.Text, c.Revision
	h.AcceptedAt, h.SourceEventID = c.AcceptedAt, c.SourceEventID
	if c.Version == f.version {
		return true, false, nil
	}
	if c, ok, err = s.record(h.Key, wire.Points); err != nil || !ok || c.Deleted() || len(c.Points) == 0 {
		return false, false, err
	}
	if q.Filter != nil {
		if match, err := q.Filter.Match(c.Metadata); err != nil || !match {
			return false, false, err
		}
	}
	h.Version, h.Metadata, h.Text, h.Revision = c.Version, c.Metadata, c.Text, c.Revision
	h.AcceptedAt, h.SourceEventID = c.AcceptedAt, c.SourceEventID
	h.Score = float32(math.Inf(-1))
	for _, p := range c.Points {
		if score := similarity(sh.metric, q.Vector, p.Vector); score > h.Score {
			h.Score, h.Slot, h.Model = score, p.Slot, p.Model
		}
	}
	return true, true, nil
}

// similarity scores two vectors as package ann does.
func similarity(m ann.Metric, a, b []float32) float32 {
	var dot, aa, bb, dist float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		aa += x * x
		bb += y * y
		dist += (x - y) * (x - y)
	}
	switch m {
	case ann.InnerProduct:
		return float32(dot)
	case ann.L2:
		return float32(1 / (1 + math.Sqrt(dist)))
	}
	return float32(dot / math.Sqrt(aa*bb))
}
