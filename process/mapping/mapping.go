package mapping

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec/cdc"
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
	rows    *cdc.Decoder // nil where events are objects as they are
	scratch sync.Pool    // of *decoder
}

var _ process.Mapper = (*Mapper)(nil)

// New compiles a mapping of events, or of the rows that a decoder reads from them. The error joins one *freshet.Error per wrong expression, each
// with the path in the configuration, the place in the expression and the remedy.
func New(cfg Config, rows *cdc.Decoder) (*Mapper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	envs, err := newEnvironments(rows != nil)
	if err != nil {
		return nil, fmt.Errorf("mapping: setting CEL up: %w", err)
	}
	m := &Mapper{
		changes: make([]change, len(cfg.Changes)),
		maxCost: cfg.maxCost(),
		rows:    rows,
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
	if m.rows != nil {
		return m.mapRows(r)
	}
	event, err := m.decode(string(r.Value))
	if err != nil {
		return nil, err
	}
	if _, ok := event.(*object); !ok {
		return nil, wrong(freshet.CodeInvalidJSON, "an event is a JSON object, this is %s", describe(event))
	}
	run := m.begin(r)
	run.vars.event = event
	if at, err := m.make(run); err != nil {
		return at, err
	}
	return run.drafts, nil
}

func (m *Mapper) decode(text string) (ref.Val, error) {
	d := m.scratch.Get().(*decoder)
	v, err := d.decode(text)
	d.release()
	m.scratch.Put(d)
	return v, err
}

func (m *Mapper) begin(r process.Record) *run {
	run := &run{vars: variables{source: types.String(r.Source), acceptedAt: r.AcceptedAt}, left: m.maxCost}
	run.vars.run = run
	return run
}

// make evaluates all changes. On an error it returns at most the draft at fault.
func (m *Mapper) make(r *run) ([]process.Draft, error) {
	for i := range m.changes {
		if at, err := m.changes[i].make(r); err != nil {
			if at == nil {
				return nil, err
			}
			return []process.Draft{*at}, err
		}
	}
	return nil, nil
}

// Describe is the canonical text of the mapping: versions, limits and expressions, printed
// from their syntax trees, so that spaces and comments make no difference.
func (m *Mapper) Describe() string { return m.text }

func (m *Mapper) describe() string {
	var b strings.Builder
	if m.rows != nil {
		b.WriteString(m.rows.Describe() + "\n")
	}
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
