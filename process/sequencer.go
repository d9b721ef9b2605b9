package process

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/embed/chunk"
	"github.com/freshet-io/freshet/wire"
)

// SequencerOptions are the parts that a sequencer works with; all are needed.
type SequencerOptions struct {
	Mapper      Mapper
	Collections Collections
	// Embedders by the name of their model.
	Embedders map[string]freshet.Embedder
	Splitter  chunk.Options
	Revision  uint32
	Window    Window
	// AutoCreate makes collections that a mapping names and that don't exist.
	AutoCreate bool
	// Owns reports whether an entity is decided in the log at hand; nil: all are.
	Owns  func(freshet.Key) bool
	State State
}

// Sequencer decides batches of records: a function of the stored state and the records. One
// goroutine uses it.
type Sequencer struct {
	mapper      Mapper
	collections Collections
	embedders   map[string]freshet.Embedder
	splitter    chunk.Options
	revision    uint32
	window      Window
	autoCreate  bool
	owns        func(freshet.Key) bool
	state       State
	// recorded says, in an audit, which drafts were refused by their embedder, or by the state that
	// they patch, when they were decided: no embedder is asked again whether it refuses. nil when
	// deciding for the first time.
	recorded *recorded
	known    *knownTable // that notes which collections records are judged with; nil where the catalog says it
}

// NewSequencer returns a sequencer.
func NewSequencer(o SequencerOptions) *Sequencer {
	return &Sequencer{mapper: o.Mapper, collections: o.Collections, embedders: o.Embedders,
		splitter: o.Splitter, revision: o.Revision, window: o.Window, autoCreate: o.AutoCreate, owns: o.Owns, state: o.State}
}

// Decided is a decided batch: what is to be committed.
type Decided struct {
	Changes  []Decision
	Seen     []seenID
	Dead     []freshet.DeadLetter
	Facts    *Facts          // what commands say now; nil when nothing was said
	Drops    []freshet.Shard // that were emptied, before Changes; with an empty namespace all of a collection
	Outcomes Outcomes
	fates    []fate   // of dead letters that go
	others   []handed // changes that other partitions have to decide
	done     []expiry // expiries that the table need not have any more
}

// Decision is the new state of one entity.
type Decision struct {
	Change       freshet.Change
	PointsDigest [16]byte
	Replaces     *Entity // the stored state, nil when there was none
	// Fence is a deletion within the batch that is forgotten, and that a store has to see before Change, which may be
	// older: alive as the entity is there, it would be taken for newer. nil when there is none.
	Fence *freshet.Change
	ready bool // of a state that patches made: its vector came ready from the producer
	blank bool // in an audit: what patches have made of it is not known
}

// mapAll maps records on all cores.
func (s *Sequencer) mapAll(records []Record) []mapped {
	out := make([]mapped, len(records))
	const perWorker = 64
	workers := min(runtime.GOMAXPROCS(0), (len(records)+perWorker-1)/perWorker)
	if workers <= 1 {
		s.mapRange(records, out)
		return out
	}
	var wg sync.WaitGroup
	share := (len(records) + workers - 1) / workers
	for at := 0; at < len(records); at += share {
		end := min(at+share, len(records))
		wg.Go(func() { s.mapRange(records[at:end], out[at:end]) })
	}
	wg.Wait()
	return out
}

func (s *Sequencer) mapRange(records []Record, out []mapped) {
	for i := range records {
		out[i].record, out[i].judged = records[i], records[i].Position.Offset
		s.mapOne(&out[i])
	}
}

// mapOne maps one record. A panic in a mapping costs that record alone.
func (s *Sequencer) mapOne(m *mapped) {
	defer func() {
		if r := recover(); r != nil {
			m.err = staged("map", panicked(r))
		}
	}()
	if m.record.Command != "" {
		m.command, m.broken = decodeCommand(m.record)
		if r, ok := m.command.(*Replay); ok {
			m.replayed = &mapped{record: r.record(m.record.Position.Topic), judged: m.record.Position.Offset, again: true}
			s.mapOne(m.replayed)
		}
		return
	}
	if m.record.Refused != nil {
		m.err = m.record.Refused
		return
	}
	if s.recorded != nil && !m.again && s.recorded.unread(&m.record) {
		m.err = staged("map", &freshet.Error{Code: freshet.CodeUnknownSchema, Message: "was not known when it was decided"})
		return
	}
	drafts, err := mapRecord(s.mapper, m.record)
	switch code := codeOf(err); {
	case code == freshet.CodeUnavailable:
		m.broken = err
		return
	case code == freshet.CodeUnknownSchema && s.recorded != nil && !m.again:
		m.broken = gone(err)
		return
	}
	if err != nil && len(drafts) == 0 {
		m.err = staged("map", err)
		return
	}
	m.drafts = make([]mappedDraft, len(drafts))
	for i := range drafts {
		d := &m.drafts[i]
		d.Draft = drafts[i]
		if err != nil { // of the one draft that the mapper got as far as naming
			d.err = staged("map", err)
			continue
		}
		if err := s.validate(d, m.judged); err != nil {
			if d.err = staged("validate", err); !errors.Is(err, errUnknown) {
				continue
			}
		}
		if d.EventID != "" {
			d.id = eventID(m.record.Source, d.Key, d.EventID)
		}
		if d.Op == freshet.OpUpsert {
			d.content = contentDigest(&d.Draft)
		}
	}
}

// Decide maps, sequences and embeds a batch. An error means that nothing is decided and the
// batch is to be tried again.
func (s *Sequencer) Decide(ctx context.Context, records []Record, t *Timing) (*Decided, error) {
	t.begin()
	batch := s.mapAll(records)
	t.lap(&t.Map)
	m := s.begin(batch)
	for {
		p, err := s.sequence(batch, m)
		t.lap(&t.Sequence)
		if err != nil {
			return nil, err
		}
		again, err := s.embed(ctx, p, batch, m)
		if err != nil {
			return nil, err
		}
		if again {
			t.lap(&t.Embed)
			continue // without the drafts that can't be embedded
		}
		decisions, err := decisions(p, m)
		t.lap(&t.Embed)
		if err != nil {
			return nil, err
		}
		return &Decided{Changes: decisions, Seen: p.seen, Dead: p.dead, Facts: p.newFacts(), Drops: p.drops, Outcomes: p.outcomes, done: p.done(), fates: slices.Collect(maps.Values(p.fates)), others: p.others}, nil
	}
}

// decisions gives every touched entity its points and digests.
func decisions(p *plan, m *made) ([]Decision, error) {
	out := make([]Decision, 0, len(p.order))
	for _, e := range p.order {
		if !e.touched {
			continue
		}
		d := Decision{Change: e.head, Replaces: e.replaces, Fence: e.fence, blank: e.blank}
		d.Change.Anew = e.replaces != nil && e.stored == nil
		switch {
		case e.head.Op == freshet.OpDelete || e.blank:
		case e.keeps(e.head.Content):
			if err := reuse(&d, e.stored); err != nil {
				return nil, err
			}
		case e.content.Vector != nil:
			d.Change.Points = []freshet.Point{{Slot: "0", Vector: e.content.Vector}}
		case e.content.Points != nil:
			d.Change.Points = e.content.Points
		default:
			d.Change.Points = m.points[e.content.name()]
		}
		if e.head.Base != nil {
			var err error
			if d.ready, err = e.ready(); err != nil {
				return nil, err
			}
		}
		if len(d.Change.Points) > 0 {
			d.PointsDigest = wire.PointsDigest(d.Change.Points)
		}
		d.Change.Digest = wire.StateDigest(&d.Change, d.PointsDigest)
		out = append(out, d)
	}
	return out, nil
}

// reuse gives the entity the points that it has.
func reuse(d *Decision, stored *Entity) (err error) {
	d.PointsDigest = stored.PointsDigest
	if stored.Points != nil {
		d.Change.Points, err = stored.Points()
	}
	return err
}
