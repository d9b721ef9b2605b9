package query_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/query"
)

// shelf is a store with entities that are there or not; it keeps the query that it was asked.
type shelf struct {
	points map[string][][]float32
	asked  freshet.Query
	err    error
}

func (s *shelf) Apply(context.Context, []freshet.Change) ([]freshet.Applied, error) { return nil, nil }

func (s *shelf) Drop(context.Context, freshet.Shard) error { return nil }

func (s *shelf) Get(_ context.Context, key freshet.Key) (freshet.Change, bool, error) {
	vectors, ok := s.points[key.Entity]
	c := freshet.Change{Key: key, Op: freshet.OpUpsert}
	if key.Entity == "deleted" {
		c.Op = freshet.OpDelete
	}
	for _, v := range vectors {
		c.Points = append(c.Points, freshet.Point{Vector: v})
	}
	return c, ok, s.err
}

func (s *shelf) Search(_ context.Context, q freshet.Query) ([]freshet.Hit, error) {
	s.asked = q
	return []freshet.Hit{{Score: 1}}, s.err
}

// parrot embeds a text as its length, or fails as it is told.
type parrot struct{ whole, one error }

func (parrot) Model() freshet.Model { return freshet.Model{Name: "parrot", Dim: 2} }

func (p parrot) Embed(_ context.Context, in []freshet.Input) ([]freshet.Embedding, error) {
	return []freshet.Embedding{{Vector: []float32{float32(len(in[0].Text)), 1}, Err: p.one}}, p.whole
}

func newPlanner(t *testing.T, s *shelf, p parrot) *query.Planner {
	t.Helper()
	log, err := embedded.Open("data", embedded.Options{FS: disk.New(vfs.NewMem(), nil), CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	catalog, err := control.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []control.Collection{{Name: "default", Model: "parrot", Dim: 2, Metric: "cosine"}, {Name: "far", Dim: 2, Metric: "l2"}} {
		if err := catalog.Declare(c); err != nil {
			t.Fatal(err)
		}
	}
	return &query.Planner{Now: time.Now, Store: s, Catalog: catalog, Embedders: map[string]freshet.Embedder{"parrot": p},
		Tracker:     freshness.NewTracker(log.ID(), freshet.TopicRaw, 2, 5, func() int64 { return 100 }),
		DeadLetters: func(freshet.Span, int) ([]freshet.DeadLetter, error) { return nil, nil }}
}

func shard(collection string) freshet.Shard {
	return freshet.Shard{Collection: collection, Namespace: freshet.DefaultNamespace}
}

// The direction of an entity is that of its points together.
func TestVectorOfAnEntity(t *testing.T) {
	s := &shelf{points: map[string][][]float32{"one": {{3, 4}}, "two": {{10, 0}, {0, 1}}, "opposite": {{2, 0}, {-1, 0}}, "none": {}, "deleted": {{1, 0}}}}
	p := newPlanner(t, s, parrot{})
	for _, c := range []struct {
		collection, entity string
		x, y               float32
	}{
		{"default", "one", 0.6, 0.8},
		{"default", "two", 0.5, 0.5},  // whatever their lengths
		{"default", "opposite", 2, 0}, // together they have no direction
		{"far", "one", 3, 4},
		{"far", "two", 5, 0.5},
		{"far", "opposite", 0.5, 0},
	} {
		if _, err := p.Search(context.Background(), query.Request{Entity: &c.entity, Shard: shard(c.collection)}); err != nil {
			t.Fatal(err)
		}
		if v := s.asked.Vector; abs(v[0]-c.x) > 1e-6 || abs(v[1]-c.y) > 1e-6 || s.asked.Exclude != c.entity || s.asked.K != query.DefaultK {
			t.Errorf("%s of %s is searched as %+v, want %v, %v", c.entity, c.collection, s.asked, c.x, c.y)
		}
	}
	for _, entity := range []string{"none", "deleted", "nobody"} {
		_, err := p.Search(context.Background(), query.Request{Entity: &entity, Shard: shard("default")})
		mustBe(t, entity, err, freshet.CodeNotFound, "entity_id", "")
	}
}

func abs(f float32) float32 { return max(f, -f) }

func mustBe(t *testing.T, what string, err error, code freshet.Code, field, message string) {
	t.Helper()
	var e *freshet.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field || !strings.Contains(e.Message, message) {
		t.Errorf("%s: %v, want %s on %s with %q", what, err, code, field, message)
	}
}

// What an embedder says of a query text is the caller's, what befalls it is not.
func TestEmbedderErrors(t *testing.T) {
	text := "x"
	request := query.Request{Text: &text, Shard: shard("default")}
	for name, c := range map[string]struct {
		p       parrot
		message string // of an error about the text; "": the error itself
	}{
		"no content": {parrot{one: &freshet.Error{Code: freshet.CodeNoContent, Message: "no"}}, "is empty"},
		"refused":    {parrot{one: &freshet.Error{Code: freshet.CodeEmbedFailed, Message: "too rude"}}, "too rude"},
		"one fault":  {parrot{one: errTest}, ""},
		"down":       {parrot{whole: errTest}, ""},
	} {
		_, err := newPlanner(t, &shelf{}, c.p).Search(context.Background(), request)
		if c.message == "" {
			if !errors.Is(err, errTest) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		mustBe(t, name, err, freshet.CodeInvalidField, "text", c.message)
	}
	if _, err := newPlanner(t, &shelf{err: errTest}, parrot{}).Search(context.Background(), request); !errors.Is(err, errTest) {
		t.Errorf("the store's error became %v", err)
	}
}

var errTest = errors.New("test")

// A search waits for what it must see as long as it is allowed to, then says how far it got;
// only then it looks whether the collection exists.
func TestWaiting(t *testing.T) {
	p := newPlanner(t, &shelf{}, parrot{})
	text := "x"
	later := freshet.Token{Log: tokenLog(p), Spans: []freshet.Span{{Topic: freshet.TopicRaw, Partition: 1, First: 7, Last: 8}}}
	request := query.Request{Text: &text, Shard: shard("new"), After: later, Timeout: time.Millisecond}
	_, err := p.Search(context.Background(), request)
	mustBe(t, "not decided", err, freshet.CodeNotReached, "after", "events.raw/1@5")

	request.Timeout = time.Minute
	done := make(chan error)
	go func() {
		_, err := p.Search(context.Background(), request)
		done <- err
	}()
	if _, err := p.Catalog.CreateLike("new", "default", 8); err != nil {
		t.Fatal(err)
	}
	p.Tracker.Advance(8)
	if err := <-done; err != nil {
		t.Error("after the event that makes the collection:", err)
	}
	request.Shard.Collection = "nowhere"
	_, err = p.Search(context.Background(), request)
	mustBe(t, "no collection", err, freshet.CodeUnknownCollection, "collection", "nowhere")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	request.After.Spans[0].Last = 9
	if _, err = p.Search(ctx, request); err == nil {
		t.Error("a cancelled search is answered")
	}
}

func tokenLog(p *query.Planner) freshet.LogID { return p.Tracker.Applied().Log }

// Warnings name dead letters among the awaited events, up to a limit over all spans.
func TestWarnings(t *testing.T) {
	p := newPlanner(t, &shelf{points: map[string][][]float32{"a": {{1, 0}}}}, parrot{})
	p.DeadLetters = func(s freshet.Span, limit int) ([]freshet.DeadLetter, error) {
		return make([]freshet.DeadLetter, min(6, limit)), nil
	}
	span := func(partition int32) freshet.Span {
		return freshet.Span{Topic: freshet.TopicRaw, Partition: partition, Last: 5}
	}
	for spans, want := range map[int]int{0: 0, 1: 6, 2: 11} {
		token := freshet.Token{Log: tokenLog(p), Spans: []freshet.Span{span(0), span(1)}[:spans]}
		_, warnings, err := p.Get(context.Background(), freshet.Key{Collection: "default", Namespace: "n", Entity: "a"}, token, 0)
		if err != nil || len(warnings) != want {
			t.Errorf("%d spans give %d warnings, %v; want %d", spans, len(warnings), err, want)
		}
	}
	p.DeadLetters = func(freshet.Span, int) ([]freshet.DeadLetter, error) { return nil, errTest }
	_, _, err := p.Get(context.Background(), freshet.Key{Collection: "default", Entity: "a"}, freshet.Token{Log: tokenLog(p), Spans: []freshet.Span{span(0)}}, 0)
	if !errors.Is(err, errTest) {
		t.Error("dead letters that can't be read:", err)
	}
}
