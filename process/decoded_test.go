package process_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/process"
)

// schemas is a decoder of events behind the name of a schema and a colon: it knows the names, or does not answer.
type schemas struct {
	mu    sync.Mutex // guards what follows
	known string
	down  bool
	asked int
}

func (s *schemas) Describe() string { return "schemas" }

func (s *schemas) Decode(raw []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	name, event, ok := bytes.Cut(raw, []byte(":"))
	switch {
	case !ok || raw[0] == '{':
		return raw, nil
	case s.down:
		return nil, &freshet.Error{Code: freshet.CodeUnavailable, Message: "the registry does not answer"}
	case !strings.Contains(s.known, string(name)):
		return nil, &freshet.Error{Code: freshet.CodeUnknownSchema, Message: "there is no schema " + string(name)}
	}
	return event, nil
}

func (s *schemas) set(known string, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.down = known, down
}

func withSchemas(s *schemas) setting {
	return func(b *bench) {
		b.options.Mapper = process.Decoded{Decoder: s, Mapper: scripted{}}
	}
}

// appendRaw makes records durable as they are.
func (b *bench) appendRaw(records ...string) {
	b.t.Helper()
	var batch journal.Batch
	for _, raw := range records {
		batch.Add(0, nil, []byte(raw))
	}
	if _, err := b.log.AppendRaw(b.t.Context(), &batch); err != nil {
		b.t.Fatal(err)
	}
}

// auditError is why an audit can't be done.
func (b *bench) auditError() error {
	return process.Audit(b.t.Context(), b.log, b.options, &freshet.AuditReport{})
}

// While what a mapping needs does not answer nothing is decided, and nothing becomes a dead letter.
func TestUnavailableSchemasPause(t *testing.T) {
	s := &schemas{known: "s", down: true}
	b := newBench(t, withSchemas(s))
	b.appendRaw(`{"entity_id":"first","payload":{"text":"x"}}`, `s:{"entity_id":"a","payload":{"text":"red"}}`)
	for range 1000 {
		if s.mu.Lock(); s.asked > 4 {
			s.mu.Unlock()
			break
		}
		s.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
	if !b.proc.Stats.Paused.Load() || len(b.state()) != 0 || len(b.letters()) != 0 {
		t.Fatalf("paused %v, %v, %v", b.proc.Stats.Paused.Load(), b.state(), b.letters())
	}
	b.mustBeClean() // of nothing
	s.set("s", false)
	b.settle()
	if len(b.state()) != 2 || len(b.letters()) != 0 {
		t.Errorf("%v, %v", b.state(), b.letters())
	}
	b.mustBeClean()
	s.set("s", true)
	if err := b.auditError(); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("an audit without the registry: %v", err)
	}
	s.set("", false)
	if err := b.auditError(); err == nil || !strings.Contains(err.Error(), "can't be read any more") {
		t.Errorf("an audit of a schema that is gone: %v", err)
	}
}

// A record of a schema that nobody knows is a dead letter with its bytes. An audit takes that as it was, though the schema may be there by
// now, and a replay decides it anew, which an audit takes as it was too.
func TestUnknownSchemas(t *testing.T) {
	s := &schemas{known: "s"}
	b := newBench(t, withSchemas(s))
	const late = `t:{"each":[{"entity_id":"a","payload":{"text":"red"}},{"entity_id":"b","payload":{"text":"blue"}}]}`
	b.appendRaw(late, `s:{"entity_id":"b","payload":{"text":"green"}}`, late, late)
	b.settle()
	if dead := b.letters(); len(dead) != 3 || dead[0].Class != freshet.CodeUnknownSchema || !dead[0].Whole || string(dead[0].Value) != late {
		t.Fatalf("%+v", dead)
	}
	b.mustBeClean()
	s.set("s t", false) // it comes later
	b.mustBeClean()
	s.set("s", false)
	b.replay(b.letters()[:1]) // in vain
	if dead := b.letters(); len(dead) != 3 || dead[0].Attempts != 2 {
		t.Errorf("%+v", dead)
	}
	b.mustBeClean()
	s.set("s t", false)
	b.mustBeClean()
	letters := b.letters()
	b.replay(letters[:1])
	if state := b.state(); len(b.letters()) != 2 || len(state) != 2 {
		t.Errorf("%+v, %+v", state, b.letters())
	}
	b.mustBeClean()
	if n, err := b.proc.Drop(t.Context(), letters[1:2]); n != 1 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	b.mustBeClean()
	s.set("s", false) // what the replay has decided can't be read any more
	if err := b.auditError(); err == nil || !strings.Contains(err.Error(), "can't be read any more") {
		t.Errorf("an audit of a replay whose schema is gone: %v", err)
	}
}

// A change that stands alone in its record is a dead letter of that change where nobody knows its schema, though who took the event apart did: its
// replay decides that change, and no other of the event.
func TestUnknownSchemaOfOneChange(t *testing.T) {
	s := &schemas{known: "s"}
	b := newBench(t, withSchemas(s))
	const late = `t:{"each":[{"entity_id":"a","payload":{"text":"red"}},{"entity_id":"b","payload":{"text":"blue"}},{"entity_id":"c","payload":{"text":"green"}}]}`
	for _, change := range []string{"3", "1", "2"} {
		if _, err := b.log.Append(t.Context(), journal.Record{Value: []byte(late), Headers: []journal.Header{{Name: freshet.HeaderChange, Value: []byte(change)}}}); err != nil {
			t.Fatal(err)
		}
	}
	b.settle()
	if dead := strings.Join(b.dead(), ", "); dead != "0/2 map unknown_schema, 1/0 map unknown_schema, 2/1 map unknown_schema" {
		t.Fatalf("dead letters are %s", dead)
	}
	b.mustBeClean()
	b.replay(b.letters()[:1]) // in vain
	s.set("s t", false)       // it comes later
	b.mustBeClean()
	for i, want := range []string{`c@0 "green" events=1 points=1`, "a@1 \"red\" events=1 points=1\nc@0 \"green\" events=1 points=1",
		"a@1 \"red\" events=1 points=1\nb@2 \"blue\" events=1 points=1\nc@0 \"green\" events=1 points=1"} {
		b.replay(b.letters()[:1])
		if got := b.shown(); got != want || len(b.letters()) != 2-i {
			t.Errorf("after %d replays vector.sync holds\n%s\nwant\n%s; dead letters %v", i+1, got, want, b.dead())
		}
		b.mustBeClean()
	}
}
