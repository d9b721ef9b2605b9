package sim

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
)

// state is what events.raw means: a fold of it by the rules of the documentation.
type state struct {
	entities   map[freshet.Key]*entity
	dead       map[int64]*deadLetter // by the offset of their event
	orders     map[string]control.Order
	changed    []changed // ascending
	repeated   int
	replayed   int
	purged     map[freshet.Key]purged // entities that count no more: their deletions, and what was dropped
	remembered map[eventName]remembered
	next       uint64 // number of the next event id
	last       int64  // time of the last one
	expired    int
	drops      map[freshet.Shard]int64 // offsets of the last ones; with an empty namespace of all of a collection
	emptied    int                     // entities that drops have taken
	known      knowledge

	floor, before int64 // see gone
}

// changed is the offset of a record that changed an entity.
type changed struct {
	offset int64
	key    freshet.Key
}

// knowledge is what events.raw does not say.
type knowledge struct {
	maxIDs  uint64 // how many event ids are remembered
	maxAge  int64  // and for how long, ms
	since   int64  // the first offset for which collectionLate exists; never where it does not
	epochs  epochs
	dropped map[int64]int64 // dead letters that were dropped, and the end of events.raw then
}

// purged is what there was of an entity that counts no more: the newest version that it ever had, and the offset of the
// record that the last one is due to; never when it was dropped, for then there need not be a snapshot.
type purged struct {
	version freshet.Version
	decided int64
}

// remembered is the latest use of an event id, at a time that never runs back.
type remembered struct {
	number uint64
	at     int64
}

// entity is what is true of an entity: the submission that won, how many had an effect, and what
// they say together.
type entity struct {
	*submission
	version  freshet.Version
	decided  int64 // offset of the record that it is due to: its own, or that of a command
	events   uint64
	alive    bool
	expires  int64 // ms; 0: never
	text     string
	vector   []float32
	metadata map[string]any
}

func (e *entity) live() bool { return e.alive }

// due reports whether it has expired.
func (e *entity) due(now int64) bool { return e.expires != 0 && e.expires <= now }

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
	if e.command != nil {
		partition = 0
	}
	return fmt.Sprintf("%s/%d@%d", freshet.TopicRaw, partition, e.offset)
}

type deadLetter struct {
	*submission
	class    freshet.Code
	attempts int
}

// eventName is what makes an event a repeat of another one.
type eventName struct {
	key freshet.Key
	id  string
}

// fold reads events.raw from the beginning.
func fold(log []*submission, known knowledge) *state {
	st := &state{entities: map[freshet.Key]*entity{}, dead: map[int64]*deadLetter{}, orders: map[string]control.Order{},
		purged: map[freshet.Key]purged{}, remembered: map[eventName]remembered{}, drops: map[freshet.Shard]int64{}, known: known}
	for _, s := range log {
		switch {
		case s.command == nil:
			if class := st.decide(s, s.offset); class != "" {
				st.dead[s.offset] = &deadLetter{s, class, 1}
			}
		case s.command.kind == "purge":
			st.purge(s.command)
		case s.command.kind == "replay":
			st.replay(s, log[s.command.Offset])
		case s.command.kind == "expire":
			st.expire(s)
		case s.command.kind == "drop":
			st.drop(s)
		}
	}
	for offset := range known.dropped {
		delete(st.dead, offset)
	}
	return st
}

// replay has the event of a dead letter decided again, as of then, if it is still there.
func (st *state) replay(c, s *submission) {
	letter := st.dead[s.offset]
	if at, gone := st.known.dropped[s.offset]; letter == nil || gone && at <= c.offset {
		return
	}
	if class := st.decide(s, c.offset); class != "" {
		letter.class, letter.attempts = class, c.command.Attempts+1
		return
	}
	st.replayed++
	delete(st.dead, s.offset)
}

// decide gives an event its effect, or says why it has none. at is the offset of the record that it is decided by.
func (st *state) decide(s *submission, at int64) freshet.Code {
	if s.dead != "" {
		return s.dead
	}
	if s.key.Collection == collectionLate && at < st.known.since {
		return freshet.CodeUnknownCollection
	}
	name := eventName{s.key, s.id}
	now := max(st.last, s.at)
	if r, ok := st.remembered[name]; ok && st.next-r.number <= st.known.maxIDs && now-r.at <= st.known.maxAge {
		st.repeated++
		return ""
	}
	version := freshet.Version{Order: s.order, Epoch: st.known.epochs.of(s.offset), Offset: s.offset}
	if s.offset < max(st.drops[s.key.Shard()], st.drops[freshet.Shard{Collection: s.key.Collection}]) {
		return "" // from before a drop
	}
	if class := st.refuse(s, version); class != "" {
		return class
	}
	if s.id != "" {
		st.remembered[name] = remembered{st.next, now}
		st.next, st.last = st.next+1, now
	}
	st.apply(s, version, at)
	return ""
}

// refuse says why an event can't be applied after those before it.
func (st *state) refuse(s *submission, v freshet.Version) freshet.Code {
	e := st.entities[s.key]
	switch {
	case s.op != freshet.OpPatch && !st.settle(s):
		return freshet.CodeOrderMismatch
	case s.op == freshet.OpPatch && e != nil && e.version.Order > 0:
		return freshet.CodeOrderMismatch
	case e != nil && !v.After(e.version):
		return ""
	case e == nil && v.Order == 0 && v.Offset < st.floor:
		return freshet.CodeTooOld
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

// purge lets deletions go: in the order of the log those below an offset, in that of their source those before a time.
func (st *state) purge(c *command) {
	st.floor, st.before = max(st.floor, c.Floor), max(st.before, c.Before)
	for _, e := range st.entities {
		st.forget(e)
	}
}

// forget takes out an entity whose deletion counts no more.
func (st *state) forget(e *entity) {
	if e.live() || e.version.Order == 0 && e.offset >= st.floor || e.version.Order > 0 && e.at >= st.before {
		return
	}
	st.vanish(e, e.decided)
}

// vanish takes out an entity as if it had never been.
func (st *state) vanish(e *entity, decided int64) {
	p := st.purged[e.key]
	p.decided = max(p.decided, decided)
	if e.version.After(p.version) {
		p.version = e.version
	}
	st.purged[e.key] = p
	delete(st.entities, e.key)
}

// expire deletes an entity that has not changed since it was found to be due.
func (st *state) expire(s *submission) {
	c := s.command
	key := freshet.Key{Collection: c.Collection, Namespace: c.Namespace, Entity: c.Entity}
	e := st.entities[key]
	if e == nil || !e.alive || e.version != c.Version {
		return
	}
	st.expired++
	deletion := &submission{event: &event{key: key, op: freshet.OpDelete}, offset: s.offset, at: s.at, command: c}
	st.apply(deletion, freshet.Version{Order: e.version.Order, Epoch: st.known.epochs.of(s.offset), Offset: s.offset}, s.offset)
}

// apply makes an event the newest of its entity, unless that has a newer one.
func (st *state) apply(s *submission, v freshet.Version, at int64) {
	e := st.entities[s.key]
	if e == nil {
		e = &entity{}
		st.entities[s.key] = e
	}
	if !v.After(e.version) {
		return // superseded
	}
	e.submission, e.version, e.decided = s, v, at
	e.events++
	st.changed = append(st.changed, changed{at, s.key})
	switch s.op {
	case freshet.OpUpsert:
		e.alive, e.text, e.vector, e.metadata, e.expires = true, s.text, s.vector, nil, s.expires
		if s.metadata != "" {
			e.metadata = decoded([]byte(s.metadata))
		}
	case freshet.OpDelete:
		e.alive, e.text, e.vector, e.metadata, e.expires = false, "", nil, nil, 0
		st.forget(e)
	case freshet.OpPatch:
		e.patched(s.patch)
		if s.forever || s.expires > 0 {
			e.expires = s.expires
		}
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
	for _, c := range st.changed {
		if c.offset > through {
			break
		}
		last = c.offset
	}
	return last
}
