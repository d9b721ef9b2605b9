package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/control"
)

// kindOf is the kind of index that a shard has.
func (b *bench) kindOf(s freshet.Shard) ann.Kind { return b.store.shard(s).vectors().Options().Kind }

func ignoreProgress(int, int, freshet.Shard) {}

// While an index is rebuilt, changes and searches go on as if nothing was: every search finds all that is there. Then the
// new one has everything, and it is there after a restart, with and without a snapshot.
func TestRebuildUnderTraffic(t *testing.T) {
	for _, c := range []struct {
		from IndexOptions
		to   control.Index
		want ann.Kind
	}{
		{flat, control.Index{Kind: "hnsw", M: 6}, ann.HNSW},
		{graph, control.Index{Kind: "flat"}, ann.Flat},
		{graph, control.Index{M: 4, Precision: "float16"}, ann.HNSW},
		{graph, control.Index{Kind: "ivf_flat"}, ann.IVFFlat},
		{graph, control.Index{}, ann.HNSW},
	} {
		t.Run(fmt.Sprintf("%v to %+v", c.from.Kind, c.to), func(t *testing.T) {
			b := newBench(t, c.from)
			b.fill(home)
			const steady = 400
			for i := range steady {
				b.apply(b.upsert(key(fmt.Sprint("steady", i)), i, i, i+1))
			}
			stop := make(chan struct{})
			var busy sync.WaitGroup
			busy.Go(func() {
				rng := rand.New(rand.NewPCG(1, 2))
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					k := key(fmt.Sprint("moving", rng.IntN(40)))
					change := b.upsert(k, n, rng.Perm(20)[:1+rng.IntN(4)]...)
					if rng.IntN(4) == 0 {
						change = b.tombstone(k)
					}
					if err := b.commit(change); err != nil {
						t.Error(err)
						return
					}
					if _, err := b.store.Apply(context.Background(), []freshet.Change{change}); err != nil {
						t.Error(err)
						return
					}
				}
			})
			busy.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					hits, err := b.store.Search(context.Background(), freshet.Query{Shard: home, Vector: along(1), K: 1000, Exact: true})
					if err != nil {
						t.Error(err)
						return
					}
					found := 0
					for _, h := range hits {
						if len(h.Key.Entity) > 6 && h.Key.Entity[:6] == "steady" {
							found++
						}
					}
					if found != steady {
						t.Errorf("a search finds %d of the %d entities that stay", found, steady)
						return
					}
				}
			})
			err := b.store.RebuildIndexes(t.Context(), home.Collection, "", c.to, ignoreProgress)
			close(stop)
			busy.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if got := b.kindOf(home); got != c.want {
				t.Errorf("the index is of kind %v, want %v", got, c.want)
			}
			b.wantClean()
			want := b.answers(home)
			for _, with := range []string{"the log", "a snapshot"} {
				if loaded := b.reopen(); len(loaded.Rejected) > 0 {
					t.Errorf("loaded %+v", loaded)
				}
				if got := b.answers(home); got != want || b.kindOf(home) != c.want {
					t.Errorf("after a start from %s: kind %v, answers\n%swant\n%s", with, b.kindOf(home), got, want)
				}
				b.wantClean()
				b.snapshot()
			}
		})
	}
}

// A rebuild that is not finished leaves all as it was: when it is stopped, and when the process ends.
func TestRebuildIsAbandoned(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	b.snapshot()
	want := b.answers(home)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.store.RebuildIndexes(ctx, home.Collection, home.Namespace, control.Index{Kind: "flat"}, ignoreProgress); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	check := func(when string) {
		t.Helper()
		if got := b.answers(home); got != want || b.kindOf(home) != ann.HNSW || b.store.shard(home).rebuild.Load() != nil {
			t.Errorf("%s: kind %v, answers\n%swant\n%s", when, b.kindOf(home), got, want)
		}
		b.wantClean()
	}
	check("stopped")
	b.reopen()
	check("after a start")
	if err := b.store.RebuildIndexes(t.Context(), home.Collection, home.Namespace, control.Index{Kind: "flat"}, ignoreProgress); err != nil {
		t.Fatal(err)
	}
	if b.kindOf(home) != ann.Flat {
		t.Error("it can't be rebuilt afterwards")
	}
}

func TestRebuildRefuses(t *testing.T) {
	b := newBench(t, graph)
	b.fill(home)
	for _, c := range []struct {
		collection, namespace string
		settings              control.Index
		want                  freshet.Code
	}{
		{"none", "", control.Index{}, freshet.CodeUnknownCollection},
		{home.Collection, "none", control.Index{}, freshet.CodeNotFound},
		{home.Collection, "", control.Index{Kind: "tree"}, freshet.CodeInvalidField},
		{home.Collection, "", control.Index{M: 1}, freshet.CodeInvalidField},
	} {
		var e *freshet.Error
		if err := b.store.CheckRebuild(c.collection, c.namespace, c.settings); !errors.As(err, &e) || e.Code != c.want {
			t.Errorf("%+v: error %v, want one with code %s", c, err, c.want)
		}
	}
	if err := b.store.CheckRebuild(home.Collection, home.Namespace, control.Index{Kind: "ivf_pq", M: 8}); err != nil {
		t.Error(err)
	}
}
