package process

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// maxDifferences is how many differences a report names.
const maxDifferences = 100

// foldState is the State of an audit: everything that the log gives, in memory.
type foldState struct {
	entities map[freshet.Key]folded
	view     broker.View
	seen     map[EventID]remembered
	next     uint64
	lastAt   int64
	facts    Facts
	gap      *freshet.AuditGap               // what the base does not have
	whole    map[freshet.Key]*freshet.Change // of a repair: states with text and vectors; nil while one is not known
}

// Latest implements State.
func (f *foldState) Latest(key freshet.Key) (*Entity, error) {
	e, ok := f.entities[key]
	if !ok {
		return nil, nil
	}
	return f.recall(e.entity(key, f.view.Latest)), nil
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
	for _, name := range d.Drops {
		maps.DeleteFunc(f.entities, func(key freshet.Key, _ folded) bool {
			return key.Collection == name.Collection && (name.Namespace == "" || key.Namespace == name.Namespace)
		})
	}
	for i := range d.Changes {
		c := &d.Changes[i].Change
		old := f.entities[c.Key]
		f.entities[c.Key] = old.next(&d.Changes[i])
		f.keep(&d.Changes[i])
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

// Audit folds events.raw anew, from its first record or the audit base to the position that vector.sync has
// reached, and compares the outcome with vector.sync as it was at exactly that position.
// Traffic goes on meanwhile, and nothing is altered. It needs memory for every entity and
// remembered event id, and for text and metadata of the entities whose latest state patches made.
// What their patches were applied to is taken from vector.sync, and proven by its digest.
//
// What an embedder refused is taken from the dead letters: which drafts of a batch were
// embedded at all depends on how the log was cut into batches then. So are refused patches of
// states that were replaced later, which nobody knows any more.
func Audit(ctx context.Context, log broker.Log, o SequencerOptions, report *freshet.AuditReport) error {
	defer log.PinRaw()() // first: the base of the view is not behind what is kept
	view := log.View()
	defer view.Close()
	state := &foldState{entities: map[freshet.Key]folded{}, view: view, seen: map[EventID]remembered{}}
	from, err := state.load(view)
	if err != nil {
		return fmt.Errorf("read the audit base: %w", err)
	}
	end, err := view.Position(Group, freshet.TopicRaw, 0)
	if err != nil {
		return err
	}
	o.State, o.Collections, o.AutoCreate = state, settled{o.Collections}, false
	seq := NewSequencer(o)
	if seq.recorded, err = readRecorded(log, from, end); err != nil {
		return fmt.Errorf("read %s: %w", freshet.TopicDead, err)
	}
	raw := &rawReader{reader: view.ReadRaw(from)}
	defer raw.close()
	if err := fold(ctx, log.RawTopic(), raw, seq, state, end, report); err != nil {
		return fmt.Errorf("fold %s: %w", freshet.TopicRaw, err)
	}
	report.Through = end - 1
	if state.gap != nil {
		report.Gaps = append(report.Gaps, *state.gap)
	}
	return compare(view, state, report)
}

// recorded is what an audit takes as it was decided.
type recorded struct {
	dead  map[letter]Refusal // dead letters that are there
	fates map[letter]fate    // of those that are gone

	known     map[string]int64 // see [knownTable]
	knownFrom int64
}

// refused reports whether a draft was refused when it was decided first.
func (r *recorded) refused(offset int64, ordinal int) bool {
	return r.of(offset, ordinal) == RefusedDraft
}

// unread reports whether a record was refused because nobody knew its schema.
func (r *recorded) unread(rec *Record) bool {
	return r.of(rec.Position.Offset, rec.ordinal()) == RefusedRecord
}

func (r *recorded) of(offset int64, ordinal int) Refusal {
	at := letter{offset, ordinal}
	if refused := r.dead[at]; refused != NotRefused {
		return refused
	}
	return r.fates[at].refused
}

// readRecorded reads what was decided of records from an offset to another.
func readRecorded(log broker.Log, from, to int64) (*recorded, error) {
	r := &recorded{dead: map[letter]Refusal{}, fates: map[letter]fate{}}
	err := log.Scan(freshet.TopicDead, wire.DeadLetterKey(from, 0), wire.DeadLetterKey(to, 0), func(rec broker.Record) error {
		l, err := wire.DecodeDeadLetter(rec.Value)
		if refused := refusalOf(&l); err == nil && refused != NotRefused {
			r.dead[letter{l.Position.Offset, l.Ordinal}] = refused
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.known, r.knownFrom, err = readKnown(log); err != nil {
		return nil, err
	}
	// Those that went meanwhile are found here: first the one, then the other.
	return r, log.ScanTable(broker.TableProcess, []byte{'d'}, []byte{'d' + 1}, func(k, v []byte) error {
		f, err := parseFate(k, v)
		r.fates[f.letter] = f
		return err
	})
}

// Dead implements State. An audit asks its own record of it.
func (f *foldState) Dead(int64, int) (bool, Refusal, error) { return false, NotRefused, nil }

// fold takes the records of a topic below an end into a state.
func fold(ctx context.Context, topic string, raw *rawReader, seq *Sequencer, state *foldState, end int64, report *freshet.AuditReport) error {
	for {
		batch, err := raw.below(ctx, end, MaxBatchRecords)
		if err != nil || len(batch) == 0 {
			return err
		}
		var t Timing
		d, err := seq.Decide(ctx, records(topic, batch), &t)
		if err != nil {
			return err
		}
		state.take(d)
		report.Records += int64(len(batch))
		report.DeadLetters += d.Outcomes.Dead
	}
}

// compare holds vector.sync against the fold.
func compare(view broker.View, state *foldState, report *freshet.AuditReport) error {
	err := view.Scan(freshet.TopicSync, func(r broker.Record) error {
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
		if !ok && !state.facts.predates(key, c.Version) && state.facts.Gone(&c) {
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
