package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// declared are collections, with true for those that others write.
type declared struct {
	mu  sync.Mutex
	all map[string]bool
}

func (d *declared) declare(name string, external bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[name] = external
}

func (d *declared) Writer(name string) (external, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	external, ok = d.all[name]
	return external, ok
}

func (d *declared) External() (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, external := range d.all {
		if external {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (d *declared) Epoch() uint32 { return 1 }

func (d *declared) Check(c *freshet.Change) error {
	for _, p := range c.Points {
		if len(p.Vector) != 2 || p.Vector[0] != p.Vector[0] {
			return fmt.Errorf("vector %v", p.Vector)
		}
	}
	return nil
}

// reading is a node that takes in what others write.
type reading struct {
	t        *testing.T
	client   *kafka.Client
	state    *embedded.State
	external *kafka.External
	ended    chan error   // how it ended
	stop     func() error // ends it

	mu        sync.Mutex // guards delivered
	delivered []freshet.Change
}

func startReading(t *testing.T, o kafka.Options, fs *vfs.MemFS, collections *declared) *reading {
	t.Helper()
	r := &reading{t: t, client: open(t, o), ended: make(chan error, 1)}
	var err error
	r.state, err = embedded.OpenCopy("copy", "kafka", freshet.LogID{1}, embedded.Options{FS: disk.New(fs, nil), CacheBytes: 1 << 20, Partitions: o.Partitions})
	if err != nil {
		t.Fatal(err)
	}
	topics := r.client.Options().Topics
	copy := kafka.NewCopy(r.state, topics, func(_ context.Context, _ int32, taken kafka.Taken) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.delivered = append(r.delivered, taken.Changes...)
		return nil
	})
	copy.Externals(collections, r.client.Options())
	r.external = r.client.NewExternal(copy)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		r.ended <- r.external.Run(ctx)
		close(r.ended)
	}()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-r.ended, r.state.CloseCopy())
	})
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// await waits until everything is taken in.
func (r *reading) await() {
	r.t.Helper()
	topic := r.client.Options().Topics.Sync
	ends, err := r.client.Ends(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all := true
		for p, end := range ends {
			has, err := r.external.Has(p, end)
			if err != nil {
				r.t.Fatal(err)
			}
			all = all && has
		}
		if all {
			return
		}
		if time.Now().After(until) {
			r.t.Fatal("not everything was taken in")
		}
	}
}

// alive are the entities that are not deleted, as COLLECTION/ENTITY, with the first component of their vector.
func (r *reading) alive() map[string]float32 {
	r.t.Helper()
	all := map[string]float32{}
	if err := r.state.Scan(freshet.TopicSync, nil, nil, func(rec broker.Record) error {
		key, err := wire.ParseKey(rec.Key)
		if err != nil {
			return err
		}
		c, err := wire.DecodeChange(key, rec.Value, wire.Points)
		if err != nil {
			return err
		}
		if !c.Deleted() {
			all[key.Collection+"/"+key.Entity] = c.Points[0].Vector[0]
			if c.Digest != wire.StateDigest(&c, wire.PointsDigest(c.Points)) || c.Version.Epoch != 1 || c.Events != 1 {
				r.t.Errorf("%+v", c)
			}
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// job writes into vector.sync as others do.
type job struct {
	t *testing.T
	*kgo.Client
	topic string
}

func newJob(t *testing.T, o kafka.Options, p kgo.Partitioner) *job {
	t.Helper()
	topic := open(t, o).Options().Topics.Sync
	c, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &job{t, c, topic}
}

// crc32Partitioner is that of librdkafka, and so of confluent-kafka.
func crc32Partitioner() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, n int) int { return int(crc32.ChecksumIEEE(r.Key) % uint32(n)) }
	})
}

func (j *job) write(collection, entity, value string) {
	j.t.Helper()
	key := wire.AppendKey(nil, freshet.Key{Collection: collection, Namespace: freshet.DefaultNamespace, Entity: entity})
	r := &kgo.Record{Key: key}
	if value != "" {
		r.Value = []byte(value)
	}
	if err := j.ProduceSync(j.t.Context(), r).FirstErr(); err != nil {
		j.t.Fatal(err)
	}
}

func vectorOf(entity string, x float32) string {
	b, _ := json.Marshal(map[string]any{"entity_id": entity, "vector": []float32{x, 1}, "timestamp": 5, "metadata": map[string]any{"source_event_id": "a", "n": 1}})
	return string(b)
}

// The last record of an entity decides, in whatever partition and whatever form; one that can't be read deletes. A copy that has read all of
// it, one that was started again and a new one have the same.
func TestExternal(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o.Partitions = 3
		if _, err := open(t, o).Ensure(deadline(t)); err != nil {
			t.Fatal(err)
		}
		collections := &declared{all: map[string]bool{"default": true, "ours": false}}
		mem := vfs.NewMem()
		a := startReading(t, o, mem, collections)
		j := newJob(t, o, crc32Partitioner())
		want := map[string]float32{}
		for i := range 60 {
			entity := fmt.Sprint("e", i)
			j.write("default", entity, vectorOf(entity, float32(i)))
			want["default/"+entity] = float32(i)
			if i == 20 {
				a.await()
			}
			switch i % 6 {
			case 1:
				j.write("default", entity, vectorOf(entity, float32(i)+0.5))
				want["default/"+entity] += 0.5
			case 2:
				j.write("default", entity, "")
				delete(want, "default/"+entity)
			case 3:
				bad := []string{"not JSON", `{"vector":[1]}`, `{"vector":[1,1],"foo":1}`, `{"entity_id":"another","vector":[1,1]}`, `{"vector":"x"}`,
					string(wire.AppendChange(nil, &freshet.Change{Op: freshet.OpUpsert, Points: []freshet.Point{{Slot: "0", Vector: []float32{float32(math.NaN()), 1}}}})), "\x01cut",
					string(wire.AppendChange(nil, &freshet.Change{Op: freshet.OpUpsert, ExpiresAt: 1, Points: []freshet.Point{{Slot: "0", Vector: []float32{1, 1}}}}))}
				j.write("default", entity, bad[i/6%len(bad)])
				delete(want, "default/"+entity)
			case 4:
				c := freshet.Change{Op: freshet.OpUpsert, Version: freshet.Version{Order: 9, Epoch: 9, Offset: 9}, Text: "binary", Points: []freshet.Point{{Slot: "0", Vector: []float32{7, 7}}}}
				j.write("default", entity, string(wire.AppendChange(nil, &c)))
				want["default/"+entity] = 7
			case 5:
				j.write("default", entity, "null")
				j.write("default", entity, vectorOf(entity, 8))
				want["default/"+entity] = 8
			}
		}
		j.write("late", "x", vectorOf("x", 1))
		a.await()
		if got := a.alive(); !reflect.DeepEqual(got, want) {
			t.Fatalf("the copy has\n%v, want\n%v", got, want)
		}
		s := &a.external.Stats
		if s.Bad.Load() != 10 || s.Ignored.Load() != 1 {
			t.Errorf("%d bad ones, %d left out", s.Bad.Load(), s.Ignored.Load())
		}
		if lag := a.external.Lag(); lag != 0 {
			t.Errorf("the lag is %d", lag)
		}
		last := map[string]freshet.Change{}
		for _, c := range a.delivered {
			if old, ok := last[c.Key.Entity]; ok && !c.Version.After(old.Version) {
				t.Errorf("%s was delivered with version %v after %v", c.Key.Entity, c.Version, old.Version)
			}
			last[c.Key.Entity] = c
		}
		for entity, c := range last {
			if x, ok := want["default/"+entity]; ok == c.Deleted() || ok && c.Points[0].Vector[0] != x {
				t.Errorf("%s was delivered as %+v", entity, c)
			}
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}

		// Again, with a collection that was not declared when its records came.
		collections.declare("late", true)
		a = startReading(t, o, mem, collections)
		want["late/x"] = 1
		a.await()
		j.write("default", "e0", vectorOf("e0", 99))
		want["default/e0"] = 99
		a.await()
		if got := a.alive(); !reflect.DeepEqual(got, want) {
			t.Errorf("started again, the copy has\n%v, want\n%v", got, want)
		}
		a.mu.Lock()
		if n := len(a.delivered); n != 2 {
			t.Errorf("started again, %d changes were delivered, want 2: %v", n, a.delivered)
		}
		a.mu.Unlock()
		b := startReading(t, o, vfs.NewMem(), collections)
		b.await()
		if got := b.alive(); !reflect.DeepEqual(got, want) {
			t.Errorf("a new copy has\n%v, want\n%v", got, want)
		}
		// While it runs, too.
		collections.declare("later", true)
		j.write("later", "y", vectorOf("y", 2))
		want["later/y"] = 2
		for until := time.Now().Add(20 * time.Second); !reflect.DeepEqual(b.alive(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("a copy has\n%v, want\n%v", b.alive(), want)
			}
		}
	})
}

// A record of the wrong writer stops who reads it, with an error that names both; told to ignore such, they go on.
func TestMixedWriters(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		for name, mixed := range map[string]func(w *owner, j *job){
			"is written by freshet": func(_ *owner, j *job) { j.write("ours", "x", vectorOf("x", 1)) },
			"deleted by others":     func(_ *owner, j *job) { j.write("ours", "x", "") },
			"is written by others": func(w *owner, _ *job) {
				key := freshet.Key{Collection: "theirs", Namespace: freshet.DefaultNamespace, Entity: "y"}
				tx := w.Begin()
				if err := errors.Join(tx.Put(freshet.TopicSync, wire.AppendKey(nil, key), wire.AppendChange(nil, &freshet.Change{Op: freshet.OpUpsert})), tx.Commit()); err != nil {
					t.Fatal(err)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				o := o
				o.Topics.Prefix += strings.ReplaceAll(name, " ", "_")
				o.Group += strings.ReplaceAll(name, " ", "_")
				o = alone(t, o)
				collections := &declared{all: map[string]bool{"theirs": true, "ours": false}}
				j := newJob(t, o, kgo.StickyKeyPartitioner(nil))
				w := own(t, o, vfs.NewMem())
				mixed(w, j)
				j.write("theirs", "z", vectorOf("z", 3))
				r := startReading(t, o, vfs.NewMem(), collections)
				var err error
				select {
				case err = <-r.ended:
				case <-time.After(20 * time.Second):
				}
				if !errors.Is(err, kafka.ErrMixed) {
					t.Fatalf("reading ended with %v", err)
				}
				for _, said := range []string{"freshet", o.Group, "other", "/0@"} {
					if !strings.Contains(err.Error(), said) {
						t.Errorf("the error does not say %q: %v", said, err)
					}
				}
				o.MixedWriters = kafka.MixedIgnore
				r = startReading(t, o, vfs.NewMem(), collections)
				r.await()
				if got := r.alive(); !reflect.DeepEqual(got, map[string]float32{"theirs/z": 3}) || r.external.Stats.Ignored.Load() != 1 {
					t.Errorf("told to ignore it, the copy has %v", got)
				}
			})
		}
	})
}
