package process_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
)

// show is an entity in one line: name, version, state and the count of its events.
func show(name string, c freshet.Change) string {
	v := fmt.Sprint(c.Version.Offset)
	if c.Version.Order > 0 {
		v = fmt.Sprintf("%d^%d", c.Version.Offset, c.Version.Order)
	}
	what := fmt.Sprintf("%q", c.Text)
	if c.Deleted() {
		what = "deleted"
	}
	return fmt.Sprintf("%s@%s %s events=%d points=%d", name, v, what, c.Events, len(c.Points))
}

func (b *bench) shown() string {
	var lines []string
	for name, c := range b.state() {
		lines = append(lines, show(name, c))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Every outcome that an event can have. Each case runs as one batch and one by one: what
// follows must be the same.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name     string
		events   []string
		outcomes string
		state    string
		dead     string
		settings []setting
		spread   bool // only one by one: a batch has one time, and does not embed what it overwrites
	}{
		{name: "new entities",
			events:   []string{"a red", "b blue"},
			outcomes: "applied 2",
			state:    "a@0 \"red\" events=1 points=1\nb@1 \"blue\" events=1 points=1"},
		{name: "an update replaces",
			events:   []string{"a red", "a blue"},
			outcomes: "applied 2",
			state:    `a@1 "blue" events=2 points=1`},
		{name: "a deletion leaves a tombstone",
			events:   []string{"a red", "-a"},
			outcomes: "applied 1, deleted 1",
			state:    "a@1 deleted events=2 points=0"},
		{name: "a deletion of nothing too",
			events:   []string{"-a"},
			outcomes: "deleted 1",
			state:    "a@0 deleted events=1 points=0"},
		{name: "a deleted entity comes back",
			events:   []string{"a red", "-a", "a red"},
			outcomes: "applied 2, deleted 1",
			state:    `a@2 "red" events=3 points=1`},
		{name: "the same again is unchanged, and counts",
			events:   []string{"a red", "a red"},
			outcomes: "applied 1, unchanged 1",
			state:    `a@1 "red" events=2 points=1`},
		{name: "other metadata is a change",
			events:   []string{`{"entity_id":"a","payload":{"text":"red","n":1}}`, `{"entity_id":"a","payload":{"text":"red","n":2}}`},
			outcomes: "applied 2",
			state:    `a@1 "red" events=2 points=1`},
		{name: "an older order is superseded",
			events:   []string{"a red ^5", "a blue ^4", "a green ^6"},
			outcomes: "applied 2, superseded 1",
			state:    `a@2^6 "green" events=2 points=1`},
		{name: "of one order the later event wins",
			events:   []string{"a red ^5", "a blue ^5"},
			outcomes: "applied 2",
			state:    `a@1^5 "blue" events=2 points=1`},
		{name: "an upsert older than a deletion does not revive",
			events:   []string{"a red ^1", "-a ^9", "a blue ^5"},
			outcomes: "applied 1, deleted 1, superseded 1",
			state:    "a@1^9 deleted events=2 points=0"},
		{name: "a repeat has no effect",
			events:   []string{"a red #1", "a blue #2", "a red #1"},
			outcomes: "applied 2, repeated 1",
			state:    `a@1 "blue" events=2 points=1`},
		{name: "the same id of another entity is no repeat",
			events:   []string{"a red #1", "b red #1", "a red #1 @other"},
			outcomes: "applied 3",
			state:    "a@0 \"red\" events=1 points=1\na@other@2 \"red\" events=1 points=1\nb@1 \"red\" events=1 points=1"},
		{name: "a repeat of what was superseded",
			events:   []string{"a red ^5", "a blue ^4 #1", "a blue ^4 #1"},
			outcomes: "applied 1, superseded 1, repeated 1",
			state:    `a@0^5 "red" events=1 points=1`},
		{name: "a repeated deletion",
			events:   []string{"-a #1", "a red", "-a #1"},
			outcomes: "applied 1, deleted 1, repeated 1",
			state:    `a@1 "red" events=2 points=1`},
		{name: "an id counts as long as its age allows",
			events:   []string{"a red #1 %1000", "a blue #2 %1010", "a red #1 %1020"},
			outcomes: "applied 2, repeated 1",
			state:    `a@1 "blue" events=2 points=1`,
			settings: []setting{withWindow(process.Window{MaxAgeMs: 20_000, MaxIDs: 100})}, spread: true},
		{name: "and not longer",
			events:   []string{"a red #1 %1000", "a blue #2 %1010", "a red #1 %1021"},
			outcomes: "applied 3",
			state:    `a@2 "red" events=3 points=1`,
			settings: []setting{withWindow(process.Window{MaxAgeMs: 20_000, MaxIDs: 100})}, spread: true},
		{name: "also when the clock is set back then",
			events:   []string{"a red #1 %1000", "a blue #2 %1021", "b red #3 %1022", "b red #4 %1023", "a red #1 %1005", "a red #1 %1006"},
			outcomes: "applied 4, unchanged 1, repeated 1",
			state:    "a@4 \"red\" events=3 points=1\nb@3 \"red\" events=2 points=1",
			settings: []setting{withWindow(process.Window{MaxAgeMs: 20_000, MaxIDs: 100})}, spread: true},
		{name: "an id counts until so many others came",
			events:   []string{"a red #1", "b red #2", "b red #3", "a red #1"},
			outcomes: "applied 2, unchanged 1, repeated 1",
			state:    "a@0 \"red\" events=1 points=1\nb@2 \"red\" events=2 points=1",
			settings: []setting{withWindow(process.Window{MaxAgeMs: 1e9, MaxIDs: 3})}},
		{name: "and not after that",
			events:   []string{"a red #1", "b red #2", "b red #3", "b red #4", "a red #1", "a red #1"},
			outcomes: "applied 2, unchanged 3, repeated 1",
			state:    "a@4 \"red\" events=2 points=1\nb@3 \"red\" events=3 points=1",
			settings: []setting{withWindow(process.Window{MaxAgeMs: 1e9, MaxIDs: 3})}},
		{name: "dropped by the mapping",
			events:   []string{`{"drop":true}`, "a red"},
			outcomes: "applied 1, dropped 1",
			state:    `a@1 "red" events=1 points=1`},
		{name: "one event, several changes",
			events:   []string{`{"each":[{"entity_id":"a","payload":{"text":"red"}},{"entity_id":"b","payload":{"text":"blue"}}]}`},
			outcomes: "applied 2",
			state:    "a@0 \"red\" events=1 points=1\nb@0 \"blue\" events=1 points=1"},
		{name: "two changes of one entity for one event",
			events:   []string{`{"each":[{"entity_id":"a","payload":{"text":"red"}},{"entity_id":"a","payload":{"text":"blue"}}]}`},
			outcomes: "applied 1, dead 1",
			state:    `a@0 "red" events=1 points=1`,
			dead:     "0/1 map mapping_failed"},
		{name: "the same with an event id is no repeat",
			events: []string{`{"each":[{"event_id":"1","entity_id":"a","payload":{"text":"red"}},{"event_id":"1","entity_id":"a","payload":{"text":"blue"}}]}`,
				"a green #1"},
			outcomes: "applied 1, repeated 1, dead 1",
			state:    `a@0 "red" events=1 points=1`,
			dead:     "0/1 map mapping_failed"},
		{name: "the first event settles that there is an order",
			events:   []string{"a red ^1", "b blue", "-a", "c red @other"},
			outcomes: "applied 2, dead 2",
			state:    "a@0^1 \"red\" events=1 points=1\nc@other@3 \"red\" events=1 points=1",
			dead:     "1/0 sequence order_mismatch\n2/0 sequence order_mismatch"},
		{name: "or that there is none",
			events:   []string{"a red", "b blue ^7", "c red ^7 @other"},
			outcomes: "applied 2, dead 1",
			state:    "a@0 \"red\" events=1 points=1\nc@other@2^7 \"red\" events=1 points=1",
			dead:     "1/0 sequence order_mismatch"},
		{name: "an event that is a dead letter settles nothing",
			events:   []string{`{"entity_id":"a","payload":[],"order":3}`, "a red"},
			outcomes: "applied 1, dead 1",
			state:    `a@1 "red" events=1 points=1`,
			dead:     "0/0 map invalid_field"},
		{name: "a dead letter's id is free to be sent again",
			events:   []string{`{"event_id":"1","entity_id":"a","payload":{}}`, "a red #1"},
			outcomes: "applied 1, dead 1",
			state:    `a@1 "red" events=1 points=1`,
			dead:     "0/0 map no_content"},
		{name: "an unknown collection",
			events:   []string{"a red @nowhere", "a red"},
			outcomes: "applied 1, dead 1",
			state:    `a@1 "red" events=1 points=1`,
			dead:     "0/0 validate unknown_collection"},
		{name: "is made with auto_create",
			events:   []string{"a red @nowhere", "a red @nowhere", "-b @elsewhere"},
			outcomes: "applied 1, deleted 1, unchanged 1",
			state:    "a@nowhere@1 \"red\" events=2 points=1\nb@elsewhere@2 deleted events=1 points=0",
			settings: []setting{withAutoCreate}},
		{name: "its order is its own",
			events:   []string{"a red", "a red ^1 @nowhere", "a red @nowhere"},
			outcomes: "applied 2, dead 1",
			state:    "a@0 \"red\" events=1 points=1\na@nowhere@1^1 \"red\" events=1 points=1",
			dead:     "2/0 sequence order_mismatch",
			settings: []setting{withAutoCreate}},
		{name: "a refused text costs that event alone",
			events:   []string{"a red", "a bad", "b blue", "a bad too", "a bad"},
			outcomes: "applied 2, dead 3",
			state:    "a@0 \"red\" events=1 points=1\nb@2 \"blue\" events=1 points=1",
			dead:     "1/0 embed embed_failed\n3/0 embed embed_failed\n4/0 embed embed_failed"},
		{name: "a repeat of a refused event is tried again",
			events:   []string{"a bad #1", "a red #1"},
			outcomes: "applied 1, dead 1",
			state:    `a@1 "red" events=1 points=1`,
			dead:     "0/0 embed embed_failed",
			spread:   true},
	} {
		for _, way := range []string{"one batch", "one by one"} {
			if way == "one batch" && c.spread {
				continue
			}
			t.Run(c.name+"/"+way, func(t *testing.T) {
				b := newBench(t, c.settings...)
				if way == "one batch" {
					b.send(c.events)
				} else {
					b.send(oneByOne(c.events)...)
				}
				if got := b.outcomes(); got != c.outcomes {
					t.Errorf("outcomes are %s, want %s", got, c.outcomes)
				}
				if got := b.shown(); got != c.state {
					t.Errorf("vector.sync holds\n%s\nwant\n%s", got, c.state)
				}
				if got := strings.Join(b.dead(), "\n"); got != c.dead {
					t.Errorf("dead letters are\n%s\nwant\n%s", got, c.dead)
				}
				b.mustBeClean()
			})
		}
	}
}

// Each class of dead letter, with the stage where it arises.
func TestDeadLetters(t *testing.T) {
	big := strings.Repeat("9", 30)
	for _, c := range []struct{ event, want, entity string }{
		{`{"entity_id":"a"`, "map invalid_json", "a"},
		{`[1]`, "map invalid_json", ""},
		{"{\"entity_id\":\"a\",\"payload\":{\"text\":\"\xff\"}}", "map invalid_utf8", "a"},
		{`{"entity_id":"a","payload":{"text":"\ud800"}}`, "map invalid_utf8", "a"},
		{`{"entity_id":5}`, "map invalid_field", ""},
		{`{"entity_id":"a","colour":"red"}`, "map unknown_field", "a"},
		{`{"payload":{"text":"x"}}`, "map missing_field", ""},
		{`{"entity_id":"a","op":"patch","order":1}`, "map order_mismatch", "a"},
		{`{"entity_id":"a","op":"patch","payload":[]}`, "map invalid_field", "a"},
		{`{"entity_id":"a","op":"patch","payload":{"n":1}}`, "patch not_found", "a"},
		{`{"entity_id":"a"}`, "map no_content", "a"},
		{`{"entity_id":"a","payload":null}`, "map no_content", "a"},
		{`{"entity_id":"a","payload":{"text":" \n\t "}}`, "map no_content", "a"},
		{`{"entity_id":"a","payload":{"text":"","title":"x"}}`, "map no_content", "a"},
		{`{"entity_id":"a","payload":{"n":5}}`, "map no_content", "a"},
		{`{"entity_id":"a","payload":["x"]}`, "map invalid_field", "a"},
		{`{"entity_id":"a","payload":"x"}`, "map invalid_field", "a"},
		{`{"entity_id":"a","collection":"vec","payload":{"text":"x"}}`, "validate no_content", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[1,2]}`, "validate wrong_dimension", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[]}`, "validate wrong_dimension", "a"},
		{`{"entity_id":"a","vector":[1,2,3]}`, "validate wrong_dimension", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[0,0,0]}`, "validate bad_vector", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[0,-0.0,1e-50]}`, "validate bad_vector", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[1,"x",3]}`, "map bad_vector", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[1,1e39,3]}`, "map bad_vector", "a"},
		{`{"entity_id":"a","collection":"vec","vector":[1,` + big + `e30,3]}`, "map bad_vector", "a"},
		{`{"entity_id":"a","collection":"far","vector":[1e19,0,0]}`, "validate bad_vector", "a"},
		{`{"nan":true}`, "validate bad_vector", "a"},
		{`{"plain":true}`, "map mapping_failed", ""},
		{`{"plaindraft":true}`, "map mapping_failed", "a"},
		{`{"panic":true}`, "map internal", ""},
		{`{"entity_id":"a","payload":{"text":"bad"}}`, "embed embed_failed", "a"},
	} {
		t.Run(c.event, func(t *testing.T) {
			b := newBench(t)
			b.send([]string{"b before", c.event, "c behind"})
			if got, want := strings.Join(b.dead(), "\n"), "1/0 "+c.want; got != want {
				t.Fatalf("dead letters are %q, want %q", got, want)
			}
			l := b.letters()[0]
			if l.Key.Entity != c.entity || string(l.Value) != c.event || l.At != b.now || l.Attempts != 1 || l.Message == "" {
				t.Errorf("the dead letter is %+v", l)
			}
			if got := b.outcomes(); got != "applied 2, dead 1" {
				t.Error("its neighbours have the outcomes", got)
			}
			b.mustBeClean()
		})
	}
}

// A vector of zeros has no direction, but a place.
func TestZerosAreAVectorOfL2(t *testing.T) {
	b := newBench(t)
	b.send([]string{`{"entity_id":"a","collection":"far","vector":[0,0,0]}`})
	if p := b.state()["a@far"].Points; len(p) != 1 || p[0].Slot != "0" || p[0].Model != "" || len(p[0].Vector) != 3 {
		t.Errorf("points are %+v, dead letters %v", p, b.dead())
	}
}

// What a change says of the event that it comes from.
func TestProvenance(t *testing.T) {
	b := newBench(t)
	b.send([]string{`{"event_id":"e","entity_id":"a","timestamp":77,"order":5,"payload":{"text":"red","n":1}}`, "b red ^1"})
	c := b.state()["a"]
	if c.SourceEventID != "e" || c.EventTime != 77 || c.AcceptedAt != b.now || c.Revision != 1 || c.Op != freshet.OpUpsert ||
		c.Version != (freshet.Version{Order: 5, Epoch: 1}) || string(c.Metadata) != `{"n":1}` || c.Points[0].Model != "fake" {
		t.Errorf("%+v", c)
	}
	if id := b.state()["b"].SourceEventID; id != "events.raw/0@1" {
		t.Errorf("an event without an id is named %q", id)
	}
}
