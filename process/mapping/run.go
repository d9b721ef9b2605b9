package mapping

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/process"
)

// run is the work on one record.
type run struct {
	vars   variables
	row    *cdc.Row // nil where the event is an object as it is
	left   uint64   // what expressions may still cost
	drafts []process.Draft
}

// variables is the cel.Activation of a run.
type variables struct {
	event      ref.Val
	facts      ref.Val // of a row, under the name cdc; else nil
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
	case "cdc":
		return v.facts, v.facts != nil
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
