package process_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// suspects are the entities that an audit names.
func (b *bench) suspects() (keys []freshet.Key) {
	b.t.Helper()
	for _, d := range b.audit().Differences {
		keys = append(keys, d.Key)
	}
	return keys
}

func keyOf(name string) freshet.Key {
	return freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: name}
}

// ruin damages the record of an entity in one of several ways.
func (b *bench) ruin(name string, c freshet.Change, how int) {
	b.t.Helper()
	key := wire.AppendKey(nil, keyOf(name))
	b.damage(func(tx broker.Txn) error {
		if how == 0 {
			return tx.Remove(freshet.TopicSync, key)
		}
		switch how {
		case 1:
			c.Text += "x"
		case 2:
			c.Version.Offset--
		case 3:
			c.Events++
		case 4:
			if len(c.Points) > 0 {
				c.Points[0].Vector[0]++
			}
			c.Metadata = []byte(`{"ruined":true}`)
		case 5:
			err := tx.Put(freshet.TopicSync, key, []byte("nonsense"))
			return err
		}
		err := tx.Put(freshet.TopicSync, key, wire.AppendChange(nil, &c))
		return err
	})
}

// Whatever is done to vector.sync, a repair gives back the very bytes that were there, and touches nothing
// else. What vector.sync has beyond the log stays.
func TestRepair(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 8))
			b := newBench(t, streamWindow)
			b.send(split(r, randomEvents(r, 150), 20)...)
			b.send([]string{"b red", until("x", 1<<50, says), "-gone"}, []string{"b bad", patch(`{"n":1}`), "a red", patch(`{"n":2}`)}, []string{patch(`{"m":3}`)})
			before, state := b.everything(), b.state()
			expiries := fmt.Sprint(b.expiries())
			b.damage(func(tx broker.Txn) error {
				extra := b.state()["b"]
				err := tx.Put(freshet.TopicSync, []byte("extra"), wire.AppendChange(nil, &extra))
				return err
			})
			names := []string{"a", "b", "x", "gone", "e0", "e1"}
			for _, name := range names {
				if _, ok := before[freshet.TopicSync+" "+name]; ok {
					b.ruin(name, state[name], r.IntN(6))
				}
			}
			keys := b.suspectsEven()
			if len(keys) < 4 {
				t.Fatalf("the audit names %v", keys)
			}
			if _, err := b.proc.Repair(context.Background(), keys); err != nil {
				t.Fatal(err)
			}
			b.mustFind("extra", keyOf("extra"), "none")
			after := b.everything()
			delete(after, freshet.TopicSync+" extra")
			for key, want := range before {
				if !bytes.Equal(after[key], want) {
					t.Errorf("%q holds\n%q\nwas\n%q", key, after[key], want)
				}
			}
			if len(after) != len(before) || fmt.Sprint(b.expiries()) != expiries {
				t.Errorf("%d records, before %d; expiries %v, before %s", len(after), len(before), b.expiries(), expiries)
			}
			if written, err := b.proc.Repair(context.Background(), keys); err != nil || len(written) > 0 {
				t.Errorf("a second repair writes %v, %v", written, err)
			}
		})
	}
}

// suspectsEven are the entities that an audit names; one with a key that can't be read is left out.
func (b *bench) suspectsEven() (keys []freshet.Key) {
	for _, k := range b.suspects() {
		if k.Collection != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// While events of the same entities come, a repair counts each once, and a record that can't even
// be read does not stop it.
func TestRepairWhileTrafficGoesOn(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 9))
		b := newBench(t, streamWindow, withFS(vfs.NewCrashableMem()))
		b.send(split(r, randomEvents(r, 200), 20)...)
		state := b.state()
		for name := range state {
			if !strings.Contains(name, "@") {
				b.ruin(name, state[name], r.IntN(6))
			}
		}
		keys := b.suspectsEven()
		sent := make(chan struct{})
		events := split(r, randomEvents(r, 300), 10)
		go func() {
			defer close(sent)
			for _, g := range events {
				b.append(g...)
			}
		}()
		if _, err := b.proc.Repair(context.Background(), keys); err != nil {
			t.Fatal(err)
		}
		<-sent
		if seed%2 == 1 {
			b.crash(r) // what the repair wrote may be lost, or not
		}
		for range 2 { // what came in between is a difference of its own
			if _, err := b.proc.Repair(context.Background(), b.suspectsEven()); err != nil {
				t.Fatal(err)
			}
		}
		b.settle()
		if _, err := b.proc.Repair(context.Background(), b.suspectsEven()); err != nil {
			t.Fatal(err)
		}
		b.mustBeClean()
	}
}
