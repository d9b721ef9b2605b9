package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/embed"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/wire"
)

// checkEntities: every entity is what the events make of it, and no event counts twice.
func (l *life) checkEntities(ctx context.Context, st *state) error {
	model, err := embed.NewBuiltin()
	if err != nil {
		return err
	}
	stored := 0
	for _, s := range l.node.Store().Stats() {
		stored += s.Entities + s.Tombstones
	}
	if stored < len(st.entities) || stored > len(st.entities)+len(st.purged) {
		return fmt.Errorf("the store has %d entities, events.raw gives %d", stored, len(st.entities))
	}
	for key, want := range st.entities {
		have, ok, err := l.node.Store().Get(ctx, key)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s is not there, events.raw gives version %+v", name(key), want.version)
		}
		if err := want.compare(&have, wire.Partition(key, l.cfg.Partitions)); err != nil {
			return fmt.Errorf("%s: %w", name(key), err)
		}
		if _, _, err := l.node.Planner().Get(ctx, key, freshet.Token{}, waitMost); (err == nil) != (want.alive && !want.due(l.clock.now())) {
			return fmt.Errorf("%s is given: %v; it is alive: %v, expires at %d, it is %d", name(key), err, want.alive, want.expires, l.clock.now())
		}
		if err := want.comparePoints(ctx, &have, model); err != nil {
			return fmt.Errorf("%s: %w", name(key), err)
		}
	}
	return nil
}

// compare holds what is stored of an entity against what it should be.
func (e *entity) compare(c *freshet.Change, partition int32) error {
	switch {
	case c.Version != e.version:
		return fmt.Errorf("it has version %+v, events.raw gives %+v", c.Version, e.version)
	case c.Events != e.events:
		return fmt.Errorf("%d events have changed it, events.raw gives %d", c.Events, e.events)
	case c.Trace != e.mark:
		return fmt.Errorf("it comes from submission %s, events.raw gives %s", c.Trace, e.mark)
	case c.SourceEventID != e.sourceID(partition) || c.EventTime != e.time:
		return fmt.Errorf("its event is %q of %d, events.raw gives %q of %d", c.SourceEventID, c.EventTime, e.sourceID(partition), e.time)
	case c.ExpiresAt != e.expires:
		return fmt.Errorf("it expires at %d, events.raw gives %d", c.ExpiresAt, e.expires)
	case c.Deleted() == e.alive || c.Text != e.text || !reflect.DeepEqual(decoded(c.Metadata), e.metadata):
		return fmt.Errorf("it says %v %q %.60s, events.raw gives %v %q %v", c.Op, c.Text, c.Metadata, e.alive, e.text, e.metadata)
	case e.op == freshet.OpUpsert && string(c.Metadata) != e.submission.metadata:
		return fmt.Errorf("its metadata are %.60s, as they came %.60s", c.Metadata, e.submission.metadata)
	}
	return nil
}

// comparePoints: a ready vector is stored as it came, others are those of their texts.
func (e *entity) comparePoints(ctx context.Context, c *freshet.Change, model freshet.Embedder) error {
	switch {
	case !e.live() && len(c.Points) > 0:
		return fmt.Errorf("it is deleted and has %d points", len(c.Points))
	case !e.live():
		return nil
	case len(c.Points) == 0:
		return errors.New("it has no points")
	case e.vector != nil && (len(c.Points) > 1 || !slices.Equal(c.Points[0].Vector, e.vector)):
		return fmt.Errorf("it has the points %v, its vector is %v", c.Points, e.vector)
	case e.vector != nil:
		return nil
	}
	for _, p := range c.Points {
		want, err := model.Embed(ctx, []freshet.Input{{Text: e.text[p.Start:p.End]}})
		if err != nil {
			return err
		}
		if !slices.Equal(p.Vector, want[0].Vector) {
			return fmt.Errorf("point %s is not the vector of %q", p.Slot, e.text[p.Start:p.End])
		}
	}
	return nil
}

// checkDead: there is a dead letter for each event that can't be applied, and no other.
func (l *life) checkDead(st *state) error {
	letters, err := l.node.DeadLetters(gateway.LettersQuery{Limit: all})
	if err != nil {
		return err
	}
	if len(letters) != len(st.dead) {
		return fmt.Errorf("there are %d dead letters, events.raw gives %d", len(letters), len(st.dead))
	}
	for _, have := range letters {
		want := st.dead[have.Position.Offset]
		if want == nil {
			return fmt.Errorf("there is a dead letter %s of %s at %d, events.raw gives none", have.Class, name(have.Key), have.Position.Offset)
		}
		if have.Attempts != want.attempts {
			return fmt.Errorf("the dead letter at %d was tried %d times, events.raw gives %d", want.offset, have.Attempts, want.attempts)
		}
		if have.Position.Offset != want.offset || have.Class != want.class || have.Key != want.key || have.EventID != want.id ||
			want.raw != nil && string(have.Value) != string(want.raw) {
			return fmt.Errorf("a dead letter is %s of %s at %d: %.100q, events.raw gives %s of %s at %d",
				have.Class, name(have.Key), have.Position.Offset, have.Value, want.class, name(want.key), want.offset)
		}
	}
	return nil
}

// checkSearches: every shard gives all that lives in it and nothing else, with a filter and
// without.
func (l *life) checkSearches(ctx context.Context, st *state) error {
	shards := map[freshet.Shard][]*entity{}
	for key, e := range st.entities {
		shards[key.Shard()] = append(shards[key.Shard()], e)
	}
	for shard, members := range shards {
		r := request(l.rng, shard)
		r.K = len(members) + 1
		color := ""
		if l.rng.IntN(2) == 0 {
			color = colors[l.rng.IntN(len(colors))]
			r.Filter = colorFilter(color)
		}
		want := map[freshet.Key]freshet.Version{}
		for _, e := range members {
			if e.live() && !e.due(l.clock.now()) && (color == "" || e.color() == color) {
				want[e.key] = e.version
			}
		}
		if err := l.checkSearch(ctx, r, want); err != nil {
			return fmt.Errorf("search of %+v, color %q: %w", shard, color, err)
		}
	}
	return nil
}

func (l *life) checkSearch(ctx context.Context, r query.Request, want map[freshet.Key]freshet.Version) error {
	answer, err := l.node.Planner().Search(ctx, r)
	if err != nil {
		return err
	}
	score := math.Inf(1)
	for _, h := range answer.Hits {
		if v, ok := want[h.Key]; !ok || v != h.Version {
			return fmt.Errorf("it gives %s version %+v; there should be: %v, %+v", name(h.Key), h.Version, ok, v)
		}
		delete(want, h.Key)
		if float64(h.Score) > score {
			return fmt.Errorf("score %v stands behind %v", h.Score, score)
		}
		score = float64(h.Score)
	}
	if len(want) > 0 {
		return fmt.Errorf("it does not give %d of its entities", len(want))
	}
	return nil
}

// tokensAtOnce is how many tokens a check looks at.
const tokensAtOnce = 10

// checkTokens: a token that was ever given out is honoured, and its dead letters are named.
func (l *life) checkTokens(ctx context.Context, st *state) error {
	dead := map[*batch]int{}
	for _, d := range st.dead {
		dead[d.batch]++
	}
	for range tokensAtOnce {
		b := l.model.acknowledged(l.rng)
		if b == nil {
			continue
		}
		token, known, err := l.tokenOfBatch(ctx, b)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		r := request(l.rng, b.subs[0].key.Shard())
		r.After, r.K, r.Bare = token, 1, true
		answer, err := l.node.Planner().Search(ctx, r)
		if err != nil {
			return fmt.Errorf("token %s of submission %s: %w", b.token, b.subs[0].mark, err)
		}
		if len(answer.Warnings) < min(dead[b], 1) || len(answer.Warnings) > dead[b] {
			return fmt.Errorf("an answer warns of %d dead letters, of the token's events are %d: %q", len(answer.Warnings), dead[b], answer.Warnings)
		}
	}
	return nil
}
