package process

import (
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
)

// mapped is a record with what the mapping made of it.
type mapped struct {
	record Record
	drafts []mappedDraft
	err    error // the whole record can't be mapped

	// judged is the offset at which collections must exist: the record's own, or that of the
	// command that replays it.
	judged int64

	command  Command // of a record that is one
	replayed *mapped // what a replay is of
	again    bool    // of that: its changes may have had their effect
	broken   error   // the command can't be read, or not the record for now: nothing behind it can be decided
}

type mappedDraft struct {
	Draft
	id      EventID
	content [16]byte
	err     error // this draft can't be applied
}

// spot names a draft within a batch.
type spot struct{ record, draft int }

// Outcomes counts what became of the drafts of a batch. A dropped record counts once.
type Outcomes struct {
	Applied, Deleted, Unchanged, Superseded, Repeated, Dropped, Dead, Expired, Replayed int64
}

// pending is an entity that the batch touches.
type pending struct {
	key      freshet.Key
	replaces *Entity // its record before the batch; nil when it has none
	stored   *Entity // the same as far as it counts: nil when it never had a state, or that is gone
	head     freshet.Change
	content  content   // what the current content came with; none while it is the stored one
	bases    []content // that patches were applied to, and that must be embeddable as well
	touched  bool      // a draft has changed it
	blank    bool      // in an audit: nobody knows what patches have made of it
	// fence is the batch's own first deletion of what is alive in the record, once that deletion is forgotten.
	fence *freshet.Change
	by    int // what touched it last: the number of a record of the batch, from 1
}

// content is the content of an entity: of a draft, or of what a draft, a patch, makes of it.
type content struct {
	at           spot
	*mappedDraft // nil: none
}

// name tells contents apart: what a patch gives depends on the drafts before it.
func (c *content) name() named { return named{c.at, c.mappedDraft.content} }

type named struct {
	spot
	content [16]byte
}

// recall completes the current state with text and metadata where it has none yet.
func (e *pending) recall() (known bool, err error) {
	if e.blank || e.touched || e.stored.Recall == nil {
		return !e.blank, nil
	}
	return e.stored.Recall(&e.head)
}

// ready reports whether the current vector came ready from the producer.
func (e *pending) ready() (bool, error) {
	if e.content.mappedDraft != nil {
		return e.content.ready(), nil
	}
	return e.stored.Ready()
}

// plan is a sequenced batch: the new state of every touched entity, in order of first touch.
type plan struct {
	order    []*pending
	entities map[freshet.Key]*pending
	seen     []seenID
	inBatch  map[EventID]int // place in seen of the latest use
	now      int64           // of the dedupe window, ms; see Window
	dead     []freshet.DeadLetter
	facts    Facts
	told     bool            // a command has altered the facts
	expired  []expiry        // that commands were about
	fates    map[letter]fate // of dead letters that went
	others   []handed        // what replays have given for other partitions
	drops    []freshet.Shard // that commands have emptied
	outcomes Outcomes
}

// seenID is an event id that the batch remembers.
type seenID struct {
	id     EventID
	at     int64
	record int // of the batch
}

// Collections is the part of the catalog that sequencing needs.
type Collections interface {
	Get(name string) (control.Collection, bool)
	// Lookup is Get, but it asks the log before it says that there is none.
	Lookup(name string) (control.Collection, bool, error)
	SettleOrder(name string, order control.Order) error
	CreateLike(name, like string, since int64) (control.Collection, error)
	// EpochOf is the epoch of a record to decide.
	EpochOf(partition int32, offset int64) uint32
}

// sequence decides every draft of a batch in order. Those that would have an effect with content
// that can't be embedded become dead letters.
func (s *Sequencer) sequence(batch []mapped, known *made) (*plan, error) {
	p := &plan{entities: make(map[freshet.Key]*pending, len(batch)), inBatch: map[EventID]int{}, now: s.state.LastAt(), facts: s.state.Facts()}
	for i := range batch {
		m := &batch[i]
		if m.broken != nil {
			return nil, m.broken
		}
		if m.replayed != nil && m.replayed.broken != nil {
			return nil, m.replayed.broken
		}
		if m.command != nil {
			m.command.say(p)
			if d, ok := m.command.(deed); ok {
				if err := d.do(s, p, m, spot{record: i}, known); err != nil {
					return nil, err
				}
			}
			continue
		}
		if m.err != nil {
			p.bury(m, m.record.ordinal(), nil, stageOf(m.err), m.err)
			continue
		}
		if len(m.drafts) == 0 {
			p.outcomes.Dropped++
		}
		for k := range m.drafts {
			if m.record.Change > 0 && k != m.record.ordinal() {
				continue
			}
			d := &m.drafts[k]
			err := m.doubled(k)
			if err == nil {
				err = s.decide(p, m, d, spot{i, k}, known)
			}
			if isRefusal(err) {
				p.bury(m, k, d, stageOf(err), err)
			} else if err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// decide admits one draft and applies it.
func (s *Sequencer) decide(p *plan, m *mapped, d *mappedDraft, at spot, known *made) error {
	err := d.err
	if errors.Is(err, errUnknown) {
		err = staged("validate", s.admit(d, m.judged))
	}
	if err != nil {
		return err
	}
	return s.draft(p, m, d, at, known)
}

// draft applies one draft to the plan. known says which contents can't be embedded.
// A refusal makes the draft a dead letter, any other error stops the batch; see isRefusal.
func (s *Sequencer) draft(p *plan, m *mapped, d *mappedDraft, at spot, known *made) error {
	now := max(p.now, m.record.AcceptedAt)
	repeated, err := s.repeated(p, d, at, now)
	if err != nil {
		return err
	}
	if repeated {
		p.outcomes.Repeated++
		return nil
	}
	e, err := s.entity(p, d.Key)
	if err != nil {
		return err
	}
	place := m.record.Position
	version := freshet.Version{Order: d.Order, Epoch: s.collections.EpochOf(place.Partition, place.Offset), Offset: place.Offset}
	before := *e
	p.forget(e)
	defer func() {
		if e.head.Version == (freshet.Version{}) { // nothing has come in its place
			*e = before
		}
	}()
	if p.facts.predates(d.Key, version) {
		p.outcomes.Superseded++
		return nil
	}
	if err := s.checkOrder(d, e); err != nil {
		return err
	}
	if err := p.checkAge(e, version); err != nil {
		return err
	}
	switch c := version.Compare(e.head.Version); {
	case c == 0 && m.again && e.by != at.record+1:
		p.outcomes.Superseded++ // it has had its effect
	case c == 0:
		return twice(d)
	case c < 0:
		p.outcomes.Superseded++
	default:
		if err := s.effect(p, e, m, content{at, d}, version, known); err != nil {
			return err
		}
	}
	if d.EventID != "" {
		p.inBatch[d.id] = len(p.seen)
		p.seen = append(p.seen, seenID{d.id, now, at.record})
		p.now = now
	}
	return nil
}

// effect makes the draft in c the newest of its entity.
func (s *Sequencer) effect(p *plan, e *pending, m *mapped, c content, v freshet.Version, known *made) error {
	if err := known.decided[c.at]; err != nil {
		return err
	}
	d, keeps, bases := c.mappedDraft, false, []content(nil)
	if d.Op == freshet.OpPatch {
		var err error
		if c.mappedDraft, keeps, err = s.patch(e, d); err != nil {
			return err
		}
		if c.mappedDraft == nil {
			e.head, e.blank, e.touched, e.by = s.apply(e.head, m, d, v), true, true, c.at.record+1
			e.head.Op = freshet.OpUpsert
			return nil
		}
		if bases = e.bases; e.content.mappedDraft != nil {
			bases = append(bases, e.content)
		}
	}
	if err := known.refused[c.name()]; err != nil {
		return err
	}
	p.count(e, c.mappedDraft)
	old := e.head
	e.head = s.apply(old, m, c.mappedDraft, v)
	if d.Op == freshet.OpPatch {
		ready, err := e.ready()
		if err != nil {
			return err
		}
		follow(&e.head, &old, ready)
	}
	if !keeps {
		e.content = c
	}
	e.bases, e.touched, e.blank, e.by = bases, true, false, c.at.record+1
	return nil
}

// repeated reports whether the draft's event id is within the dedupe window. A mapping that
// names it twice in one event makes no repeat but a mistake.
func (s *Sequencer) repeated(p *plan, d *mappedDraft, at spot, now int64) (bool, error) {
	if d.EventID == "" {
		return false, nil
	}
	if n, ok := p.inBatch[d.id]; ok && !p.facts.forgets(d.Key, s.state.NextID()+uint64(n)) {
		if p.seen[n].record == at.record {
			return false, twice(d)
		}
		return s.window.covers(uint64(n), p.seen[n].at, uint64(len(p.seen)), now), nil
	}
	n, when, ok, err := s.state.Seen(d.id)
	if err != nil || !ok || p.facts.forgets(d.Key, n) {
		return false, err
	}
	return s.window.covers(n, when, s.state.NextID()+uint64(len(p.seen)), now), nil
}

func twice(d *mappedDraft) error {
	return staged("map", &freshet.Error{Code: freshet.CodeMappingFailed, Field: "entity",
		Message: fmt.Sprintf("the mapping gives two changes of entity %q for one event; merge them, or give one another entity", clip(d.Key.Entity))})
}

// doubled is twice for a change that stands alone in its record: the one before it of the same event stands in another one.
func (m *mapped) doubled(k int) error {
	if d := &m.drafts[k]; m.record.Change > 0 && d.err == nil {
		for i := range m.drafts[:k] {
			if o := &m.drafts[i]; o.err == nil && o.Key == d.Key && o.Order == d.Order {
				return twice(d)
			}
		}
	}
	return nil
}

// checkOrder holds a collection to its first event: all of its events carry an order of
// their source, or none does.
func (s *Sequencer) checkOrder(d *mappedDraft, e *pending) error {
	col, ok := s.collections.Get(d.Key.Collection)
	if !ok {
		return fmt.Errorf("collection %q is gone", d.Key.Collection)
	}
	order := control.OrderNone
	if d.Order > 0 {
		order = control.OrderSource
	}
	if d.Op == freshet.OpPatch { // it settles nothing
		return checkPatchOrder(d, e, col)
	}
	if col.Order == order {
		return nil
	}
	if col.Order == control.OrderUndecided {
		err := s.collections.SettleOrder(col.Name, order)
		if !errors.Is(err, control.ErrSettled) {
			return err
		}
	}
	problem := &freshet.Error{Code: freshet.CodeOrderMismatch, Field: "order"}
	if order == control.OrderNone {
		problem.Message = fmt.Sprintf("is missing; collection %q is ordered by its source since its first event, every event needs an order", col.Name)
	} else {
		problem.Message = fmt.Sprintf("is %d; collection %q uses the order of the log since its first event, send no order", d.Order, col.Name)
	}
	return staged("sequence", problem)
}

// entity returns the pending state of an entity, from the stored one at first touch.
func (s *Sequencer) entity(p *plan, key freshet.Key) (*pending, error) {
	if e, ok := p.entities[key]; ok {
		return e, nil
	}
	stored, err := s.state.Latest(key)
	if err != nil {
		return nil, err
	}
	e := &pending{key: key, replaces: stored, stored: stored, head: freshet.Change{Key: key}}
	if stored != nil {
		e.head = stored.Change
	}
	p.entities[key] = e
	p.order = append(p.order, e)
	return e, nil
}

// apply gives the state of an entity after a draft.
func (s *Sequencer) apply(old freshet.Change, m *mapped, d *mappedDraft, v freshet.Version) freshet.Change {
	c := freshet.Change{Key: d.Key, Version: v, Revision: s.revision, Op: d.Op, Events: old.Events + 1,
		Source: m.record.Source, SourceEventID: d.EventID, EventTime: d.Timestamp,
		AcceptedAt: m.record.AcceptedAt, Trace: m.record.Trace}
	if c.SourceEventID == "" { // its place in the log names it as well
		at := m.record.Position
		c.SourceEventID = fmt.Sprintf("%s/%d@%d", at.Topic, at.Partition, at.Offset)
	}
	if c.ExpiresAt = d.ExpiresAt; d.Op == freshet.OpPatch && !d.SetsExpiry {
		c.ExpiresAt = old.ExpiresAt
	}
	if d.Op == freshet.OpUpsert {
		c.Text, c.Metadata, c.OwnText, c.Content = d.Text, d.Metadata, d.OwnText, d.content
	}
	return c
}

func (p *plan) count(e *pending, d *mappedDraft) {
	switch {
	case d.Op == freshet.OpDelete:
		p.outcomes.Deleted++
	case e.head.Op == freshet.OpUpsert && e.head.Content == d.content && e.head.Text == d.Text &&
		string(e.head.Metadata) == string(d.Metadata) && e.head.ExpiresAt == d.ExpiresAt:
		p.outcomes.Unchanged++
	default:
		p.outcomes.Applied++
	}
}

// bury makes a dead letter of a record, or of one draft of it.
func (p *plan) bury(m *mapped, ordinal int, d *mappedDraft, stage string, err error) {
	l := freshet.DeadLetter{Position: m.record.Position, Ordinal: ordinal, Stage: stage, Class: freshet.CodeInternal,
		Message: err.Error(), Attempts: 1, At: m.record.AcceptedAt, Source: m.record.Source,
		Trace: m.record.Trace, Default: m.record.Default, MappedAt: m.record.MappedAt, Whole: d == nil && m.record.Change == 0, Value: m.record.Value}
	var e *freshet.Error
	if errors.As(err, &e) {
		l.Class = e.Code
	}
	if d != nil {
		l.Key, l.EventID = d.Key, d.EventID
	}
	p.dead = append(p.dead, l)
	p.outcomes.Dead++
}

// stagedError is an error with the stage at which it arose.
type stagedError struct {
	stage string
	error
}

func (e stagedError) Unwrap() error { return e.error }

func staged(stage string, err error) error {
	if err == nil {
		return nil
	}
	return stagedError{stage, err}
}

func stageOf(err error) string {
	var s stagedError
	if errors.As(err, &s) {
		return s.stage
	}
	return "map"
}

// isRefusal reports whether an error is about a draft, which becomes a dead letter by it. It is not while the log can't be
// written or something else that is needed is not there: the draft may be right, and the batch is tried again.
func isRefusal(err error) bool {
	switch codeOf(err) {
	case "", freshet.CodeDiskFull, freshet.CodeBacklogFull, freshet.CodeUnavailable:
		return false
	}
	return true
}

// clip shortens an id for a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
