package fanout_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/wire"
)

const partitions = 6

// process is a process that holds some partitions of what world has, and does as it is told.
type process struct {
	world *world
	id    string
	held  []int32

	mu            sync.Mutex    // guards what follows
	fail          error         // answered instead
	frozen        bool          // nothing is answered
	slow          time.Duration // what an answer takes
	asked, probed atomic.Int64
}

// world is a few processes and the entities that they share.
type world struct {
	t         *testing.T
	processes map[string]*process
	nodes     atomic.Pointer[[]control.Node]
	entities  []fanout.Hit
}

func newWorld(t *testing.T, held map[string]string) *world {
	w := &world{t: t, processes: map[string]*process{}}
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range 300 {
		w.entities = append(w.entities, fanout.Hit{EntityID: fmt.Sprint("e", i), Score: float32(rng.IntN(100)) / 100})
	}
	var nodes []control.Node
	for id, text := range held {
		list, err := wire.ParsePartitions(text, partitions)
		if err != nil {
			t.Fatal(err)
		}
		w.processes[id] = &process{world: w, id: id, held: list}
		nodes = append(nodes, control.Node{ID: id, Address: "http://" + id, Partitions: text})
	}
	w.nodes.Store(&nodes)
	return w
}

// from returns the fan-out of a process, or with "" of one that holds nothing.
func (w *world) from(id string) *fanout.Fanout {
	o := fanout.Options{Partitions: partitions, Self: id, Nodes: func() []control.Node { return *w.nodes.Load() },
		Dial: func(n control.Node) fanout.Peer { return w.processes[n.ID] }}
	if p := w.processes[id]; p != nil {
		o.Local, o.Held = p, p.held
	}
	f := fanout.New(o)
	w.t.Cleanup(f.Close)
	return f
}

func partitionOf(entity string) int32 {
	return wire.Partition(freshet.Key{Collection: "default", Namespace: "default", Entity: entity}, partitions)
}

// begin does as the process is told; it returns when the request may be answered.
func (p *process) begin(ctx context.Context) error {
	p.asked.Add(1)
	p.mu.Lock()
	fail, frozen, slow := p.fail, p.frozen, p.slow
	p.mu.Unlock()
	if frozen {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(slow):
		return fail
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) tell(f func(*process)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *process) Search(ctx context.Context, q *fanout.Search) (*fanout.Answer, error) {
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	asked, err := wire.ParsePartitions(q.Partitions, partitions)
	if err != nil || q.Node != p.id || q.TimeoutMs < 0 {
		p.world.t.Errorf("%s is asked as %+v, %v", p.id, q, err)
	}
	a := &fanout.Answer{Warnings: []string{p.id}}
	token := freshet.Token{Log: freshet.LogID{1}}
	for _, n := range asked {
		if !slices.Contains(p.held, n) {
			p.world.t.Errorf("%s is asked for partition %d, and holds %v", p.id, n, p.held)
		}
		token.Spans = append(token.Spans, freshet.Span{Topic: freshet.TopicKeyed, Partition: n, First: 5, Last: 5})
	}
	a.Applied = wire.TokenString(token)
	for _, h := range p.world.entities {
		if slices.Contains(asked, partitionOf(h.EntityID)) {
			h.SourceEventID = p.id
			a.Hits = append(a.Hits, h)
		}
	}
	slices.SortFunc(a.Hits, func(x, y fanout.Hit) int { return cmp.Compare(y.Score, x.Score) })
	a.Hits = a.Hits[:min(len(a.Hits), q.K)]
	return a, nil
}

func (p *process) Entity(ctx context.Context, q *fanout.Lookup) (*fanout.Entity, error) {
	return &fanout.Entity{Change: []byte(p.id)}, p.begin(ctx)
}

func (p *process) Counts(ctx context.Context, q *fanout.Count) (*fanout.Counts, error) {
	list, _ := wire.ParsePartitions(q.Partitions, partitions)
	return &fanout.Counts{Namespaces: []fanout.Size{{Collection: "default", Namespace: "b", Entities: len(list), Points: 2 * len(list)},
		{Collection: "default", Namespace: p.id, Entities: 1}}}, p.begin(ctx)
}

func (p *process) Ready(ctx context.Context) error {
	p.probed.Add(1)
	p.mu.Lock()
	frozen, fail := p.frozen, p.fail
	p.mu.Unlock()
	var e *freshet.Error
	if errors.As(fail, &e) && e.Code == freshet.CodeNotReached {
		fail = nil // it is there
	}
	if frozen {
		<-ctx.Done()
		return ctx.Err()
	}
	return fail
}

// search searches within five seconds and checks that the answer is that of one process with everything.
func (w *world) search(f *fanout.Fanout, k int) (answered []string, took time.Duration) {
	w.t.Helper()
	begun := time.Now()
	a, missing, err := w.try(f, k, false)
	took = time.Since(begun)
	if err != nil || len(missing) > 0 {
		w.t.Fatalf("missing %v, %v", missing, err)
	}
	w.check(a, k, fullSet())
	token, err := wire.ParseToken(a.Applied)
	if err != nil || len(token.Spans) != partitions {
		w.t.Errorf("applied %+v, %v", token, err)
	}
	slices.Sort(a.Warnings)
	return a.Warnings, took
}

func (w *world) try(f *fanout.Fanout, k int, partial bool) (*fanout.Answer, []int32, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return f.Search(ctx, fanout.Search{Collection: "default", Namespace: "default", Vector: []float32{1}, K: k}, partial)
}

func fullSet() []int32 { return []int32{0, 1, 2, 3, 4, 5} }

func (w *world) check(a *fanout.Answer, k int, of []int32) {
	w.t.Helper()
	var want []fanout.Hit
	for _, h := range w.entities {
		if slices.Contains(of, partitionOf(h.EntityID)) {
			want = append(want, h)
		}
	}
	slices.SortFunc(want, func(x, y fanout.Hit) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), strings.Compare(x.EntityID, y.EntityID))
	})
	want = want[:min(len(want), k)]
	seen := map[string]bool{}
	for i, h := range a.Hits {
		if i >= len(want) || h.Score != want[i].Score || seen[h.EntityID] {
			w.t.Fatalf("hit %d of %d is %+v", i, len(a.Hits), h)
		}
		seen[h.EntityID] = true
	}
	if len(a.Hits) != len(want) {
		w.t.Fatalf("%d hits, want %d", len(a.Hits), len(want))
	}
}

var errRefused = errors.New("connection refused")

func problem(code freshet.Code, message string) error {
	return &freshet.Error{Code: code, Message: message}
}

// All partitions are asked for, of as few as hold them, and of this process what it holds itself.
func TestCover(t *testing.T) {
	for _, c := range []struct {
		held map[string]string
		from string
		want string
	}{
		{map[string]string{"a": "0-2", "b": "3-5", "c": "0-5"}, "", "c"},
		{map[string]string{"a": "0-2", "b": "3-5", "c": "0-5"}, "c", "c"},
		{map[string]string{"a": "0-2", "b": "3-5"}, "a", "a b"},
		{map[string]string{"a": "0-2", "b": "3-5", "c": "0-1,3"}, "b", "a b"},
		{map[string]string{"a": "0-3", "b": "2-5", "c": "1-4"}, "", "a b"},
		{map[string]string{"a": "0", "b": "1", "c": "2", "d": "3-5"}, "", "a b c d"},
	} {
		w := newWorld(t, c.held)
		f := w.from(c.from)
		for range 10 {
			if c.want == "a b" && c.from == "" { // the third of the three may be asked first too
				w.search(f, 7)
				continue
			}
			if by, _ := w.search(f, 7); strings.Join(by, " ") != c.want {
				t.Errorf("%v from %q: answered by %v", c.held, c.from, by)
			}
		}
		w.search(f, 1000)
	}
}

// Copies share the work.
func TestCopiesShareTheWork(t *testing.T) {
	w := newWorld(t, map[string]string{"a": "0-5", "b": "0-5", "c": "0-5"})
	f := w.from("")
	for range 300 {
		w.search(f, 3)
	}
	for id, p := range w.processes {
		if n := p.asked.Load(); n < 50 {
			t.Errorf("%s was asked %d times", id, n)
		}
	}
}

// Who can't be reached is replaced at once, left out, and comes back when it is there.
func TestPeerThatFails(t *testing.T) {
	for name, fail := range map[string]error{"unreachable": errRefused, "failing": problem(freshet.CodeInternal, "no"),
		"without them": problem(freshet.CodeMisdirected, "not mine"), "catching up": problem(freshet.CodeUnavailable, "later")} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, map[string]string{"a": "0-5", "b": "0-2", "c": "3-5"})
			f := w.from("")
			defer f.Close()
			a := w.processes["a"]
			a.tell(func(p *process) { p.fail = fail })
			by, took := w.search(f, 50)
			if !slices.Equal(by, []string{"b", "c"}) || took > 0 {
				t.Errorf("%s: answered by %v after %v", name, by, took)
			}
			synctest.Wait()
			asked := a.asked.Load()
			if all, up := f.Peers(); all != 3 || up != 2 {
				t.Errorf("%s: %d of %d peers are there", name, up, all)
			}
			for range 5 {
				w.search(f, 50)
			}
			if a.asked.Load() != asked {
				t.Errorf("%s: it is asked though it is down", name)
			}
			a.tell(func(p *process) { p.fail = nil })
			time.Sleep(3 * time.Second)
			if by, _ := w.search(f, 50); !slices.Equal(by, []string{"a"}) {
				t.Errorf("%s: when it is back %v answer", name, by)
			}
		})
	}
}

// Who is silent does not hold up an answer for long, and not at all once that is known. Who is only slow stays.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"a": "0-5", "b": "0-2", "c": "3-5", "d": "3-5"})
		f := w.from("b")
		defer f.Close()
		for _, id := range []string{"a", "c"} { // two of the three that have the rest
			w.processes[id].tell(func(p *process) { p.frozen = true })
		}
		for w.processes["a"].asked.Load() == 0 || w.processes["c"].asked.Load() == 0 { // which of the three is asked is by chance
			if by, took := w.search(f, 20); !slices.Equal(by, []string{"b", "d"}) || took > time.Second {
				t.Errorf("answered by %v after %v", by, took)
			}
		}
		time.Sleep(time.Second)
		for range 20 {
			if _, took := w.search(f, 20); took > 0 {
				t.Errorf("when it is known it takes %v", took)
			}
		}
		for _, id := range []string{"a", "c"} {
			w.processes[id].tell(func(p *process) { p.frozen = false })
		}
		time.Sleep(3 * time.Second)
		for _, id := range []string{"a", "c", "d"} {
			w.processes[id].tell(func(p *process) { p.slow = time.Second })
		}
		for range 3 {
			if _, took := w.search(f, 20); took < time.Second || took > time.Second+fanout.HedgeAfter {
				t.Errorf("slow ones have answered after %v", took)
			}
		}
		if _, up := f.Peers(); up != 3 {
			t.Errorf("%d are thought to be there", up)
		}
		if n := f.Stats.Hedged.Load(); n == 0 {
			t.Error("nothing was hedged")
		}
	})
}

// What nobody answers for is an error that names it, or missing where the caller wants what there is.
func TestNobodyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		tell func(*process)
		says string
		// most is how long it takes at most, and how long where the caller wants what there is.
		most, partial time.Duration
	}{
		"unreachable": {func(p *process) { p.fail = errRefused }, "http://b: connection refused", 0, 0},
		"silent":      {func(p *process) { p.frozen = true }, "http://b: ", 5 * time.Second, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, map[string]string{"a": "0-2", "b": "3-5", "c": "3-4"})
			f := w.from("a")
			defer f.Close()
			for _, id := range []string{"b", "c"} {
				w.processes[id].tell(c.tell)
			}
			for range 2 {
				begun := time.Now()
				_, _, err := w.try(f, 10, false)
				var e *freshet.Error
				if !errors.As(err, &e) || e.Code != freshet.CodeUnavailable || !strings.Contains(e.Message, "partitions 3-5") || !strings.Contains(e.Message, c.says) {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(begun); took > c.most {
					t.Errorf("%s: after %v", name, took)
				}
				begun = time.Now()
				a, missing, err := w.try(f, 10, true)
				if took := time.Since(begun); err != nil || !slices.Equal(missing, []int32{3, 4, 5}) || took > c.partial {
					t.Fatalf("%s: missing %v, %v after %v", name, missing, err, took)
				}
				w.check(a, 10, []int32{0, 1, 2})
			}
			w.processes["c"].tell(func(p *process) { p.fail, p.frozen = nil, false })
			time.Sleep(3 * time.Second)
			if _, missing, err := w.try(f, 10, true); err != nil || !slices.Equal(missing, []int32{5}) {
				t.Errorf("%s: with one back missing %v, %v", name, missing, err)
			}
		})
	}
	w := newWorld(t, map[string]string{"a": "0-2"})
	if _, _, err := w.try(w.from(""), 10, false); err == nil || !strings.Contains(err.Error(), "advertise") {
		t.Errorf("partitions that nobody holds: %v", err)
	}
}

// What one process refuses every other one would refuse too.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"a": "0-2", "b": "3-5", "c": "0-5"})
		f := w.from("a")
		defer f.Close()
		for _, id := range []string{"b", "c"} {
			w.processes[id].tell(func(p *process) { p.fail = problem(freshet.CodeInvalidField, "no filter") })
		}
		w.processes["a"].tell(func(p *process) { p.slow = 3 * time.Second })
		begun := time.Now()
		_, _, err := w.try(f, 10, true)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != freshet.CodeInvalidField || time.Since(begun) > 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if n := w.processes["b"].asked.Load() + w.processes["c"].asked.Load(); n != 1 {
			t.Errorf("%d were asked", n)
		}
		// That a token was not reached in time is said as it is, if no copy has got there.
		for _, id := range []string{"b", "c"} {
			w.processes[id].tell(func(p *process) { p.slow, p.fail = 4*time.Second, problem(freshet.CodeNotReached, "at 7") })
		}
		if _, _, err := w.try(f, 10, false); !errors.As(err, &e) || e.Code != freshet.CodeNotReached {
			t.Errorf("not reached: %v", err)
		}
		if _, up := f.Peers(); up != 2 {
			t.Errorf("%d are thought to be there", up)
		}
	})
}

// Processes that come, change and go are followed.
func TestNodesChange(t *testing.T) {
	w := newWorld(t, map[string]string{"a": "0-5", "b": "0-2", "c": "3-5"})
	f := w.from("")
	if by, _ := w.search(f, 5); !slices.Equal(by, []string{"a"}) {
		t.Errorf("answered by %v", by)
	}
	some := []control.Node{{ID: "b", Address: "http://b", Partitions: "0-2"}, {ID: "c", Address: "http://c", Partitions: "3-5"}, {ID: "source", Address: "http://s"}, {ID: "hidden", Partitions: "0-5"}}
	w.nodes.Store(&some)
	if by, _ := w.search(f, 5); !slices.Equal(by, []string{"b", "c"}) {
		t.Errorf("when one has left %v answer", by)
	}
	if all, _ := f.Peers(); all != 2 {
		t.Errorf("%d peers", all)
	}
}

func TestEntityAndCounts(t *testing.T) {
	w := newWorld(t, map[string]string{"a": "0-2", "b": "3-5"})
	f := w.from("a")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for i := range 30 {
		q := fanout.Lookup{Collection: "default", Namespace: "default", EntityID: fmt.Sprint("e", i)}
		want := "b"
		if partitionOf(q.EntityID) <= 2 {
			want = "a"
		}
		if e, err := f.Entity(ctx, q); err != nil || string(e.Change) != want {
			t.Errorf("%s comes from %s, %v", q.EntityID, e.Change, err)
		}
	}
	sizes, err := f.Counts(ctx)
	want := []fanout.Size{{"default", "a", 1, 0}, {"default", "b", 7, 12}}
	if err != nil || !slices.Equal(sizes, want) {
		t.Errorf("%+v, %v, want %+v", sizes, err, want)
	}
	b := w.processes["b"].asked.Load()
	warnings, err := f.Await(ctx, []int32{1, 2}, "")
	if err != nil || !slices.Equal(warnings, []string{"a"}) || w.processes["b"].asked.Load() != b {
		t.Errorf("awaited by %v, %v", warnings, err)
	}
}
