package process_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/embed/chunk"
)

// Only content that is new is embedded, and of a batch only what lasts.
func TestWhatIsEmbedded(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		spread bool
		want   string
	}{
		{"new content", []string{"a red", "b blue"}, true, "red blue"},
		{"the same content again", []string{"a red", "a red"}, true, "red"},
		{"other metadata alone", []string{"a red", `{"entity_id":"a","payload":{"text":"red","n":1}}`}, true, "red"},
		{"changed content", []string{"a red", "a blue"}, true, "red blue"},
		{"what a batch overwrites", []string{"a red", "a blue", "a green"}, false, "green"},
		{"what a batch deletes", []string{"a red", "-a"}, false, ""},
		{"what comes back in a batch", []string{"a red", "-a", "a red"}, false, "red"},
		{"what was deleted before", []string{"a red", "-a", "a red"}, true, "red red"},
		{"a repeat", []string{"a red #1", "a red #1"}, false, "red"},
		{"an older order", []string{"a red ^2", "a blue ^1"}, false, "red"},
		{"a ready vector", []string{`{"entity_id":"a","vector":[1,2,3,4],"payload":{"text":"red"}}`}, true, ""},
		{"the text behind a vector", []string{`{"entity_id":"a","vector":[1,2,3,4],"payload":{"text":"red"}}`, "a red"}, true, "red"},
		{"what a refusal uncovers", []string{"a red", "a blue", "a bad", "b green"}, false, "bad green red blue"},
		{"many refusals of one entity", []string{"a red", "a bad 1", "a bad 2", "a bad 3", "a bad 4"}, false, "bad 4 red bad 1 bad 2 bad 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if c.spread {
				b.send(oneByOne(c.events)...)
			} else {
				b.send(c.events)
			}
			if got := strings.Join(b.model.asked(), " "); got != c.want {
				t.Errorf("embedded %q, want %q", got, c.want)
			}
			b.mustBeClean()
		})
	}
}

// However many drafts of an entity are refused, the embedder is called twice for a batch.
func TestRefusalsCostOneMoreCall(t *testing.T) {
	b := newBench(t)
	events := []string{"a red"}
	for i := range 200 {
		events = append(events, fmt.Sprintf("a bad %d", i), fmt.Sprintf("b%d bad", i))
	}
	b.send(events)
	if got := b.outcomes(); got != "applied 1, dead 400" {
		t.Error("outcomes are", got)
	}
	if b.model.calls != 2 {
		t.Errorf("the embedder was called %d times", b.model.calls)
	}
}

// What a batch overwrites is not embedded, so it counts as applied though its text would have
// been refused. The audit, which cuts batches elsewhere, agrees.
func TestARefusedTextThatIsOverwrittenIsNotAskedFor(t *testing.T) {
	b := newBench(t)
	b.send([]string{"a bad", "a red"}, []string{"b bad"}, []string{"b red", "c bad", "c bad again"})
	want := "a@1 \"red\" events=2 points=1\nb@3 \"red\" events=1 points=1"
	if got := b.shown(); got != want {
		t.Errorf("vector.sync holds\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(b.dead(), ", "); got != "2/0 embed embed_failed, 4/0 embed embed_failed, 5/0 embed embed_failed" {
		t.Error("dead letters are", got)
	}
	b.mustBeClean()
}

// An embedder that fails as a whole pauses processing; then it goes on where it was.
func TestABrokenEmbedderPauses(t *testing.T) {
	b := newBench(t)
	b.model.set(errors.New("the service is down"))
	b.append("a red", "b blue")
	waitFor(t, "a pause", b.proc.Stats.Paused.Load)
	if n := b.proc.Stats.Position.Load(); n != 0 || len(b.state()) != 0 {
		t.Errorf("position %d was reached with state %v", n, b.state())
	}
	b.model.set(nil)
	b.settle()
	if got := b.outcomes(); got != "applied 2" || b.proc.Stats.Paused.Load() {
		t.Errorf("outcomes are %s, paused %v", got, b.proc.Stats.Paused.Load())
	}
	b.mustBeClean()
}

// A pause by hand lasts through the end of one that an error made.
func TestPauseByHandOutlastsAnError(t *testing.T) {
	b := newBench(t)
	b.model.set(errors.New("the service is down"))
	b.append("a red")
	waitFor(t, "a pause", b.proc.Stats.Paused.Load)
	b.proc.Pause()
	b.model.set(nil)
	b.settle() // the batch at hand
	if !b.proc.Stats.Paused.Load() {
		t.Error("the pause by hand does not show any more")
	}
	b.proc.Resume()
	if b.proc.Stats.Paused.Load() {
		t.Error("the pause shows after its end")
	}
}

// A model that does not keep to its own description can't reach the index.
func TestVectorsThatAModelMustNotReturn(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		answer freshet.Embedding
		want   string
	}{
		"short":          {freshet.Embedding{Vector: []float32{1, 2}}, "2 dimensions"},
		"none":           {freshet.Embedding{}, "0 dimensions"},
		"NaN":            {freshet.Embedding{Vector: []float32{1, nan, 0, 0}}, "NaN"},
		"zeros":          {freshet.Embedding{Vector: make([]float32, 4)}, "zeros"},
		"an error alone": {freshet.Embedding{Err: errors.New("no code")}, "no code"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.model.answer = func(text string) freshet.Embedding {
				if text == "odd" {
					return c.answer
				}
				return freshet.Embedding{Vector: vectorOf(text)}
			}
			b.send([]string{"a odd", "b red"})
			if got := strings.Join(b.dead(), ", "); got != "0/0 embed embed_failed" || !strings.Contains(b.letters()[0].Message, c.want) {
				t.Errorf("dead letters are %s: %+v", got, b.letters())
			}
			b.mustBeClean()
		})
	}
}

// A long text is several points that together stand for all of it.
func TestLongTexts(t *testing.T) {
	b := newBench(t, withSplitter(chunk.Options{MaxBytes: 64}))
	text := strings.TrimSpace(strings.Repeat("A sentence of some words. ", 20))
	b.send([]string{"a " + text})
	c := b.state()["a"]
	if c.Text != text || len(c.Points) < 5 {
		t.Fatalf("%d bytes of text became %d points", len(c.Text), len(c.Points))
	}
	end := 0
	for i, p := range c.Points {
		if p.Slot != fmt.Sprint(i) || p.Start < end || strings.TrimSpace(text[end:p.Start]) != "" || p.End <= p.Start {
			t.Fatalf("point %d is %+v behind %d", i, p, end)
		}
		if !slices.Equal(p.Vector, vectorOf(text[p.Start:p.End])) {
			t.Errorf("point %d is not made of the text that it names", i)
		}
		end = p.End
	}
	if end != len(text) {
		t.Errorf("the points end at byte %d of %d", end, len(text))
	}

	// A text that shrinks leaves no point behind; one bad chunk refuses the whole text.
	b.send([]string{"a short"}, []string{"b " + text + " " + strings.Repeat("bad ", 10)})
	if got := b.shown(); got != `a@1 "short" events=2 points=1` {
		t.Error(got)
	}
	b.mustBeClean()
}

// Points made of a text of their own stand for no part of the entity's text, whether they
// are embedded or kept.
func TestPointsOfATextOfTheirOwn(t *testing.T) {
	aside := `{"embed":"red","event":{"entity_id":"a","payload":{"text":"a red thing"}}}`
	for name, groups := range map[string][][]string{
		"new":                    {{aside}},
		"behind its own text":    {{"a red"}, {aside}},
		"the same in one batch":  {{"a red", aside}},
		"kept with another text": {{`{"embed":"red","event":{"entity_id":"a","payload":{"text":"x"}}}`}, {aside}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.send(groups...)
			c := b.state()["a"]
			if p := c.Points; len(p) != 1 || p[0].Start != 0 || p[0].End != 0 || !slices.Equal(p[0].Vector, vectorOf("red")) {
				t.Errorf("points are %+v", p)
			}
			b.send([]string{"a red"})
			if p := b.state()["a"].Points; p[0].End != len("red") {
				t.Errorf("the points of the text itself are %+v", p)
			}
			b.mustBeClean()
		})
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 30 s", what)
		}
	}
}
