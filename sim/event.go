package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet"
)

// The collections of a simulation, beside freshet.DefaultCollection.
const (
	collectionVectors = "vectors" // ready vectors
	collectionOrdered = "ordered" // ready vectors, ordered by their source
	autoPrefix        = "auto-"   // made by the first event that names them
	autoCollections   = 3
	collectionLate    = "late" // declared in a later life; what came before are dead letters
	dim               = 4      // of ready vectors
)

// event is one event and what it means by the documentation.
type event struct {
	raw      []byte // nil: a delete through the API, whose bytes are not the client's
	key      freshet.Key
	id       string
	op       freshet.Op
	order    int64
	time     int64
	text     string
	metadata string // "" when there is none
	vector   []float32
	patch    map[string]any // of a patch: what it says of the payload
	expires  int64          // ms; 0: never, and of a patch: as before
	forever  bool           // of a patch: it does not expire any more
	// dead says why it can't be applied, whatever came before; "" when it can.
	dead freshet.Code
	// huge says that its vector holds a number that no float32 can.
	huge bool
	// again says that its id was submitted before.
	again bool
}

// hasModel says whether the events of a collection are embedded.
func hasModel(collection string) bool {
	return collection != collectionVectors && collection != collectionOrdered
}

// author makes up events. Equal random sources give equal events.
type author struct {
	rng    *rand.Rand
	name   string // distinguishes the ids of authors
	count  int
	metric string
	texts  texts
	late   bool // collectionLate exists
	clock  *clock
	stray  bool // only events of collectionLate
}

// texts is what an author said of each entity last.
type texts map[freshet.Key]string

var (
	words    = strings.Fields("river delta spring tide flood stream brook rain cloud snow ice melt bank bed mouth source lake pond sea ocean wave drop well pipe pump valve gate lock dam weir mill bridge ferry boat sail oar net fish trout otter heron reed moss")
	colors   = []string{"red", "green", "blue"}
	entities = []string{"a", "b", "c", "d", "e", "f", "g", "h", "docs/read me.txt", "ünïcode", "0", strings.Repeat("long", 256)}
)

// write makes up an event.
func (a *author) write() *event {
	e := a.blank()
	switch p := a.rng.IntN(100); {
	case p < 60:
		a.content(e)
	case p < 75:
		a.content(e)
		if last, ok := a.texts[e.key]; ok { // the metadata alone changes
			e.text = last
		}
	case p < 82:
		e.op, e.order, e.patch = freshet.OpPatch, 0, a.patch()
		e.forever = a.rng.IntN(8) == 0
		a.expire(e)
	case p < 92:
		e.op = freshet.OpDelete
		if a.rng.IntN(2) == 0 && !a.stray && !strings.HasPrefix(e.key.Collection, autoPrefix) {
			e.time = 0 // through the API, which takes none
			return e
		}
	default:
		a.content(e)
		a.spoil(e)
	}
	if e.text != "" && e.dead == "" && e.op == freshet.OpUpsert {
		a.texts[e.key] = e.text
	}
	e.raw = e.encode()
	return e
}

// rewrite makes up an event with the id of another one, and another content.
func (a *author) rewrite(old *event) *event {
	e := &event{key: old.key, id: old.id, op: freshet.OpUpsert, order: old.order, again: true}
	a.content(e)
	e.raw = e.encode()
	return e
}

// blank chooses an entity and the fields that every event has.
func (a *author) blank() *event {
	e := &event{op: freshet.OpUpsert, time: a.rng.Int64N(2) * (1 + a.rng.Int64N(1e12))}
	e.key = freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: entities[a.rng.IntN(len(entities))]}
	switch a.rng.IntN(6) {
	case 0, 1:
		e.key.Collection = collectionVectors
	case 2, 3:
		e.key.Collection = collectionOrdered
	case 4:
		e.key.Collection = autoPrefix + strconv.Itoa(a.rng.IntN(autoCollections))
	case 5:
		if a.late && a.rng.IntN(2) == 0 {
			e.key.Collection = collectionLate
		}
	}
	if a.stray {
		e.key.Collection = collectionLate
	}
	if a.rng.IntN(3) == 0 {
		e.key.Namespace = "tenant"
	}
	if e.key.Collection == collectionOrdered && a.rng.IntN(50) > 0 {
		e.order = 1 + a.rng.Int64N(1000)
	} else if e.key.Collection != collectionOrdered && a.rng.IntN(100) == 0 {
		e.order = 1
	}
	if a.count++; a.rng.IntN(5) > 0 {
		e.id = fmt.Sprintf("%s.%d", a.name, a.count)
	}
	return e
}

// expire has an event say now and then when its entity expires.
func (a *author) expire(e *event) {
	if !e.forever && a.rng.IntN(6) == 0 {
		e.expires = a.clock.expiry(a.rng)
	}
}

// content fills in what an upsert says.
func (a *author) content(e *event) {
	a.expire(e)
	color := colors[a.rng.IntN(len(colors))]
	e.metadata = fmt.Sprintf(`{"n":%d,"color":%q}`, a.rng.IntN(5), color)
	if a.rng.IntN(12) == 0 { // longer than a block of the disk
		e.metadata = fmt.Sprintf(`{"color":%q,"pad":%q}`, color, strings.Repeat("x", a.rng.IntN(9000)))
	}
	if a.rng.IntN(20) == 0 {
		e.metadata = ""
	}
	if hasModel(e.key.Collection) {
		e.text = a.sentence()
		return
	}
	e.vector = make([]float32, dim)
	for i := range e.vector {
		e.vector[i] = float32(a.rng.IntN(64)-32) / 8
	}
	e.vector[a.rng.IntN(dim)] = 5 // no zero vector
	if a.rng.IntN(2) == 0 {
		e.text = a.sentence()
	}
}

// patch makes up what a patch says of the payload.
func (a *author) patch() map[string]any {
	p := map[string]any{}
	if a.rng.IntN(3) == 0 {
		p["text"] = a.sentence()
	}
	for _, name := range []string{"n", "color", "more"} {
		switch a.rng.IntN(5) {
		case 0:
			p[name] = nil
		case 1:
			p[name] = colors[a.rng.IntN(len(colors))]
		case 2:
			p[name] = map[string]any{"x": a.rng.IntN(3), "y": nil}
		}
	}
	return p
}

// sentence is often one that was said before, and now and then so long that it is split.
func (a *author) sentence() string {
	n := 1 + a.rng.IntN(4)
	if a.rng.IntN(16) == 0 {
		n = 10 + a.rng.IntN(30)
	}
	s := make([]string, n)
	for i := range s {
		s[i] = words[a.rng.IntN(len(words))]
	}
	return strings.Join(s, " ")
}

// spoil makes an event that is accepted, but can't be applied.
func (a *author) spoil(e *event) {
	switch {
	case hasModel(e.key.Collection) && a.rng.IntN(2) == 0:
		e.text, e.metadata, e.dead = "", "", freshet.CodeNoContent
	case hasModel(e.key.Collection):
		e.vector, e.dead = []float32{1, 2, 3}, freshet.CodeWrongDimension
	case a.rng.IntN(3) == 0:
		e.vector, e.dead = nil, freshet.CodeNoContent
		e.text = "no vector"
	case a.rng.IntN(2) == 0 && a.metric == "cosine":
		e.vector, e.dead = make([]float32, dim), freshet.CodeBadVector
	case a.rng.IntN(2) == 0:
		e.vector, e.dead = append(e.vector, 1), freshet.CodeWrongDimension
	default:
		e.dead, e.huge = freshet.CodeBadVector, true
	}
}

// encode gives the bytes of the event in the default mapping.
func (e *event) encode() []byte {
	b := append([]byte(`{"entity_id":`), quote(e.key.Entity)...)
	field := func(name string, value []byte) {
		b = append(append(append(b, `,"`+name+`":`...), value...), ' ')
	}
	if e.id != "" {
		field("event_id", quote(e.id))
	}
	if e.key.Collection != freshet.DefaultCollection {
		field("collection", quote(e.key.Collection))
	}
	if e.key.Namespace != freshet.DefaultNamespace {
		field("namespace", quote(e.key.Namespace))
	}
	if e.op == freshet.OpDelete {
		field("op", quote("delete"))
	}
	if e.op == freshet.OpPatch {
		field("op", quote("patch"))
		field("payload", must(json.Marshal(e.patch)))
	}
	if e.forever {
		field("expires_at", []byte("null"))
	} else if e.expires > 0 {
		field("expires_at", strconv.AppendInt(nil, e.expires, 10))
	}
	if e.order > 0 {
		field("order", strconv.AppendInt(nil, e.order, 10))
	}
	if e.time > 0 {
		field("timestamp", strconv.AppendInt(nil, e.time, 10))
	}
	if e.huge {
		field("vector", []byte("[1,2,3,1e999]")) // found only when the event is read whole
	} else if e.vector != nil {
		field("vector", must(json.Marshal(e.vector)))
	}
	if e.op == freshet.OpUpsert {
		field("payload", e.payload())
	}
	return append(b, '}')
}

func (e *event) payload() []byte {
	b := []byte{'{'}
	if e.text != "" {
		b = append(append(b, `"text":`...), quote(e.text)...)
	}
	if e.metadata != "" {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, e.metadata[1:len(e.metadata)-1]...)
	}
	return append(b, '}')
}

func quote(s string) []byte { return must(json.Marshal(s)) }

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err) // strings and finite numbers can be encoded
	}
	return b
}
