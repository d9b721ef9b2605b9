package query_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/wire"
)

// ranking is a store whose entities are found in one order, whatever is asked.
type ranking struct {
	shelf
	entities []string
}

func (s *ranking) Search(_ context.Context, q freshet.Query) ([]freshet.Hit, error) {
	s.asked = q
	var hits []freshet.Hit
	for i, e := range s.entities[:min(q.K, len(s.entities))] {
		hits = append(hits, freshet.Hit{Key: freshet.Key{Collection: "default", Namespace: "n", Entity: e}, Score: float32(-i)})
	}
	return hits, nil
}

const partitions = 6

func keyOf(entity string) freshet.Key {
	return freshet.Key{Collection: "default", Namespace: "n", Entity: entity}
}

func newPart(t *testing.T, s freshet.Store, held ...int32) *query.Part {
	p := newPlanner(t, &shelf{}, parrot{})
	p.Store = s
	return &query.Part{Planner: p, Partitions: partitions, Held: held, CaughtUp: func() bool { return true }}
}

// A part of what is held is answered exactly: the best of its entities, however many others are better.
func TestPartOfWhatIsHeld(t *testing.T) {
	s := &ranking{}
	for i := range 3000 {
		e := fmt.Sprint("e", i)
		if at := wire.Partition(keyOf(e), partitions); at == 1 || at == 4 || at == 5 && i > 2500 {
			s.entities = append(s.entities, e)
		}
	}
	p := newPart(t, s, 1, 4, 5)
	for _, c := range []struct {
		of string
		k  int
	}{{"1", 1}, {"1", 40}, {"5", 10}, {"1,5", 100}, {"4-5", 2000}, {"1,4-5", 30}} {
		list, _ := wire.ParsePartitions(c.of, partitions)
		var want []string
		for _, e := range s.entities {
			if slices.Contains(list, wire.Partition(keyOf(e), partitions)) && len(want) < c.k {
				want = append(want, e)
			}
		}
		a, err := p.Search(t.Context(), &fanout.Search{Partitions: c.of, Collection: "default", Namespace: "n", Vector: []float32{1, 2}, K: c.k})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range a.Hits {
			got = append(got, h.EntityID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s, %d: %d hits, want %d", c.of, c.k, len(got), len(want))
		}
	}
	if s.asked.K != 30 {
		t.Errorf("for all that is held %d were asked for, want 30", s.asked.K)
	}
}

// A process answers for what it holds and has caught up with, and says of the rest that it is wrong here.
func TestPartRefuses(t *testing.T) {
	p := newPart(t, &ranking{}, 1, 4)
	search := func(of string) error {
		_, err := p.Search(t.Context(), &fanout.Search{Partitions: of, Collection: "default", Namespace: "n", Vector: []float32{1, 2}, K: 1})
		return err
	}
	lookup := func(entity string) error {
		_, err := p.Entity(t.Context(), &fanout.Lookup{Collection: "default", Namespace: "n", EntityID: entity})
		return err
	}
	mustBe(t, "not held", search("1-2"), freshet.CodeMisdirected, "", "partition 2")
	mustBe(t, "none named", search(""), freshet.CodeInvalidField, "partitions", "")
	mustBe(t, "no number", search("x"), freshet.CodeInvalidField, "partitions", "x")
	held, other := "", ""
	for i := 0; held == "" || other == ""; i++ {
		e := fmt.Sprint("e", i)
		if at := wire.Partition(keyOf(e), partitions); at == 1 || at == 4 {
			held = e
		} else {
			other = e
		}
	}
	mustBe(t, "an entity that is elsewhere", lookup(other), freshet.CodeMisdirected, "", "1,4")
	if err := errors.Join(search("1"), lookup(held)); err != nil {
		t.Error(err)
	}
	_, err := p.Search(t.Context(), &fanout.Search{Partitions: "1", Collection: "none", Vector: []float32{1}, K: 1})
	mustBe(t, "no collection", err, freshet.CodeUnknownCollection, "collection", "none")
	_, err = p.Search(t.Context(), &fanout.Search{Partitions: "1", Collection: "default", Vector: []float32{1}, K: 1})
	mustBe(t, "dimension", err, freshet.CodeWrongDimension, "vector", "")
	_, err = p.Search(t.Context(), &fanout.Search{Partitions: "1", Collection: "default", Vector: []float32{1, 2}})
	mustBe(t, "k", err, freshet.CodeInvalidField, "k", "is 0")
	p.CaughtUp = func() bool { return false }
	mustBe(t, "catching up", search("1"), freshet.CodeUnavailable, "", "catching up")
	mustBe(t, "catching up", lookup(held), freshet.CodeUnavailable, "", "catching up")
}

// A part waits for the places of a token that are in its partitions, and not for others.
func TestPartWaitsForItsOwn(t *testing.T) {
	p := newPart(t, &ranking{}, 0, 1)
	token := freshet.Token{Log: tokenLog(p.Planner), Spans: []freshet.Span{{Topic: freshet.TopicRaw, Partition: 0, First: 4, Last: 5}, {Topic: freshet.TopicRaw, Partition: 1, First: 9, Last: 9}}}
	q := &fanout.Search{Partitions: "0", After: wire.TokenString(token), TimeoutMs: 20}
	a, err := p.Search(t.Context(), q)
	if err != nil || len(a.Hits) != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if applied, err := wire.ParseToken(a.Applied); err != nil || len(applied.Spans) != 1 || applied.Spans[0].Partition != 0 {
		t.Errorf("applied %+v, %v", applied, err)
	}
	q.Partitions = "0-1"
	begun := time.Now()
	_, err = p.Search(t.Context(), q)
	mustBe(t, "not decided", err, freshet.CodeNotReached, "after", "events.raw/1@5")
	if time.Since(begun) > 5*time.Second {
		t.Error("it waited longer than it was allowed to")
	}
}
