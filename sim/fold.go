package sim

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/process"
)

// state is what events.raw means: a fold of it by the rules of the documentation.
type state struct {
	entities map[freshet.Key]*entity
	dead     []deadLetter
	orders   map[string]control.Order
	changed  []int64 // offsets of the events that changed an entity, ascending
	repeated int
	purged   map[freshet.Key]freshet.Version // deletions that count no more
}

// entity is what is true of an entity: the submission that won, how many had an effect, and what
// they say together.
type entity struct {
	*submission
	version  freshet.Version
	events   uint64
	alive    bool
	text     string
	vector   []float32
	metadata map[string]any
}

func (e *entity) live() bool { return e.alive }

// color is what a filter finds it by, "" without one.
func (e *entity) color() string {
	s, _ := e.metadata["color"].(string)
	return s
}

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
	st := &state{entities: map[freshet.Key]*entity{}, orders: map[string]control.Order{}, purged: map[freshet.Key]freshet.Version{}}
	remembered := map[eventName]uint64{} // the number of each id's latest use
	var next uint64
	for _, s := range log {
		if s.purge != nil {
			st.purge(s.purge)
			continue
		}
		if s.dead != "" {
			st.dead = append(st.dead, deadLetter{s, s.dead})
			continue
		}
		name := eventName{s.key, s.id}
		if n, ok := remembered[name]; ok && next-n <= maxIDs {
			st.repeated++
			continue
		}
		if class := st.refuse(s); class != "" {
			st.dead = append(st.dead, deadLetter{s, class})
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

// refuse says why an event can't be applied after those before it.
func (st *state) refuse(s *submission) freshet.Code {
	e := st.entities[s.key]
	switch {
	case s.op != freshet.OpPatch && !st.settle(s):
		return freshet.CodeOrderMismatch
	case s.op == freshet.OpPatch && e != nil && e.version.Order > 0:
		return freshet.CodeOrderMismatch
	case s.op == freshet.OpPatch && (e == nil || !e.alive):
		return freshet.CodeNotFound
	}
	return ""
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

// purge forgets deletions: in the order of the log those below an offset, in that of their source those before a time.
func (st *state) purge(p *process.Purge) {
	for key, e := range st.entities {
		if e.live() || e.version.Order == 0 && e.offset >= p.Floor || e.version.Order > 0 && e.at >= p.Before {
			continue
		}
		if e.version.After(st.purged[key]) {
			st.purged[key] = e.version
		}
		delete(st.entities, key)
	}
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
	switch s.op {
	case freshet.OpUpsert:
		e.alive, e.text, e.vector, e.metadata = true, s.text, s.vector, nil
		if s.metadata != "" {
			e.metadata = decoded([]byte(s.metadata))
		}
	case freshet.OpDelete:
		e.alive, e.text, e.vector, e.metadata = false, "", nil, nil
	case freshet.OpPatch:
		e.patched(s.patch)
	}
}

// patched applies a merge patch, whose objects go one level down, to what the entity says.
func (e *entity) patched(patch map[string]any) {
	merged := map[string]any{}
	maps.Copy(merged, e.metadata)
	for name, v := range patch {
		object, isObject := v.(map[string]any)
		switch {
		case name == "text":
			e.text = v.(string)
		case v == nil:
			delete(merged, name)
		case isObject:
			inner := map[string]any{}
			if old, ok := merged[name].(map[string]any); ok {
				maps.Copy(inner, old)
			}
			for k, v := range object {
				if v == nil {
					delete(inner, k)
				} else {
					inner[k] = float64(v.(int))
				}
			}
			merged[name] = inner
		default:
			merged[name] = v
		}
	}
	if e.metadata = merged; len(merged) == 0 {
		e.metadata = nil
	}
}

// decoded is a JSON object, nil where there is none.
func decoded(b []byte) (object map[string]any) {
	if len(b) > 0 && json.Unmarshal(b, &object) != nil {
		panic("metadata that are no object")
	}
	return object
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
