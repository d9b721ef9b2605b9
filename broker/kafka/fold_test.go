package kafka_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// What the audit base has read of forwards counts as far as its position: audits from there, and the base of the next owner, find the same
// repetitions as if they had read from the first record. An audit keeps the base that it began with.
func TestForwardsThatAreFolded(t *testing.T) {
	o := alone(t, options(fake(t, 1).ListenAddrs()))
	w := own(t, o, vfs.NewCrashableMem())
	send := func(sources ...int64) {
		t.Helper()
		for _, at := range sources {
			r := kafka.Record{Value: fmt.Appendf(nil, "%d", at), Headers: []kafka.Header{kafka.Forwarded(kafka.TopicID{1}, 3, at, 0)}}
			if _, err := w.Append(deadline(t), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	// read reads up to the last record, which is never a repetition.
	read := func(r broker.Reader) (got []string) {
		t.Helper()
		defer r.Close()
		for len(got) == 0 || got[len(got)-1] != "9" {
			records, err := r.Next(deadline(t), nil, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range records {
				got = append(got, string(rec.Value))
			}
		}
		return got
	}
	move := func(next int64) {
		t.Helper()
		tx := w.Begin()
		if err := errors.Join(tx.Move(w.Join("audit"), freshet.TopicRaw, 0, next), tx.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	send(1, 2, 3, 2, 4, 3, 9) // at 0 to 6
	early := w.View()
	defer early.Close()
	if got := read(w.ReadRawAs(w.Join("audit"), 0)); !slices.Equal(got, []string{"1", "2", "3", "4", "9"}) {
		t.Errorf("the base reads %q", got)
	}
	move(3) // 1, 2, 3
	later := w.View()
	defer later.Close()
	move(5) // 4 too
	last := w.View()
	defer last.Close()
	for _, x := range []struct {
		view broker.View
		want []string
	}{{early, []string{"1", "2", "3", "4", "9"}}, {later, []string{"4", "9"}}, {last, []string{"9"}}} {
		from, err := x.view.Position("audit", freshet.TopicRaw, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(x.view.ReadRaw(from)); !slices.Equal(got, x.want) {
			t.Errorf("from %d an audit reads %q, want %q", from, got, x.want)
		}
	}
	next := own(t, o, vfs.NewCrashableMem())
	if got := read(next.ReadRawAs(next.Join("audit"), 5)); !slices.Equal(got, []string{"9"}) {
		t.Errorf("the base of the next owner reads %q", got)
	}
}

// A deletion that the topic has no more leaves a copy without a trace, and indexes are told. A version that is lower than what the copy has comes
// behind a deletion that was forgotten before the copy has read it: the index is told of that too, as it takes no lower version by itself.
func TestCopyForgetsDeletions(t *testing.T) {
	o := alone(t, options(fake(t, 1).ListenAddrs()))
	w := own(t, o, vfs.NewCrashableMem())
	put := func(name string, op freshet.Op, order int64) {
		t.Helper()
		c := freshet.Change{Op: op, Version: freshet.Version{Order: order, Epoch: 1, Offset: 1}, Text: "x"}
		tx := w.Begin()
		if err := errors.Join(tx.Put(freshet.TopicSync, []byte(name), wire.AppendChange(nil, &c)), tx.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	put("dead", freshet.OpDelete, 9)
	put("alive", freshet.OpUpsert, 9)
	follow(t, o, vfs.NewCrashableMem(), func(f *follower) {
		f.read(t)
		f.taken = nil
		r, _, err := w.Latest(freshet.TopicSync, []byte("dead"), nil)
		tx := w.Begin()
		key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace}
		if err := errors.Join(err, tx.Purge(freshet.TopicSync, key.Shard(), []broker.Record{r}), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		put("alive", freshet.OpUpsert, 5) // deleted and forgotten in between, and compacted
		f.read(t)
		if e, _, _ := f.has(t, "dead"); e {
			t.Error("the copy has what the topic has no more")
		}
		p, err := f.state.Purged(freshet.TopicSync, "")
		if err != nil || p.Through == 0 {
			t.Errorf("purged: %+v, %v", p, err)
		}
		err = f.state.Changed(freshet.TopicSync, 0, func(offset int64, key []byte) error {
			if string(key) == "dead" {
				t.Errorf("the order of the copy has the forgotten key at %d", offset)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if len(f.forgotten) != 1 || f.forgotten[0].Key.Entity != "dead" || f.forgotten[0].Version.Order != 9 {
			t.Errorf("forgotten: %+v", f.forgotten)
		}
		if len(f.taken) != 2 || !f.taken[0].Deleted() || !f.taken[0].Again || f.taken[0].Version.Order != 9 || !f.taken[1].Anew || f.taken[1].Version.Order != 5 {
			t.Errorf("taken: %+v", f.taken)
		}
	})
}
