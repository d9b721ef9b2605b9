package mapping

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/common/types"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
)

// language counts the changes of what a mapping means beside its expressions and the
// libraries: how events are read, defaults, conversions. It is part of Describe.
const language = 1

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
