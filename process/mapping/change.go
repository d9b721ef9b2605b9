package mapping

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
)

// change is a compiled [Change]. Expressions that were not given are nil.
type change struct {
	when, forEach                          *expression
	collection, namespace, entity, eventID *expression
	op, del                                *expression
	text, embed, vector, metadata          *expression
	timestamp, expiresAt, order            *expression
}

// field is one expression of a change and its place in the configuration.
type field struct {
	name   string
	expr   **expression
	source func(Change) string
	kind   kind
}

// fields lists the expressions in the order of [Change].
func (c *change) fields() []field {
	return []field{
		{"when", &c.when, func(ch Change) string { return ch.When }, kindBool},
		{"for_each", &c.forEach, func(ch Change) string { return ch.ForEach }, kindList},
		{"collection", &c.collection, func(ch Change) string { return ch.Collection }, kindID},
		{"namespace", &c.namespace, func(ch Change) string { return ch.Namespace }, kindID},
		{"entity", &c.entity, func(ch Change) string { return ch.Entity }, kindID},
		{"event_id", &c.eventID, func(ch Change) string { return ch.EventID }, kindID},
		{"op", &c.op, func(ch Change) string { return ch.Op }, kindText},
		{"delete", &c.del, func(ch Change) string { return ch.Delete }, kindBool},
		{"text", &c.text, func(ch Change) string { return ch.Text }, kindText},
		{"embed", &c.embed, func(ch Change) string { return ch.Embed }, kindText},
		{"vector", &c.vector, func(ch Change) string { return ch.Vector }, kindVector},
		{"metadata", &c.metadata, func(ch Change) string { return ch.Metadata }, kindMap},
		{"timestamp", &c.timestamp, func(ch Change) string { return ch.Timestamp }, kindTimestamp},
		{"expires_at", &c.expiresAt, func(ch Change) string { return ch.ExpiresAt }, kindTimestamp},
		{"order", &c.order, func(ch Change) string { return ch.Order }, kindOrder},
	}
}

// compile compiles all expressions of entry i of the configuration and reports all that are
// wrong.
func (c *change) compile(envs environments, i int, ch Change, maxCost uint64) error {
	var errs []error
	for _, f := range c.fields() {
		env := envs.event
		if ch.ForEach != "" && f.expr != &c.when && f.expr != &c.forEach {
			env = envs.item
		}
		e, err := compile(env, fmt.Sprintf("mapping.changes[%d].%s", i, f.name), f.source(ch), f.kind, maxCost)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		*f.expr = e
	}
	return errors.Join(errs...)
}

// make appends the drafts of the change to the run. On an error it returns the draft at
// fault as far as it got, nil if it got to none.
func (c *change) make(r *run) (*process.Draft, error) {
	if wanted, err := c.wanted(r); err != nil || !wanted {
		return nil, err
	}
	if c.forEach == nil {
		d, err := c.draft(r)
		if err != nil {
			return &d, err
		}
		r.drafts = append(r.drafts, d)
		return nil, nil
	}
	list, err := c.elements(r)
	if err != nil || list == nil {
		return nil, err
	}
	n := list.Size().(types.Int)
	defer func() { r.vars.item = nil }()
	for i := types.IntZero; i < n; i++ {
		r.vars.item, r.vars.index = list.Get(i), i
		d, err := c.draft(r)
		if err != nil {
			return &d, atElement(err, i)
		}
		r.drafts = append(r.drafts, d)
	}
	return nil, nil
}

// wanted evaluates when.
func (c *change) wanted(r *run) (bool, error) {
	if c.when == nil {
		return true, nil
	}
	wanted := false
	_, err := read(r, c.when, &wanted, toBool)
	return wanted, err
}

// elements evaluates for_each; nil stands for an absent list, which has no elements.
func (c *change) elements(r *run) (traits.Lister, error) {
	v, ok, err := r.eval(c.forEach)
	if err != nil || !ok {
		return nil, err
	}
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, at(c.forEach, mismatch(v, kindList.words))
	}
	if n := list.Size().(types.Int); n > MaxElements {
		return nil, at(c.forEach, wrong(freshet.CodeTooLarge, "has %d elements, an event makes at most %d changes this way; split the event", n, MaxElements))
	}
	return list, nil
}

// draft evaluates what is said per draft. On an error the draft holds what was known before.
func (c *change) draft(r *run) (process.Draft, error) {
	d := process.Draft{Op: freshet.OpUpsert, Key: freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace}}
	if r.row != nil {
		d.Op, d.EventID, d.Timestamp, d.Order = process.RowOp(r.row), r.row.EventID, r.row.Timestamp, r.row.Order
	}
	if err := c.identify(r, &d); err != nil || d.Op == freshet.OpDelete {
		return d, err
	}
	text, err := read(r, c.text, &d.Text, toText)
	if err != nil {
		return d, err
	}
	d.Embed = d.Text
	embed, err := read(r, c.embed, &d.Embed, toText)
	if err != nil {
		return d, err
	}
	if _, err := read(r, c.vector, &d.Vector, toVector); err != nil {
		return d, err
	}
	if _, err := read(r, c.metadata, &d.Metadata, toMetadata); err != nil {
		return d, err
	}
	expires, err := read(r, c.expiresAt, &d.ExpiresAt, toTimestamp)
	if err != nil {
		return d, err
	}
	if !r.spend(uint64(len(d.Metadata)) / unitBytes) {
		return d, c.metadata.failed(errCost)
	}
	if d.Op == freshet.OpPatch {
		d.SetsText, d.SetsEmbed, d.SetsExpiry = text, embed, expires
		return d, nil
	}
	d.OwnText = text && process.IsJoined(d.Text, d.Metadata)
	if d.Vector == nil && strings.TrimSpace(d.Embed) == "" {
		return d, &freshet.Error{Code: freshet.CodeNoContent, Field: c.contentField(),
			Message: "is empty or absent, and there is no vector; an entity needs one to be found by (leave such events out with when, or delete the entity)"}
	}
	return d, nil
}

// identify evaluates what a deletion has too: key, ids, operation and places in time.
func (c *change) identify(r *run, d *process.Draft) error {
	found, err := read(r, c.entity, &d.Key.Entity, toID)
	if err != nil {
		return err
	}
	if !found {
		return &freshet.Error{Code: freshet.CodeMissingField, Field: c.entity.field,
			Message: fmt.Sprintf("%q gives nothing for this event; every change names its entity", clip(c.entity.source))}
	}
	if _, err := read(r, c.collection, &d.Key.Collection, toID); err != nil {
		return err
	}
	if _, err := read(r, c.namespace, &d.Key.Namespace, toID); err != nil {
		return err
	}
	if _, err := read(r, c.eventID, &d.EventID, toID); err != nil {
		return err
	}
	if _, err := read(r, c.op, &d.Op, toOp); err != nil {
		return err
	}
	deleted := false
	if _, err := read(r, c.del, &deleted, toBool); err != nil {
		return err
	}
	if deleted {
		d.Op = freshet.OpDelete
	}
	if _, err := read(r, c.timestamp, &d.Timestamp, toTimestamp); err != nil {
		return err
	}
	_, err = read(r, c.order, &d.Order, toOrder)
	return err
}

// contentField names the expression that should have given content.
func (c *change) contentField() string {
	for _, e := range []*expression{c.embed, c.text, c.vector} {
		if e != nil {
			return e.field
		}
	}
	return strings.TrimSuffix(c.entity.field, "entity") + "text"
}

// read evaluates e into dst, which stays as it is if the value is absent.
func read[T any](r *run, e *expression, dst *T, convert func(ref.Val) (T, *freshet.Error)) (found bool, err error) {
	v, ok, err := r.eval(e)
	if err != nil || !ok {
		return false, err
	}
	got, problem := convert(v)
	if problem != nil {
		return false, at(e, problem)
	}
	*dst = got
	return true, nil
}

// at completes an error with the field and the expression.
func at(e *expression, problem *freshet.Error) error {
	problem.Field = e.field
	problem.Message = fmt.Sprintf("%q %s", clip(e.source), problem.Message)
	return problem
}

// atElement adds the place in the for_each list.
func atElement(err error, index types.Int) error {
	var problem *freshet.Error
	if errors.As(err, &problem) {
		problem.Message += fmt.Sprintf(" (element %d of for_each)", index)
	}
	return err
}
