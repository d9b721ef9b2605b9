package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
)

// node is a process that has the catalog.
type node struct {
	t      *testing.T
	client *kafka.Client
	state  *embedded.State
	ctl    *kafka.Control
	*control.Catalog
	stop func()
}

// join starts a node with a copy on a disk.
func join(t *testing.T, o kafka.Options, fs vfs.FS) *node {
	t.Helper()
	n := &node{t: t, client: open(t, o)}
	id, err := n.client.Identity(deadline(t))
	if err == nil {
		n.state, err = embedded.OpenCopy("copy", "kafka", id, embedded.Options{FS: disk.New(fs, nil), CacheBytes: 1 << 20, Partitions: o.Partitions})
	}
	if err == nil {
		deliver := func(context.Context, int32, kafka.Taken) error { return nil }
		n.ctl, err = n.client.OpenControl(deadline(t), kafka.NewCopy(n.state, n.client.Options().Topics, deliver))
	}
	if err == nil {
		n.Catalog, err = control.Open(n.ctl)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.stop = sync.OnceFunc(func() {
		n.ctl.Close()
		n.client.Close()
		if err := n.state.CloseCopy(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { n.stop() })
	return n
}

// run follows what others write until the node stops.
func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done, stop := make(chan error, 1), n.stop
	go func() { done <- n.ctl.Run(ctx, n.Take) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
		stop()
	})
}

// waitFor waits until the node has got to know a collection.
func (n *node) waitFor(name string, good func(control.Collection) bool) {
	n.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if col, ok := n.Get(name); ok && good(col) {
			return
		}
		if time.Now().After(end) {
			col, ok := n.Get(name)
			n.t.Fatalf("collection %q is %+v, %v after 20 s", name, col, ok)
		}
	}
}

func vectors(name string) control.Collection {
	return control.Collection{Name: name, Dim: 3, Metric: "l2", Origin: "config", Since: 9}
}

func TestIdentity(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		ids := make([]freshet.LogID, 4)
		var wg sync.WaitGroup
		for i := range ids { // all at once
			c := open(t, o)
			wg.Go(func() {
				var err error
				if ids[i], err = c.Identity(deadline(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		c := open(t, o)
		again, err := c.Identity(deadline(t))
		if err != nil || again == (freshet.LogID{}) {
			t.Fatal(again, err)
		}
		for _, id := range ids {
			if id != again {
				t.Errorf("nodes have the identities %x, the log has %x", ids, again)
			}
		}

		admin := administer(t, o)
		names := c.Options().Topics
		if r, err := admin.DeleteTopics(deadline(t), names.Raw); err != nil || r.Error() != nil {
			t.Fatal(err, r.Error())
		}
		await(t, func() bool {
			d, err := admin.ListTopics(deadline(t), names.Raw)
			return err == nil && !d.Has(names.Raw)
		})
		noIdentity(t, o, names.Raw+": its id is ", "deleted and made again", "epoch raise")

		o.Partitions = 6
		all := []string{names.Raw, names.Keyed, names.Sync, names.Dead, names.State}
		if r, err := admin.UpdatePartitions(deadline(t), 6, all...); err != nil || r.Error() != nil {
			t.Fatal(err, r.Error())
		}
		await(t, func() bool {
			d, err := admin.ListTopics(deadline(t), all...)
			for _, topic := range d {
				if len(topic.Partitions) != 6 {
					return false
				}
			}
			return err == nil
		})
		noIdentity(t, o, names.Keyed+": partitions is 6, wanted 4", names.State+": partitions is 6", "epoch raise")
	})
}

// A log whose freshet.control is gone gets no new identity, under which old tables would be taken for its own.
func TestControlIsEmptied(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := open(t, o)
		if _, err := c.Identity(deadline(t)); err != nil {
			t.Fatal(err)
		}
		names := c.Options().Topics
		a, err := c.NewAppender(names.State)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if _, err := a.Append(deadline(t), []kafka.Record{{Partition: 2, Key: []byte("k"), Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
		admin := administer(t, o)
		if r, err := admin.DeleteTopics(deadline(t), names.Control); err != nil || r.Error() != nil {
			t.Fatal(err, r.Error())
		}
		await(t, func() bool {
			d, err := admin.ListTopics(deadline(t), names.Control)
			return err == nil && !d.Has(names.Control)
		})
		noIdentity(t, o, names.Control, "partition 2 of "+names.State, "deleted or emptied", "topics.prefix")
	})
}

// noIdentity expects an error of Identity that says all the parts.
func noIdentity(t *testing.T, o kafka.Options, parts ...string) {
	t.Helper()
	id, err := open(t, o).Identity(deadline(t))
	if err == nil {
		t.Fatalf("log %x is accepted", id)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func administer(t *testing.T, o kafka.Options) *kadm.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

func await(t *testing.T, good func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !good(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing has come of it after 30 s")
		}
	}
}

// What a node says of itself, and that it leaves, the others get to know, by their copies too.
func TestNodesKnowEachOther(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		disk := vfs.NewMem()
		a, b := join(t, o, vfs.NewMem()), join(t, o, disk)
		b.run()
		for _, id := range []string{"1", "2"} {
			if err := a.Announce(control.Node{ID: id, Address: "http://" + id}); err != nil {
				t.Fatal(err)
			}
		}
		await(t, func() bool { return len(b.Nodes()) == 2 })
		if err := a.Leave("1"); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return len(b.Nodes()) == 1 })
		b.stop()
		for name, fs := range map[string]vfs.FS{"with its copy": disk, "anew": vfs.NewMem()} {
			if n := join(t, o, fs); len(n.Nodes()) != 1 || n.Nodes()[0].Address != "http://2" {
				t.Errorf("a node that starts %s knows %+v", name, n.Nodes())
			}
		}
	})
}

// Nodes that write at the same time agree on everything, and each knows soon what the others have written.
func TestNodesShareACatalog(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		nodes := []*node{join(t, o, vfs.NewMem()), join(t, o, vfs.NewMem()), join(t, o, vfs.NewMem())}
		for _, n := range nodes {
			n.run()
		}
		var wg sync.WaitGroup
		each := func(f func(i int, n *node)) {
			for i, n := range nodes {
				wg.Go(func() { f(i, n) })
			}
			wg.Wait()
		}
		at := time.UnixMilli(1e12)
		each(func(i int, n *node) {
			if err := n.CheckEpoch(at); err != nil {
				t.Error(err)
			}
			if _, err := n.CheckRevision(control.Revision{Mapping: "m", Splitter: "s"}); err != nil {
				t.Error(err)
			}
			if err := n.Declare(vectors("default"), vectors(fmt.Sprint("own", i))); err != nil {
				t.Error(err)
			}
		})
		var made, settled, otherwise sync.Map
		each(func(i int, n *node) {
			for k := range 5 {
				name := fmt.Sprint("auto", k)
				col, err := n.CreateLike(name, "default", int64(i))
				if err != nil || col.Since != 0 || col.Dim != 3 {
					t.Errorf("%+v, %v", col, err)
				}
				made.Store(name, true)
				order := []control.Order{control.OrderNone, control.OrderSource}[(i+k)%2]
				switch err := n.SettleOrder(name, order); {
				case err == nil:
					if was, loaded := settled.LoadOrStore(name, order); loaded && was != order {
						t.Errorf("the order of %s is settled twice", name)
					}
				case errors.Is(err, control.ErrSettled):
					otherwise.Store(name, true)
				default:
					t.Error(err)
				}
			}
		})
		for i, n := range nodes {
			for k := range 5 {
				name := fmt.Sprint("auto", k)
				order, ok := settled.Load(name)
				if _, both := otherwise.Load(name); !ok || !both {
					t.Fatalf("the order of %s was settled by nobody or refused to nobody", name)
				}
				n.waitFor(name, func(c control.Collection) bool { return c.Order == order })
			}
			for j := range nodes {
				n.waitFor(fmt.Sprint("own", j), func(c control.Collection) bool { return c.Since == 0 })
			}
			if len(n.All()) != 1+len(nodes)+5 || len(n.Epochs()) != 1 || !reflect.DeepEqual(n.Epochs()[0], nodes[0].Epochs()[0]) {
				t.Errorf("node %d has %d collections and the epochs %v", i, len(n.All()), n.Epochs())
			}
		}

		// How long a write takes that has to take the right to it from another node, and how long another node takes to know.
		var slowest, longest time.Duration
		for k := range 10 {
			name := fmt.Sprint("timed", k)
			begun := time.Now()
			if err := nodes[k%2].Declare(vectors(name)); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(begun))
			begun = time.Now()
			nodes[2].waitFor(name, func(control.Collection) bool { return true })
			slowest = max(slowest, time.Since(begun))
		}
		t.Logf("a write takes %v at most, and is known to others at most %v after it was acknowledged", longest, slowest)
		if slowest > 5*time.Second {
			t.Errorf("known to others %v after it was acknowledged", slowest)
		}

		// A start with an empty copy, and one with its own.
		all := fmt.Sprint(nodes[2].All()) // that has waited for the last one
		fs := vfs.NewMem()
		for range 2 {
			n := join(t, o, fs)
			if got := fmt.Sprint(n.All()); got != all || len(n.Epochs()) != 1 {
				t.Errorf("a new node knows %s and %v, the others %s", got, n.Epochs(), all)
			}
			n.stop()
		}
	})
}

// A node that holds the right to write, as far as it knows, decides on what others have written meanwhile.
func TestDecidedOnTheNewestState(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		a, b := join(t, o, vfs.NewMem()), join(t, o, vfs.NewMem()) // they are told nothing
		for i, n := range []*node{a, b, a, b} {
			if err := n.Declare(vectors(fmt.Sprint("c", i))); err != nil {
				t.Fatal(err)
			}
			if len(n.All()) != i+1 {
				t.Errorf("after declaration %d a node knows %v", i, n.All())
			}
		}
		other := vectors("c3")
		other.Dim = 4
		var refused *freshet.Error
		if err := a.Declare(other); !errors.As(err, &refused) {
			t.Errorf("it was declared twice: %v", err)
		}
		if err := b.Declare(vectors("c4")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.CreateLike("copy", "c4", 7); err != nil { // of what it has to ask for
			t.Error(err)
		}
		if _, ok := b.Get("copy"); ok {
			t.Error("the test is none: the node is told by itself")
		}
		if _, ok, err := b.Lookup("copy"); !ok || err != nil {
			t.Errorf("looked up: %v, %v", ok, err)
		}
		if _, ok, err := b.Lookup("none"); ok || err != nil {
			t.Errorf("looked up in vain: %v, %v", ok, err)
		}
	})
}

// Of a writer that dies in the middle nothing stays, and the next one does not wait for its transaction to time out.
func TestControlWriterDies(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		a := join(t, o, vfs.NewMem())
		a.run()
		if err := a.Declare(vectors("before")); err != nil {
			t.Fatal(err)
		}
		opts := a.client.Options()
		dead, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.TransactionalID(opts.Group+"-control"), kgo.TransactionTimeout(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if err := dead.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"half", "half2"} {
			r := &kgo.Record{Topic: opts.Topics.Control, Key: []byte("collection/" + name), Value: []byte(`{"format":1,"name":"` + name + `","dim":3,"metric":"l2"}`)}
			if err := dead.ProduceSync(deadline(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		dead.Close()
		begun := time.Now()
		if err := a.Declare(vectors("after")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("the next write took %v", took)
		}
		b := join(t, o, vfs.NewMem())
		for _, n := range []*node{a, b} {
			if len(n.All()) != 2 {
				t.Errorf("there are %v", n.All())
			}
		}
	})
}

// What stands in freshet.control and is not known ends the node that reads it, and is named.
func TestControlIsNotUnderstood(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		for i, c := range []struct{ key, value, want string }{
			{"generation/9", `{"format":1}`, "generation/9"},
			{"log", `{"format":1,"id":"0102030405060708","partitions":4,"topics":{}}`, "0102030405060708"},
		} {
			o := o
			o.Group, o.Topics.Prefix = fmt.Sprint(o.Group, i), fmt.Sprint(o.Topics.Prefix, i)
			n := join(t, o, vfs.NewMem())
			done := make(chan error, 1)
			go func() { done <- n.ctl.Run(deadline(t), n.Take) }()
			a, err := n.client.NewAppender(n.client.Options().Topics.Control)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if _, err := a.Append(deadline(t), []kafka.Record{{Key: []byte(c.key), Value: []byte(c.value)}}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: the node goes on: %v", c.key, err)
			}
			begun := time.Now()
			if err := n.Declare(vectors("more")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: the node writes behind it: %v", c.key, err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("%s: it tried for %v", c.key, took)
			}
		}
	})
}

var _ control.Log = (*kafka.Control)(nil)
