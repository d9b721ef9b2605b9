package sim

import (
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
)

// state is what events.raw means: a fold of it by the rules of the documentation.
type state struct {
	entities map[freshet.Key]*entity
	dead     []deadLetter
	orders   map[string]control.Order
	changed  []int64 // offsets of the events that changed an entity, ascending
	repeated int
}

// entity is what is true of an entity: the submission that won, and how many had an effect.
type entity struct {
	*submission
	version freshet.Version
	events  uint64
}

func (e *entity) live() bool { return e.op == freshet.OpUpsert }

// sourceID is what an answer names as the event behind the entity.
func (e *entity) sourceID(partition int32) string {
	if e.id != "" {
		return e.id
	}
	return fmt.Sprintf("%s/%d@%d", freshet.TopicRaw, partition, e.offset)
}

type deadLetter struct {
	*submission
	class freshet.Code
}

// eventName is what makes an event a repeat of another one.
type eventName struct {
	key freshet.Key
	id  string
}

// epoch of every version so far.
const epoch = 1

// fold reads events.raw from the beginning. maxIDs bounds how many event ids are remembered.
func fold(log []*submission, maxIDs uint64) *state {
	st := &state{entities: map[freshet.Key]*entity{}, orders: map[string]control.Order{}}
	remembered := map[eventName]uint64{} // the number of each id's latest use
	var next uint64
	for _, s := range log {
		if s.dead != "" {
			st.dead = append(st.dead, deadLetter{s, s.dead})
			continue
		}
		name := eventName{s.key, s.id}
		if n, ok := remembered[name]; ok && next-n <= maxIDs {
			st.repeated++
			continue
		}
		if !st.settle(s) {
			st.dead = append(st.dead, deadLetter{s, freshet.CodeOrderMismatch})
			continue
		}
		if s.id != "" {
			remembered[name] = next
			next++
		}
		st.apply(s)
	}
	return st
}

// settle holds a collection to what its first event says about order.
func (st *state) settle(s *submission) bool {
	order := control.OrderNone
	if s.order > 0 {
		order = control.OrderSource
	}
	if st.orders[s.key.Collection] == control.OrderUndecided {
		st.orders[s.key.Collection] = order
	}
	return st.orders[s.key.Collection] == order
}

func (st *state) apply(s *submission) {
	e := st.entities[s.key]
	if e == nil {
		e = &entity{}
		st.entities[s.key] = e
	}
	version := freshet.Version{Order: s.order, Epoch: epoch, Offset: s.offset}
	if !version.After(e.version) {
		return // superseded
	}
	e.submission, e.version = s, version
	e.events++
	st.changed = append(st.changed, s.offset)
}

// lastChange is the last offset up to through whose event changed an entity, -1 if none.
func (st *state) lastChange(through int64) int64 {
	last := int64(-1)
	for _, offset := range st.changed {
		if offset > through {
			break
		}
		last = offset
	}
	return last
}
