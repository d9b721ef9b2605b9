package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/embed"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/wire"
)

// all is more than there ever is of anything.
const all = 1 << 20

// check holds a node to everything that was promised so far. No client runs meanwhile.
func (l *life) check(ctx context.Context) error {
	if err := l.checkIdentity(); err != nil {
		return err
	}
	if err := l.checkLog(ctx); err != nil {
		return err
	}
	if err := l.node.CatchUp(ctx); err != nil {
		return fmt.Errorf("catch up: %w", err)
	}
	m := l.model
	st := fold(m.placed, l.cfg.Dedupe.MaxIDs)
	m.report.Repeated, m.report.Dead, m.report.Entities = st.repeated, len(st.dead), len(st.entities)
	err := errors.Join(l.checkStart(st), l.checkCatalog(st), l.checkEntities(ctx, st), l.checkShown(st),
		l.checkDead(st), l.checkSearches(ctx, st), l.checkTokens(ctx, st))
	if err != nil {
		return err
	}
	report, err := l.node.Audit(ctx)
	if err == nil && !report.Clean() {
		err = fmt.Errorf("audit: %+v", report.Differences)
	}
	return err
}

// checkIdentity: once a node has come up, its log is the same for ever.
func (l *life) checkIdentity() error {
	var none freshet.LogID
	id := l.node.Log().ID()
	if l.model.log != none && l.model.log != id {
		return fmt.Errorf("the log is %x, it was %x", id, l.model.log)
	}
	l.outlet.witness(func() { l.model.log = id })
	return nil
}

// checkLog reads events.raw: what was acknowledged or once read stands where it stood, every
// record is as it was submitted, and every batch is whole.
func (l *life) checkLog(ctx context.Context) error {
	m, log := l.model, l.node.Log()
	m.report.Torn += int(log.TornBytes())
	reader := log.ReadRaw(0)
	defer reader.Close()
	var before *submission
	for reader.Offset() < log.RawEnd() {
		records, err := reader.Next(ctx, nil, all)
		if err != nil {
			return fmt.Errorf("read events.raw: %w", err)
		}
		for _, r := range records {
			if before, err = l.checkRecord(r, before); err != nil {
				return err
			}
		}
	}
	if before != nil && before.index != len(before.batch.subs)-1 {
		return fmt.Errorf("events.raw ends within a batch, with submission %s", before.mark)
	}
	if end := log.RawEnd(); end < int64(len(m.placed)) {
		return fmt.Errorf("events.raw ends at %d, acknowledged or once read was all before %d", end, len(m.placed))
	}
	if m.applied >= log.RawEnd() {
		return fmt.Errorf("events.raw ends at %d, an answer counted what is at %d", log.RawEnd(), m.applied)
	}
	return nil
}

func (l *life) checkRecord(r journal.Record, before *submission) (*submission, error) {
	m := l.model
	s := m.marks[markOf(r)]
	switch {
	case s == nil:
		return nil, fmt.Errorf("events.raw@%d was never submitted: %.60q", r.Offset, r.Value)
	case s.raw != nil && string(s.raw) != string(r.Value):
		return nil, fmt.Errorf("events.raw@%d is %.60q, submitted was %.60q", r.Offset, r.Value, s.raw)
	case r.Partition != wire.Partition(s.key, l.cfg.Partitions):
		return nil, fmt.Errorf("events.raw@%d of %+v is in partition %d", r.Offset, s.key, r.Partition)
	case s.index > 0 && (before == nil || before.batch != s.batch || before.index != s.index-1),
		s.index == 0 && before != nil && before.index != len(before.batch.subs)-1:
		return nil, fmt.Errorf("events.raw@%d is submission %s, before it stands another batch", r.Offset, s.mark)
	}
	if s.offset == unplaced {
		m.report.Kept++
	}
	return s, m.place(s, r.Offset)
}

func markOf(r journal.Record) string {
	for _, h := range r.Headers {
		if h.Name == freshet.HeaderTrace {
			return string(h.Value)
		}
	}
	return ""
}

// checkStart: a completed snapshot is there, whole, and spares the start what it counts.
func (l *life) checkStart(st *state) error {
	loaded, promised := l.node.Store().Loaded(), l.promised
	if len(loaded.Rejected) > 0 {
		return fmt.Errorf("snapshots were rejected: %q", loaded.Rejected)
	}
	if loaded.Snapshots < promised.shards {
		return fmt.Errorf("%d snapshots were loaded, completed were those of %d shards", loaded.Snapshots, promised.shards)
	}
	stats := &l.node.Processor().Stats
	if from := stats.Position.Load() - stats.Records.Load(); from <= st.lastChange(promised.decided) {
		return fmt.Errorf("processing began at offset %d, a completed snapshot counted the change at %d", from, st.lastChange(promised.decided))
	}
	newer := 0
	for _, e := range st.entities {
		if e.version.Offset > promised.decided {
			newer++
		}
	}
	if loaded.Applied > newer {
		return fmt.Errorf("%d entities were built anew at the start, only %d have changed since a completed snapshot", loaded.Applied, newer)
	}
	return nil
}

// checkCatalog: collections are there, and are ordered as their first events said.
func (l *life) checkCatalog(st *state) error {
	catalog := l.node.Planner().Catalog
	for name := range l.model.collections {
		if _, ok := catalog.Get(name); !ok {
			return fmt.Errorf("collection %q is gone", name)
		}
	}
	for name, order := range st.orders {
		if col, _ := catalog.Get(name); col.Order != order {
			return fmt.Errorf("collection %q has order %q, its first event says %q", name, col.Order, order)
		}
	}
	return nil
}

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
	if stored != len(st.entities) {
		return fmt.Errorf("the store has %d entities, events.raw gives %d", stored, len(st.entities))
	}
	for key, want := range st.entities {
		have, ok, err := l.node.Store().Get(ctx, key)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%+v is not there, events.raw gives version %+v", key, want.version)
		}
		if err := want.compare(&have, wire.Partition(key, l.cfg.Partitions)); err != nil {
			return fmt.Errorf("%+v: %w", key, err)
		}
		if err := want.comparePoints(ctx, &have, model); err != nil {
			return fmt.Errorf("%+v: %w", key, err)
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
	case c.Op != e.op || c.Text != e.text || string(c.Metadata) != e.metadata:
		return fmt.Errorf("it says %v %q %.60s, events.raw gives %v %q %.60s", c.Op, c.Text, c.Metadata, e.op, e.text, e.metadata)
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

// checkShown: nobody is shown an older version than before.
func (l *life) checkShown(st *state) error {
	for key, v := range l.model.observed {
		if e := st.entities[key]; e == nil || v.After(e.version) {
			return fmt.Errorf("%+v was shown with version %+v, which is gone", key, v)
		}
	}
	return nil
}

// checkDead: there is a dead letter for each event that can't be applied, and no other.
func (l *life) checkDead(st *state) error {
	letters, err := l.node.DeadLetters(0, all)
	if err != nil {
		return err
	}
	if len(letters) != len(st.dead) {
		return fmt.Errorf("there are %d dead letters, events.raw gives %d", len(letters), len(st.dead))
	}
	for i, want := range st.dead {
		have := letters[i]
		if have.Position.Offset != want.offset || have.Class != want.class || have.Key != want.key || have.EventID != want.id ||
			want.raw != nil && string(have.Value) != string(want.raw) {
			return fmt.Errorf("a dead letter is %s of %+v at %d: %.100q, events.raw gives %s of %+v at %d",
				have.Class, have.Key, have.Position.Offset, have.Value, want.class, want.key, want.offset)
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
			if e.live() && (color == "" || e.color == color) {
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
			return fmt.Errorf("it gives %+v version %+v; there should be: %v, %+v", h.Key, h.Version, ok, v)
		}
		delete(want, h.Key)
		if float64(h.Score) > score {
			return fmt.Errorf("score %v stands behind %v", h.Score, score)
		}
		score = float64(h.Score)
	}
	if len(want) > 0 {
		return fmt.Errorf("it does not give %v", want)
	}
	return nil
}

// checkTokens: every token ever given out is honoured, and names its dead letters.
func (l *life) checkTokens(ctx context.Context, st *state) error {
	dead := map[*batch]int{}
	for _, d := range st.dead {
		dead[d.batch]++
	}
	for _, b := range l.model.batches {
		if b.token == "" {
			continue
		}
		token, err := wire.ParseToken(b.token)
		if err != nil {
			return err
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
