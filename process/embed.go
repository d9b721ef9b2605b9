package process

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/embed/chunk"
)

// made is what embedding has made of the drafts of a batch so far. It outlives a pass of
// sequencing, so that no draft is embedded twice.
type made struct {
	points  map[named][]freshet.Point
	refused map[named]error // contents that can't be embedded; always a *freshet.Error, staged
	decided map[spot]error  // in an audit: drafts that became dead letters when they were decided
}

// begin is the state of embedding before the first pass.
func (s *Sequencer) begin(batch []mapped) *made {
	m := &made{points: map[named][]freshet.Point{}, refused: map[named]error{}, decided: map[spot]error{}}
	if s.recorded == nil {
		return m
	}
	for i := range batch {
		for k := range batch[i].drafts {
			if s.recorded.refused(batch[i].record.Position.Offset, k) {
				m.decided[spot{i, k}] = wasRefused()
			}
		}
		if c, ok := batch[i].command.(*Replay); ok && c.Whole {
			for k := range batch[i].replayed.drafts {
				if k != c.Ordinal && s.recorded.refused(c.Offset, k) {
					m.decided[spot{i, k}] = wasRefused()
				}
			}
		}
	}
	return m
}

func wasRefused() error {
	return staged("embed", &freshet.Error{Code: freshet.CodeEmbedFailed, Message: "was refused when it was decided"})
}

// embed makes the points of the final content of every touched entity, and of what patches were
// applied to: what a patch meets must not depend on how the log is cut into batches. again says
// that some of it was refused, so that the batch must be sequenced anew; then the other upserts of
// the entities at fault have been embedded as well, and the next pass knows all it needs, however
// many of them are refused.
func (s *Sequencer) embed(ctx context.Context, p *plan, batch []mapped, m *made) (again bool, err error) {
	var wanted []content
	want := func(e *pending, c content) {
		if _, ok := m.points[c.name()]; !ok && e.needs(c.mappedDraft) {
			m.points[c.name()] = nil // once
			wanted = append(wanted, c)
		}
	}
	for _, e := range p.order {
		if s.recorded == nil { // else it is known which were refused
			for _, c := range e.bases {
				want(e, c)
			}
		}
		if e.content.mappedDraft != nil && !e.blank {
			want(e, e.content)
		}
	}
	faulty, err := s.embedDrafts(ctx, wanted, m)
	if err != nil || len(faulty) == 0 {
		return false, err
	}
	wanted = wanted[:0]
	for i := range batch {
		event := &batch[i]
		replay, ok := event.command.(*Replay)
		if ok {
			event = event.replayed
		}
		for k := range event.drafts {
			at, d := spot{i, k}, &event.drafts[k]
			if ok && !replay.decides(k) {
				continue
			}
			if faulty[d.Key] && (d.err == nil || errors.Is(d.err, errUnknown)) {
				want(p.entities[d.Key], content{at, d})
			}
		}
	}
	_, err = s.embedDrafts(ctx, wanted, m)
	return true, err
}

// needs reports whether a draft of the entity must be embedded, should it be the final one.
func (e *pending) needs(d *mappedDraft) bool {
	return d.Op == freshet.OpUpsert && !d.vectors() && !e.keeps(d.content)
}

// keeps reports whether the stored points are made of the same content.
func (e *pending) keeps(content [16]byte) bool {
	return e.stored != nil && e.stored.Change.Op == freshet.OpUpsert && e.stored.Change.Content == content
}

// embedDrafts embeds drafts, one call a model, and returns the entities of which one was
// refused. The error is one of a whole call.
func (s *Sequencer) embedDrafts(ctx context.Context, wanted []content, m *made) (faulty map[freshet.Key]bool, err error) {
	jobs := map[string]*embedJob{}
	for _, d := range wanted {
		col, _ := s.collections.Get(d.Key.Collection)
		job := jobs[col.Model]
		if job == nil {
			job = &embedJob{}
			jobs[col.Model] = job
		}
		job.add(embedOwner{content: d, col: col, aside: d.Embed != d.Text}, d.Embed, chunk.Split(d.Embed, s.splitter))
	}
	faulty = map[freshet.Key]bool{}
	for model, job := range jobs {
		e := s.embedders[model]
		if e == nil {
			return nil, fmt.Errorf("embed with %q: there is no such model", model)
		}
		if err := job.run(ctx, e, m, s.recorded != nil); err != nil {
			return nil, fmt.Errorf("embed with %s: %w", model, err)
		}
		for _, o := range job.owners {
			if m.refused[o.name()] != nil {
				faulty[o.Key] = true
			}
		}
	}
	return faulty, nil
}

// embedJob is the texts of a batch that one model embeds.
type embedJob struct {
	inputs []freshet.Input
	owners []embedOwner // of each input
}

type embedOwner struct {
	content
	col        control.Collection
	aside      bool // what is embedded is not the entity's text, so no point stands for a part of that
	start, end int
}

func (j *embedJob) add(o embedOwner, text string, spans []chunk.Span) {
	if len(spans) == 0 {
		spans = []chunk.Span{{Start: 0, End: len(text)}} // only white space: the model says what is wrong
	}
	for _, sp := range spans {
		j.inputs = append(j.inputs, freshet.Input{Text: text[sp.Start:sp.End]})
		if !o.aside {
			o.start, o.end = sp.Start, sp.End
		}
		j.owners = append(j.owners, o)
	}
}

// run embeds the texts and puts the points, or why there are none, into m. keep says that a
// refusal counts for nothing: the draft is as it is, without points.
func (j *embedJob) run(ctx context.Context, e freshet.Embedder, m *made, keep bool) error {
	out, err := e.Embed(ctx, j.inputs)
	if err != nil {
		return err
	}
	if len(out) != len(j.inputs) {
		return fmt.Errorf("%d texts gave %d results", len(j.inputs), len(out))
	}
	model := e.Model().Name
	for i, o := range j.owners {
		err := out[i].Err
		if err == nil {
			err = checkMade(out[i].Vector, o.col)
		}
		points := m.points[o.name()]
		switch {
		case err == nil:
			m.points[o.name()] = append(points, freshet.Point{Model: model, Slot: strconv.Itoa(len(points)),
				Vector: out[i].Vector, Start: o.start, End: o.end})
		case !keep:
			m.refused[o.name()] = staged("embed", coded(freshet.CodeEmbedFailed, err))
		}
	}
	return nil
}

// checkMade holds a model to what it says of itself: a vector that the index can't take would
// stop the store for good.
func checkMade(v []float32, col control.Collection) error {
	if err := checkVector(v, col); err != nil {
		return &freshet.Error{Code: freshet.CodeEmbedFailed, Message: "the model's " + err.Error()}
	}
	return nil
}

// coded gives an error that has no code one.
func codeOf(err error) freshet.Code {
	var e *freshet.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func coded(code freshet.Code, err error) error {
	var e *freshet.Error
	if errors.As(err, &e) {
		return err
	}
	return &freshet.Error{Code: code, Message: err.Error()}
}
