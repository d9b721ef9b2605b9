package embedded

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/wire"
)

// maxRounds bounds how often a search is widened because entities that it found have changed
// between the index and the table.
const maxRounds = 4

// Search implements freshet.Store. A shard without entities has no hits. A bare hit names the
// place of its point too; Model stays empty, since records are read without their points.
func (s *Store) Search(ctx context.Context, q freshet.Query) ([]freshet.Hit, error) {
	sh := s.shard(q.Shard)
	if sh == nil {
		return nil, ctx.Err()
	}
	k, now := q.K, s.now().UnixMilli() // one time for the whole answer
	for round := 1; ; round++ {
		f, err := sh.find(q, k, now)
		if errors.Is(err, ann.ErrClosed) && sh.dropped.Load() {
			return s.Search(ctx, q) // it was dropped just now
		}
		if err != nil {
			return nil, err
		}
		hits, sure, err := s.hits(sh, q, f, now)
		if err != nil || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		if sure >= q.K || !f.more || round == maxRounds {
			return hits[:min(len(hits), q.K)], nil
		}
		k += 2 * (q.K - sure) // some of what was found is gone or worse by now
	}
}

// hits gives what was found its records, best first. Of the hits the first sure ones are
// better than anything that was not found.
func (s *Store) hits(sh *shard, q freshet.Query, f finding, now int64) (hits []freshet.Hit, sure int, err error) {
	hits = make([]freshet.Hit, 0, len(f.list))
	resort := false
	for _, e := range f.list {
		h := freshet.Hit{Key: freshet.Key{Collection: q.Shard.Collection, Namespace: q.Shard.Namespace, Entity: e.entity},
			Score: e.score, Slot: strconv.Itoa(e.slot), Version: e.version}
		if !q.Bare || f.moving || e.version == (freshet.Version{}) {
			keep, moved, err := s.fill(sh, q, e.version, &h, now)
			if err != nil {
				return nil, 0, err
			}
			if !keep {
				continue
			}
			resort = resort || moved
		}
		hits = append(hits, h)
	}
	if !resort {
		return hits, len(hits), nil
	}
	slices.SortStableFunc(hits, func(a, b freshet.Hit) int { return cmp.Compare(b.Score, a.Score) })
	worst := f.list[len(f.list)-1].score
	for sure < len(hits) && hits[sure].Score >= worst {
		sure++
	}
	return hits, sure, nil
}

// fill completes a hit from its record. When that has another version than the one that the
// index found, the hit is judged anew by it: filter, score and slot.
func (s *Store) fill(sh *shard, q freshet.Query, indexed freshet.Version, h *freshet.Hit, now int64) (keep, moved bool, err error) {
	parts := wire.Head
	if indexed == (freshet.Version{}) {
		parts = wire.Points
	}
	c, ok, err := s.record(h.Key, parts)
	if err != nil || !ok || c.Deleted() || c.Due(now) {
		return false, false, err
	}
	if c.Version != indexed && parts == wire.Head {
		if c, ok, err = s.record(h.Key, wire.Points); err != nil || !ok || c.Deleted() || c.Due(now) {
			return false, false, err
		}
	}
	h.Version, h.Metadata, h.Text, h.Revision = c.Version, c.Metadata, c.Text, c.Revision
	h.AcceptedAt, h.SourceEventID = c.AcceptedAt, c.SourceEventID
	if c.Version == indexed {
		return true, false, nil
	}
	if q.Filter != nil {
		if match, err := q.Filter.Match(c.Metadata); err != nil || !match {
			return false, false, err
		}
	}
	h.Score = float32(math.Inf(-1))
	for slot, p := range c.Points {
		if score := similarity(sh.metric, q.Vector, p.Vector); score > h.Score {
			h.Score, h.Slot = score, strconv.Itoa(slot)
		}
	}
	return len(c.Points) > 0, true, nil
}

// similarity scores two vectors of one dimension as package ann does, up to rounding.
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
	return float32(min(1, max(-1, dot/math.Sqrt(aa*bb))))
}
