package process

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// maxDifferences is how many differences a report names.
const maxDifferences = 100

// folded is what the audit keeps of an entity: enough to sequence its next event, and to
// compare it. It holds no vectors, and text and metadata only of a state that patches made.
type folded struct {
	version  freshet.Version
	revision uint32
	op       freshet.Op
	events   uint64
	content  [16]byte
	points   [16]byte
	digest   [16]byte
	accepted int64         // ms
	patched  *freshet.Base // nil unless patches made the state
	base     [16]byte      // digest of what the first of those patches was applied to
	blank    bool          // patches made the state, and nobody knows what of
}

// foldState is the State of an audit: everything that the log gives, in memory.
type foldState struct {
	entities map[freshet.Key]folded
	view     *embedded.View
	seen     map[EventID]remembered
	next     uint64
	lastAt   int64
	facts    Facts
}

// remembered is an event id in the dedupe window.
type remembered struct {
	number uint64
	at     int64
}

// Latest implements State.
func (f *foldState) Latest(key freshet.Key) (*Entity, error) {
	e, ok := f.entities[key]
	if !ok {
		return nil, nil
	}
	out := &Entity{PointsDigest: e.points, Change: *e.change()}
	out.Change.Key = key
	base := e.patched
	out.Ready = func() (bool, error) { return base != nil && base.Ready, nil }
	out.Recall = func(c *freshet.Change) (known bool, err error) {
		if base == nil && !e.blank {
			if base, err = f.base(key, &e); err != nil {
				return false, err
			}
		}
		if base != nil {
			c.Text, c.Metadata, c.OwnText = base.Text, base.Metadata, base.OwnText
		}
		return base != nil, nil
	}
	return out, nil
}

// change is what is known of the entity's state.
func (e *folded) change() *freshet.Change {
	return &freshet.Change{Version: e.version, Revision: e.revision, Op: e.op, Events: e.events,
		Content: e.content, Digest: e.digest, AcceptedAt: e.accepted}
}

// base returns what the patches of an entity were applied to, if that is e: vector.sync has it with
// what the patches gave, and its digest proves it. It is nil when later events have replaced that.
func (f *foldState) base(key freshet.Key, e *folded) (*freshet.Base, error) {
	r, ok, err := f.view.Latest(freshet.TopicSync, wire.AppendKey(nil, key))
	if err != nil || !ok {
		return nil, err
	}
	c, err := wire.DecodeChange(key, r.Value, wire.Head)
	if err != nil || c.Base == nil || c.Base.Version != e.version {
		return nil, nil // damage is found when the outcome is compared
	}
	was := freshet.Change{Op: e.op, Text: c.Base.Text, Metadata: c.Base.Metadata, OwnText: c.Base.OwnText}
	if wire.StateDigest(&was, e.points) != e.digest {
		return nil, nil
	}
	return c.Base, nil
}

// Seen implements State.
func (f *foldState) Seen(id EventID) (uint64, int64, bool, error) {
	s, ok := f.seen[id]
	return s.number, s.at, ok, nil
}

// NextID implements State.
func (f *foldState) NextID() uint64 { return f.next }

// LastAt implements State.
func (f *foldState) LastAt() int64 { return f.lastAt }

// Facts implements State.
func (f *foldState) Facts() Facts { return f.facts }

func (f *foldState) take(d *Decided) {
	for i := range d.Changes {
		c := &d.Changes[i].Change
		e := folded{version: c.Version, revision: c.Revision, op: c.Op, events: c.Events, content: c.Content,
			points: d.Changes[i].PointsDigest, digest: c.Digest, accepted: c.AcceptedAt, blank: d.Changes[i].blank}
		if c.Base != nil {
			old := f.entities[c.Key]
			if e.base = wire.BaseDigest(c.Base); old.patched != nil && c.Base.Version == old.version {
				e.base = old.base // that was no base, but a state that patches had made
			}
			e.patched = &freshet.Base{Version: c.Version, Text: c.Text, Metadata: bytes.Clone(c.Metadata), OwnText: c.OwnText, Ready: d.Changes[i].ready}
		}
		f.entities[c.Key] = e
	}
	for _, s := range d.Seen {
		f.seen[s.id] = remembered{f.next, s.at}
		f.next++
		f.lastAt = s.at
	}
	if d.Facts != nil {
		f.facts = *d.Facts
	}
}

// settled is the catalog as the audit sees it: everything that the records up to the audit's
// end made or settled is in it already, so nothing is left to do.
type settled struct{ Collections }

// SettleOrder implements Collections.
func (settled) SettleOrder(name string, _ control.Order) error {
	return fmt.Errorf("the catalog does not say how collection %q is ordered, though its events have been decided", name)
}

// Audit folds events.raw anew, from its first record to the position that vector.sync has
// reached, and compares the outcome with vector.sync as it was at exactly that position.
// Traffic goes on meanwhile, and nothing is altered. It needs memory for every entity and
// remembered event id, and for text and metadata of the entities whose latest state patches made.
// What their patches were applied to is taken from vector.sync, and proven by its digest.
//
// What an embedder refused is taken from the dead letters: which drafts of a batch were
// embedded at all depends on how the log was cut into batches then. So are refused patches of
// states that were replaced later, which nobody knows any more.
func Audit(ctx context.Context, log *embedded.Log, o SequencerOptions, report *freshet.AuditReport) error {
	view := log.View()
	defer view.Close()
	end, err := view.Position(Group, freshet.TopicRaw, 0)
	if err != nil {
		return err
	}
	state := &foldState{entities: map[freshet.Key]folded{}, view: view, seen: map[EventID]remembered{}}
	o.State, o.Collections, o.AutoCreate = state, settled{o.Collections}, false
	seq := NewSequencer(o)
	if seq.recorded, err = refusals(view); err != nil {
		return fmt.Errorf("read %s: %w", freshet.TopicDead, err)
	}
	if err := fold(ctx, log, seq, state, end, report); err != nil {
		return fmt.Errorf("fold %s: %w", freshet.TopicRaw, err)
	}
	report.Through = end - 1
	return compare(view, state, report)
}

// refusals reads which drafts were refused by their embedder, or by the state that they patch.
func refusals(view *embedded.View) (func(offset int64, ordinal int) bool, error) {
	type place struct {
		offset  int64
		ordinal int
	}
	all := map[place]bool{}
	err := view.Scan(freshet.TopicDead, func(r embedded.Record) error {
		l, err := wire.DecodeDeadLetter(r.Value)
		if err == nil && (l.Stage == "embed" || l.Stage == "patch") {
			all[place{l.Position.Offset, l.Ordinal}] = true
		}
		return err
	})
	return func(offset int64, ordinal int) bool { return all[place{offset, ordinal}] }, err
}

func fold(ctx context.Context, log *embedded.Log, seq *Sequencer, state *foldState, end int64, report *freshet.AuditReport) error {
	reader := log.ReadRaw(log.RawFirst())
	defer reader.Close()
	var raw []journal.Record
	for reader.Offset() < end {
		var err error
		if raw, err = reader.Next(ctx, raw[:0], readBytes); err != nil {
			return err
		}
		for len(raw) > 0 && raw[0].Offset < end {
			n := min(len(raw), MaxBatchRecords, int(end-raw[0].Offset))
			var t Timing
			d, err := seq.Decide(ctx, records(raw[:n]), &t)
			if err != nil {
				return err
			}
			state.take(d)
			report.Records += int64(n)
			report.DeadLetters += d.Outcomes.Dead
			raw = raw[n:]
		}
	}
	return nil
}

// compare holds vector.sync against the fold.
func compare(view *embedded.View, state *foldState, report *freshet.AuditReport) error {
	err := view.Scan(freshet.TopicSync, func(r embedded.Record) error {
		key, err := wire.ParseKey(r.Key)
		if err != nil {
			report.Note(maxDifferences, difference("damaged", freshet.Key{Entity: string(r.Key)}, err.Error()))
			return nil
		}
		c, err := wire.DecodeChange(key, bytes.Clone(r.Value), wire.Points)
		if err != nil {
			report.Note(maxDifferences, difference("damaged", key, err.Error()))
			delete(state.entities, key)
			return nil
		}
		if c.Deleted() {
			report.Tombstones++
		} else {
			report.Entities++
			report.Points += int64(len(c.Points))
		}
		want, ok := state.entities[key]
		delete(state.entities, key)
		if !ok && state.facts.Gone(&c) {
			return nil // a tombstone that is yet to be swept
		}
		if kind, detail := judge(&c, want, ok); kind != "" {
			report.Note(maxDifferences, difference(kind, key, detail))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", freshet.TopicSync, err)
	}
	maps.DeleteFunc(state.entities, func(_ freshet.Key, e folded) bool {
		return state.facts.Gone(e.change())
	})
	for _, key := range slices.SortedFunc(maps.Keys(state.entities), compareKeys) {
		report.Note(maxDifferences, difference("missing", key, fmt.Sprintf("events.raw gives version %+v", state.entities[key].version)))
	}
	return nil
}

func judge(c *freshet.Change, want folded, ok bool) (kind, detail string) {
	var points [16]byte
	if len(c.Points) > 0 {
		points = wire.PointsDigest(c.Points)
	}
	switch {
	case !ok:
		return "extra", fmt.Sprintf("version %+v stands in vector.sync, events.raw gives none", c.Version)
	case wire.StateDigest(c, points) != c.Digest:
		return "damaged", "the record's content does not have the digest that it carries"
	case want.blank || (c.Base != nil) != (want.patched != nil) || c.Base != nil && wire.BaseDigest(c.Base) != want.base:
		return "damaged", "it was patched, and what the patches were applied to is not what events.raw gives"
	case c.Version != want.version:
		return "stale", fmt.Sprintf("version %+v stands in vector.sync, events.raw gives %+v", c.Version, want.version)
	case c.Revision != want.revision:
		return "stale", fmt.Sprintf("revision %d, events.raw gives %d", c.Revision, want.revision)
	case c.Digest != want.digest:
		return "stale", fmt.Sprintf("digest %x, events.raw gives %x", c.Digest, want.digest)
	case c.Events != want.events:
		return "stale", fmt.Sprintf("%d events changed it, events.raw gives %d", c.Events, want.events)
	}
	return "", ""
}

func difference(kind string, key freshet.Key, detail string) freshet.Difference {
	return freshet.Difference{Part: "events.raw→vector.sync", Kind: kind, Key: key, Detail: detail}
}

func compareKeys(a, b freshet.Key) int {
	return bytes.Compare(wire.AppendKey(nil, a), wire.AppendKey(nil, b))
}
