package kafka_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// contents is what the copy has of vector.sync.
func (w *owner) contents() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	if err := w.state.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		all[string(r.Key)] = string(r.Value)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// lastValues are those that stand in the log, by key.
func lastValues(t *testing.T, o kafka.Options, topic string, keys int) map[string][]byte {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := map[string][]byte{}
	for ctx := deadline(t); len(all) < keys; {
		fetched := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d keys: %v", len(all), keys, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			if !bytes.HasPrefix(r.Key, []byte{0, 0}) {
				all[string(r.Key)] = r.Value
			}
		})
	}
	return all
}

// An owner writes the form that it is told to; another one with the other setting reads both, and its copy has the same bytes.
func TestSyncFormats(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o = alone(t, o)
		inJSON := o
		inJSON.SyncFormat = kafka.SyncJSON
		put := func(w *owner, from, to int) {
			t.Helper()
			tx := w.Begin()
			for i := from; i < to; i++ {
				c := change(i)
				if err := tx.Put(freshet.TopicSync, wire.AppendKey(nil, c.Key), wire.AppendChange(nil, &c)); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		a := own(t, inJSON, vfs.NewMem())
		put(a, 0, 20)
		b := own(t, o, vfs.NewMem()) // fences a
		put(b, 10, 30)
		c := own(t, inJSON, vfs.NewMem())
		put(c, 25, 35)
		want := c.contents()
		if len(want) != 35 {
			t.Fatalf("the copy has %d entities, want 35", len(want))
		}
		if d := own(t, o, vfs.NewMem()); !reflect.DeepEqual(d.contents(), want) {
			t.Error("a copy made of both forms differs from one of an owner")
		}
		for key, value := range lastValues(t, o, c.client.Options().Topics.Sync, 35) {
			var seed struct {
				ID     string    `json:"entity_id"`
				Vector []float32 `json:"vector"`
			}
			i := 0
			k, err := wire.ParseKey([]byte(key))
			if _, bad := fmt.Sscanf(k.Entity, "e%d", &i); err != nil || bad != nil {
				t.Fatalf("key %q: %v, %v", key, err, bad)
			}
			err = json.Unmarshal(value, &seed)
			change, large := change(i), i == 34
			if binary := i >= 10 && i < 25 || large; binary != (err != nil) || !binary && (seed.ID != k.Entity || !reflect.DeepEqual(seed.Vector, change.Points[0].Vector)) {
				t.Errorf("%q has %v, %.200q: %+v", key, err, value, seed)
			}
		}
	})
}

// change is a change of entity number i; what JSON would make too large of the last one is a record that fits as it is.
func change(i int) freshet.Change {
	key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: fmt.Sprint("e", i)}
	if i%3 == 0 {
		key.Collection = "other"
	}
	c := freshet.Change{Key: key, Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1, Offset: int64(i)}, Revision: 1, Events: 2, EventTime: 5, AcceptedAt: 6,
		ExpiresAt: 1e15, Text: "a text", Metadata: []byte(`{"a": 1}`), Source: "s", SourceEventID: "id",
		Points: []freshet.Point{{Model: "m", Slot: "0", End: 3, Vector: []float32{1, float32(i) / 3}}, {Model: "m", Slot: "1", Start: 3, End: 6, Vector: []float32{2, 1e-40}}},
		Base:   &freshet.Base{Version: freshet.Version{Offset: 1}, Text: "before"}}
	if i == 34 {
		c.Text = strings.Repeat("\x01", 3<<20)
	}
	c.Content = wire.PointsDigest(c.Points)
	c.Digest = wire.StateDigest(&c, c.Content)
	return c
}
