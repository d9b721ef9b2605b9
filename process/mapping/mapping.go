package mapping

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
)

// language counts the changes of what a mapping means beside its expressions and the
// libraries: how events are read, defaults, conversions. It is part of Describe.
const language = 1

// maxSourceBytes is the longest name of a source.
const maxSourceBytes = freshet.MaxIDBytes

// Mapper maps records by the expressions of a [Config]. It is safe for concurrent use.
type Mapper struct {
	changes []change
	maxCost uint64
	text    string
	scratch sync.Pool // of *decoder
}

var _ process.Mapper = (*Mapper)(nil)

// New compiles a mapping. The error joins one *freshet.Error per wrong expression, each
// with the path in the configuration, the place in the expression and the remedy.
func New(cfg Config) (*Mapper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	envs, err := newEnvironments()
	if err != nil {
		return nil, fmt.Errorf("mapping: setting CEL up: %w", err)
	}
	m := &Mapper{
		changes: make([]change, len(cfg.Changes)),
		maxCost: cfg.maxCost(),
		scratch: sync.Pool{New: func() any { return new(decoder) }},
	}
	var errs []error
	for i, ch := range cfg.Changes {
		errs = append(errs, m.changes[i].compile(envs, i, ch, m.maxCost))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.text = m.describe()
	return m, nil
}

// Map evaluates the mapping on one record. The drafts hold no part of r.Value. An error is a
// *freshet.Error whose field is the path of the expression in the configuration; with it
// comes at most one draft, the one at fault, as far as it is known.
func (m *Mapper) Map(r process.Record) ([]process.Draft, error) {
	d := m.scratch.Get().(*decoder)
	event, err := d.decode(string(r.Value))
	d.release()
	m.scratch.Put(d)
	if err != nil {
		return nil, err
	}
	if _, ok := event.(*object); !ok {
		return nil, wrong(freshet.CodeInvalidJSON, "an event is a JSON object, this is %s", describe(event))
	}
	run := &run{
		vars: variables{event: event, source: types.String(r.Source), acceptedAt: r.AcceptedAt},
		left: m.maxCost,
	}
	run.vars.run = run
	for i := range m.changes {
		if at, err := m.changes[i].make(run); err != nil {
			if at == nil {
				return nil, err
			}
			return []process.Draft{*at}, err
		}
	}
	return run.drafts, nil
}

// Describe is the canonical text of the mapping: versions, limits and expressions, printed
// from their syntax trees, so that spaces and comments make no difference.
func (m *Mapper) Describe() string { return m.text }

func (m *Mapper) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cel/%d strings=%d math=%d lists=%d optional=%d max_cost=%d\n",
		language, stringsVersion, mathVersion, listsVersion, optionalVersion, m.maxCost)
	for i := range m.changes {
		fmt.Fprintf(&b, "change %d\n", i)
		for _, f := range m.changes[i].fields() {
			if *f.expr != nil {
				fmt.Fprintf(&b, "  %s %q\n", f.name, (*f.expr).canon)
			}
		}
	}
	return b.String()
}

// run is the work on one record.
type run struct {
	vars   variables
	left   uint64 // what expressions may still cost
	drafts []process.Draft
}

// variables is the cel.Activation of a run.
type variables struct {
	event      ref.Val
	source     types.String
	acceptedAt int64
	item       ref.Val // nil outside for_each
	index      types.Int
	run        *run
}

var _ cel.Activation = (*variables)(nil)

func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return v.event, true
	case "source":
		return v.source, true
	case "accepted_at":
		return types.Timestamp{Time: time.UnixMilli(v.acceptedAt).UTC()}, true
	case "item":
		return v.item, v.item != nil
	case "index":
		return v.index, v.item != nil
	case runName:
		return v.run, true
	}
	return nil, false
}

func (v *variables) Parent() cel.Activation { return nil }

// spend takes cost from what is left; it reports whether there was enough.
func (r *run) spend(cost uint64) bool {
	if cost > r.left {
		r.left = 0
		return false
	}
	r.left -= cost
	return true
}

// eval evaluates an expression; ok is false if there is none or its value is absent.
func (r *run) eval(e *expression) (v ref.Val, ok bool, err error) {
	if e == nil {
		return nil, false, nil
	}
	if v, ok = e.immediate(&r.vars); ok {
		if !r.spend(1 + textCost(v) + containerCost(v)) {
			return nil, false, e.failed(errCost)
		}
	} else if v, _, err = e.program.Eval(&r.vars); err != nil {
		return nil, false, e.failed(err)
	}
	v, ok = present(v)
	return v, ok, nil
}

// failed turns an error of evaluation into one that the user can act on.
func (e *expression) failed(err error) *freshet.Error {
	message := err.Error()
	hint := "correct the expression or the event"
	switch {
	case strings.Contains(message, errCost.Error()):
		message = "the expressions cost more than max_cost for this event"
		hint = "make them cheaper, or raise mapping.max_cost"
	case strings.Contains(message, "no such key"):
		hint = `where a field may be absent write event.?field.orValue("")`
	case strings.Contains(message, "no such overload"):
		hint = "convert the operands with string(…), int(…) or double(…)"
	}
	return &freshet.Error{Code: freshet.CodeMappingFailed, Field: e.field,
		Message: fmt.Sprintf("%s in %q; %s", clip(message), clip(e.source), hint)}
}
