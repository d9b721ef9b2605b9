package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/wire"
)

// all is more than there ever is of anything.
const all = 1 << 20

// check holds a node to everything that was promised so far. No client runs meanwhile.
func (l *life) check(ctx context.Context) error {
	if err := l.checkIdentity(); err != nil {
		return err
	}
	swept := l.rng.IntN(3) == 0
	if swept {
		if err := l.expireAll(ctx); err != nil {
			return err
		}
	}
	if known, err := l.checkLog(ctx); err != nil || !known {
		return err
	}
	if err := l.node.CatchUp(ctx); err != nil {
		return fmt.Errorf("catch up: %w", err)
	}
	m := l.model
	if err := l.checkLate(); err != nil {
		return err
	}
	if err := l.settleDropped(); err != nil {
		return err
	}
	st := fold(m.placed, knowledge{l.cfg.Dedupe.MaxIDs, time.Duration(l.cfg.Dedupe.Window).Milliseconds(), m.since, m.epochs, m.letters.dropped})
	m.report.Repeated, m.report.Dead, m.report.Entities = st.repeated, len(st.dead), len(st.entities)
	m.report.Forgotten, m.report.Replayed, m.report.Dropped = len(st.purged), st.replayed, len(m.letters.dropped)
	m.report.Expired, m.report.Emptied = st.expired, st.emptied
	if swept {
		for key, e := range st.entities {
			if e.due(l.clock.now()) {
				return fmt.Errorf("%s was due at %d, it is %d, and it is still there", name(key), e.expires, l.clock.now())
			}
		}
	}
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

// checkIdentity: once a node has come up, its log is the same until it is restored, and then another one.
func (l *life) checkIdentity() error {
	var none freshet.LogID
	id := l.node.Log().ID()
	if l.model.log != none && l.model.log != id {
		return fmt.Errorf("the log is %x, it was %x", id, l.model.log)
	}
	if l.model.earlier[id] {
		return fmt.Errorf("the log is %x, as before a restore", id)
	}
	l.outlet.witness(func() { l.model.log = id })
	return nil
}

// checkLog reads events.raw: what was acknowledged or once read stands where it stood, every
// record is as it was submitted, and every batch is whole. What it has read has to stay; known
// is false if the power is off by now, and what a dead node has read proves nothing.
func (l *life) checkLog(ctx context.Context) (known bool, err error) {
	m, log := l.model, l.node.Log()
	if log.TornBytes() > 0 {
		m.report.Torn++
	}
	first, read, err := l.readLog(ctx)
	if err != nil {
		return false, err
	}
	end := first + int64(len(read))
	if end < int64(len(m.placed)) {
		return false, fmt.Errorf("events.raw ends at %d, acknowledged or once read was all before %d", end, len(m.placed))
	}
	for offset := range first {
		if offset >= int64(len(m.placed)) || m.placed[offset] == nil {
			return false, fmt.Errorf("events.raw begins at %d, and what stood at %d was never there to read", first, offset)
		}
	}
	if m.applied >= end {
		return false, fmt.Errorf("events.raw ends at %d, an answer counted what is at %d", end, m.applied)
	}
	l.outlet.witness(func() {
		known = true
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, s := range read {
			offset := first + int64(i)
			if s.offset == unplaced && s.command == nil {
				m.report.Kept++
			}
			err = errors.Join(err, m.place(s, offset), m.checkCommand(s.command))
		}
	})
	return known, err
}

// readLog returns the submissions that events.raw holds, from its first offset on. What was cut off before that
// was read before; a segment ends where a batch does.
func (l *life) readLog(ctx context.Context) (first int64, read []*submission, err error) {
	first = l.node.Log().RawFirst()
	reader := l.node.Log().ReadRaw(first)
	defer reader.Close()
	for reader.Offset() < l.node.Log().RawEnd() {
		records, err := reader.Next(ctx, nil, all)
		if err != nil {
			return 0, nil, fmt.Errorf("read events.raw: %w", err)
		}
		for _, r := range records {
			if r.Offset != first+int64(len(read)) {
				return 0, nil, fmt.Errorf("events.raw goes on at %d behind %d", r.Offset, first+int64(len(read))-1)
			}
			s, err := l.submissionOf(r)
			if err != nil {
				return 0, nil, err
			}
			if begun := len(read) > 0 && !read[len(read)-1].last(); s.index > 0 != begun || begun && read[len(read)-1].next() != s {
				return 0, nil, fmt.Errorf("events.raw@%d is submission %s, the batch before it is not whole", r.Offset, s.mark)
			}
			read = append(read, s)
		}
	}
	if len(read) > 0 && !read[len(read)-1].last() {
		return 0, nil, fmt.Errorf("events.raw ends within a batch, with submission %s", read[len(read)-1].mark)
	}
	return first, read, nil
}

func (l *life) submissionOf(r journal.Record) (*submission, error) {
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	if header(r, freshet.HeaderCommand) != "" {
		if r.Offset < int64(len(m.placed)) && m.placed[r.Offset] != nil {
			return m.placed[r.Offset], nil
		}
		return readCommand(r)
	}
	s := m.marks[header(r, freshet.HeaderTrace)]
	if s == nil {
		return nil, fmt.Errorf("events.raw@%d was never submitted: %.60q", r.Offset, r.Value)
	}
	s.at = r.Time
	return s, l.checkRecord(r, s)
}

func (l *life) checkRecord(r journal.Record, s *submission) error {
	if s.raw != nil && string(s.raw) != string(r.Value) {
		return fmt.Errorf("events.raw@%d is %.60q, submitted was %.60q", r.Offset, r.Value, s.raw)
	}
	if r.Partition != wire.Partition(s.key, l.cfg.Partitions) {
		return fmt.Errorf("events.raw@%d of %s is in partition %d", r.Offset, name(s.key), r.Partition)
	}
	return nil
}

func header(r journal.Record, name string) string {
	for _, h := range r.Headers {
		if h.Name == name {
			return string(h.Value)
		}
	}
	return ""
}

// checkStart: a completed snapshot is there, whole, and spares the start what it counts.
func (l *life) checkStart(st *state) error {
	loaded, promised := l.node.Store().Loaded(), l.promised
	for _, why := range loaded.Rejected {
		if len(st.drops) == 0 || !strings.Contains(why, "its namespace was dropped since") {
			return fmt.Errorf("a snapshot was rejected: %q", why)
		}
	}
	shards := map[freshet.Shard]bool{}
	for key, e := range st.entities {
		if e.decided <= promised {
			shards[key.Shard()] = true
		}
	}
	if loaded.Snapshots < len(shards) {
		return fmt.Errorf("%d snapshots were loaded, completed were those of %d shards", loaded.Snapshots, len(shards))
	}
	stats := &l.node.Processor().Stats
	if from := stats.Position.Load() - stats.Records.Load(); from <= st.lastChange(promised) {
		return fmt.Errorf("processing began at offset %d, a completed snapshot counted the change at %d", from, st.lastChange(promised))
	}
	newer := 0
	for _, e := range st.entities {
		if e.decided > promised {
			newer++
		}
	}
	for _, p := range st.purged { // they may still be stored
		if p.decided > promised {
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

// checkLate: what did not exist exists since the place that was reached when it was declared, for ever.
func (l *life) checkLate() (err error) {
	col, ok := l.node.Planner().Catalog.Get(collectionLate)
	if ok != l.late {
		return fmt.Errorf("collection %q is there: %v, it is declared: %v", collectionLate, ok, l.late)
	}
	if !ok {
		return nil
	}
	if known := l.model.since; known != never && known != col.Since {
		return fmt.Errorf("collection %q exists since offset %d, it was %d", collectionLate, col.Since, known)
	}
	if l.model.since == never { // what snapshots had counted before from there on may mean more now
		l.model.since = col.Since
		l.promised = min(l.promised, col.Since-1)
		l.model.snapshot = min(l.model.snapshot, col.Since-1)
	}
	return nil
}

// checkShown: nobody is shown an older version than before.
func (l *life) checkShown(st *state) error {
	for key, v := range l.model.observed {
		if e := st.entities[key]; (e == nil || v.After(e.version)) && v.After(st.purged[key].version) {
			return fmt.Errorf("%s was shown with version %+v, which is gone", name(key), v)
		}
	}
	return nil
}
