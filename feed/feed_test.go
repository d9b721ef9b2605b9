package feed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/wire"
)

// bench is a log that one writes changes to and another follows.
type bench struct {
	*testing.T
	log     *broker.Log
	tracker *freshness.Tracker
	feed    *feed.Feed
	count   int64
}

func newBench(t *testing.T) *bench { return newBenchOn(t, disk.New(vfs.NewMem(), nil)) }

func newBenchOn(t *testing.T, fs disk.FS) *bench {
	t.Helper()
	log, err := broker.Open("data", broker.Options{FS: fs, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	b := &bench{T: t, log: log}
	b.tracker = freshness.NewTracker(log.ID(), freshet.TopicRaw, log.Partitions(), -1, func() int64 { return 1 << 40 })
	b.feed = feed.New(log.State, b.tracker, time.Now)
	return b
}

func in(collection, namespace, entity string) freshet.Key {
	return freshet.Key{Collection: collection, Namespace: namespace, Entity: entity}
}

// put commits changes, as the one writer does, and says that they are decided. A text of "" deletes.
func (b *bench) put(text string, keys ...freshet.Key) {
	b.Helper()
	tx := b.log.Begin()
	for _, key := range keys {
		b.count++
		c := freshet.Change{Key: key, Version: freshet.Version{Epoch: 1, Offset: b.count}, Revision: 1, Op: freshet.OpUpsert, Text: text,
			Points: []freshet.Point{{Slot: "0", Vector: []float32{1, 2}}}}
		if text == "" {
			c.Op, c.Points = freshet.OpDelete, nil
		}
		if err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, key), wire.AppendChange(nil, &c)); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	b.tracker.Advance(b.count)
}

// forget takes a deleted entity out of vector.sync without a trace, as the sweep of tombstones does.
func (b *bench) forget(key freshet.Key) {
	b.Helper()
	r, ok, err := b.log.Latest(freshet.TopicSync, wire.AppendKey(nil, key), nil)
	if err != nil || !ok {
		b.Fatal(ok, err)
	}
	tx := b.log.Begin()
	if err := errors.Join(tx.Purge(freshet.TopicSync, key.Shard(), []broker.Record{r}), tx.Commit()); err != nil {
		b.Fatal(err)
	}
}

// all returns what there is, as "entity=text" in order, and the last token.
func (b *bench) all(r feed.Request) (got []string, last freshet.Token) {
	b.Helper()
	err := b.feed.Follow(context.Background(), r, func(batch feed.Batch) error {
		for _, item := range batch.Items {
			got = append(got, item.Key.Entity+"="+item.Text)
		}
		last = batch.Token
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return got, last
}

func TestEverythingThenWhatIsNew(t *testing.T) {
	b := newBench(t)
	ask := feed.Request{Collection: "c"}
	if got, _ := b.all(ask); len(got) != 0 {
		t.Errorf("an empty log has %v", got)
	}
	b.put("1", in("c", "n", "a"), in("c", "m", "b"), in("other", "n", "x"), in("c", "n", "d"))
	b.put("2", in("c", "n", "a"))
	b.put("", in("c", "n", "d"))
	got, token := b.all(ask)
	if want := "b=1 a=2 d="; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got, _ := b.all(feed.Request{Collection: "c", Namespace: "n"}); strings.Join(got, " ") != "a=2 d=" {
		t.Errorf("of a namespace: %v", got)
	}
	ask.After = token
	if got, _ := b.all(ask); len(got) != 0 {
		t.Errorf("nothing has changed, got %v", got)
	}
	b.put("3", in("other", "n", "x"), in("c", "n", "e"), in("c", "m", "b"))
	if got, _ = b.all(ask); strings.Join(got, " ") != "e=3 b=3" {
		t.Errorf("after the token: %v", got)
	}
	now, err := b.feed.Token()
	if err != nil {
		t.Fatal(err)
	}
	ask.After = now
	if got, _ = b.all(ask); len(got) != 0 {
		t.Errorf("after now: %v", got)
	}
}

// Every item's own token goes on right behind it.
func TestTokenOfEachItem(t *testing.T) {
	b := newBench(t)
	for i := range 10 {
		b.put("t", in("c", "n", fmt.Sprint(i%7)), in("other", "n", fmt.Sprint(i)))
	}
	var items []feed.Item
	if err := b.feed.Follow(context.Background(), feed.Request{Collection: "c", Vectors: true}, func(batch feed.Batch) error {
		items = append(items, batch.Items...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(items) != 7 || len(items[0].Points) != 1 {
		t.Fatalf("%d items, the first with %d points; want 7 and 1", len(items), len(items[0].Points))
	}
	for i, item := range items {
		token, err := wire.ParseToken(wire.TokenString(item.Token))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := b.all(feed.Request{Collection: "c", After: token}); len(got) != len(items)-1-i {
			t.Errorf("behind item %d of %d there are %d", i, len(items), len(got))
		}
	}
}

func TestTokensOfNowhereAreRefused(t *testing.T) {
	b := newBench(t)
	b.put("1", in("c", "n", "a"))
	span := func(topic string, last int64) []freshet.Span {
		return []freshet.Span{{Topic: topic, First: last, Last: last}}
	}
	for name, token := range map[string]freshet.Token{
		"another log": {Log: freshet.LogID{1}, Spans: span(freshet.TopicSync, 0)},
		"of events":   {Log: b.log.ID(), Spans: span(freshet.TopicRaw, 0)},
		"ahead":       {Log: b.log.ID(), Spans: span(freshet.TopicSync, 99)},
	} {
		err := b.feed.Follow(context.Background(), feed.Request{Collection: "c", After: token}, func(feed.Batch) error { return nil })
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != freshet.CodeForeignToken || e.Field != "after" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A place comes once all that was there is told, however much of it was others'.
func TestPlaceComesLast(t *testing.T) {
	b := newBench(t)
	others := make([]freshet.Key, 20_000)
	for i := range others {
		others[i] = in("other", "n", fmt.Sprint(i))
	}
	b.put("1", others...)
	b.put("2", in("c", "n", "a"))
	var seen []int
	if err := b.feed.Follow(context.Background(), feed.Request{Collection: "c"}, func(batch feed.Batch) error {
		seen = append(seen, len(batch.Items))
		return nil
	}); err != nil || fmt.Sprint(seen) != "[1 0]" {
		t.Errorf("%v; batches of %v items, want one change and then the place", err, seen)
	}
}

// A feed that has nothing to tell says where it is now and then, also while others' changes come all the time.
func TestIdleFeedSaysWhereItIs(t *testing.T) {
	for _, busy := range []bool{false, true} {
		b := newBench(t)
		b.put("1", in("other", "n", "x"))
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for busy {
				select {
				case <-stop:
					return
				default:
					b.put("1", in("other", "n", "x"))
				}
			}
		}()
		var places []int64
		enough := errors.New("enough")
		err := b.feed.Follow(context.Background(), feed.Request{Collection: "c", Follow: true, Idle: 5 * time.Millisecond}, func(batch feed.Batch) error {
			if places = append(places, batch.Token.Spans[0].Last); len(places) == 4 {
				return enough
			}
			return nil
		})
		close(stop)
		<-stopped
		if moved := places[3] > places[0]; !errors.Is(err, enough) || moved != busy {
			t.Errorf("busy %v: %v; it was at %v", busy, err, places)
		}
	}
}

// A follower that breaks off at any place and goes on with its last token has at the end what the writer wrote.
func TestFollowerIsRight(t *testing.T) {
	const writes, keys = 4000, 60
	b := newBench(t)
	want, got := map[string]string{}, map[string]string{}
	go func() {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range writes {
			text := fmt.Sprint(i)
			if rng.IntN(5) == 0 {
				text = ""
			}
			key := in("c", fmt.Sprint(rng.IntN(2)), fmt.Sprint(rng.IntN(keys)))
			want[name(key)] = text
			b.put(text, key, in("other", "n", fmt.Sprint(rng.IntN(9))))
		}
		b.put("end", in("c", "0", "end"))
	}()
	rng := rand.New(rand.NewPCG(3, 4))
	breakOff := errors.New("the connection is gone")
	r := feed.Request{Collection: "c", Follow: true, Idle: time.Millisecond}
	versions := map[string]freshet.Version{}
	for done := false; !done; {
		err := b.feed.Follow(context.Background(), r, func(batch feed.Batch) error {
			for _, item := range batch.Items {
				if rng.IntN(40) == 0 {
					return breakOff
				}
				key := name(item.Key)
				if !item.Version.After(versions[key]) {
					t.Errorf("%s comes with version %+v after %+v", key, item.Version, versions[key])
				}
				got[key], versions[key], r.After = item.Text, item.Version, item.Token
				if done = item.Key.Entity == "end"; done {
					return breakOff
				}
			}
			r.After = batch.Token
			return nil
		})
		if !errors.Is(err, breakOff) {
			t.Fatal(err)
		}
	}
	delete(got, name(in("c", "0", "end")))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the follower has %v, written was %v", got, want)
	}
}

func name(k freshet.Key) string { return k.Namespace + "/" + k.Entity }

// What a follower was told is there after a power cut, at its place.
func TestToldChangesAreDurable(t *testing.T) {
	for _, skipped := range []bool{false, true} {
		mem := vfs.NewCrashableMem()
		fs := disk.New(mem, func(s disk.Site) bool { return skipped && s == disk.FeedState })
		b := newBenchOn(t, fs)
		b.put("1", in("c", "n", "a"), in("c", "n", "b"))
		told, token := b.all(feed.Request{Collection: "c"})
		if len(told) != 2 {
			t.Fatalf("told is %v", told)
		}
		after := newBenchOn(t, disk.New(mem.CrashClone(vfs.CrashCloneCfg{}), nil))
		left, err := after.log.End(freshet.TopicSync)
		if err != nil {
			t.Fatal(err)
		}
		if kept := left == token.Spans[0].Last+1; kept == skipped {
			t.Errorf("without the sync: %v; after the power cut vector.sync ends at %d, told was all before %d", skipped, left, token.Spans[0].Last+1)
		}
	}
}

// Who was away while deletions were forgotten begins anew; who begins has nothing to miss.
func TestForgottenDeletionsAreNotMissed(t *testing.T) {
	b := newBench(t)
	a, other := in("c", "n", "a"), in("c", "m", "b")
	b.put("1", a, other, in("d", "n", "a"))
	_, before := b.all(feed.Request{Collection: "c"})
	b.put("", a)
	b.put("2", other)
	_, behind := b.all(feed.Request{Collection: "c"})
	b.forget(a)
	for _, c := range []struct {
		request feed.Request
		want    string // "" for a refusal
	}{
		{feed.Request{Collection: "c"}, "b=2"},
		{feed.Request{Collection: "c", After: before}, ""},
		{feed.Request{Collection: "c", Namespace: "n", After: before}, ""},
		{feed.Request{Collection: "c", Namespace: "m", After: before}, "b=2"},
		{feed.Request{Collection: "c", After: behind}, "nothing"},
		{feed.Request{Collection: "d", After: before}, "nothing"},
	} {
		got, err := []string{}, error(nil)
		err = b.feed.Follow(context.Background(), c.request, func(batch feed.Batch) error {
			for _, item := range batch.Items {
				got = append(got, item.Key.Entity+"="+item.Text)
			}
			return nil
		})
		var refusal *freshet.Error
		switch text := strings.Join(got, " "); {
		case c.want == "" && (!errors.As(err, &refusal) || refusal.Code != freshet.CodeTooOld):
			t.Errorf("%+v: %q, %v; want a refusal", c.request, text, err)
		case c.want != "" && (err != nil || text != strings.TrimPrefix(c.want, "nothing")):
			t.Errorf("%+v: %q, %v; want %s", c.request, text, err, c.want)
		}
	}
}

// A first pass takes several steps. Those before what is forgotten are no reason to refuse the next, nor one that goes on
// from any item; what is deleted and forgotten after it began is one.
func TestFirstPassGoesOn(t *testing.T) {
	const each = 300
	b := newBench(t)
	keys := func(from, to int) (list []freshet.Key) {
		for i := from; i < to; i++ {
			list = append(list, in("c", "n", fmt.Sprint(i)))
		}
		return list
	}
	gone := in("c", "n", "gone")
	b.put("1", keys(0, each)...)
	b.put("", gone)
	b.put("1", keys(each, 2*each)...)
	b.forget(gone)

	var items []feed.Item
	follow := func(after freshet.Token, seen func(feed.Batch)) error {
		return b.feed.Follow(context.Background(), feed.Request{Collection: "c", After: after}, func(batch feed.Batch) error {
			seen(batch)
			return nil
		})
	}
	if err := follow(freshet.Token{}, func(batch feed.Batch) { items = append(items, batch.Items...) }); err != nil || len(items) != 2*each {
		t.Fatalf("%d items, want %d: %v", len(items), 2*each, err)
	}
	resume := func(i int) (count int, err error) {
		token, err := wire.ParseToken(wire.TokenString(items[i].Token))
		if err != nil {
			t.Fatal(err)
		}
		return count, follow(token, func(batch feed.Batch) { count += len(batch.Items) })
	}
	for i := range items {
		if count, err := resume(i); err != nil || count != len(items)-1-i {
			t.Fatalf("behind item %d of %d there are %d: %v", i, len(items), count, err)
		}
	}

	first := keys(0, 1)[0]
	b.put("", first)
	if count, err := resume(9); err != nil || count != len(items)-10+1 {
		t.Errorf("with a deletion behind item 9 there are %d: %v", count, err)
	}
	b.forget(first)
	tooOld := func(err error) bool {
		var refusal *freshet.Error
		return errors.As(err, &refusal) && refusal.Code == freshet.CodeTooOld
	}
	for _, i := range []int{9, each + 9, len(items) - 1} {
		if _, err := resume(i); !tooOld(err) {
			t.Errorf("behind item %d, where a deletion is forgotten: %v", i, err)
		}
	}
	if err := follow(freshet.Token{}, func(feed.Batch) {}); err != nil {
		t.Errorf("begun anew: %v", err)
	}
	// A deletion that is forgotten under way is missed as well.
	told := in("c", "n", "1")
	if err := follow(freshet.Token{}, func(feed.Batch) {
		if told.Entity != "" {
			b.put("", told)
			b.forget(told)
			told.Entity = ""
		}
	}); !tooOld(err) {
		t.Errorf("a deletion was forgotten under way: %v", err)
	}
}

// A drop from before a first pass began is not told to who goes on with it.
func TestFirstPassGoesOnBehindADrop(t *testing.T) {
	b := newBench(t)
	shard := freshet.Shard{Collection: "c", Namespace: "n"}
	b.put("1", in("c", "m", "a"), in("c", "m", "b"))
	tx := b.log.Begin()
	lower, upper := wire.ShardRange(shard)
	if err := tx.Drop(freshet.TopicSync, wire.AppendDrop(nil, shard), [][2][]byte{{lower, upper}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	b.put("1", in("c", "n", "c"))
	for after, want := (freshet.Token{}), "a=1 b=1 c=1"; want != ""; {
		if got, _ := b.all(feed.Request{Collection: "c", After: after}); strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
		_ = b.feed.Follow(context.Background(), feed.Request{Collection: "c", After: after}, func(batch feed.Batch) error {
			after = batch.Token
			if len(batch.Items) > 0 {
				after = batch.Items[0].Token
			}
			return errors.New("enough")
		})
		_, want, _ = strings.Cut(want, " ")
	}
}
