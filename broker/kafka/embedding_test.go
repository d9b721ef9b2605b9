package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
)

// lengths is a model whose vectors are the length of the text, and of its inputs in one call at most.
type lengths struct {
	hold   chan struct{} // not nil: calls wait until it is closed
	inputs atomic.Int64
}

func (l *lengths) Model() freshet.Model { return freshet.Model{Name: "lengths", Dim: 1} }

func (l *lengths) Embed(ctx context.Context, inputs []freshet.Input) ([]freshet.Embedding, error) {
	if l.hold != nil {
		select {
		case <-l.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.inputs.Add(int64(len(inputs)))
	out := make([]freshet.Embedding, len(inputs))
	for i, in := range inputs {
		if in.Text == "" {
			out[i].Err = &freshet.Error{Code: freshet.CodeNoContent, Field: "text", Message: "is empty"}
			continue
		}
		out[i].Vector = []float32{float32(len(in.Text))}
	}
	return out, nil
}

// running starts a part, and returns what ends it.
func running(t *testing.T, part func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func newAsker(t *testing.T, c *kafka.Client, o kafka.AskerOptions) *kafka.Asker {
	t.Helper()
	a, err := c.NewAsker((&lengths{}).Model(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	running(t, a.Run)
	return a
}

func startEmbedWorker(t *testing.T, o kafka.Options, l *lengths) (w *kafka.EmbedWorker, stop func()) {
	t.Helper()
	w, err := open(t, o).NewEmbedWorker(map[string]freshet.Embedder{"lengths": l})
	if err != nil {
		t.Fatal(err)
	}
	end := running(t, w.Run)
	stop = sync.OnceFunc(func() {
		end()
		w.Close()
	})
	t.Cleanup(stop)
	return w, stop
}

// texts are as many inputs, of which every 100th has none.
func texts(n int) []freshet.Input {
	inputs := make([]freshet.Input, n)
	for i := range inputs {
		inputs[i].Text = strings.Repeat("x", i%100)
	}
	return inputs
}

func checkMade(inputs []freshet.Input, out []freshet.Embedding) error {
	if len(out) != len(inputs) {
		return fmt.Errorf("%d results for %d inputs", len(out), len(inputs))
	}
	for i, in := range inputs {
		var e *freshet.Error
		if in.Text == "" && (!errors.As(out[i].Err, &e) || e.Code != freshet.CodeNoContent || e.Field != "text") ||
			in.Text != "" && !slices.Equal(out[i].Vector, []float32{float32(len(in.Text))}) {
			return fmt.Errorf("input %d, %q, became %+v", i, in.Text, out[i])
		}
	}
	return nil
}

// embedding makes the topics, for sessions as short as can be.
func embedding(t *testing.T, o kafka.Options) (kafka.Options, *kafka.Client) {
	t.Helper()
	c := open(t, o)
	for range 2 { // the second time they are there
		if err := c.EnsureEmbedding(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	return o, c
}

// A log that has got more partitions has them for embedding too, and one with fewer is content.
func TestEmbeddingTopicsGrow(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		_, c := embedding(t, o)
		topics := c.Options().Topics
		for _, partitions := range []int{2 * o.Partitions, o.Partitions} {
			more := o
			more.Partitions = partitions
			if err := open(t, more).EnsureEmbedding(deadline(t)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{topics.Requests, topics.Results} {
				ends, err := open(t, o).Ends(deadline(t), name) // of a client that knows nothing of before
				if err != nil || len(ends) != 2*o.Partitions {
					t.Errorf("%s has %d partitions, want %d: %v", name, len(ends), 2*o.Partitions, err)
				}
			}
		}
	})
}

// Several askers get what several workers make, each its own, in order; what a worker had begun when it went another one does.
func TestEmbedWorkers(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o, c := embedding(t, o)
		stuck := &lengths{hold: make(chan struct{})}
		_, stop := startEmbedWorker(t, o, stuck)
		first, second := newAsker(t, c, kafka.AskerOptions{}), newAsker(t, c, kafka.AskerOptions{})
		var calls sync.WaitGroup
		for i := range 4 {
			a := first
			if i == 3 {
				a = second
			}
			calls.Go(func() {
				inputs := texts(5000 + i)
				out, err := a.Embed(deadline(t), inputs)
				if err == nil {
					err = checkMade(inputs, out)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		for until := time.Now().Add(20 * time.Second); first.Stats.InFlight.Load() < 64; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d requests are in flight", first.Stats.InFlight.Load())
			}
		}
		time.Sleep(50 * time.Millisecond)
		if n := first.Stats.InFlight.Load(); n != 64 {
			t.Errorf("%d requests are in flight, at most 64 should be", n)
		}
		live := &lengths{}
		w, _ := startEmbedWorker(t, o, live)
		stop()
		calls.Wait()
		for until := time.Now().Add(20 * time.Second); w.Stats.Inputs.Load() < live.inputs.Load() && time.Now().Before(until); time.Sleep(time.Millisecond) {
		} // a worker counts what it has written when the brokers say so, which an asker may have read by then
		if n := first.Stats.Inputs.Load() + second.Stats.Inputs.Load(); n != 20_006 || live.inputs.Load() < n || w.Stats.Inputs.Load() < n {
			t.Errorf("%d inputs were answered, %d embedded, %d told", n, live.inputs.Load(), w.Stats.Inputs.Load())
		}
		if n := first.Stats.InFlight.Load(); n != 0 {
			t.Errorf("%d requests are in flight at the end", n)
		}
	})
}

// Without a worker a call fails and says so; what was asked before the first worker came is answered, and what can't be read harms nobody.
func TestEmbedWithoutWorkers(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o, c := embedding(t, o)
		a := newAsker(t, c, kafka.AskerOptions{Again: 100 * time.Millisecond, Stalled: time.Second})
		_, err := a.Embed(deadline(t), texts(10))
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != freshet.CodeUnavailable || !strings.Contains(e.Message, "role embed") || a.Stats.Again.Load() == 0 {
			t.Fatalf("without workers: %v, asked again %d times", err, a.Stats.Again.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := a.Embed(ctx, texts(10)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that was ended: %v", err)
		}
		producer, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.DefaultProduceTopic(c.Options().Topics.Requests))
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		for _, r := range []*kgo.Record{{Value: []byte("junk")}, {Headers: []kgo.RecordHeader{{Key: "freshet.asked", Value: []byte("short")}}},
			{Headers: []kgo.RecordHeader{{Key: "freshet.asked", Value: append(make([]byte, 24), 0x7f, 0, 0, 0)}}}} {
			if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		patient := newAsker(t, c, kafka.AskerOptions{})
		answered := make(chan error, 1)
		inputs := texts(300)
		go func() {
			out, err := patient.Embed(deadline(t), inputs)
			if err == nil {
				err = checkMade(inputs, out)
			}
			answered <- err
		}()
		w, _ := startEmbedWorker(t, o, &lengths{})
		if err := <-answered; err != nil {
			t.Error(err)
		}
		for until := time.Now().Add(20 * time.Second); w.Stats.Bad.Load() < 3; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d bad requests, want 3", w.Stats.Bad.Load())
			}
		}
		other, err := c.NewAsker(freshet.Model{Name: "another", Dim: 1}, kafka.AskerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.Close)
		running(t, other.Run)
		if _, err := other.Embed(deadline(t), texts(3)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("no model %q", "another")) {
			t.Errorf("a model that no worker has: %v", err)
		}
	})
}
