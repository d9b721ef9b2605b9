package process_test

import (
	"fmt"
	"strings"
	"testing"
)

// An event that carries a whole state gives exactly that; its vectors are not made again, and what comes after it is embedded.
func TestState(t *testing.T) {
	const two = `{"entity_id":"a","state":{"text":"red sky","metadata":{"n": 1},"points":[{"model":"fake","end":3,"vector":[1,2,3,4]},{"slot":"b","model":"fake","start":4,"end":7,"vector":[4,3,2,1]}]}}`
	for _, c := range []struct {
		name     string
		events   []string
		want     string // text, metadata, points
		embedded string // where each event is a batch
	}{
		{"points", []string{two}, `"red sky" {"n": 1} [{fake 0 [1 2 3 4] 0 3} {fake b [4 3 2 1] 4 7}]`, ""},
		{"the same again", []string{two, two}, `"red sky" {"n": 1} [{fake 0 [1 2 3 4] 0 3} {fake b [4 3 2 1] 4 7}]`, ""},
		{"over another", []string{"a blue", two}, `"red sky" {"n": 1} [{fake 0 [1 2 3 4] 0 3} {fake b [4 3 2 1] 4 7}]`, "blue"},
		{"without points", []string{`{"entity_id":"a","state":{"text":"red","metadata":{"text":5}}}`}, `"red" {"text":5} [{fake 0 ` + fmt.Sprint(vectorOf("red")) + ` 0 3}]`, "red"},
		{"the producer's own", []string{`{"entity_id":"a","state":{"metadata":{"title":"x"},"points":[{"vector":[1,2,3,4]}]}}`}, `"" {"title":"x"} [{ 0 [1 2 3 4] 0 0}]`, ""},
		{"then a text", []string{two, "a red sky"}, `"red sky"  [{fake 0 ` + fmt.Sprint(vectorOf("red sky")) + ` 0 7}]`, "red sky"},
		{"then a patch of metadata", []string{two, patch(`{"n":2}`)}, `"red sky" {"n":2} [{fake 0 [1 2 3 4] 0 3} {fake b [4 3 2 1] 4 7}]`, ""},
		{"then a patch of the text", []string{two, patch(`{"text":"blue"}`)}, `"blue" {"n": 1} [{fake 0 ` + fmt.Sprint(vectorOf("blue")) + ` 0 4}]`, "blue"},
		{"own vector, then a patch of the text", []string{`{"entity_id":"a","state":{"text":"red","points":[{"vector":[1,2,3,4]}]}}`, patch(`{"text":"blue"}`)},
			`"blue"  [{ 0 [1 2 3 4] 0 0}]`, ""},
		{"text given as such", []string{`{"entity_id":"a","state":{"text":"red","own_text":true,"metadata":{"title":"red"}}}`, patch(`{"title":"blue"}`)},
			`"red" {"title":"blue"} [{fake 0 ` + fmt.Sprint(vectorOf("red")) + ` 0 3}]`, "red"},
		{"text joined", []string{`{"entity_id":"a","state":{"text":"red","metadata":{"title":"red"}}}`, patch(`{"title":"blue"}`)},
			`"blue" {"title":"blue"} [{fake 0 ` + fmt.Sprint(vectorOf("blue")) + ` 0 4}]`, "red blue"},
	} {
		for _, spread := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", c.name, spread), func(t *testing.T) {
				b := newBench(t)
				groups := [][]string{c.events}
				if spread {
					groups = oneByOne(c.events)
				}
				b.send(groups...)
				e := b.state()["a"]
				if got := fmt.Sprintf("%q %s %v", e.Text, e.Metadata, e.Points); got != c.want {
					t.Errorf("state is\n%s\nwant\n%s", got, c.want)
				}
				if asked := strings.Join(b.model.asked(), " "); spread && asked != c.embedded {
					t.Errorf("embedded %q, want %q", asked, c.embedded)
				}
				b.mustBeClean()
			})
		}
	}
}

// Vectors of another model, or of another dimension, do not get in.
func TestStatesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ state, where, class, message string }{
		"another model":           {`{"text":"x","points":[{"model":"other","vector":[1,2,3,4]}]}`, "default", "invalid_field", `"other", collection "default" has model "fake"`},
		"a model where none is":   {`{"points":[{"model":"fake","vector":[1,2,3]}]}`, "vec", "invalid_field", "leave the model out"},
		"another dimension":       {`{"points":[{"vector":[1,2,3,4]},{"vector":[1,2,3]}]}`, "default", "wrong_dimension", "state.points[1].vector"},
		"no direction":            {`{"points":[{"vector":[0,0,0,0]}]}`, "default", "bad_vector", "state.points[0].vector"},
		"a span beyond the text":  {`{"text":"ab","points":[{"end":3,"vector":[1,2,3,4]}]}`, "default", "invalid_field", "the text has 2 bytes"},
		"nothing":                 {`{}`, "default", "no_content", "no vector"},
		"no vector where needed":  {`{"text":"x"}`, "vec", "no_content", "has no model"},
		"what is no state":        {`{"points":7}`, "default", "invalid_field", "state.points"},
		"a text that is refused":  {`{"text":"bad"}`, "default", "embed_failed", "refuses"},
		"an unknown part of it":   {`{"score":1}`, "default", "unknown_field", "state.score"},
		"points of no collection": {`{"points":[{"vector":[1]}]}`, "nowhere", "unknown_collection", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.send([]string{fmt.Sprintf(`{"entity_id":"a","collection":%q,"state":%s}`, c.where, c.state)})
			l := b.letters()
			if len(l) != 1 || string(l[0].Class) != c.class || !strings.Contains(l[0].Message, c.message) || l[0].Key.Entity != "a" {
				t.Errorf("dead letters %+v, want %s: %s", l, c.class, c.message)
			}
			if got := b.state(); len(got) != 0 {
				t.Errorf("state %v", got)
			}
			b.mustBeClean()
		})
	}
}
