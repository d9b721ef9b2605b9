package process

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
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
	State      State
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
	state       State
}

// NewSequencer returns a sequencer.
func NewSequencer(o SequencerOptions) *Sequencer {
	return &Sequencer{mapper: o.Mapper, collections: o.Collections, embedders: o.Embedders,
		splitter: o.Splitter, revision: o.Revision, window: o.Window, autoCreate: o.AutoCreate, state: o.State}
}

// Decided is a decided batch: what is to be committed.
type Decided struct {
	Changes  []Decision
	Seen     []seenID
	Dead     []freshet.DeadLetter
	Outcomes Outcomes
}

// Decision is the new state of one entity.
type Decision struct {
	Change       freshet.Change
	PointsDigest [16]byte
	Replaces     *Entity // the stored state, nil when there was none
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
		out[i].record = records[i]
		s.mapOne(&out[i])
	}
}

// mapOne maps one record. A panic in a mapping costs that record alone.
func (s *Sequencer) mapOne(m *mapped) {
	defer func() {
		if r := recover(); r != nil {
			m.err = staged("map", &freshet.Error{Code: freshet.CodeInternal, Message: fmt.Sprintf("the mapping panicked: %v\n%s", r, debug.Stack())})
		}
	}()
	mapper := s.mapper
	if m.record.Default {
		mapper = Default{}
	}
	drafts, err := mapper.Map(m.record)
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
		if err := s.validate(d, m.record.Position.Offset); err != nil {
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

// embedAll gives every touched entity its points. It returns the drafts whose content can't
// be embedded; an error means that the whole batch is to be tried again.
func (s *Sequencer) embedAll(ctx context.Context, p *plan, batch []mapped) ([]Decision, map[spot]error, error) {
	decisions := make([]Decision, 0, len(p.order))
	jobs := map[string]*embedJob{}
	for _, e := range p.order {
		if !e.touched {
			continue
		}
		decisions = append(decisions, Decision{Change: e.head, Replaces: e.stored})
		d := &decisions[len(decisions)-1]
		draft := &batch[e.content.record].drafts[e.content.draft]
		switch {
		case e.head.Op == freshet.OpDelete:
		case e.stored != nil && e.stored.Change.Op == freshet.OpUpsert && e.stored.Change.Content == e.head.Content:
			if err := reuse(d, e.stored); err != nil {
				return nil, nil, err
			}
		case draft.Vector != nil:
			d.Change.Points = []freshet.Point{{Slot: "0", Vector: draft.Vector}}
		default:
			col, _ := s.collections.Get(e.key.Collection)
			job := jobs[col.Model]
			if job == nil {
				job = &embedJob{}
				jobs[col.Model] = job
			}
			job.add(len(decisions)-1, e.content, draft.Embed, chunk.Split(draft.Embed, s.splitter))
		}
	}
	refused := map[spot]error{}
	for model, job := range jobs {
		if err := job.run(ctx, s.embedders[model], decisions, refused); err != nil {
			return nil, nil, fmt.Errorf("embed with %s: %w", model, err)
		}
	}
	return decisions, refused, nil
}

func reuse(d *Decision, stored *Entity) (err error) {
	d.PointsDigest = stored.PointsDigest
	if stored.Points != nil {
		d.Change.Points, err = stored.Points()
	}
	return err
}

// embedJob is the texts of a batch that one model embeds.
type embedJob struct {
	inputs []freshet.Input
	owners []embedOwner
}

type embedOwner struct {
	decision   int
	content    spot
	start, end int
}

func (j *embedJob) add(decision int, content spot, text string, spans []chunk.Span) {
	if len(spans) == 0 {
		spans = []chunk.Span{{Start: 0, End: len(text)}} // only white space: the model says what is wrong
	}
	for _, sp := range spans {
		j.inputs = append(j.inputs, freshet.Input{Text: text[sp.Start:sp.End]})
		j.owners = append(j.owners, embedOwner{decision, content, sp.Start, sp.End})
	}
}

func (j *embedJob) run(ctx context.Context, e freshet.Embedder, decisions []Decision, refused map[spot]error) error {
	out, err := e.Embed(ctx, j.inputs)
	if err != nil {
		return err
	}
	model := e.Model().Name
	for i, o := range j.owners {
		if err := out[i].Err; err != nil {
			refused[o.content] = staged("embed", err)
			continue
		}
		c := &decisions[o.decision].Change
		c.Points = append(c.Points, freshet.Point{Model: model, Slot: strconv.Itoa(len(c.Points)),
			Vector: out[i].Vector, Start: o.start, End: o.end})
	}
	return nil
}

// Decide maps, sequences and embeds a batch. An error means that nothing is decided and the
// batch is to be tried again.
func (s *Sequencer) Decide(ctx context.Context, records []Record, t *Timing) (*Decided, error) {
	t.begin()
	batch := s.mapAll(records)
	t.lap(&t.Map)
	refused := map[spot]error{}
	for {
		p, err := s.sequence(batch, refused)
		if err != nil {
			return nil, err
		}
		t.lap(&t.Sequence)
		decisions, more, err := s.embedAll(ctx, p, batch)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 {
			for at, err := range more {
				refused[at] = err
			}
			t.lap(&t.Embed)
			continue // without the drafts that can't be embedded
		}
		digest(decisions)
		t.lap(&t.Embed)
		return &Decided{Changes: decisions, Seen: p.seen, Dead: p.dead, Outcomes: p.outcomes}, nil
	}
}

func digest(decisions []Decision) {
	for i := range decisions {
		d := &decisions[i]
		if len(d.Change.Points) > 0 {
			d.PointsDigest = wire.PointsDigest(d.Change.Points)
		}
		d.Change.Digest = wire.StateDigest(&d.Change, d.PointsDigest)
	}
}
